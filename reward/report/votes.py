"""Held-out pairs beside what a reward model says of them: what every figure of a report counts.

One row a *vote*: a pair of responses of which one labeler called one better. Ties are no votes.
Intervals are over *clusters*: prompts, where those that begin alike count as one
(`data.prompts.cluster_of`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from data.measures.statistics import Estimate, bootstrap, clustered_mean
from data.prompts import cluster_of
from data.records import Preference
from reward.examples import Example, Pair

Array = np.ndarray[Any, Any]
Scores = Mapping[int, float]


@dataclass(frozen=True)
class Word:
    """What one labeler said of two responses, blind: whatever was decided since."""

    labeler_id: int
    winner: int | None
    """The response (id) that they called better; None: a tie."""


Said = Mapping[tuple[int, int], Sequence[Word]]
"""All that labelers said of two responses, by the two ids in order."""


@dataclass(frozen=True)
class Votes:
    """Decided pairs with the difference in score and in length of their two responses."""

    pairs: tuple[Pair, ...]
    differences: Array
    """[P] score of the chosen response minus the rejected one's."""
    log_lengths: Array
    """[P] log(1 + words) of the chosen response minus the rejected one's."""
    longer: Array
    """[P] whether the chosen response has more characters: 1, 0, or ½ for the same number."""
    clusters: Array
    """[P] the number, from 0, of the cluster that the pair's prompt is in."""

    @classmethod
    def of(cls, examples: Iterable[Example], scores: Scores) -> Votes:
        """All decided pairs of the examples."""
        decided = [e for e in examples if not all(pair.is_tie for pair in e.pairs)]
        pairs, differences, log_lengths, longer, clusters = [], [], [], [], []
        for example, cluster in zip(decided, clusters_of(decided).tolist(), strict=True):
            words = {i: math.log1p(len(text.split())) for i, text in example.texts.items()}
            for pair in example.pairs:
                if pair.is_tie:
                    continue
                chosen, rejected = pair.chosen_id, pair.rejected_id
                pairs.append(pair)
                differences.append(scores[chosen] - scores[rejected])
                log_lengths.append(words[chosen] - words[rejected])
                longer.append(len(example.texts[chosen]) - len(example.texts[rejected]))
                clusters.append(cluster)
        return cls(tuple(pairs), np.array(differences, dtype=float),
                   np.array(log_lengths, dtype=float), _half_step(np.array(longer, dtype=float)),
                   np.array(clusters, dtype=int))

    @cached_property
    def right(self) -> Array:
        """[P] whether the model agrees: 1, 0, or ½ where both responses score the same."""
        return _half_step(self.differences)

    @property
    def cluster_count(self) -> int:
        """How many clusters the votes are in."""
        return int(self.clusters.max()) + 1 if self.pairs else 0

    def accuracy(self, inside: Array | None = None) -> Estimate | None:
        """How often the model agrees, of all votes or those of a mask."""
        return self.share(self.right, inside)

    def share(self, values: Array, inside: Array | None = None) -> Estimate | None:
        """The mean of [P] values within 0 to 1 (of a mask)."""
        if inside is None:
            inside = np.ones(len(self.pairs), dtype=bool)
        return clustered_mean(values[inside].tolist(), self.clusters[inside].tolist())

    def gain(self, over: Array) -> Estimate | None:
        """By how much the model is right more often than something else is on the same votes.

        `over` is [P] 1, ½ or 0; nan where it says nothing. The interval is a bootstrap over
        clusters, in which a cluster brings both along: the two are right about the same pairs, so
        their own intervals may overlap where this one excludes 0.
        """
        known = ~np.isnan(over)
        if not known.any():
            return None
        gaps = np.where(known, self.right - np.nan_to_num(over), 0.0)
        return ratio(gaps, known, self.clusters)

    def mask(self, belongs: Callable[[Pair], bool]) -> Array:
        """[P] which votes are of pairs like that."""
        return np.array([belongs(pair) for pair in self.pairs], dtype=bool)


def clusters_of(examples: Sequence[Example]) -> Array:
    """[E] the number, from 0, of the cluster that each prompt is in."""
    found: dict[int, int] = {}
    return np.array([found.setdefault(cluster_of(e.messages), len(found)) for e in examples],
                    dtype=int)


def ratio(sums: Array, counts: Array, clusters: Array) -> Estimate:
    """Σ sums / Σ counts with a bootstrap interval over the clusters ([n] numbers from 0) that both
    belong to."""
    sums, counts = np.bincount(clusters, sums), np.bincount(clusters, counts)
    sums, counts = sums[counts > 0], counts[counts > 0]
    low, high = bootstrap(lambda drawn: float(drawn @ sums / (drawn @ counts)), len(sums))
    return Estimate(float(sums.sum() / counts.sum()), int(counts.sum()), low, high)


def as_dict(estimate: Estimate | None) -> dict[str, Any] | None:
    """An estimate as JSON holds it."""
    return None if estimate is None else estimate.as_dict()


def other_votes(pairs: Sequence[Pair]) -> dict[tuple[int, int], list[Pair]]:
    """All that labelers said of the same two responses, ties included, by the two ids in order."""
    found: dict[tuple[int, int], list[Pair]] = {}
    for pair in pairs:
        found.setdefault(both(pair), []).append(pair)
    return found


def both(pair: Pair | Preference) -> tuple[int, int]:
    """The two responses of a pair, whichever was chosen."""
    first, second = sorted((pair.chosen_id, pair.rejected_id))
    return first, second


def _half_step(values: Array) -> Array:
    """1 above zero, 0 below, ½ at it."""
    return (np.sign(values) + 1) / 2
