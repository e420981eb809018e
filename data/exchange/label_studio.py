"""Label Studio's exports as judgements: JSON (whole tasks), and JSON-MIN or CSV (flat rows).

Read are results of type `pairwise` (left is the first of the two responses), `ranker` (an order, or
buckets whose names say one), `choices` whose label says which response is better, and `rating`s of
each response. A `textarea` of a name that asks for a reason becomes the rationale. Predictions are
no annotator's, and are not read; cancelled annotations and drafts are left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from data.errors import BadInput
from data.exchange.foreign_choices import (
    PREFERENCE,
    RATIONALE,
    choice_of,
    one_each,
    whole,
    without_order,
)
from data.exchange.foreign_fields import Asked, Fields, as_number, asked, names_response
from data.exchange.judgements import (
    Judgement,
    LeftOut,
    Origin,
    Ranking,
    ranking_by,
    ranking_of_best,
)
from data.exchange.own_comparisons import NAME as OWN
from data.exchange.own_comparisons import signed_by
from data.exchange.prompt_fields import from_cell
from data.plain_json import kind_of

NAME = "label-studio"
#: What JSON-MIN adds to the data of a task.
_ADDED = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
#: Types of results, and what their value holds.
_CONTROLS: dict[str, tuple[str, type]] = {
    "pairwise": ("selected", str), "ranker": ("ranker", dict), "rating": ("rating", int),
    "choices": ("choices", list), "textarea": ("text", list)}
_GOOD = {"best", "better", "good", "great", "positive", "relevant", "preferred", "chosen", "top",
         "accepted", "accept"}
_BAD = {"worst", "worse", "bad", "poor", "negative", "irrelevant", "rejected", "bottom", "reject"}


def is_label_studio(values: Mapping[str, Any]) -> bool:
    """Whether a row is a task with its annotations, or an annotation of JSON-MIN."""
    return (isinstance(values.get("data"), dict)
            and bool({"annotations", "completions", "predictions", "total_annotations"}
                     & values.keys())) or {"annotator", "annotation_id"} <= values.keys()


def judgements(values: Mapping[str, Any], fields: Fields) -> Iterator[Judgement | LeftOut]:
    """What a row of an export says.

    Raises:
        BadInput: a field is missing or of the wrong shape; the message names it.
    """
    if "data" in values:
        yield from _of_task(values, fields)
    else:
        yield from _of_flat(values, fields)


def _of_task(task: Mapping[str, Any], fields: Fields) -> Iterator[Judgement | LeftOut]:
    data = task.get("data")
    if not isinstance(data, dict):
        raise BadInput(f"data: wanted an object, found {kind_of(data)}")
    annotations = task.get("annotations", task.get("completions"))
    if annotations is None:
        annotations = []
    if not isinstance(annotations, list):
        raise BadInput(f"annotations: wanted a list, found {kind_of(annotations)}")
    drafts = task.get("drafts")
    yield from [LeftOut("a draft")] * (len(drafts) if isinstance(drafts, list) else 0)
    if not annotations:
        yield LeftOut("a task without annotations")
        return
    about: Asked | None = None
    for number, annotation in enumerate(annotations, 1):
        if not isinstance(annotation, dict):
            raise BadInput(f"annotations[{number}]: wanted an object, "
                           f"found {kind_of(annotation)}")
    # The last answer of an annotator is the one that stands.
    for number, annotation in sorted(enumerate(annotations, 1), key=lambda one: str(
            one[1].get("updated_at") or one[1].get("created_at") or "")):
        where = f"annotations[{number}]"
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            yield LeftOut("a cancelled annotation")
            continue
        about = about or asked(data, fields)
        results = _results(annotation.get("result"), f"{where}.result")
        ours = _origin(data, _labeler(results))
        yield from _said(about, results, _annotator(annotation.get("completed_by")),
                         annotation.get("lead_time"), ours)


def _of_flat(row: Mapping[str, Any], fields: Fields) -> Iterator[Judgement | LeftOut]:
    """JSON-MIN: the task's data and, under the names of the controls, what was answered."""
    if row.get("annotation_id") in (None, ""):
        yield LeftOut("a task without annotations")
        return
    data, results = {}, []
    for name, value in row.items():
        said = isinstance(value, str) and names_response(name, fields)
        found = [] if said or name in _ADDED else _flat_results(name, from_cell(value))
        if found:
            results += found
        elif name not in _ADDED:
            data[name] = value
    about = asked(data, fields)
    # A choice of one label or a single text stands there bare, like the task's data: a lone letter
    # or number is more likely some id.
    for name, value in data.items():
        if isinstance(value, str) and name not in about.responses:
            if RATIONALE.search(name):
                results.append(_bare("textarea", name, {"text": [value]}))
            elif len(value) > 2 or PREFERENCE.search(name):
                results.append(_bare("choices", name, {"choices": [value]}))
    ours = _origin(row, signed_by(row.get("labeler")))
    yield from _said(about, results, _annotator(row.get("annotator")), row.get("lead_time"), ours)


def _bare(kind: str, name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "from_name": name, "value": value}


def _flat_results(name: str, content: Any) -> list[dict[str, Any]]:
    """What a column holds if it is a control's: a list of values as in `result`."""
    return [_bare(kind, name, entry)
            for entry in (content if isinstance(content, list) else [content])
            if isinstance(entry, dict) and not {"id", "role"} & entry.keys()
            for kind, (key, form) in _CONTROLS.items() if isinstance(entry.get(key), form)]


def _results(results: Any, where: str) -> list[dict[str, Any]]:
    if results is None:
        results = []  # an annotation that was saved without an answer
    if not isinstance(results, list):
        raise BadInput(f"{where}: wanted a list, found {kind_of(results)}")
    for number, result in enumerate(results, 1):
        if not isinstance(result, dict):
            raise BadInput(f"{where}[{number}]: wanted an object, found {kind_of(result)}")
        if str(result.get("type")) in _CONTROLS and not isinstance(result.get("value"), dict):
            raise BadInput(f"{where}[{number}].value: wanted an object, "
                           f"found {kind_of(result.get('value'))}")
    return results


def _said(about: Asked, results: list[dict[str, Any]], annotator: str, seconds: Any,
          ours: Origin | None) -> Iterator[Judgement | LeftOut]:
    """One annotation. The most direct result counts: a pair, an order, a choice, ratings.

    `ours` is where an answer that we exported comes from; nobody saw that on Label Studio's sides.
    """
    names = list(about.responses)
    by_type: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_type.setdefault(str(result.get("type")), []).append(result)
    choices = [choice for result in by_type.get("choices", [])
               for label in _texts(result["value"].get("choices"))
               if (choice := choice_of(label, names))]
    strength = next((c.strength for c in choices if c.strength), None)
    ratings = _ratings(by_type.get("rating", []), names)
    base = Judgement(
        about.messages, tuple(about.responses.values()), (), origin=ours,
        annotator=ours.annotator if ours else annotator, seconds=_number(seconds),
        rationale=_rationale(by_type.get("textarea", [])),
        scores=whole(one_each(ratings)))
    if strength is not None:
        base = replace(base, strength=strength)
    if any(choice.both_bad for choice in choices):
        base = replace(base, verdict="both_bad")
    if by_type.get("pairwise"):
        side = by_type["pairwise"][-1]["value"].get("selected")
        if side not in ("left", "right") or len(names) != 2:
            raise BadInput(f"pairwise.selected: {side!r} of {len(names)} responses; wanted left or "
                           "right of two")
        yield replace(base, ranking=ranking_of_best(int(side == "right"), 2),
                      shown=() if ours else (0, 1))
    elif by_type.get("ranker"):
        ranking = _ranker(by_type["ranker"][-1]["value"].get("ranker"), about)
        yield (LeftOut("a ranker whose buckets say no order") if ranking is None
               else replace(base, ranking=ranking,
                            shown=() if ours else tuple(range(len(names)))))
    else:
        yield from without_order(base, choices, ratings,
                                 "an annotation that does not compare responses")


def _ranker(value: Any, about: Asked) -> Ranking | None:
    """An order of ids; of several buckets only if their names say which is better."""
    if not isinstance(value, dict) or not all(isinstance(ids, list) for ids in value.values()):
        raise BadInput("ranker: wanted lists of ids by the name of their bucket")
    buckets = {}
    for name, ids in value.items():
        positions = [about.position(str(item)) for item in ids]
        if None in positions:
            raise BadInput(f"ranker.{name}: {ids[positions.index(None)]!r} is the id of no item")
        if positions:
            buckets[name] = [p for p in positions if p is not None]
    levels = {name: _level(name) for name in buckets}
    if len(buckets) == 1 and None in levels.values():
        return tuple((position,) for position in next(iter(buckets.values())))
    if None in levels.values():
        return None
    ranks = {p: float(levels[name] or 0) for name, members in buckets.items() for p in members}
    return ranking_by(ranks, best_first=True) if len(ranks) > 1 else None


def _level(bucket: str) -> float | None:
    """Which place a bucket is: "1", "rank-2", "best", "hard_negatives"; None: it does not say."""
    words = re.findall(r"[a-z]+|\d+", bucket.lower())
    numbers = [int(word) for word in words if word.isdigit() and len(word) < 10]
    if len(numbers) == 1 and set(words) - {str(numbers[0])} <= {"rank", "place", "tier", "th"}:
        return numbers[0]
    stems = {word.removesuffix("s") for word in words}
    if bool(stems & _GOOD) == bool(stems & _BAD):
        return None
    return -1.0 if stems & _GOOD else 1e6


def _ratings(ratings: list[dict[str, Any]], names: list[str]) -> dict[int, list[float]]:
    """Ratings that name their response: by the object they rate, or in their own name."""
    found: dict[int, list[float]] = {}
    for result in ratings:
        rating = as_number(result["value"].get("rating"))
        if rating is None:
            raise BadInput(f"rating: wanted a number, found {result['value'].get('rating')!r}")
        of = [i for i, name in enumerate(names) if name == result.get("to_name")
              or re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])",
                           str(result.get("from_name")))]
        if len(of) == 1:
            found.setdefault(of[0], []).append(rating)
    return found


def _rationale(texts: list[dict[str, Any]]) -> str:
    return "\n".join(text for result in texts if RATIONALE.search(str(result.get("from_name")))
                     for text in _texts(result["value"].get("text")))


def _origin(data: Mapping[str, Any], labeler: str | None) -> Origin | None:
    """Where a labeler's answer comes from, in a file that we exported."""
    return Origin(str(data.get("task_id")), labeler) if labeler and data.get("source") == OWN \
        else None


def _labeler(results: list[dict[str, Any]]) -> str | None:
    """Whose answer it is, in a file that we exported."""
    texts = [text for result in results if result.get("type") == "textarea"
             and result.get("from_name") == "labeler"
             for text in _texts(result["value"].get("text"))]
    return signed_by(texts[0]) if texts else None


def _texts(value: Any) -> list[str]:
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]


def _annotator(who: Any) -> str:
    """An id, or an object with the e-mail address; a task of old versions names nobody."""
    who = from_cell(who)
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return f"{NAME}/{who}" if who not in (None, "") else f"{NAME}/unknown"


def _number(value: Any) -> float:
    """Seconds from a cell of a CSV file; 0 where they are not told."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
