"""Agreement and habits by round, tag, or whatever else groups answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from data.measures.agreement import (
    first_shown_wins,
    krippendorff_alpha,
    longer_wins,
    percent_agreement,
)
from data.measures.statistics import Estimate
from data.records import Comparison

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Breakdown:
    """The figures of one group of answers; None where there is nothing to count."""

    answers: int
    agreement: Estimate | None
    """Of pairs of labelers, one of them or both in the group."""
    alpha: Estimate | None
    """Krippendorff's, over the same pairs of labelers."""
    left: Estimate | None
    """The share of decided pairs won by the response shown first."""
    longer: Estimate | None
    """The share of decided pairs won by the longer response."""


def by(comparisons: Iterable[Comparison], keys: Callable[[Comparison], Iterable[Key]],
       lengths: Mapping[int, int]) -> dict[Key, Breakdown]:
    """The figures of each group of answers, in the order in which the groups first occur.

    `keys` names the groups of an answer: one for its round or labeler, several for tags, none to
    leave it out. A group's answers are held against everybody's, in the group or not, so that a
    labeler or a strength can be a group; by round or tag, where a task's answers stay together,
    that is the agreement within the group. `lengths` holds the characters of every response.
    """
    answers = list(comparisons)
    tasks: dict[int, list[Comparison]] = defaultdict(list)
    groups: dict[Key, list[Comparison]] = defaultdict(list)
    for comparison in answers:
        tasks[comparison.task_id].append(comparison)
        for key in keys(comparison):
            groups[key].append(comparison)
    found = {}
    for key, group in groups.items():
        met = [c for task in dict.fromkeys(own.task_id for own in group) for c in tasks[task]]
        found[key] = Breakdown(len(group), percent_agreement(met, of=group),
                               krippendorff_alpha(met, of=group), first_shown_wins(group),
                               longer_wins(group, lengths))
    return found
