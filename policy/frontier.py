"""Reward against KL to the reference: the policies of a run as points, and which to go on with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy.alarm import error_of


@dataclass(frozen=True)
class Point:
    """A checkpoint on the curve."""

    step: int
    kl: float
    """KL to the reference, nats a response."""
    score: float
    """Its mean reward, in any unit."""
    uncertainty: float = 0.0
    """What is not known of it, in the same unit: half of a 95 % interval, or the spread between
    reward models."""

    @property
    def conservative(self) -> float:
        """The reward that can be counted on: none at all where it is not known, or its error, as
        that of a single response is not."""
        counted = self.score - self.uncertainty
        return -math.inf if math.isnan(counted) else counted


def best_of_n_kl(n: int) -> float:
    """KL(π_bon‖π) = log n − (n − 1)/n, nats (Stiennon et al. 2020, appendix G.3).

    Exact for responses that never tie; otherwise an upper bound (Beirami et al. 2024).
    """
    return math.log(n) - (n - 1) / n


def choose(points: Sequence[Point], kl_budget: float, wrong: int | None = None) -> Point | None:
    """The checkpoint to go on with: of those within the KL budget, the one of the best
    conservative reward; of equal ones that nearest to the reference. None where none is within.

    `wrong` is the step from which on the alarm found something wrong: those from there on are left
    out, unless there are no others.
    """
    within = [point for point in points if point.kl <= kl_budget]
    within = [point for point in within if wrong is None or point.step < wrong] or within
    return max(within, key=lambda p: (p.conservative, -p.kl, -p.step), default=None)


def points_of(steps: Sequence[Mapping[str, Any]]) -> list[Point]:
    """A run's steps, each a step's metrics, as points to choose from.

    Where there are several reward models the reward is the least that any of them grants (the mean
    over responses); what is uncertain of it is half of the mean's 95 % interval.
    """
    return [Point(int(step["step"]), float(step["kl"]),
                  float(step.get("ensemble_worst", step["reward"])),
                  1.96 * error_of(step, "reward"))
            for step in steps]
