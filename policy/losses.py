"""PPO's arithmetic: pure functions, tensors in and out.

Shapes: B responses, R response positions; `mask` is [B, R], 1 at real response tokens. Every
mean is over tokens of a whole minibatch (`token_count`), never over microbatches, so that
gradients accumulated over any split of a minibatch add up to the same update.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the places where the mask is 1."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


def masked_whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over the mask (biased variance); 0 elsewhere."""
    return (values - masked_mean(values, mask)) * whitening_scale(values, mask) * mask


def whitening_scale(values: Tensor, mask: Tensor) -> Tensor:
    """What whitening multiplies by: one over the (biased) standard deviation over the mask."""
    variance = masked_mean((values - masked_mean(values, mask)) ** 2, mask)
    return torch.rsqrt(variance + 1e-8)


def kl_rewards(logprobs: Tensor, reference_logprobs: Tensor, scores: Tensor, mask: Tensor,
               kl_coefficient: float) -> Tensor:
    """[B, R] per-token rewards: −β(log π − log π_ref), plus the score at the last real token.

    Ziegler et al. 2019, eq. 2. `scores` is [B]; a row without tokens gets nothing.
    """
    rewards = -kl_coefficient * (logprobs - reference_logprobs) * mask
    last = last_index(mask)
    rows = torch.arange(mask.shape[0], device=mask.device)
    rewards[rows, last] += scores * mask[rows, last]
    return rewards


def exact_kl_rewards(kl: Tensor, scores: Tensor, mask: Tensor, kl_coefficient: float) -> Tensor:
    """[B, R] per-token rewards where the KL is known over the whole vocabulary.

    A token earns −β KL of the state that it leads to, plus the score if it is the last. The KL of
    the state that it is drawn in (`kl`, [B, R]) is the same whichever token comes, so as a reward
    it would teach nothing: its gradient is taken directly (`exact_kl_loss`).
    """
    following = torch.nn.functional.pad((kl * mask)[:, 1:], (0, 1))
    rewards = -kl_coefficient * following
    rows = torch.arange(mask.shape[0], device=mask.device)
    last = last_index(mask)
    rewards[rows, last] += scores * mask[rows, last]
    return rewards


def exact_kl_loss(kl: Tensor, mask: Tensor, kl_coefficient: Tensor | float,
                  token_count: Tensor | float) -> Tensor:
    """β KL(π‖π_ref) of each state on the way, summed over tokens and divided by `token_count`."""
    return kl_coefficient * (kl * mask).sum() / token_count


def placed(parts: Sequence[Sequence[float]], mask: Tensor) -> Tensor:
    """[B, R] what each token brings, of what a reward model says of its own tokens.

    Its tokens are those that were sampled and the template's after them, or another tokenizer's:
    token j's part goes to token j, and what is left over to the last one. Sums stay as they are.
    """
    found = torch.zeros(mask.shape, device=mask.device)
    for row, brought in enumerate(parts):
        length = int(mask[row].sum())
        if length and len(brought):
            values = torch.tensor(brought, device=mask.device)
            places = torch.arange(len(brought), device=mask.device).clamp(max=length - 1)
            found[row].index_add_(0, places, values)
    return found


def last_index(mask: Tensor) -> Tensor:
    """[B] index of the last 1 of each row (0 where there is none)."""
    reversed_first = mask.flip(1).argmax(1)
    return torch.where(mask.any(1), mask.shape[1] - 1 - reversed_first, 0)


def advantages_and_returns(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float,
                           gae_lambda: float) -> tuple[Tensor, Tensor]:
    """[B, R] generalized advantage estimates and returns (Schulman et al. 2016, eq. 16).

    The state after the last real token is terminal: its value is 0.
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(running)
    for t in reversed(range(rewards.shape[1])):
        # δ_t = r_t + γ V(s_{t+1}) − V(s_t);  Â_t = δ_t + γλ Â_{t+1}
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = (delta + gamma * gae_lambda * running) * mask[:, t]
        advantages[:, t] = running
        following = values[:, t] * mask[:, t]
    return advantages, (advantages + values) * mask


def clipped_policy_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor,
                        clip_range: float, token_count: Tensor | float) -> tuple[Tensor, Tensor]:
    """The clipped surrogate (Schulman et al. 2017, eq. 7), negated, summed over tokens and divided
    by `token_count`; and how many tokens were clipped."""
    ratio = torch.exp(logprobs - old_logprobs)
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = (torch.maximum(plain, clipped) * mask).sum() / token_count
    return loss, ((clipped > plain) * mask).sum()


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor,
                       clip_range: float, token_count: Tensor | float) -> tuple[Tensor, Tensor]:
    """½ max((V − R)², (clip(V) − R)²), V clipped around the old value, summed over tokens and
    divided by `token_count` (as in OpenAI's baselines); and how many tokens were clipped."""
    near = old_values + (values - old_values).clamp(-clip_range, clip_range)
    plain, clipped = (values - returns) ** 2, (near - returns) ** 2
    loss = 0.5 * (torch.maximum(plain, clipped) * mask).sum() / token_count
    return loss, ((clipped > plain) * mask).sum()


def approximate_kl(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Sum over tokens of (ρ − 1) − log ρ with ρ = π/π_old: the estimator k3 of KL(π_old‖π) from
    samples of π_old (Schulman 2020); never negative."""
    log_ratio = logprobs - old_logprobs
    return ((torch.expm1(log_ratio) - log_ratio) * mask).sum()


def kl_k1(logprobs: Tensor, reference_logprobs: Tensor, mask: Tensor) -> Tensor:
    """[B] Σ_t log π − log π_ref: the estimator k1 of KL(π‖π_ref) from samples of π (Schulman
    2020); unbiased, and negative for some responses."""
    return ((logprobs - reference_logprobs) * mask).sum(1)


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor, mask: Tensor) -> Tensor:
    """[B] Σ_t (ρ − 1) − log ρ with ρ = π_ref/π: the estimator k3 of KL(π‖π_ref) from samples of π
    (Schulman 2020); unbiased, never negative, and less noisy while the two are near."""
    log_ratio = (reference_logprobs - logprobs) * mask
    return (torch.expm1(log_ratio) - log_ratio).sum(1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 − Var(R − V)/Var(R) over real tokens; nan where the returns do not vary."""
    chosen = mask.bool()
    variance = returns[chosen].var(unbiased=False)
    if chosen.sum() < 2 or variance < 1e-12:
        return float("nan")
    return float(1 - (returns - values)[chosen].var(unbiased=False) / variance)


def adapted_kl_coefficient(coefficient: float, kl: float, target: float, responses: int,
                           horizon: int) -> float:
    """The log-space proportional controller of Ziegler et al. 2019, section 2.2."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * responses / horizon)
