"""What the sentiment benchmark measured of each seed, and the figures of all seeds together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import Figure, exact
from data.measures.statistics import Estimate, bootstrap, clustered_mean, mean


@dataclass(frozen=True)
class Measured:
    """What one seed gave, a value a held-out prompt: gold scores and the KL."""

    labels: int
    agreement: float | None
    reference: list[float]
    """Of one response."""
    start: list[float]
    """The mean of 16 responses of the reference."""
    policy: list[float]
    """Of one shot's policy."""
    kl: list[float]
    iterated: list[float]
    """Of the policy that two rounds came to."""
    iterated_kl: list[float]
    best: list[float]
    """The gold of the reward model's best of 16 responses of the reference."""
    tuned: list[float]
    """Of the policy that was fine-tuned on such winners."""
    tuned_kl: list[float]
    ppo_at_equal_kl: list[float]
    """Of PPO held near the reference, at best-of-16's KL, between the two kept policies around
    it."""


def figures_of(found: Sequence[Measured]) -> dict[str, Figure]:
    """All seeds together; prompts are the clusters, shared by the seeds."""
    figures = {"win_rate": _wins(found, [each.policy for each in found]),
               "kl": _figure(mean([value for each in found for value in each.kl])),
               "win_rate_rounds": _wins(found, [each.iterated for each in found]),
               "kl_rounds": _figure(mean([value for each in found for value in each.iterated_kl])),
               "labels": exact(max(each.labels for each in found), len(found)),
               "ppo_vs_bon16": _gain(found, [each.ppo_at_equal_kl for each in found]),
               "bon16_sft_share": _gain(found, [each.tuned for each in found]),
              "bon16_sft_kl": _figure(mean([value for each in found for value in each.tuned_kl]))}
    agreed = mean([each.agreement for each in found if each.agreement is not None])
    return figures | ({} if agreed is None else {"agreement": _figure(agreed)})


def _wins(found: Sequence[Measured], theirs: Sequence[Sequence[float]]) -> Figure:
    """How often the gold is above that of the reference's response; equal counts half."""
    won = [0.5 if mine == its else float(mine > its) for each, values in zip(
        found, theirs, strict=True) for mine, its in zip(values, each.reference, strict=True)]
    return _figure(clustered_mean(won, [n for values in theirs for n in range(len(values))]))


def _gain(found: Sequence[Measured], theirs: Sequence[Sequence[float]]) -> Figure:
    """What another method gains over the reference, as a share of what best-of-16 gains; the
    interval is a bootstrap over prompts."""
    start, best, other = (np.mean(values, axis=0) for values in (
        [each.start for each in found], [each.best for each in found], theirs))

    def share(drawn: Any) -> float:
        gained = float(drawn @ (best - start))
        return float(drawn @ (other - start)) / gained if gained else math.nan

    low, high = bootstrap(share, len(start))
    return {"value": share(np.ones(len(start))), "low": low, "high": high,
            "n": len(start) * len(found)}


def _figure(estimate: Estimate | None) -> Figure:
    assert estimate is not None  # there are held-out prompts
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


UNITS = {"win_rate": "gold win rate against the start", "kl": "KL, nats",
         "win_rate_rounds": "the same in two rounds", "kl_rounds": "KL in two rounds, nats",
         "labels": "labels (four-way)", "agreement": "labelers agree",
         "ppo_vs_bon16": "PPO's gain / best-of-16's, equal KL",
         "bon16_sft_share": "fine-tuning's gain / best-of-16's",
         "bon16_sft_kl": "fine-tuning's KL, nats"}
