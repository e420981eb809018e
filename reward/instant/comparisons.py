"""Comparisons as the linear model reads them: rows of a feature table, outcomes with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from data.prompts import cluster_of
from reward.examples import Example, Pair
from reward.instant.davidson import Design, halved, rows_are_fewer

Array = np.ndarray[Any, Any]
Ties = Literal["model", "halve", "drop"]
FIRST, TIE, SECOND = range(3)


@dataclass(frozen=True)
class Comparisons:
    """M answers about pairs of responses, which are rows of a feature table."""

    first: Array
    """[M] row of the one response."""
    second: Array
    """[M] row of the other."""
    outcomes: Array
    """[M, 3] weight on first better, tie, second better: one answer, or shares of several."""
    groups: Array
    """[M] what must not be split between training and testing: prompts that begin alike."""
    offsets: Array | None = None
    """[M] what labelers' habits make of it, towards the first, which the reward need not explain;
    None for nothing."""

    def take(self, chosen: Array) -> Comparisons:
        """Some of them, by index or mask."""
        return Comparisons(self.first[chosen], self.second[chosen], self.outcomes[chosen],
                           self.groups[chosen],
                           None if self.offsets is None else self.offsets[chosen])

    def treated(self, ties: Ties) -> Comparisons:
        """With ties modelled (as they are), halved between both sides, or dropped."""
        if ties == "model":
            return self
        if ties == "halve":
            return replace(self, outcomes=halved(self.outcomes))
        decided = self.outcomes * np.array([1.0, 0.0, 1.0])
        return replace(self, outcomes=decided).take(decided.sum(axis=1) > 0)

    def design(self, features: Array) -> tuple[Design, Array]:
        """Design and outcomes for `davidson.fit`."""
        return (Design(features, self.first, self.second, offset=self.offsets,
                       by_rows=rows_are_fewer(features, len(self.first))), self.outcomes)


def comparisons_of(examples: Sequence[Example], rows: Mapping[int, int]) -> Comparisons:
    """What labelers said, as the linear model reads it: each answer once, or both ways where its
    labeler may have judged against the reward.

    Args:
        examples: prompts with their pairs.
        rows: response id -> row of the feature table.
    """
    read, groups = [], []
    for example in examples:
        here = [reading for pair in example.pairs for reading in _readings(pair)]
        read += here
        groups += [cluster_of(example.messages)] * len(here)
    outcomes = np.zeros((len(read), 3))
    for number, (pair, share) in enumerate(read):
        outcomes[number, TIE if pair.is_tie else FIRST] = share * pair.counts
    pairs = [pair for pair, _ in read]
    offsets = np.array([pair.offset for pair in pairs])
    return Comparisons(np.array([rows[p.chosen_id] for p in pairs], int),
                       np.array([rows[p.rejected_id] for p in pairs], int), outcomes,
                       np.array(groups, int), offsets if offsets.any() else None)


def _readings(pair: Pair) -> list[tuple[Pair, float]]:
    """A pair as it was answered, and turned round, each with the probability that its labeler meant
    it so: the first step of expectation–maximisation from rewards that are all alike. The habits
    stay with the answer."""
    if not pair.flipped:
        return [(pair, 1.0)]
    turned = replace(pair, chosen_id=pair.rejected_id, rejected_id=pair.chosen_id)
    return [(pair, 1 - pair.flipped), (turned, pair.flipped)]
