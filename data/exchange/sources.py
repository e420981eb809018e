"""What the rows of a file say, as judgements, whatever kind of file it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from data.errors import BadInput
from data.exchange import argilla, compared, graded, label_studio, oasst, own_comparisons
from data.exchange.chosen_rejected import pair_from
from data.exchange.foreign_fields import Fields
from data.exchange.judgements import Judgement, LeftOut
from data.exchange.messages import Unusable
from data.exchange.reading import Row
from data.exchange.sniffing import TOOLS

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


def published(rows: Iterator[Row], fields: Fields) -> tuple[str, Found]:
    """Of a published set: the field that ranks graded responses, if any, and what the rows say.

    Raises:
        BadInput: the first row has neither several responses and a verdict nor a graded response.
    """
    first = next(rows)
    rows = chain([first], rows)
    if fields.responses or compared.is_compared(first.values):
        grade = "" if fields.responses else compared.grade_in(first.values)
        return grade, _each(rows, lambda row: compared.judgements(row.values, fields,
                                                                 cells=row.is_cells))
    if (grade := graded.grade_in(first.values)) and not fields.prompt:
        return grade, graded.judgements(rows, grade)
    raise first.error_in_names(
        f"the fields are {', '.join(first.values)}; wanted responses of which a field says which "
        "is better (name them with --response-fields), responses with grades (their prompts in a "
        "field prompt), or the export of a tool, which --format names: " + ", ".join(TOOLS))


def nothing_usable(path: Path, skipped: Counter[str]) -> BadInput:
    """Why a file is refused of which everything is left out."""
    hint = ("; --what prompts takes the prompts alone"
            if skipped[graded.ALONE] or skipped[compared.NO_VERDICT] else "")
    return BadInput(f"{path}: no line can be used: " + "; ".join(
        f"{reason} ({count})" for reason, count in (+skipped).items()) + hint)


def _preference(row: Row) -> Iterator[Judgement]:
    pair = pair_from(row.values, cells=row.is_cells)
    yield Judgement(pair.messages, (pair.chosen, pair.rejected), ((0,), (1,)), pair.strength,
                    origin=own_comparisons.origin_of(row.values))


def _each(rows: Iterator[Row], of: Callable[[Row], Iterator[Judgement | LeftOut]]) -> Found:
    for row in rows:
        try:
            for found in of(row):
                yield row, found
        except Unusable as reason:
            yield row, LeftOut(str(reason))
        except BadInput as error:
            raise row.error(error) from None
