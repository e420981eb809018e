"""Proximal policy optimisation of a language model against a reward model.

Ziegler et al. 2019 with the details of Huang et al. 2024: per-token KL reward against a frozen
reference, generalized advantage estimation, clipped policy and value losses, several epochs a
rollout. The loop is `train`; each of its steps is one call. Deliberately left out: any notion of
where prompts, scores or reports come from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbone.resume import load_training, save_training
from data.errors import PrefloopError
from data.progress import Progress, Stopped
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.losses import (
    adapted_kl_coefficient,
    approximate_kl,
    clipped_policy_loss,
    clipped_value_loss,
    explained_variance,
    masked_mean,
)
from policy.roles import POLICY, VALUE, Roles
from policy.rollout import (
    PromptItem,
    Rollout,
    Score,
    evaluate,
    value_hidden,
)
from policy.sampling import Sample, generate, uniform_draws

#: Sample texts kept with each step's metrics.
SHOWN_SAMPLES = 3


@dataclass
class TrainingState:
    """What changes from step to step, beside weights and optimizers."""

    step: int = 0
    kl_coefficient: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)


@dataclass
class UpdateFigures:
    """Sums over the tokens of a rollout's updates, for the metrics."""

    tokens: float = 0.0
    policy_loss: float = 0.0
    value_loss: float = 0.0
    approx_kl: float = 0.0
    clipped: float = 0.0
    value_clipped: float = 0.0
    updates: int = 0
    policy_norm: float = 0.0
    value_norm: float = 0.0
    stopped_early: bool = False


def train(roles: Roles, prompts: Sequence[PromptItem], score: Score, config: PPOConfig,
          seed: int, progress: Progress, checkpoint: Path, reward_mean: float = 0.0,
          reward_std: float = 1.0) -> dict[str, Any]:
    """Improve `roles.policy` in place; returns the last step's metrics.

    Goes on from `checkpoint` where a killed run left one, and ends with the same weights.

    Args:
        prompts: training prompts; taken in a new random order each time all have been used.
        score: conversations in, raw scores out; they are shifted and scaled by mean and std.

    Raises:
        PrefloopError: the loss is no longer a number.
        Stopped: by `progress`, after a checkpoint.
    """
    if not prompts:
        raise PrefloopError("PPO needs training prompts, and the workspace has none")
    optimizers = _optimizers(roles, config)
    state = _resume(roles, optimizers, checkpoint) or TrainingState(
        kl_coefficient=config.kl_coefficient)
    while state.step < config.steps:
        try:
            progress.update(state.step / config.steps, _message(state, config))
            clock = _Clock()
            # 1. prompts, 2. responses, 3. what the four models say, 4. updates
            chosen = _prompts_of_step(prompts, config.batch_size, seed, state.step)
            samples = _sample(roles, chosen, config, seed, state.step, progress)
            clock.lap("generate")
            rollout = evaluate(roles, chosen, samples, score, config, reward_mean, reward_std,
                               state.kl_coefficient)
            clock.lap("evaluate")
            figures = _update(roles, rollout, optimizers, config, seed, state.step)
            clock.lap("update")
        except Stopped:
            _save(roles, optimizers, checkpoint, state)
            raise
        state.last = _metrics(rollout, figures, samples, chosen, state, clock)
        progress.metrics(state.step, state.last)
        state.step += 1
        kl = float(rollout.kl.mean())
        if config.kl_target > 0:
            state.kl_coefficient = adapted_kl_coefficient(
                state.kl_coefficient, kl, config.kl_target, config.batch_size, config.kl_horizon)
        if state.step % config.checkpoint_every == 0 or state.step == config.steps:
            _save(roles, optimizers, checkpoint, state)
        if 0 < config.kl_stop < kl:
            state.last["ended"] = f"KL {kl:.1f} above --kl-stop {config.kl_stop:g}"
            break
    return state.last


def _optimizers(roles: Roles, config: PPOConfig) -> dict[str, torch.optim.Optimizer]:
    return {
        "policy": torch.optim.AdamW(roles.policy_parameters, lr=config.learning_rate, eps=1e-5,
                                    weight_decay=0.0),
        "value": torch.optim.AdamW(roles.value_parameters, lr=config.value_learning_rate,
                                   eps=1e-5, weight_decay=0.0)}


def _prompts_of_step(prompts: Sequence[PromptItem], size: int, seed: int,
                     step: int) -> list[PromptItem]:
    """The step's share of an endless shuffled reading of the prompts."""
    chosen = []
    for place in range(step * size, (step + 1) * size):
        epoch, within = divmod(place, len(prompts))
        order = np.random.default_rng([seed, epoch]).permutation(len(prompts))
        chosen.append(prompts[int(order[within])])
    return chosen


def _sample(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int, step: int,
            progress: Progress) -> list[Sample]:
    draws = uniform_draws([(seed, 1 + step, row) for row in range(len(prompts))],
                          config.max_new_tokens)
    message = f"step {step + 1} of {config.steps}: sampling"
    return generate(roles.policy, POLICY, [p.ids for p in prompts], draws, config.temperature,
                    config.stop, check=lambda: progress.update(step / config.steps, message))


def _update(roles: Roles, rollout: Rollout, optimizers: dict[str, torch.optim.Optimizer],
            config: PPOConfig, seed: int, step: int) -> UpdateFigures:
    """Several epochs of clipped updates on one rollout."""
    figures = UpdateFigures()
    for epoch in range(config.epochs):
        order = torch.from_numpy(np.random.default_rng([seed, step, epoch]).permutation(
            rollout.mask.shape[0])).to(rollout.mask.device)
        for minibatch in torch.split(order, config.minibatch_size):
            moved = _accumulate(roles, rollout, minibatch, config, figures)
            if 0 < config.update_kl_stop < moved and figures.updates:
                figures.stopped_early = True
                for optimizer in optimizers.values():
                    optimizer.zero_grad(set_to_none=True)
                return figures
            figures.policy_norm += _clip(roles.policy_parameters, config.max_grad_norm)
            figures.value_norm += _clip(roles.value_parameters, config.max_grad_norm)
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            figures.updates += 1
    return figures


def _accumulate(roles: Roles, rollout: Rollout, minibatch: Tensor, config: PPOConfig,
                figures: UpdateFigures) -> float:
    """Gradients of a minibatch, microbatch by microbatch; returns how far the policy has moved
    from the one that sampled (approximate KL a token)."""
    tokens = rollout.mask[minibatch].sum()
    moved = 0.0
    for rows in rollout.texts.by_length(config.microbatch_size, minibatch):
        texts = rollout.texts.select(rows)
        mask, width = texts.mask, texts.mask.shape[1]
        new = response_logprobs(roles.policy, POLICY, texts, config.temperature)
        old = rollout.logprobs[rows, :width]
        policy_loss, clipped = clipped_policy_loss(
            new.logprobs, old, rollout.advantages[rows, :width], mask, config.clip_range, tokens)
        policy_loss.backward()  # type: ignore[no-untyped-call]
        features = (value_hidden(roles, texts) if rollout.value_features is None
                    else rollout.value_features[rows, :width])
        value_loss, value_clipped = clipped_value_loss(
            roles.value_head(features) * mask, rollout.values[rows, :width],
            rollout.returns[rows, :width], mask, config.value_clip_range, tokens)
        value_loss.backward()  # type: ignore[no-untyped-call]
        divergence = float(approximate_kl(new.logprobs.detach(), old, mask))
        moved += divergence / float(tokens)
        if not torch.isfinite(policy_loss + value_loss):
            raise PrefloopError("PPO's loss is no longer a number; lower --learning-rate")
        figures.policy_loss += policy_loss.item() * float(tokens)
        figures.value_loss += value_loss.item() * float(tokens)
        figures.approx_kl += divergence
        figures.clipped += float(clipped)
        figures.value_clipped += float(value_clipped)
    figures.tokens += float(tokens)
    return moved


def _clip(parameters: list[torch.nn.Parameter], max_norm: float) -> float:
    return float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))


def _metrics(rollout: Rollout, figures: UpdateFigures, samples: Sequence[Sample],
             prompts: Sequence[PromptItem], state: TrainingState, clock: _Clock
             ) -> dict[str, Any]:
    mask, kl = rollout.mask, rollout.kl
    lengths = mask.sum(1).float()
    tokens, updates = max(figures.tokens, 1.0), max(figures.updates, 1)
    return {
        "reward": float(rollout.rewards.mean()), "reward_std": float(rollout.rewards.std()),
        "score": float(rollout.scores.mean()),
        "kl": float(kl.mean()), "kl_coefficient": state.kl_coefficient,
        "objective": float((rollout.rewards - state.kl_coefficient * kl).mean()),
        "entropy": float(masked_mean(rollout.entropy, mask)),
        "length": float(lengths.mean()),
        "eos_share": sum(s.finish_reason != "length" for s in samples) / len(samples),
        "clip_fraction": figures.clipped / tokens,
        "value_clip_fraction": figures.value_clipped / tokens,
        "approx_kl": figures.approx_kl / tokens,
        "explained_variance": explained_variance(rollout.values, rollout.returns, mask),
        "policy_loss": figures.policy_loss / tokens, "value_loss": figures.value_loss / tokens,
        "policy_grad_norm": figures.policy_norm / updates,
        "value_grad_norm": figures.value_norm / updates,
        "updates": figures.updates, "stopped_early": figures.stopped_early,
        "sampling_gap": _sampling_gap(rollout, samples), **clock.seconds,
        "samples": [{"prompt": p.messages[-1]["content"], "text": s.text}
                    for p, s in list(zip(prompts, samples, strict=True))[:SHOWN_SAMPLES]]}


def _sampling_gap(rollout: Rollout, samples: Sequence[Sample]) -> float:
    """Mean |log π| difference between sampling (with a cache) and the padded forward pass."""
    sampled = torch.zeros_like(rollout.logprobs)
    for row, sample in enumerate(samples):
        sampled[row, :len(sample.logprobs)] = torch.tensor(sample.logprobs)
    return float(masked_mean((sampled - rollout.logprobs).abs(), rollout.mask))


def _message(state: TrainingState, config: PPOConfig) -> str:
    if not state.last:
        return f"step {state.step + 1} of {config.steps}"
    return (f"step {state.step + 1} of {config.steps}: reward {state.last['reward']:.2f}, "
            f"KL {state.last['kl']:.1f}")


def _save(roles: Roles, optimizers: dict[str, torch.optim.Optimizer], checkpoint: Path,
          state: TrainingState) -> None:
    weights = {
        **{f"policy/{k}": v for k, v in roles.policy.adapter_state(POLICY).items()},
        **{f"value/{k}": v for k, v in roles.value.adapter_state(VALUE).items()},
        **{f"head/{k}": v for k, v in roles.value_head.state_dict().items()}}
    save_training(checkpoint, state.step, weights, optimizers, {
        "step": state.step, "kl_coefficient": state.kl_coefficient, "last": state.last})


def _resume(roles: Roles, optimizers: dict[str, torch.optim.Optimizer],
            checkpoint: Path) -> TrainingState | None:
    found = load_training(checkpoint, optimizers)
    if found is None:
        return None
    weights, state = found

    def part(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}/"): value for key, value in weights.items()
                if key.startswith(f"{name}/")}

    roles.policy.load_adapter_state(POLICY, part("policy"))
    roles.value.load_adapter_state(VALUE, part("value"))
    roles.value_head.load_state_dict(part("head"))
    return TrainingState(**state)


class _Clock:
    """Seconds by phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Note the time since the last lap under `seconds_PHASE`."""
        now = time.perf_counter()
        self.seconds[f"seconds_{phase}"] = now - self._start
        self._start = now
