"""What PPO reports of each step: one flat dict of figures, and a few texts to read.

Names are the Jobs page's titles; docs/policy.md says how to read them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from policy.losses import explained_variance, kl_k3, masked_mean
from policy.rollout import PromptItem, Rollout
from policy.sampling import Sample
from policy.signals import (
    deviation,
    distinct,
    perplexity,
    repetition,
    spread,
    standard_error,
    worst_case,
)

#: Sample texts kept with each step's metrics.
SHOWN_SAMPLES = 3
#: What of `UpdateFigures` adds up over the processes that share a run.
SUMS = ("policy_loss", "value_loss", "approx_kl", "clipped", "value_clipped")


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
    ratio_gap: float = 0.0
    """Largest |log π − log π_old| of the first update, before anything has moved."""
    policy_norm: float = 0.0
    value_norm: float = 0.0
    stopped_early: bool = False


def step_metrics(rollout: Rollout, figures: UpdateFigures, samples: Sequence[Sample],
                 prompts: Sequence[PromptItem], kl_coefficient: float,
                 seconds: Mapping[str, float]) -> dict[str, Any]:
    """Everything of a step, by name."""
    mask, kl = rollout.mask, rollout.kl
    tokens, updates = max(figures.tokens, 1.0), max(figures.updates, 1)
    gaps = _sampling_gaps(rollout, samples)
    ids = [prompt.id for prompt in prompts]
    return {
        "reward": float(rollout.rewards.mean()), "reward_std": deviation(rollout.rewards),
        "reward_error": standard_error(rollout.rewards, ids),
        "score": float(rollout.scores.mean()), "responses": len(samples),
        "kl": float(kl.mean()), "kl_coefficient": kl_coefficient,
        "objective": float((rollout.rewards - kl_coefficient * kl).mean()),
        "entropy": float(masked_mean(rollout.entropy, mask)),
        "length": float(mask.sum(1).float().mean()),
        "eos_share": sum(s.finish_reason != "length" for s in samples) / len(samples),
        "clip_fraction": figures.clipped / tokens,
        "value_clip_fraction": figures.value_clipped / tokens,
        "approx_kl": figures.approx_kl / tokens,
        "explained_variance": explained_variance(rollout.values, rollout.returns, mask),
        "policy_loss": figures.policy_loss / tokens, "value_loss": figures.value_loss / tokens,
        "policy_grad_norm": figures.policy_norm / updates,
        "value_grad_norm": figures.value_norm / updates,
        "updates": figures.updates, "stopped_early": figures.stopped_early,
        "sampling_gap": float(masked_mean(gaps, mask)), "sampling_gap_max": float(gaps.max()),
        "ratio_gap": figures.ratio_gap, **_signals(rollout, samples, ids), **seconds,
        "samples": [{"prompt": p.messages[-1]["content"], "text": s.text}
                    for p, s in list(zip(prompts, samples, strict=True))[:SHOWN_SAMPLES]]}


def _signals(rollout: Rollout, samples: Sequence[Sample], prompts: Sequence[int]
             ) -> dict[str, float]:
    """What tells of over-optimisation, beside KL, entropy, length and the share of ends."""
    ids = [sample.ids for sample in samples]
    mask, reference = rollout.mask, rollout.reference_logprobs
    found = {
        "kl_k3": float(kl_k3(rollout.logprobs, reference, mask).mean()),
        "reference_perplexity": perplexity(reference, mask),
        "repetition": repetition(ids), "repeated_tokens": repetition(ids, 1),
        "distinct_1": distinct(ids, 1), "distinct_2": distinct(ids, 2)}
    if rollout.spread is not None:
        found["member_spread"] = float(rollout.spread.mean())
    if rollout.opinions is not None:
        judges = rollout.opinions[1:].mean(0)  # those that are not obeyed, of each response
        found |= {"ensemble_mean": float(rollout.opinions.mean()),
                  "ensemble_spread": spread(rollout.opinions),
                  "ensemble_worst": worst_case(rollout.opinions),
                  "judge_reward": float(judges.mean()), "judge_std": deviation(judges),
                  "judge_error": standard_error(judges, prompts)}
    return found


def _sampling_gaps(rollout: Rollout, samples: Sequence[Sample]) -> Tensor:
    """[B, R] |log π| difference between sampling (with a cache) and the padded forward pass."""
    sampled = torch.zeros_like(rollout.logprobs)
    for row, sample in enumerate(samples):
        sampled[row, :len(sample.logprobs)] = torch.tensor(sample.logprobs)
    return (sampled - rollout.logprobs).abs() * rollout.mask


class Clock:
    """Seconds by phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Note the time since the last lap under `seconds_PHASE`."""
        now = time.perf_counter()
        self.seconds[f"seconds_{phase}"] = now - self._start
        self._start = now
