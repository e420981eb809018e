"""What comparisons say, pair by pair, and the yes-or-no outcomes that figures count.

By response id, so sides are already undone; a K-way ranking says something of all its pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from data.comparisons import pairs_of
from data.measures.statistics import Estimate, clustered_mean
from data.records import Answer, Comparison

FIRST, SECOND, TIE = range(3)

#: An answer, and what the right answer to its task is.
Gold = tuple[Comparison, Answer]
#: A labeler's first answer to some responses, and the answer when they came again.
Repeat = tuple[Comparison, Comparison]


@dataclass(frozen=True)
class Vote:
    """One labeler's word on one pair of responses; `first` is the lower response id."""

    task_id: int
    labeler_id: int
    first: int
    second: int
    outcome: int
    strength: int

    @property
    def winner(self) -> int | None:
        """The response id that won, None for a tie."""
        return (self.first, self.second, None)[self.outcome]


class Outcome(NamedTuple):
    """Whether something was so in one case: 1, 0, or between them where it was so in part."""

    labeler_id: int
    other_id: int
    """The labeler that the first one is held against, or the same again."""
    task_id: int
    value: float


def votes_of(comparison: Comparison) -> tuple[Vote, ...]:
    """All pairs of one comparison (both bad is a tie; a withdrawn answer has none).

    Kept beside its fields, as a cached property would be: each of a page's figures asks again.
    """
    kept: tuple[Vote, ...] | None = comparison.__dict__.get("_votes")
    if kept is None:
        kept = comparison.__dict__["_votes"] = tuple(
            Vote(comparison.task_id, comparison.labeler_id, min(chosen, rejected),
                 max(chosen, rejected),
                 TIE if strength == 0 else FIRST if chosen < rejected else SECOND, strength)
            for chosen, rejected, strength in pairs_of(comparison.answer))
    return kept


def all_votes(comparisons: Iterable[Comparison]) -> Iterator[Vote]:
    """The votes of many comparisons."""
    for comparison in comparisons:
        yield from votes_of(comparison)


def shared_votes(comparisons: Iterable[Comparison]) -> Iterator[Sequence[Vote]]:
    """The votes on each pair of responses that two labelers or more judged in one task."""
    groups: dict[tuple[int, int, int], list[Vote]] = defaultdict(list)
    for vote in all_votes(comparisons):
        groups[vote.task_id, vote.first, vote.second].append(vote)
    return (votes for votes in groups.values() if len(votes) > 1)


def same_pairs(one: Comparison, other: Comparison) -> list[tuple[Vote, Vote]]:
    """What each of two answers says of the pairs of responses that both judge."""
    others = {(vote.first, vote.second): vote for vote in votes_of(other)}
    return [(vote, others[vote.first, vote.second]) for vote in votes_of(one)
            if (vote.first, vote.second) in others]


def share(outcomes: Iterable[Outcome]) -> Estimate | None:
    """The share of outcomes that were so, clustered by task; None without any."""
    found = list(outcomes)
    return clustered_mean([o.value for o in found], [o.task_id for o in found])


def first_shown(comparisons: Iterable[Comparison]) -> Iterator[Outcome]:
    """Whether the side shown first (left) won, of decided pairs whose order is known."""
    for comparison in comparisons:
        place = {response: i for i, response in enumerate(comparison.shown)}
        for vote in votes_of(comparison) if place else ():
            if vote.winner is not None:
                first = min(vote.first, vote.second, key=place.__getitem__)
                yield _outcome(vote, vote.winner == first)


def longer(comparisons: Iterable[Comparison], lengths: Mapping[int, int]) -> Iterator[Outcome]:
    """Whether the longer response won, of decided pairs of different length in characters."""
    for vote in all_votes(comparisons):
        if vote.winner is not None and lengths[vote.first] != lengths[vote.second]:
            yield _outcome(
                vote, vote.winner == max(vote.first, vote.second, key=lengths.__getitem__))


def tied(comparisons: Iterable[Comparison]) -> Iterator[Outcome]:
    """Whether no winner was named, of all pairs (both bad is a tie too)."""
    return (_outcome(vote, vote.winner is None) for vote in all_votes(comparisons))


def agreed(comparisons: Iterable[Comparison]) -> Iterator[Outcome]:
    """Whether two labelers named the same winner, of pairs that both decided."""
    for votes in shared_votes(comparisons):
        for a, b in combinations(votes, 2):
            if a.winner is not None and b.winner is not None:
                yield Outcome(a.labeler_id, b.labeler_id, a.task_id, float(a.winner == b.winner))


def repeated(repeats: Iterable[Repeat], decided: bool = False) -> Iterator[Outcome]:
    """Whether a labeler said the same again; two ties are the same, a tie and a winner are not.

    With `decided`, only of pairs that have a winner both times.
    """
    for first, again in repeats:
        for before, after in same_pairs(first, again):
            if not decided or None not in (before.winner, after.winner):
                yield _outcome(before, before.outcome == after.outcome)


def right(gold: Iterable[Gold]) -> Iterator[Outcome]:
    """Whether the winner is the right answer's, of pairs that this decides; a tie counts half."""
    for comparison, answer in gold:
        for truth, said in same_pairs(replace(comparison, answer=answer), comparison):
            if truth.winner is not None:
                yield _outcome(said, 0.5 if said.winner is None else said.winner == truth.winner)


def _outcome(vote: Vote, value: float) -> Outcome:
    return Outcome(vote.labeler_id, vote.labeler_id, vote.task_id, float(value))
