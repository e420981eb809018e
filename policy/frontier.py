"""Reward against distance from the reference: the curve on which methods and steps are compared.

Distance is d = √KL(π‖π_ref), KL in nats a response, and reward R is counted from the reference's
own, so that every curve begins at (0, 0). Pure functions; nothing here samples or scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy.alarm import error_of

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Fit:
    """A fitted curve of Gao et al. 2022, and how much of the points' variance it explains."""

    alpha: float
    """Slope near the reference, reward a √nat."""
    beta: float
    """How strongly over-optimisation bends the curve down."""
    r2: float
    """1 − SS_residual / SS_total; nan where the rewards do not vary."""
    n: int
    """Points fitted."""


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


def best_of_n_reward(scores: Sequence[float], n: int,
                     values: Sequence[float] | None = None) -> float:
    """Unbiased estimate of the expected value of the best of n responses, from N ≥ n of them.

    The mean over all subsets of n: with scores in ascending order, the i-th (from 1) is the best
    of C(i−1, n−1) of the C(N, n) subsets (Nakano et al. 2021, appendix I).

    Args:
        scores: what the best is chosen by, such as a reward model's.
        values: what the chosen is worth, such as the gold score; left out, the score itself.
            Responses of equal score are chosen with equal chances.

    Raises:
        ValueError: n is not within 1..N.
    """
    total = len(scores)
    if not 1 <= n <= total:
        raise ValueError(f"the best of {n} cannot be told from {total} responses")
    ranked, place, counts = np.unique(np.asarray(scores, dtype=float), return_inverse=True,
                                      return_counts=True)
    worth = np.asarray(scores if values is None else values, dtype=float)
    means = np.bincount(place, weights=worth) / counts
    # P(best ≤ k-th score) = C(responses up to it, n) / C(N, n)
    upto = [math.comb(int(number), n) for number in counts.cumsum()]
    shares = [(high - low) / math.comb(total, n)
              for low, high in zip([0, *upto[:-1]], upto, strict=True)]
    return float(np.dot(shares, means[:len(ranked)]))


def fit_best_of_n(kl: Sequence[float], reward: Sequence[float]) -> Fit:
    """Least squares of R(d) = d (α − β d), which best-of-n follows (Gao et al. 2022, eq. 1)."""
    d = _distance(kl)
    return _fit(np.stack([d, -d ** 2], 1), reward)


def fit_rl(kl: Sequence[float], reward: Sequence[float]) -> Fit:
    """Least squares of R(d) = d (α − β log d), which RL follows (Gao et al. 2022, eq. 1)."""
    d = _distance(kl)
    bend = -d * np.log(np.where(d > 0, d, 1.0))  # d log d goes to 0 with d
    return _fit(np.stack([d, bend], 1), reward)


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


def _distance(kl: Sequence[float]) -> Array:
    # An estimate of a small KL can come out below 0.
    distance: Array = np.sqrt(np.maximum(np.asarray(kl, dtype=float), 0.0))
    return distance


def _fit(terms: Array, reward: Sequence[float]) -> Fit:
    wanted = np.asarray(reward, dtype=float)
    if len(wanted) != len(terms) or len(wanted) < 2:
        raise ValueError(f"a curve needs 2 points or more, each with its reward; there are "
                         f"{len(terms)} with {len(wanted)} rewards")
    (alpha, beta), *_ = np.linalg.lstsq(terms, wanted, rcond=None)
    left = float(((wanted - terms @ np.array([alpha, beta])) ** 2).sum())
    total = float(((wanted - wanted.mean()) ** 2).sum())
    return Fit(float(alpha), float(beta), 1 - left / total if total > 0 else math.nan,
               len(wanted))
