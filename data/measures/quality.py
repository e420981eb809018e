"""What a lead looks at before trusting a labeler: one figure each, with its n and its interval.

Every measure takes some answers, of one labeler or of all of them, and gives an estimate, or None
where there is nothing to count. Nothing here judges anybody: `data.measures.alarms` does, with
tests that allow for how many labelers and figures there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from data.measures.agreement import first_shown_wins, longer_wins, percent_agreement
from data.measures.reliability import reliability
from data.measures.statistics import Estimate, median
from data.measures.votes import Gold, Repeat, repeated, right, share, tied
from data.records import Answer, Comparison


@dataclass(frozen=True)
class Figures:
    """One labeler's figures; all but `seconds` and `characters_per_second` are shares."""

    labeler_id: int
    answers: int
    reliability: Estimate | None
    """How often they name the truly better response (see `data.measures.reliability`)."""
    agreement: Estimate | None
    """With the others who judged the same pair."""
    self_agreement: Estimate | None
    gold: Estimate | None
    left: Estimate | None
    """Of decided pairs, won by the response shown first."""
    longer: Estimate | None
    """Of decided pairs, won by the longer response."""
    ties: Estimate | None
    seconds: Estimate | None
    """The median time per task, idle time taken out where it was measured."""
    characters_per_second: Estimate | None
    """The median speed at which the responses would have been read."""


def figures(comparisons: Iterable[Comparison], lengths: Mapping[int, int],
            repeats: Iterable[Repeat] = (), gold: Iterable[Gold] = (),
            aside: Collection[int] = ()) -> dict[int, Figures]:
    """Every labeler's figures, by labeler id.

    `lengths` holds the characters of every response (see `Responses.lengths`). The answers in
    `repeats` and `gold` may be among the comparisons or not. Each labeler in `aside` is held
    against those who are not, and nobody against them.
    """
    answers, again, checked = list(comparisons), list(repeats), list(gold)

    def without(left_out: Collection[int], only: int | None = None) -> dict[int, Figures]:
        return _figures((c for c in answers if c.labeler_id not in left_out), lengths,
                        (r for r in again if r[0].labeler_id not in left_out),
                        (g for g in checked if g[0].labeler_id not in left_out), only)

    found = without(aside)
    for one in {c.labeler_id for c in answers} & set(aside):
        found |= without(set(aside) - {one}, only=one)
    return dict(sorted(found.items()))


def _figures(comparisons: Iterable[Comparison], lengths: Mapping[int, int],
             repeats: Iterable[Repeat], gold: Iterable[Gold],
             only: int | None) -> dict[int, Figures]:
    """The figures of labelers (or of one) who are all held against each other."""
    answers: dict[int, list[Comparison]] = defaultdict(list)
    by_task: dict[int, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        answers[comparison.labeler_id].append(comparison)
        by_task[comparison.task_id].append(comparison)
    again: dict[int, list[Repeat]] = defaultdict(list)
    for repeat in repeats:
        again[repeat[0].labeler_id].append(repeat)
    checked: dict[int, list[Gold]] = defaultdict(list)
    for known in gold:
        checked[known[0].labeler_id].append(known)
    relied = reliability((c for mine in answers.values() for c in mine),
                         (known for mine in checked.values() for known in mine))
    return {labeler: Figures(
        labeler, len(mine), relied.get(labeler),
        percent_agreement((c for own in mine for c in by_task[own.task_id]), of=mine),
        self_agreement(again[labeler]), gold_accuracy(checked[labeler]), first_shown_wins(mine),
        longer_wins(mine, lengths), tie_share(mine), seconds_per_task(mine),
        characters_per_second(mine, lengths)) for labeler, mine in sorted(answers.items())
        if only in (None, labeler)}


def self_agreement(repeats: Iterable[Repeat]) -> Estimate | None:
    """How often a labeler says the same of the same two responses when they come again.

    As in `percent_agreement`, two ties are the same and a tie and a winner are not; n counts pairs
    of responses. By response id, so the sides may have been swapped.
    """
    return share(repeated(repeats))


def gold_accuracy(gold: Iterable[Gold]) -> Estimate | None:
    """The share of the pairs decided in the right answers that the labeler ordered likewise.

    So a ranking that is right in part earns part of the credit. A tie where the right answer has
    a winner counts half; where the right answer has a tie, nothing counts.
    """
    return share(right(gold))


def tie_share(comparisons: Iterable[Comparison]) -> Estimate | None:
    """The share of pairs in which no winner was named (both bad among them)."""
    return share(tied(comparisons))


def seconds_of(answer: Answer) -> float | None:
    """The time an answer took, without idle time where that was measured; None if unknown."""
    seconds = answer.seconds if answer.active_seconds is None else answer.active_seconds
    return seconds if seconds > 0 and answer.verdict != "withdrawn" else None


def speed_of(comparison: Comparison, lengths: Mapping[int, int]) -> float | None:
    """Characters of the responses per second, had all been read; None if the time is unknown."""
    seconds = seconds_of(comparison.answer)
    return None if seconds is None else characters_of(comparison, lengths) / seconds


def characters_of(comparison: Comparison, lengths: Mapping[int, int]) -> int:
    """The characters of all the responses of an answer."""
    return sum(lengths[i] for group in comparison.answer.ranking for i in group)


def seconds_per_task(comparisons: Iterable[Comparison]) -> Estimate | None:
    """The median time per task, of the answers whose time is known."""
    return median([s for c in comparisons if (s := seconds_of(c.answer)) is not None])


def characters_per_second(comparisons: Iterable[Comparison],
                          lengths: Mapping[int, int]) -> Estimate | None:
    """The median of `speed_of`, of the answers whose time is known."""
    return median([s for c in comparisons if (s := speed_of(c, lengths)) is not None])
