"""The answers a labeler can give, as buttons, as records and in words.

Pure functions between positions on the page (0 is shown first, named A) and response ids. The
ids never reach the browser: their order would tell which response was sampled first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.errors import BadInput
from data.questions import Question
from data.records import STRENGTHS, Answer, Rewrite, Verdict

LETTERS = "ABCDEFGHI"
#: What the strength of a ranking is called, and of a plain preference: nobody was asked.
PLAIN_STRENGTH = 3


def letter(position: int) -> str:
    """What a response is called, by its place; imported tasks can hold more than nine."""
    return LETTERS[position] if position < len(LETTERS) else str(position + 1)


@dataclass(frozen=True)
class Choice:
    """One answer button of a pair: `better` is the position that wins, None for neither."""

    name: str
    label: str
    key: str
    better: int | None
    strength: int
    verdict: Verdict = "ranked"


def _graded(position: int, strength: int, key: int) -> Choice:
    name, words = LETTERS[position], STRENGTHS[strength]
    return Choice(f"{name.lower()}-{words.split()[0]}", f"{name} {words}", str(key), position,
                  strength)


#: From "A significantly better" over the tie to "B significantly better", as they lie on the page.
PAIR_CHOICES = (
    *(_graded(0, strength, 5 - strength) for strength in (4, 3, 2, 1)),
    Choice("tie", "Tie", "5", None, 0),
    *(_graded(1, strength, 5 + strength) for strength in (1, 2, 3, 4)),
    Choice("both-bad", "Both bad", "0", None, 0, "both_bad"),
)
PLAIN_CHOICES = (
    Choice("a-better", "A better", "1", 0, PLAIN_STRENGTH),
    Choice("tie", "Tie", "2", None, 0),
    Choice("b-better", "B better", "3", 1, PLAIN_STRENGTH),
    Choice("both-bad", "Both bad", "0", None, 0, "both_bad"),
)


def choices_for(question: Question) -> tuple[Choice, ...]:
    """The buttons of a pair under a question; what the lead switched off is not among them."""
    absent = {name for name, wanted in (("tie", question.tie), ("both-bad", question.both_bad))
              if not wanted}
    scale = PAIR_CHOICES if question.scale == "strength" else PLAIN_CHOICES
    return tuple(choice for choice in scale if choice.name not in absent)


def ranking_of(choice: Choice, shown: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """A pair's choice as groups of response ids, best first."""
    if choice.better is None:
        return (tuple(shown),)
    return ((shown[choice.better],), (shown[1 - choice.better],))


def choice_of(answer: Answer, shown: Sequence[int],
              choices: Sequence[Choice] = PAIR_CHOICES) -> Choice | None:
    """The button that an answer to a pair came from; None if none gives this answer."""
    return next((c for c in choices if ranking_of(c, shown) == answer.ranking
                 and (c.strength, c.verdict) == (answer.strength, answer.verdict)), None)


def ranking_of_tiers(tiers: Sequence[Sequence[int]],
                     shown: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Groups of positions, best first, as groups of response ids."""
    return tuple(tuple(shown[position] for position in sorted(tier)) for tier in tiers)


def ranked(tiers: Sequence[Sequence[int]], shown: Sequence[int], question: Question,
           before: Answer | None = None) -> tuple[tuple[tuple[int, ...], ...], int, Verdict]:
    """Groups of positions, best first, as an answer's ranking, strength and verdict.

    Raises:
        BadInput: a tie that the question does not ask for, and that the ranking which stands
            `before` a change does not have either.
    """
    ranking = ranking_of_tiers(tiers, shown)
    had = [set(group) for group in before.ranking] if before and before.verdict == "ranked" else []
    if not question.tie and any(len(group) > 1 and set(group) not in had for group in ranking):
        raise BadInput("ranks: give each response one of its own; ties are not asked for")
    return ranking, 0 if len(ranking) == 1 else PLAIN_STRENGTH, "ranked"


def tiers_of(answer: Answer, shown: Sequence[int]) -> list[list[int]]:
    """The inverse: groups of positions, best first."""
    return [sorted(shown.index(response) for response in group) for group in answer.ranking]


def rewrite_of(response: int, before: str, text: str) -> Rewrite | None:
    """A response's rewrite; None where nothing about it was changed.

    A browser's text fields know one way to end a line: another way in the response is no change.
    """
    after = _plain_ends(text).strip()
    return None if after in ("", _plain_ends(before).strip()) else Rewrite(response, after)


def _plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def same_answer(one: Answer, other: Answer) -> bool:
    """Whether two answers to a task say the same, whatever the strength."""
    return one.verdict == other.verdict and (
        [set(group) for group in one.ranking] == [set(group) for group in other.ranking])


def in_words(answer: Answer, shown: Sequence[int]) -> str:
    """An answer as its labeler would say it, in the letters they saw."""
    letters = {response: letter(position) for position, response in enumerate(shown)}
    if answer.verdict == "both_bad":
        return "Both bad" if len(shown) == 2 else "All bad"
    if answer.is_tie:
        return "Tie"
    if len(shown) == 2:
        return f"{letters[answer.ranking[0][0]]} {STRENGTHS[answer.strength]}"
    groups = (" = ".join(sorted(letters[i] for i in group)) for group in answer.ranking)
    return " > ".join(groups)
