"""What a file holds, told by the fields of its first rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from data.errors import BadInput
from data.exchange import argilla, compared, graded, label_studio, oasst, own_comparisons
from data.exchange.chosen_rejected import names_of_pair
from data.exchange.foreign_fields import Fields
from data.exchange.reading import Row, rows_of

TOOLS = (label_studio.NAME, argilla.NAME, oasst.NAME, own_comparisons.NAME)
KINDS = ("prompts", "preferences", "comparisons")
#: How many rows tell what a file holds. Reading them a second time takes a moment.
_LOOKED_AT = 1000
_PROMPTS = {"prompt", "messages", "instruction", "conversations"}


def first_rows(path: Path, format: str | None = None) -> Iterator[Row]:
    """The rows of a file by which it is told how all of it is read: in one alone, what others have
    may be missing.

    Raises:
        BadInput: a file that cannot be read.
    """
    return islice(rows_of(path, format), _LOOKED_AT)


def sniff(path: Path, format: str | None = None, fields: Fields | None = None,
          what: str | None = None) -> str:
    """What a file holds, by the fields of its first rows: one of TOOLS or of KINDS.

    Rows that are prompts alone lack what the others say. Where `fields` names the responses, it is
    comparisons at least. Of two kinds it is the one of `what`, where somebody has said that.

    Raises:
        BadInput: none of them, or two; a file that cannot be read, or one that can be read only
            once.
    """
    if path.is_fifo():
        raise BadInput(f"{path}: is a pipe, of which reading the first rows leaves no whole; say "
                       "with --what whether it holds prompts, preferences or comparisons, or save "
                       "it as a file")
    found: dict[str, Row] = {}
    for row in first_rows(path, format):
        found.setdefault(_kind_of(row.values, fields), row)
    kinds = [kind for kind in found if kind in TOOLS] or [
        kind for kind in found if kind not in ("", "prompts")] or [*({*found} - {""})]
    if not kinds:
        row = found[""]
        raise row.error_in_names(
            f"the fields are {', '.join(row.values) or 'none'}; wanted prompt or messages (to "
            "import prompts), chosen and rejected (to import preferences), two responses and which "
            "is better (to import comparisons), or an export of Label Studio, Argilla or "
            "OpenAssistant" + _hint(row.values))
    if what in kinds:
        return what
    if len(kinds) > 1:
        first, other = (found[kind] for kind in kinds[:2])
        raise other.error(f"holds {kinds[1]}, but {first.unit} {first.line} holds {kinds[0]}; make "
                          "a file of each, or take one of them with --what")
    return kinds[0]


def _kind_of(values: Mapping[str, Any], fields: Fields | None) -> str:
    """What a row holds; empty where it is nothing that is known."""
    for name, is_of in ((own_comparisons.NAME, own_comparisons.is_own),
                        (label_studio.NAME, label_studio.is_label_studio),
                        (oasst.NAME, oasst.is_oasst), (argilla.NAME, argilla.is_argilla)):
        if is_of(values):
            return name
    if fields is not None and fields.responses:
        return "comparisons"
    if names_of_pair(values) and not (compared.has_lists(values) or compared.has_names(values)):
        return "preferences"
    if compared.is_compared(values) or graded.grade_in(values):
        return "comparisons"
    if {"chosen", "rejected"} & values.keys():
        return "preferences"
    return "prompts" if _PROMPTS & values.keys() else ""


def _hint(fields: Mapping[str, Any]) -> str:
    """What may be wrong with fields of which none is known."""
    if inside := next((name for name, value in fields.items() if isinstance(value, list) and value
                       and isinstance(value[0], dict)), None):
        return f"; if the rows are what {inside} holds, save that list alone"
    if len(fields) == 1 and (mark := next((m for m in ";\t|" if m in next(iter(fields))), "")):
        return f"; the columns seem to be separated by {mark!r}: save the file with commas"
    small = [name for name in fields if name != name.lower()
             and name.lower() in ("prompt", "messages", "chosen", "rejected")]
    return f"; write {', '.join(small)} in small letters" if small else ""
