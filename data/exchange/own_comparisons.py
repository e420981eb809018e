"""Comparisons that a workspace exported, as judgements for another workspace.

Answers to hidden tasks (gold and repeats) only measured their labeler there, and are left out; so
is what was set aside there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from data.errors import BadInput
from data.exchange.chosen_rejected import SET_ASIDE, STRENGTH, is_set_aside
from data.exchange.foreign_fields import as_number
from data.exchange.judgements import Judgement, LeftOut, Origin
from data.exchange.prompt_fields import from_cell, prompt_from
from data.plain_json import to_json
from data.records import KINDS_OF_LABELER, Verdict

NAME = "prefloop"
#: What begins a text that a spreadsheet would run.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_own(values: Mapping[str, Any]) -> bool:
    """Whether a row is of `prefloop export --what comparisons`."""
    return {"responses", "ranking", "verdict", "labeler"} <= values.keys()


def judgements(values: Mapping[str, Any]) -> Iterator[Judgement | LeftOut]:
    """The answer of a row.

    Raises:
        BadInput: a field is missing or of the wrong shape; the message names it.
    """
    purpose = values.get("purpose")
    if purpose not in ("train", "evaluate"):
        yield LeftOut(f"an answer to a task of purpose {purpose}")
        return
    if is_set_aside(values):
        yield LeftOut(SET_ASIDE)
        return
    responses = from_cell(values.get("responses"))
    if not isinstance(responses, list) or not all(
            isinstance(r, dict) and isinstance(r.get("text"), str)
            and isinstance(r.get("id"), int | str) for r in responses):
        raise BadInput("responses: wanted a list of objects with id and text")
    places = {response.get("id"): i for i, response in enumerate(responses)}
    ranking = from_cell(values.get("ranking"))
    if not isinstance(ranking, list) or not all(isinstance(group, list) for group in ranking):
        raise BadInput("ranking: wanted lists of ids, best first")
    unknown = [one for group in ranking for one in group
               if not isinstance(one, int | str) or one not in places]
    if unknown:
        raise BadInput(f"ranking: {unknown[0]!r} is the id of no response")
    shown = from_cell(values.get("shown"))
    in_csv = isinstance(values["responses"], str)
    rationale, note = (_text(values.get(name), in_csv) for name in ("rationale", "note"))
    flags = {i: _parted(str(r["flags"])) for i, r in enumerate(responses) if r.get("flags")}
    scores = {i: int(score) for i, r in enumerate(responses)
              if (score := as_number(r.get("score"))) is not None}
    verdict: Verdict = "both_bad" if values["verdict"] == "both_bad" else "ranked"
    decided = str(values.get("decision")) in ("True", "true")
    yield Judgement(
        prompt_from(values, cells=in_csv), tuple(r["text"] for r in responses),
        tuple(tuple(places[one] for one in group) for group in ranking),
        strength=int(_cell(values.get("strength")) or STRENGTH), verdict=verdict,
        annotator=_annotator(values, in_csv),
        seconds=_cell(values.get("seconds")) or 0.0,
        active_seconds=_cell(values.get("active_seconds")),
        shown=tuple(places[one] for one in shown if isinstance(one, int | str) and one in places)
        if isinstance(shown, list) else (),
        rationale=rationale, scores=scores, flags=flags, note=note,
        decision=max(1, int(_cell(values.get("comparison_id")) or 0)) if decided else 0,
        origin=origin_of(values))


def origin_of(values: Mapping[str, Any]) -> Origin | None:
    """Where a row of comparisons or preferences of ours comes from.

    What that workspace had imported from one of ours says nothing of the task it was given in.
    """
    task = _cell(values.get("task_id"))
    if task is None:
        return None
    in_csv = any(isinstance(values.get(name), str) for name in ("responses", "chosen"))
    imported = values.get("labeler_kind") == "imported"
    second_hand = imported and _text(values.get("labeler"), in_csv).startswith(f"{NAME}/")
    return Origin("" if second_hand else str(int(task)), _annotator(values, in_csv),
                  is_first_hand=not imported)


def who_preferred(values: Mapping[str, Any]) -> str:
    """The annotator of a row of our preferences; empty where it is none of ours, or of a file that
    named nobody, whose answers are not one person's."""
    if not {"task_id", "labeler", "labeler_kind"} <= values.keys():
        return ""
    who = _annotator(values, isinstance(values.get("chosen"), str))
    named = values.get("labeler_kind") != "imported" or "/" in str(values.get("labeler"))
    return who if named else ""


def names_of_task(task_id: int) -> tuple[str, ...]:
    """What our exports call a task: by its number, in Argilla's records, in OpenAssistant's trees.
    """
    return str(task_id), f"{NAME}-task-{task_id}", stable_id("task", task_id)


def stable_id(*what: object) -> str:
    """A UUID that is the same for the same thing in every export."""
    return str(uuid5(NAMESPACE_URL, "/".join(map(str, (NAME, *what)))))


def _annotator(values: Mapping[str, Any], in_csv: bool) -> str:
    return annotator_of(_text(values.get("labeler"), in_csv),
                        str(values.get("labeler_kind") or "human"))


def _text(value: Any, as_cell: bool) -> str:
    text = value if isinstance(value, str) else ""
    return unguarded(text) if as_cell else text


def signature(name: str, kind: str) -> str:
    """How an export to another tool says who answered."""
    return f"{name} ({kind})"


def signed_by(text: object) -> str | None:
    """The annotator of a `signature`; None where a text is none."""
    found = re.fullmatch(rf"(.+) \(({'|'.join(KINDS_OF_LABELER)})\)", str(text), re.DOTALL)
    return annotator_of(found[1], found[2]) if found else None


def annotator_of(name: str, kind: str) -> str:
    """A labeler of another workspace as an annotator.

    One that is no person stays marked so in the name; one who came from a tool is still the same.
    """
    if kind == "imported" and "/" in name:
        return name
    return f"{NAME}/{name}" if kind in ("human", "imported") else f"{NAME}/{name} ({kind})"


def _cell(value: Any) -> float | None:
    """A number, also as a cell of CSV holds it."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return as_number(value)


def joined(flags: list[str]) -> str:
    """Flags as one text, which is a column's type even where there are none: with commas between
    them, as a JSON list where one holds a comma itself."""
    return to_json(flags) if any("," in flag for flag in flags) else ",".join(flags)


def _parted(flags: str) -> tuple[str, ...]:
    found = from_cell(flags)
    return tuple(map(str, found)) if isinstance(found, list) else tuple(flags.split(","))


def guarded(text: str) -> str:
    """A text as a cell of CSV that no spreadsheet runs: an apostrophe goes before a formula.

    Also before one that has apostrophes already, so that reading takes away what writing added.
    """
    return "'" + text if _is_formula(text) else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text[:1] == "'" and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    return text.lstrip("'").startswith(_FORMULA)
