"""A rollout: sampled responses with everything that the update needs to know of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from backbone.resume import beginning, keep_beginning
from data.errors import PrefloopError
from data.records import Message
from policy.config import PPOConfig
from policy.logprobs import logprobs_of_states, response_logprobs, response_states
from policy.losses import (
    advantages_and_returns,
    exact_kl_rewards,
    kl_k1,
    kl_rewards,
    masked_whiten,
    placed,
    whitening_scale,
)
from policy.responses import Responses, join
from policy.roles import POLICY, VALUE, Roles
from policy.sampling import Sample
from policy.sharing import ALONE, Share

T = TypeVar("T")
#: Whole conversations in, one score each out: any reward model, with any tokenizer of its own.
Score = Callable[[Sequence[Sequence[Message]]], Sequence[float]]
#: The same, but what each token of the last turn brings, by the reward model's own tokens; they add
#: up to the score.
Credit = Callable[[Sequence[Sequence[Message]]], Sequence[Sequence[float]]]


@dataclass(frozen=True)
class PromptItem:
    """A prompt as PPO takes it."""

    id: int
    messages: list[Message]
    ids: list[int]
    """Token ids through the chat template, up to where the response begins."""


def begun_with(checkpoint: Path, prompts: Sequence[PromptItem],
               count: int | None = None) -> list[PromptItem]:
    """The prompts that a run began with (the first `count`), in its order, kept beside its
    checkpoints from its first process on: those that were imported since wait for the next.

    Raises:
        PrefloopError: one of them is no longer there.
    """
    ids = beginning(checkpoint)
    if ids is None:
        ids = [prompt.id for prompt in prompts[:count]]
        keep_beginning(checkpoint, ids)
    by_id = {prompt.id: prompt for prompt in prompts}
    gone = [number for number in ids if number not in by_id]
    if gone:
        raise PrefloopError(f"{len(gone)} of the {len(ids)} prompts that this run began "
                            "with are no longer there; start a new one")
    return [by_id[number] for number in ids]


@dataclass(frozen=True)
class Reward:
    """A reward model as PPO asks it; rewards are its scores, shifted and scaled."""

    score: Score
    mean: float = 0.0
    """Its mean score over the reference's responses."""
    std: float = 1.0
    """The spread of those scores."""
    spread: Score | None = None
    """How far the members of an ensemble that gives the score differ on a response, for the
    metrics; asked about the same conversations, after the score."""
    credit: Credit | None = None
    """Asked in the place of `score`, where the reward model can tell what each token brings."""


@dataclass(frozen=True)
class ExactKL:
    """What the update needs where the KL is taken over the whole vocabulary."""

    tokens: Tensor
    """[B, R] KL(π_old‖π_ref) of the state before each token."""
    reference_states: Tensor
    """[B, R, d] the reference's hidden states before each token."""
    weight: Tensor
    """β in units of the (whitened) advantages."""


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
    exact_kl: ExactKL | None = None
    opinions: Tensor | None = None
    """[K, B] the reward by each of the reward models, the obeyed one first; only where there are
    further ones."""
    spread: Tensor | None = None
    """[B] how far the members of an obeyed ensemble differ, in units of the reward."""

    @property
    def mask(self) -> Tensor:
        """[B, R] 1 at real response tokens."""
        return self.texts.mask

    @property
    def kl(self) -> Tensor:
        """[B] an unbiased estimate of the KL to the reference from each response, nats."""
        if self.exact_kl is not None:
            return self.exact_kl.tokens.sum(1)
        return kl_k1(self.logprobs, self.reference_logprobs, self.mask)


@torch.no_grad()
def evaluate(roles: Roles, prompts: Sequence[PromptItem], samples: Sequence[Sample],
             reward: Reward, config: PPOConfig, kl_coefficient: float,
             judges: Sequence[Reward] = (), share: Share = ALONE) -> Rollout:
    """Everything the four models say of sampled responses, and the advantages that follow.

    With a credit, tokens are rewarded where they bring it, and not all at the end.
    Of several processes each asks the models about its share, and all get the whole.
    """
    backbone = roles.policy
    texts = join([p.ids for p in prompts], [s.ids for s in samples], backbone.pad_id,
                 backbone.device)
    mask = texts.mask
    logprobs, reference, entropy, values = (torch.zeros(mask.shape, device=mask.device)
                                            for _ in range(4))
    features = None if roles.trains_value_adapter else torch.zeros(
        *mask.shape, roles.value.hidden_size, device=mask.device)
    exact = config.kl_penalty == "exact"
    kl = torch.zeros(mask.shape, device=mask.device)
    states = torch.zeros(*mask.shape, backbone.hidden_size, device=mask.device,
                         dtype=backbone.dtype) if exact else None
    value_reads_reference = roles.value_reads_reference
    for rows in share.mine(texts.by_length(config.microbatch_size, together=config.responses)):
        part = texts.select(rows)
        width = part.mask.shape[1]
        before = response_states(backbone, roles.reference_adapter, part)
        old = logprobs_of_states(backbone, before, part, config.temperature)
        reference[rows, :width] = old.logprobs
        if states is not None:
            states[rows, :width] = before.to(states.dtype)
        new = response_logprobs(backbone, POLICY, part, config.temperature,
                                None if states is None else states[rows, :width])
        logprobs[rows, :width], entropy[rows, :width] = new.logprobs, new.entropy
        if new.kl is not None:
            kl[rows, :width] = new.kl
        hidden = before if value_reads_reference else value_hidden(roles, part)
        values[rows, :width] = roles.value_head(hidden) * part.mask
        if features is not None:
            features[rows, :width] = hidden.float()
    share.add_up(logprobs, reference, entropy, values, kl, features, states)
    conversations = [[*p.messages, Message(role="assistant", content=s.text)]
                     for p, s in zip(prompts, samples, strict=True)]
    parts = None if reward.credit is None else _gathered(reward.credit, conversations, share)
    scores = (_scores(reward.score, conversations, mask.device, share) if parts is None
              else torch.tensor([sum(brought) for brought in parts], device=mask.device))
    rewards = normalised(scores, samples, config, reward)
    on_the_way = torch.zeros_like(mask) if parts is None else placed(
        [[(value - reward.mean / len(brought)) / reward.std for value in brought]
         for brought in parts], mask)
    at_the_end = rewards - on_the_way.sum(1)  # all of it, or what clipping and penalties leave
    token_rewards = on_the_way + (
        exact_kl_rewards(kl, at_the_end, mask, kl_coefficient) if exact else
        kl_rewards(logprobs, reference, at_the_end, mask, kl_coefficient))
    advantages, returns = advantages_and_returns(
        token_rewards, values, mask, config.gamma, config.gae_lambda)
    weight = torch.tensor(kl_coefficient, device=mask.device)
    if config.whiten_advantages:
        weight = weight * whitening_scale(advantages, mask)
        advantages = masked_whiten(advantages, mask)
    opinions = None if not judges else torch.stack([rewards, *(
        normalised(_scores(judge.score, conversations, mask.device, share), samples, config, judge)
        for judge in judges)])
    differ = None if reward.spread is None else _scores(
        reward.spread, conversations, mask.device, share) / reward.std
    return Rollout(texts, logprobs, reference, entropy, values, features, scores, rewards,
                   advantages, returns,
                   None if states is None else ExactKL(kl, states, weight), opinions, differ)


def _scores(score: Score, conversations: Sequence[Sequence[Message]], device: torch.device,
            share: Share) -> Tensor:
    """[B] a reward model's scores."""
    return torch.tensor(_gathered(score, conversations, share), device=device)


def _gathered(ask: Callable[[Sequence[Sequence[Message]]], Sequence[T]],
              conversations: Sequence[Sequence[Message]], share: Share) -> list[T]:
    """What is said of all conversations, each process asking about its share."""
    mine = share.mine(conversations)
    return share.gather(list(ask(mine)) if mine else [])


def value_hidden(roles: Roles, texts: Responses) -> Tensor:
    """[B, R, d] the value model's hidden states before each response token."""
    return response_states(roles.value, VALUE, texts)


def normalised(scores: Tensor, samples: Sequence[Sample], config: PPOConfig,
               reward: Reward) -> Tensor:
    """[B] rewards in units of the reference's spread, 0 where its responses are on average."""
    rewards = (scores - reward.mean) / reward.std
    if config.reward_clip > 0:
        rewards = rewards.clamp(-config.reward_clip, config.reward_clip)
    # A custom stop text ends a response as properly as the end-of-sequence token does.
    unfinished = torch.tensor([s.finish_reason == "length" for s in samples],
                              device=scores.device)
    return rewards - config.missing_eos_penalty * unfinished
