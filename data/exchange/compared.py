"""Rows of published sets that hold several responses to one prompt and what was said of them.

Three shapes: responses in fields of their own (`response_a`, `response_b`) beside a verdict
(`data.exchange.verdicts`); responses in a list with a rank or a rating each (`LISTS`, `GRADES`);
`chosen` and `rejected` as lists of texts. The fields of prompt and responses are known as in other
tools' exports (`data.exchange.foreign_fields`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from data.errors import BadInput
from data.exchange.chosen_rejected import strength_from
from data.exchange.foreign_choices import judgements_of
from data.exchange.foreign_fields import Asked, Fields, asked, entries_of, is_response
from data.exchange.judgements import (
    MOST_RESPONSES,
    TOO_MANY,
    Judgement,
    LeftOut,
    ranking_by,
)
from data.exchange.messages import Unusable
from data.exchange.prompt_fields import (
    from_cell,
    prompt_from,
    prompt_of,
    refuse_printed,
    unpacked,
)
from data.exchange.verdicts import (
    NO_VERDICT,
    annotator_in,
    has_verdict,
    number_in,
    reason_in,
    verdicts,
)
from data.records import Message

#: Responses in a list, and where an entry holds the text.
LISTS = ("completions", "answers", "replies", "responses", "generations", "candidates", "outputs")
_TEXTS = ("response", "answer", "text", "content", "completion", "output", "generation", "body")
#: What an entry is ranked by: the first of these that two of them have. UltraFeedback's
#: `overall_score` is known to be wrong for some responses, the mean of its ratings is not.
GRADES = ("rank", "fine-grained_score", "overall_score", "overall_rating", "rating", "score",
          "pm_score", "helpfulness", "grade")
#: The same in a list of their own, in the order of the texts.
_BESIDE = ("ranks", "rank", "ratings", "rating", "scores", "grades")
_RANKS = ("rank", "ranks")
NO_GRADE = "a response without a grade"
_FEW_GRADES = "fewer than two responses with a grade"
_NO_TEXT = "a response that is missing or no text"

Graded = list[tuple[str, float | None]]


def is_compared(values: Mapping[str, Any]) -> bool:
    """Whether a row holds several responses and what was said of them."""
    return _graded(values) is not None or has_lists(values) or (
        has_verdict(values) and len({name for name in values if is_response(name)}) > 1) or (
        has_verdict(values) and isinstance(from_cell(values.get("summaries")), list))


def has_lists(values: Mapping[str, Any]) -> bool:
    """Whether `chosen` and `rejected` are lists of texts."""
    return _lists(values) is not None


def has_names(values: Mapping[str, Any]) -> bool:
    """Whether `chosen` and `rejected` name fields of responses."""
    return all(isinstance(name := dict(values).get(side), str) and name in values
               and is_response(name) for side in ("chosen", "rejected"))


def judgements(values: Mapping[str, Any], fields: Fields, *,
               cells: bool = False) -> Iterator[Judgement | LeftOut]:
    """What a row (with `cells`, of CSV) says.

    Raises:
        BadInput: a field is missing or of the wrong shape; the message names it.
        Unusable: it compares nothing; the message says why.
        Lacking: it has no responses, or no field that says which is better.
    """
    for name in values if cells else ():
        refuse_printed(name, dict(values)[name])
    lists, graded = _lists(values), _graded(values)
    if not (fields.responses or lists or graded) and _lacks_grades(values):
        raise Unusable(_FEW_GRADES)
    if fields.responses or not (lists or graded):
        yield from _judged(values, fields, cells)
    elif lists:
        chosen, rejected = lists
        if len(chosen) + len(rejected) > MOST_RESPONSES:
            raise Unusable(TOO_MANY)
        for pair in ((better, worse) for better in chosen for worse in rejected):
            yield Judgement(_prompt(values, fields, cells), pair, ((0,), (1,)),
                            strength_from(values), annotator=annotator_in(values))
    elif graded:
        yield from _ranked(values, _prompt(values, fields, cells), *graded)


def _judged(values: Mapping[str, Any], fields: Fields,
            cells: bool) -> Iterator[Judgement | LeftOut]:
    about = _asked(_plain_arena(values), fields, cells)
    for name in about.fields:
        values.get(name)  # it was looked at
    base = Judgement(about.messages, tuple(about.responses.values()), (),
                     strength=strength_from(values))
    for verdict in verdicts(values, list(about.responses)):
        said = replace(base, annotator=verdict.annotator, rationale=verdict.reason)
        if verdict.choice:
            yield from judgements_of(said, verdict.choice)
        elif verdict.ranking:
            yield replace(said, ranking=verdict.ranking)
        else:
            yield LeftOut(NO_VERDICT)


def _asked(values: Mapping[str, Any], fields: Fields, cells: bool) -> Asked:
    """Raises Unusable, where a response is none: a column may lack a value, or hold `true`."""
    # Of names that somebody gave and the row lacks, `asked` speaks.
    names = [name for name in fields.responses or values if name in values
             and (fields.responses or is_response(name))]
    there = [name for name in names if values.get(name) is not None]
    if any(isinstance(values.get(name), bool) for name in there) or (
            len(names) > 1 and len(there) < 2):
        raise Unusable(_NO_TEXT)
    about = asked(values, fields, cells=cells)
    if len(about.responses) < 2:
        raise Unusable(_NO_TEXT)
    if len(about.responses) > MOST_RESPONSES:
        raise Unusable(TOO_MANY)
    return about


def _prompt(values: Mapping[str, Any], fields: Fields, cells: bool) -> list[Message]:
    name = fields.prompt
    if not name:
        return prompt_from(values, cells=cells)
    if name not in values:
        raise BadInput(f"{name}: missing; the fields are {', '.join(values)}")
    return prompt_of(values, name, unpacked(values, name, cells))


def _plain_arena(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Chatbot Arena's rows: dialogues cut after the turn that was judged; those of lists of
    questions and answers, as its Kaggle files have them, as messages."""
    turn = number_in(values.get("turn")) if "turn" in values else None
    if turn is not None and turn >= 1:
        return {name: listed[:2 * int(turn)] if is_response(name) and isinstance(
            listed := from_cell(value), list) else value for name, value in values.items()}
    if "winner_model_a" not in values:
        return values
    names = ("prompt", "response_a", "response_b")
    asked_for, *answers = (from_cell(values.get(name)) for name in names)
    if not all(isinstance(texts, list) and texts for texts in (asked_for, *answers)):
        return values
    if {len(texts) for texts in answers} != {len(asked_for)} or not all(
            isinstance(text, str) and text.strip() for text in chain(asked_for, *answers)):
        raise Unusable(_NO_TEXT)
    dialogues = {name: [{"role": role, "content": content}
                        for turn in zip(asked_for, texts, strict=True)
                        for role, content in zip(("user", "assistant"), turn, strict=True)]
                 for name, texts in zip(names[1:], answers, strict=True)}
    return {**{name: value for name, value in values.items() if name not in names}, **dialogues}


def _lists(values: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    """RewardBench 2's right answers and wrong ones, of which each of the first is better than each
    of the others."""
    if not {"chosen", "rejected"} <= values.keys():
        return None
    chosen, rejected = (from_cell(values[name]) for name in ("chosen", "rejected"))
    texts = all(isinstance(side, list) and side and all(isinstance(one, str) for one in side)
                for side in (chosen, rejected))
    return (chosen, rejected) if texts else None


def _graded(values: Mapping[str, Any]) -> tuple[str, Graded] | None:
    """The texts and grades of the first of LISTS that has grades, and what they are called."""
    for name in LISTS:
        listed = from_cell(values.get(name))
        if not listed:
            continue
        if isinstance(listed, list) and len(listed) > 1 and all(isinstance(t, str) for t in listed):
            for beside in _BESIDE:
                grades = from_cell(values.get(beside))
                if isinstance(grades, list) and len(grades) == len(listed):
                    return beside, list(zip(listed, map(number_in, grades), strict=True))
        found = entries_of(listed)
        texts = [next((entry[key] for key in _TEXTS if isinstance(entry.get(key), str)), None)
                 for entry in found]
        for grade in GRADES:
            graded = [(text, number_in(entry.get(grade))) for text, entry in
                      zip(texts, found, strict=True) if text is not None]
            if sum(number is not None for _, number in graded) > 1:
                return f"{name}.{grade}", graded
    return None


def _lacks_grades(values: Mapping[str, Any]) -> bool:
    """Whether a row's responses are such as have grades in other rows, and here one has or none."""
    listed = [values.get(name) for name in LISTS if values.get(name)]
    return bool(listed) and not has_verdict(values) and (
        any(name in values for name in _BESIDE)
        or any(grade in entry for one in listed for entry in entries_of(one) for grade in GRADES))


def _ranked(values: Mapping[str, Any], prompt: list[Message], grade: str,
            graded: Graded) -> Iterator[Judgement | LeftOut]:
    numbers = {i: number for i, (_, number) in enumerate(graded) if number is not None}
    yield from [LeftOut(NO_GRADE)] * (len(graded) - len(numbers))
    yield Judgement(
        prompt, tuple(text for text, _ in graded),
        ranking_by(numbers, best_first=grade.split(".")[-1] in _RANKS),
        annotator=annotator_in(values), rationale=reason_in(values), ranked_by=grade)
