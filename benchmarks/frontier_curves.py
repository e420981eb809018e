"""Reward against distance from the reference: curves fitted to runs, and what best of n is worth.

Distance is d = √KL(π‖π_ref), KL in nats a response, and reward R is counted from the reference's
own, so that every curve begins at (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
