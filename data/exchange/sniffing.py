"""What a file holds, told by the fields of its first row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import BadInput
from data.exchange import argilla, compared, graded, label_studio, oasst, own_comparisons
from data.exchange.chosen_rejected import names_of_pair
from data.exchange.foreign_fields import Fields
from data.exchange.reading import rows_of

TOOLS = (label_studio.NAME, argilla.NAME, oasst.NAME, own_comparisons.NAME)
KINDS = ("prompts", "preferences", "comparisons")
_PROMPTS = {"prompt", "messages", "instruction", "conversations"}


def sniff(path: Path, format: str | None = None, fields: Fields | None = None) -> str:
    """What a file holds, by the fields of its first row: one of TOOLS or of KINDS.

    Where `fields` names the responses, it is comparisons at least.

    Raises:
        BadInput: none of them, a file that cannot be read, or one that can be read only once.
    """
    if path.is_fifo():
        raise BadInput(f"{path}: is a pipe, of which reading the first row leaves no whole; say "
                       "with --what whether it holds prompts, preferences or comparisons, or save "
                       "it as a file")
    row = next(rows_of(path, format))
    for name, is_of in ((own_comparisons.NAME, own_comparisons.is_own),
                        (label_studio.NAME, label_studio.is_label_studio),
                        (oasst.NAME, oasst.is_oasst), (argilla.NAME, argilla.is_argilla)):
        if is_of(row.values):
            return name
    if fields is not None and fields.responses:
        return "comparisons"
    if names_of_pair(row.values) and not (
            compared.has_lists(row.values) or compared.has_names(row.values)):
        return "preferences"
    if compared.is_compared(row.values) or graded.grade_in(row.values):
        return "comparisons"
    if {"chosen", "rejected"} & row.values.keys():
        return "preferences"
    if _PROMPTS & row.values.keys():
        return "prompts"
    raise row.error_in_names(
        f"the fields are {', '.join(row.values) or 'none'}; wanted prompt or messages (to import "
        "prompts), chosen and rejected (to import preferences), two responses and which is better "
        "(to import comparisons), or an export of Label Studio, Argilla or OpenAssistant"
        + _hint(row.values))


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
