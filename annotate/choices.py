"""The answers a labeler can give, as buttons, as records and in words.

Pure functions between positions on the page (0 is shown first, named A) and response ids. The
ids never reach the browser: their order would tell which response was sampled first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.records import STRENGTHS, Answer, Verdict

FLAGS = ("unsafe", "untrue", "off-topic")
LETTERS = "ABCDEFGHI"


@dataclass(frozen=True)
class Choice:
    """One answer button of a pair: `better` is the position that wins, None for neither."""

    name: str
    label: str
    key: str
    better: int | None
    strength: int
    verdict: Verdict = "ranked"


PAIR_CHOICES = (
    Choice("a-better", "A better", "1", 0, 3),
    Choice("a-slightly", "A slightly better", "2", 0, 2),
    Choice("tie", "Tie", "3", None, 0),
    Choice("b-slightly", "B slightly better", "4", 1, 2),
    Choice("b-better", "B better", "5", 1, 3),
    Choice("both-bad", "Both bad", "6", None, 0, "both_bad"),
)


def ranking_of(choice: Choice, shown: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """A pair's choice as groups of response ids, best first."""
    if choice.better is None:
        return (tuple(shown),)
    return ((shown[choice.better],), (shown[1 - choice.better],))


def choice_of(answer: Answer, shown: Sequence[int]) -> Choice | None:
    """The button that an answer to a pair came from; None if none gives this answer."""
    return next((c for c in PAIR_CHOICES if ranking_of(c, shown) == answer.ranking
                 and (c.strength, c.verdict) == (answer.strength, answer.verdict)), None)


def ranking_of_ranks(ranks: Mapping[int, int], shown: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Ranks by position (1 is best, equal is a tie, gaps mean nothing) as groups of ids."""
    return tuple(tuple(shown[position] for position in sorted(ranks) if ranks[position] == rank)
                 for rank in sorted(set(ranks.values())))


def ranks_of(answer: Answer, shown: Sequence[int]) -> dict[int, int]:
    """The inverse: rank by position, 1 for the best group."""
    return {shown.index(response): rank for rank, group in enumerate(answer.ranking, 1)
            for response in group}


def in_words(answer: Answer, shown: Sequence[int]) -> str:
    """An answer as its labeler would say it, in the letters they saw."""
    letters = {response: LETTERS[position] for position, response in enumerate(shown)}
    if answer.verdict == "both_bad":
        return "Both bad" if len(shown) == 2 else "All bad"
    if answer.is_tie:
        return "Tie"
    if len(shown) == 2:
        return f"{letters[answer.ranking[0][0]]} {STRENGTHS[answer.strength]}"
    groups = (" = ".join(sorted(letters[i] for i in group)) for group in answer.ranking)
    return " > ".join(groups)
