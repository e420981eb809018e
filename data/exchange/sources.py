"""What the rows of a file say, as judgements, whatever kind of file it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from data.errors import BadInput
from data.exchange import argilla, compared, graded, label_studio, oasst, own_comparisons
from data.exchange.chosen_rejected import NO_PAIR, pair_from
from data.exchange.foreign_fields import NO_RESPONSES, Fields
from data.exchange.judgements import Judgement, LeftOut
from data.exchange.messages import Lacking, Unusable
from data.exchange.reading import Row
from data.exchange.sniffing import TOOLS
from data.exchange.verdicts import NO_VERDICT

_SEVERAL = "several responses"
#: What leaves a row with no more than its prompt.
_PROMPTS_ALONE = (graded.ALONE, NO_VERDICT, NO_RESPONSES, NO_PAIR)

Found = Iterator[tuple[Row, Judgement | LeftOut]]


def preferences(rows: Iterator[Row]) -> Found:
    """Of rows with a chosen answer and a rejected one."""
    return _each(rows, _preference)


def of_tool(tool: str, rows: Iterator[Row], fields: Fields) -> Found:
    """Of the export of one of TOOLS."""
    if tool == own_comparisons.NAME:
        return _each(rows, lambda row: own_comparisons.judgements(row.values))
    if tool == label_studio.NAME:
        return _each(rows, lambda row: label_studio.judgements(row.values, fields))
    if tool == argilla.NAME:
        return _each(rows, lambda row: argilla.judgements(row.values, fields))
    if tool == oasst.NAME:
        return oasst.judgements(rows)
    raise BadInput(f"--format: {tool!r} is none of {', '.join(TOOLS)}")


def published(rows: Iterator[Row], fields: Fields, first: Iterable[Row]) -> Found:
    """Of a published set. By its first rows it is told whether a row holds several responses or
    one with a grade, and in which field most of them are graded.

    Raises:
        BadInput: they hold neither.
    """
    shapes, at = Counter[str](), None
    for row in first:
        at = at or row
        shapes[_SEVERAL if fields.responses or compared.is_compared(row.values)
               else graded.grade_in(row.values)] += 1
    del shapes[""]
    shape = max(shapes, key=shapes.__getitem__, default="")
    if shape == _SEVERAL:
        return _each(rows, lambda row: compared.judgements(row.values, fields,
                                                           cells=row.is_cells))
    if shape and not fields.prompt:
        return graded.judgements(rows, shape)
    assert at is not None
    raise at.error_in_names(
        f"the fields are {', '.join(at.values)}; wanted responses of which a field says which "
        "is better (name them with --response-fields), responses with grades (their prompts in a "
        "field prompt), or the export of a tool, which --format names: " + ", ".join(TOOLS))


def nothing_usable(path: Path, skipped: Counter[str]) -> BadInput:
    """Why a file is refused of which everything is left out."""
    hint = ("; --what prompts takes the prompts alone"
            if any(skipped[reason] for reason in _PROMPTS_ALONE) else "")
    return BadInput(f"{path}: no line can be used: " + "; ".join(
        f"{reason} ({count})" for reason, count in (+skipped).items()) + hint)


def _preference(row: Row) -> Iterator[Judgement]:
    pair = pair_from(row.values, cells=row.is_cells)
    origin = own_comparisons.origin_of(row.values)
    yield Judgement(pair.messages, (pair.chosen, pair.rejected), ((0,), (1,)), pair.strength,
                    annotator=own_comparisons.who_preferred(row.values),
                    origin=origin and replace(origin, is_pair=True))


def _each(rows: Iterator[Row], of: Callable[[Row], Iterator[Judgement | LeftOut]]) -> Found:
    lacking: BadInput | None = None
    others = False
    for row in rows:
        try:
            for found in of(row):
                others = True
                yield row, found
        except Lacking as reason:
            lacking = lacking or row.error(reason.error)
            yield row, LeftOut(str(reason))
        except Unusable as reason:
            others = True
            yield row, LeftOut(str(reason))
        except BadInput as error:
            raise row.error(error) from None
    if lacking and not others:
        raise lacking
