"""One annotator's answer as a file from elsewhere tells it, before it has any ids.

All formats are read into `Judgement`; from there on they are treated alike.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from data.comparisons import LONGEST_RATIONALE, LONGEST_SECONDS
from data.errors import BadInput
from data.exchange.chosen_rejected import STRENGTH
from data.exchange.messages import Unusable
from data.plain_json import to_json
from data.prompts import check_messages, checked_text, fingerprint, without_nul
from data.questions import SCORES
from data.records import Message, Verdict

#: A ranking gives a training pair for every two responses.
MOST_RESPONSES = 50
TOO_MANY = f"a prompt with more than {MOST_RESPONSES} responses"
_LONGEST_NAME = 500
#: Why one of two answers of an annotator to the same responses is left out: what is said twice
#: counts once, and of two that differ the last stands. Nobody need have changed their mind:
#: published sets repeat a pair where two models wrote the same.
REPEATED = "an answer that the file has more than once"
SUPERSEDED = "an answer that a later one of the same annotator replaces"

Ranking = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LeftOut:
    """An answer that is well-formed and not taken (a draft, say); the reason is counted."""

    reason: str


@dataclass(frozen=True)
class Origin:
    """Where an answer stood in the workspace that exported it."""

    task: str
    """The task by one of its `names_of_task`; empty: any of the same responses."""
    annotator: str
    is_first_hand: bool = False
    """Whether it is known that nobody had imported it there: then what was imported here is not
    the answer itself, though the task may have the same number."""
    is_pair: bool = False
    """Whether it is one of the preferences, which say of a ranking each pair alone."""


@dataclass(frozen=True)
class Judgement:
    """A ranking of responses to one prompt. Responses are named by their position."""

    messages: list[Message]
    responses: tuple[str, ...]
    ranking: Ranking
    """Groups from best to worst; a response that is in none was not ranked."""
    strength: int = STRENGTH
    verdict: Verdict = "ranked"
    annotator: str = ""
    """Who, as the file says it, after the tool's name ("label-studio/3"); empty: the file does
    not tell them apart."""
    shown: tuple[int, ...] = ()
    """The order in which they were shown, where the file tells."""
    seconds: float = 0.0
    active_seconds: float | None = None
    rationale: str = ""
    scores: Mapping[int, int] = field(default_factory=dict)
    flags: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    decision: int = 0
    """0 for an answer given blind; a lead's decision has a number, a later one a higher one."""
    note: str = ""
    """Of a decision."""
    origin: Origin | None = None
    """Where a workspace of ours exported it."""
    ranked_by: str = ""
    """The field by which responses with a grade each were ranked."""

    def settled(self) -> Judgement:
        """The same as it can be stored: checked, of the ranked responses only, sorted by text.

        Sorted, since files give the same responses in an order of their own each time, and their
        answers belong to one task all the same. Of two responses with the same text (but for
        blanks around it) only the better ranked one stays, as it was written but for NUL
        characters.

        Raises:
            BadInput: a text, a message or the ranking is not as it should be.
            Unusable: fewer than two responses are left, or there are too many.
        """
        if len(self.responses) > MOST_RESPONSES:
            raise Unusable(TOO_MANY)
        for words in (self.annotator, *self.tags, *(f for fs in self.flags.values() for f in fs)):
            if len(checked_text("annotator, tags, flags", words)) > _LONGEST_NAME:
                raise BadInput("annotator, tags, flags: longer than "
                               f"{_LONGEST_NAME} characters: {words[:40]!r}…")
        ranked = [position for group in self.ranking for position in group]
        if len(set(ranked)) < len(ranked):
            raise BadInput("ranking: names a response twice")
        responses = tuple(map(without_nul, self.responses))
        kept: dict[str, int] = {}
        for position in ranked:
            text = checked_text(f"responses[{position + 1}]", responses[position]).strip()
            if text:
                kept.setdefault(text, position)
        if len(kept) < 2:
            raise Unusable("fewer than two different responses are ranked")
        order = [position for _, position in sorted(kept.items())]
        place = {position: i for i, position in enumerate(order)}
        groups = [tuple(sorted(place[p] for p in group if p in place)) for group in self.ranking]
        ranking = tuple(group for group in groups if group)
        tie = len(ranking) == 1
        shown = self.shown if sorted(self.shown) == sorted(place) else ()
        return replace(
            self, messages=check_messages(self.messages),
            responses=tuple(responses[position] for position in order),
            ranking=ranking, strength=0 if tie else max(1, min(self.strength, 4)),
            verdict=self.verdict if tie else "ranked",
            shown=tuple(place[p] for p in shown),
            seconds=_seconds(self.seconds), active_seconds=None if self.active_seconds is None
            else _seconds(self.active_seconds),
            rationale=_rationale(self.rationale), note=_rationale(self.note),
            scores={place[p]: s for p, s in self.scores.items() if p in place and s in SCORES},
            flags={place[p]: flags for p, flags in self.flags.items() if p in place and flags})

    @property
    def record(self) -> str:
        """The same for all answers to the same responses to the same prompt (once settled)."""
        return _hash([fingerprint(self.messages), [text.strip() for text in self.responses]])

    @property
    def said(self) -> str:
        """The same for the same annotator's same answer."""
        return _hash([self.annotator, self.ranking, self.strength, self.verdict, self.rationale,
                      sorted(self.scores.items()), sorted(self.flags.items()),
                      *(["decision", self.note] if self.decision else [])])[:32]


def plain_keys(judgement: Judgement) -> tuple[str, str]:
    """Of an answer whose file names no annotators: the same words are the same answer.

    The second is the key of its opposite; a tie has none.
    """
    prompt = fingerprint(judgement.messages)
    groups = [[judgement.responses[position] for position in group] for group in judgement.ranking]
    if all(len(group) == 1 for group in groups):
        chain = [text for group in groups for text in group]
        return _hash([prompt, *chain]), _hash([prompt, *reversed(chain)])
    groups = [sorted(group) for group in groups]
    return _hash([prompt, groups]), "" if len(groups) == 1 else _hash([prompt, groups[::-1]])


def ranking_by(values: Mapping[int, float], best_first: bool) -> Ranking:
    """A ranking from a number for each position: ranks (1 is best) or ratings; equal is a tie."""
    order = sorted(set(values.values()), reverse=not best_first)
    return tuple(tuple(p for p, value in values.items() if value == level) for level in order)


def ranking_of_best(best: int, count: int) -> Ranking:
    """One response above all others, which nobody has compared: of two, the other one."""
    return ((best,), tuple(p for p in range(count) if p != best))


def tie_of(positions: Sequence[int]) -> Ranking:
    """None above another."""
    return (tuple(positions),)


def _seconds(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_SECONDS) if math.isfinite(seconds) else 0.0


def _rationale(text: str) -> str:
    """Our own limit is not the file's fault: what is longer is cut, and shows it."""
    text = checked_text("rationale", text.strip())
    return text if len(text) <= LONGEST_RATIONALE else text[:LONGEST_RATIONALE - 1] + "…"


def _hash(value: object) -> str:
    return hashlib.sha256(to_json(value).encode()).hexdigest()
