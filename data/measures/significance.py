"""Exact tests of counts, and Holm's correction where many are made at once.

All are one-sided and conservative: a p-value is the chance of what was seen or more, so it never
promises more than it holds, however few the counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from data.measures.statistics import effective_size


@dataclass(frozen=True)
class Counts:
    """Successes in so many independent trials."""

    successes: int
    n: int


@dataclass(frozen=True)
class Tails:
    """One-sided p-values: the chance of so few successes or fewer, of so many or more."""

    few: float
    many: float


def counts_of(values: np.ndarray[Any, Any], clusters: np.ndarray[Any, Any]) -> Counts:
    """Values within 0 to 1 as the counts of so many independent trials as they are worth.

    Trials of one cluster (the pairs of one ranking, a third labeler's answer to the same task)
    repeat each other: their number is divided by the design effect, after which tests for
    independent counts hold (Rao & Scott 1992, "A simple method for the analysis of clustered
    binary data"). Clusters of one trial each give the plain counts. `clusters` numbers each
    value's cluster from 0, shape [n]; numbers may be left out.
    """
    n = len(values)
    if n == 0:
        return Counts(0, 0)
    worth = effective_size(values, clusters)
    # Rounded down, but not where only the last digit of a float makes it less than whole.
    size = (int(np.count_nonzero(np.bincount(clusters))) if worth is None
            else int(min(max(worth, 1.0), n) + 1e-9))
    return Counts(round(float(values.mean()) * size), size)


def binomial(counts: Counts, share: float) -> Tails:
    """Against trials that each succeed with a known share."""
    k = np.arange(counts.n + 1)
    with np.errstate(divide="ignore"):
        logs = _log_choose(counts.n, k) + k * np.log(share) + (counts.n - k) * np.log1p(-share)
    return _tails(np.exp(logs), counts.successes)


def fisher(strata: Iterable[tuple[Counts, Counts]]) -> Tails:
    """Whether ours succeed less or more often than theirs: each stratum is (ours, theirs).

    Fisher's exact test; over several strata, the weighted sum of our successes given every
    stratum's margins (with equal weights the exact Cochran–Mantel–Haenszel test; Agresti 2002,
    section 6.7.1). The weights are `information`'s: a miss where hardly anybody misses says more
    than one where many do. They depend on the margins alone, so the test stays exact.
    """
    chances, seen = np.ones(1), 0
    for ours, theirs in strata:
        total, won = ours.n + theirs.n, ours.successes + theirs.successes
        fewest = max(0, won - theirs.n)
        k = np.arange(fewest, min(ours.n, won) + 1)
        # Hypergeometric: C(won, k) · C(lost, ours.n − k) / C(total, ours.n)
        logs = (_log_choose(won, k) + _log_choose(total - won, ours.n - k)
                - _log_choose(total, np.array([ours.n])))
        weight = information(ours, theirs)
        spread = np.zeros(weight * (len(k) - 1) + 1)
        spread[::weight] = np.exp(logs)
        chances = np.convolve(chances, spread)
        seen += weight * (ours.successes - fewest)
    return _tails(chances, seen)


def information(ours: Counts, theirs: Counts) -> int:
    """How much one outcome tells a crew from people who toss coins, in half nats, 1 to 8.

    The log-odds of success of everybody together, which by the lemma of Neyman and Pearson is the
    weight of a success in the best test of that share against one half.
    """
    won, total = ours.successes + theirs.successes, ours.n + theirs.n
    odds = (won + 0.5) / (total - won + 0.5)
    return min(8, max(1, round(2 * abs(math.log(odds)))))


def holm(chances: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Each p-value as corrected for all of them: below α, the family's false alarms stay below α.

    Holm (1979), with weights: a test of twice the weight is corrected half as much. In order of
    p / w each becomes p / w times the weights from there on, never less than the one before it.
    Holds however the tests depend on each other. Equal weights give the i-th smallest of m times
    m − i + 1.
    """
    ratios = [chance / weight for chance, weight in zip(chances, weights, strict=True)]
    corrected, largest, left = [1.0] * len(ratios), 0.0, sum(weights)
    for i in sorted(range(len(ratios)), key=ratios.__getitem__):
        largest = max(largest, min(1.0, ratios[i] * left))
        corrected[i] = largest
        left -= weights[i]
    return corrected


def _tails(chances: np.ndarray[Any, Any], seen: int) -> Tails:
    return Tails(min(1.0, float(chances[:seen + 1].sum())), min(1.0, float(chances[seen:].sum())))


def _log_choose(n: int, k: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    table = _log_factorials(math.ceil(math.log2(n + 2)))
    return np.asarray(table[n] - table[k] - table[n - k])


@lru_cache(maxsize=32)
def _log_factorials(bits: int) -> np.ndarray[Any, Any]:
    """log 0! to log (2**bits − 1)!"""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 2**bits)))])
