"""Argilla's records as judgements, of version 1 (FeedbackDataset) and version 2.

They come nested (`fields` and `responses`, as `to_json` and the API write them) or flat, a column a
field (as `datasets` writes them): version 1 has a column a question, a list of {user_id, value,
status}; version 2 has `question.responses`, `question.responses.users` and
`question.responses.status`. Read are rankings, labels that say which response is better, ratings
of each response, and texts that give a reason. Suggestions are no person's, and are not read;
drafts and discarded answers are left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from data.errors import BadInput
from data.exchange.foreign_choices import (
    PREFERENCE,
    RATIONALE,
    Choice,
    choice_of,
    contradict,
    named_order,
    one_each,
    whole,
    without_order,
)
from data.exchange.foreign_fields import Asked, Fields, as_number, asked, entries_of
from data.exchange.judgements import Judgement, LeftOut, Origin, Ranking, ranking_by
from data.exchange.own_comparisons import NAME as OWN
from data.exchange.own_comparisons import signed_by
from data.exchange.prompt_fields import from_cell
from data.plain_json import kind_of

NAME = "argilla"
_NO_FIELDS = {"id", "external_id", "_server_id", "metadata", "vectors", "suggestions", "responses",
              "status", "inserted_at", "updated_at", "score"}


@dataclass
class _Answers:
    """What one person answered in one record, by the name of the question."""

    status: str = "submitted"
    values: dict[str, Any] = field(default_factory=dict)


def is_argilla(values: Mapping[str, Any]) -> bool:
    """Whether a row is a record of either version, nested or flat."""
    if isinstance(values.get("fields"), dict) and ("responses" in values or "status" in values):
        return True
    return any(name.endswith((".responses", ".suggestion", "-suggestion"))
               or bool(_v1_answers(from_cell(value))) for name, value in values.items())


def judgements(values: Mapping[str, Any], fields: Fields) -> Iterator[Judgement | LeftOut]:
    """What a record's annotators say.

    Raises:
        BadInput: a field is missing or of the wrong shape; the message names it.
    """
    nested = values.get("fields")
    data = nested if isinstance(nested, dict) else {
        name: value for name, value in values.items()
        if name not in _NO_FIELDS and not _is_answer(name, value)}
    answers = (_nested(from_cell(values.get("responses"))) if isinstance(nested, dict)
               else _flat(values))
    if not answers:
        yield LeftOut("a record without answers")
        return
    about = asked(data, fields)
    exported = str(values.get("id")).startswith(f"{OWN}-task-")
    for user, given in answers.items():
        if given.status != "submitted":
            yield LeftOut(f"an answer with the status {given.status}")
        else:
            ours = signed_by(given.values.get("labeler")) if exported else None
            origin = Origin(str(values.get("id")), ours) if ours else None
            yield from _said(about, given.values, ours or f"{NAME}/{user}", origin)


def _nested(responses: Any) -> dict[str, _Answers]:
    """By user, from version 2's {question: [{user_id, value}]} or version 1's list of answers."""
    found: dict[str, _Answers] = {}
    if isinstance(responses, dict):
        for question, entries in responses.items():
            if not isinstance(entries, list | dict | None):
                raise BadInput(f"responses.{question}: wanted a list of answers, "
                               f"found {kind_of(entries)}")
            for number, entry in enumerate(entries_of(entries), 1):
                _add(found, question, entry.get("user_id"), entry.get("value"),
                     entry.get("status"), f"responses.{question}[{number}]")
    elif isinstance(responses, list):
        for number, response in enumerate(responses, 1):
            where = f"responses[{number}]"
            values = response.get("values") if isinstance(response, dict) else None
            if not isinstance(values, dict):
                raise BadInput(f"{where}.values: wanted an object, found {kind_of(values)}")
            # A discarded answer may hold no values, and is counted all the same.
            _add(found, "", response.get("user_id"), None, response.get("status"), where)
            for question, answer in values.items():
                value = answer.get("value") if isinstance(answer, dict) else answer
                _add(found, question, response.get("user_id"), value, response.get("status"),
                     f"{where}.values.{question}")
    elif responses is not None:
        raise BadInput(f"responses: wanted an object or a list, found {kind_of(responses)}")
    return found


def _flat(values: Mapping[str, Any]) -> dict[str, _Answers]:
    found: dict[str, _Answers] = {}
    for name, value in values.items():
        if name.endswith(".responses"):
            question = name.removesuffix(".responses")
            columns = [from_cell(values.get(f"{name}{part}")) for part in ("", ".users", ".status")]
            given, users, statuses = (column or [] for column in columns)
            if not (isinstance(given, list) and isinstance(users, list)
                    and isinstance(statuses, list)):
                raise BadInput(f"{name}: wanted a list, found {kind_of(given)}")
            if len(users) != len(given) or len(statuses) not in (0, len(given)):
                raise BadInput(f"{name}: {len(given)} answers, but {name}.users has {len(users)} "
                               f"and {name}.status {len(statuses)}")
            for number, (one, user) in enumerate(zip(given, users, strict=True), 1):
                _add(found, question, user, one, statuses[number - 1] if statuses else None,
                     f"{name}[{number}]")
        else:
            for number, entry in enumerate(_v1_answers(from_cell(value)), 1):
                _add(found, name, entry.get("user_id"), entry.get("value"), entry.get("status"),
                     f"{name}[{number}]")
    return found


def _add(found: dict[str, _Answers], question: str, user: Any, value: Any, status: Any,
         where: str) -> None:
    if status is not None and not isinstance(status, str):
        raise BadInput(f"{where}.status: wanted text, found {kind_of(status)}")
    answers = found.setdefault(str(user) if user else "unknown", _Answers())
    if status and status != "submitted":
        answers.status = status
    if value is not None:
        answers.values[question] = value


def _v1_answers(value: Any) -> list[dict[str, Any]]:
    entries = entries_of(value)
    return entries if all({"user_id", "value"} <= entry.keys() for entry in entries) else []


def _is_answer(name: str, value: Any) -> bool:
    """Whether a flat column belongs to a question and not to what was asked."""
    return (re.search(r"\.(responses|suggestion)(\.\w+)?$|-suggestion(-metadata)?$", name)
            is not None or bool(_v1_answers(from_cell(value))) or value == [])


def _said(about: Asked, values: Mapping[str, Any], user: str,
          origin: Origin | None) -> Iterator[Judgement | LeftOut]:
    """One person's answers. The most telling one counts: an order, a label, ratings."""
    words = _Words()
    for question, value in values.items():
        # A reason is a text, whatever it looks like.
        words.hear(question, value if RATIONALE.search(question) else from_cell(value), about)
    ranking, choices = words.written or words.ranking or (), list(words.choices)
    if not (ranking or any(choice.is_preference for choice in choices)):
        choices += [_number(question, value) for question, value in words.numbers]
    base = Judgement(about.messages, tuple(about.responses.values()), ranking, annotator=user,
                     origin=origin, rationale="\n".join(words.reasons),
                     scores=whole(one_each(words.ratings)))
    if words.strength:
        base = replace(base, strength=words.strength)
    if ranking and not contradict(choices):
        bad = values.get("both-bad") == "yes" or any(c.both_bad for c in choices)
        yield replace(base, verdict="both_bad" if bad else "ranked")
    else:
        yield from without_order(base, choices, words.ratings,
                                 "an answer that does not compare responses")


@dataclass
class _Words:
    """What one person said of a record's responses, by what kind of answer it is."""

    written: Ranking | None = None
    ranking: Ranking | None = None
    choices: list[Choice] = field(default_factory=list)
    numbers: list[tuple[str, float]] = field(default_factory=list)
    """Numbers that may say which of two responses is better, with their questions."""
    ratings: dict[int, list[float]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    strength: int | None = None

    def hear(self, question: str, value: Any, about: Asked) -> None:
        """Take in the answer to one question."""
        names = list(about.responses)
        if isinstance(value, str):
            self.written = self.written or named_order(value, names)
            if RATIONALE.search(question):
                self.reasons.append(value)
            elif choice := choice_of(value, names):
                self.choices.append(choice)
                self.strength = self.strength or choice.strength
        elif (rating := as_number(value)) is not None:
            if (rated := _rated(question, names)) is not None:
                self.ratings.setdefault(rated, []).append(rating)
            elif question == "strength" and rating in range(5):
                self.strength = int(rating) or self.strength
            elif len(names) == 2 and PREFERENCE.search(question):
                self.numbers.append((question, rating))
        elif isinstance(value, list | dict):
            self.ranking = self.ranking or _ranking(value, about, question)


def _ranking(value: Any, about: Asked, question: str) -> Ranking | None:
    """A ranking question's answer: names from best to worst, or names with ranks (1 is best)."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        positions = [about.position(name) for name in value]
        known = [p for p in positions if p is not None]
        if not known:
            return None  # a question with several labels
        if len(known) < len(positions):
            raise BadInput(f"{question}: {value[positions.index(None)]!r} is the name of no "
                           f"response; they are {', '.join(about.responses)}")
        return tuple((position,) for position in known) if len(known) > 1 else None
    ranks: dict[int, float] = {}
    for place, entry in enumerate(entries_of(value), 1):
        rank, position = entry.get("rank"), about.position(entry.get("value"))
        if position is None:
            raise BadInput(f"{question}[{place}].value: {entry.get('value')!r} is the name of no "
                           f"response; they are {', '.join(about.responses)}")
        level = float(place) if rank is None else as_number(rank)
        if level is None:
            raise BadInput(f"{question}[{place}].rank: wanted a number, found {rank!r}")
        ranks[position] = level
    return ranking_by(ranks, best_first=True) if len(ranks) > 1 else None


def _rated(question: str, names: list[str]) -> int | None:
    """Which response a question is about, by its name ("response-1-rating")."""
    of = [i for i, name in enumerate(names)
          if re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", question)]
    return of[0] if len(of) == 1 else None


def _number(question: str, value: float) -> Choice:
    """Of two responses, Argilla's guides ask for 1 or 2, and for 0 if they are equal."""
    if value not in (0, 1, 2):
        raise BadInput(f"{question}: {value:g} does not say which of two responses is better; "
                       "wanted 1 or 2, or 0 for equal")
    return Choice(tie=True) if value == 0 else Choice(best=int(value) - 1)
