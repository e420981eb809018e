"""A rollout: sampled responses with everything that the update needs to know of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data.records import Message
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.losses import advantages_and_returns, kl_rewards, masked_whiten
from policy.responses import Responses, join
from policy.roles import POLICY, VALUE, Roles
from policy.sampling import Sample

#: Whole conversations in, one score each out: any reward model, with any tokenizer of its own.
Score = Callable[[Sequence[Sequence[Message]]], Sequence[float]]


@dataclass(frozen=True)
class PromptItem:
    """A prompt as PPO takes it."""

    id: int
    messages: list[Message]
    ids: list[int]
    """Token ids through the chat template, up to where the response begins."""


@dataclass(frozen=True)
class Rollout:
    """B responses of at most R tokens."""

    texts: Responses
    logprobs: Tensor
    """[B, R] log π_old."""
    reference_logprobs: Tensor
    """[B, R] log π_ref."""
    entropy: Tensor
    """[B, R] entropy of π_old at each token, nats."""
    values: Tensor
    """[B, R] V_old of the state before each token."""
    value_features: Tensor | None
    """[B, R, d] what the value head reads, kept only where the value adapter is not trained."""
    scores: Tensor
    """[B] raw scores of the reward model."""
    rewards: Tensor
    """[B] normalised, clipped scores, the missing-EOS penalty taken off."""
    advantages: Tensor
    """[B, R] (whitened) advantages."""
    returns: Tensor
    """[B, R] what the value model is to predict."""

    @property
    def mask(self) -> Tensor:
        """[B, R] 1 at real response tokens."""
        return self.texts.mask

    @property
    def kl(self) -> Tensor:
        """[B] log π − log π_ref of each response: an unbiased estimate of the KL in nats."""
        return ((self.logprobs - self.reference_logprobs) * self.mask).sum(1)


@torch.no_grad()
def evaluate(roles: Roles, prompts: Sequence[PromptItem], samples: Sequence[Sample],
             score: Score, config: PPOConfig, reward_mean: float, reward_std: float,
             kl_coefficient: float) -> Rollout:
    """Everything the four models say of sampled responses, and the advantages that follow."""
    backbone = roles.policy
    texts = join([p.ids for p in prompts], [s.ids for s in samples], backbone.pad_id,
                 backbone.device)
    mask = texts.mask
    logprobs, reference, entropy, values = (torch.zeros(mask.shape, device=mask.device)
                                            for _ in range(4))
    features = None if roles.trains_value_adapter else torch.zeros(
        *mask.shape, roles.value.hidden_size, device=mask.device)
    for rows in texts.by_length(config.microbatch_size):
        part = texts.select(rows)
        width = part.mask.shape[1]
        new = response_logprobs(backbone, POLICY, part, config.temperature)
        old = response_logprobs(backbone, roles.reference_adapter, part, config.temperature)
        logprobs[rows, :width], entropy[rows, :width] = new.logprobs, new.entropy
        reference[rows, :width] = old.logprobs
        hidden = value_hidden(roles, part)
        values[rows, :width] = roles.value_head(hidden) * part.mask
        if features is not None:
            features[rows, :width] = hidden.float()
    scores = torch.tensor(list(score(
        [[*p.messages, Message(role="assistant", content=s.text)]
         for p, s in zip(prompts, samples, strict=True)])), device=mask.device)
    rewards = normalised(scores, samples, config, reward_mean, reward_std)
    token_rewards = kl_rewards(logprobs, reference, rewards, mask, kl_coefficient)
    advantages, returns = advantages_and_returns(
        token_rewards, values, mask, config.gamma, config.gae_lambda)
    if config.whiten_advantages:
        advantages = masked_whiten(advantages, mask)
    return Rollout(texts, logprobs, reference, entropy, values, features, scores, rewards,
                   advantages, returns)


def value_hidden(roles: Roles, texts: Responses) -> Tensor:
    """[B, R, d] the value model's hidden states before each response token."""
    return texts.before(roles.value.hidden(texts.batch, VALUE))


def normalised(scores: Tensor, samples: Sequence[Sample], config: PPOConfig, mean: float,
               std: float) -> Tensor:
    """[B] rewards in units of the reference's spread, 0 where its responses are on average."""
    rewards = (scores - mean) / std
    if config.reward_clip > 0:
        rewards = rewards.clamp(-config.reward_clip, config.reward_clip)
    # A custom stop text ends a response as properly as the end-of-sequence token does.
    unfinished = torch.tensor([s.finish_reason == "length" for s in samples],
                              device=scores.device)
    return rewards - config.missing_eos_penalty * unfinished
