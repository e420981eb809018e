"""Comparisons, preferences, responses and demonstrations as files for other tools.

JSON Lines, CSV and Parquet for `datasets` and TRL: preferences have the columns of TRL's
conversational preferences (`prompt`, `chosen`, `rejected`), demonstrations those of its prompts
with completions (`prompt`, `completion`), then where they come from. Ties have no chosen one: they
are left out of preferences and counted, and stand in the comparisons.

Comparisons also as Label Studio's tasks, Argilla's records and OpenAssistant's trees (see
`data.exchange.export_tools`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.durable import whole
from data.errors import BadInput, PrefloopError
from data.exchange import argilla, label_studio, oasst
from data.exchange.export_files import WRITERS, Record
from data.exchange.export_records import SOURCES
from data.exchange.export_tools import argilla_records, label_studio_tasks, oasst_trees, of_tasks
from data.store import Store

KINDS = tuple(SOURCES)
FORMATS = ("jsonl", "csv", "parquet")
#: The other tools, with the kinds of file that each takes.
TOOLS = {label_studio.NAME: ("json",), argilla.NAME: ("json", "jsonl"), oasst.NAME: ("jsonl",)}
_SHAPES: dict[str, Callable[[Store, Iterator[list[Record]]], Iterator[Record]]] = {
    label_studio.NAME: label_studio_tasks, argilla.NAME: argilla_records, oasst.NAME: oasst_trees}


@dataclass(frozen=True)
class ExportReport:
    """What was written, and what was left out of it."""

    what: str
    format: str
    rows: int
    ties_left_out: int
    """Of preferences."""
    hidden_left_out: int = 0
    """Answers to hidden gold and repeats, which other tools could not tell from the rest."""
    set_aside: int = 0
    """Rows of labelers whose answers are set aside. Each says so; other tools, which could not tell
    them from the rest, do not get them."""
    decided_left_out: int = 0
    """Answers to tasks that a lead has decided: other tools, which know no decisions, get the one
    that stands alone."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        written = (f"{self.rows:,} tasks with their {self.what}" if self.format in TOOLS
                   else f"{self.rows:,} {self.what}")
        ties = f"; {self.ties_left_out:,} ties left out" if self.ties_left_out else ""
        hidden = (f"; {self.hidden_left_out:,} answers to gold and repeats left out"
                  if self.hidden_left_out else "")
        decided = (f"; {self.decided_left_out:,} answers that a decision stands for left out"
                   if self.decided_left_out else "")
        aside = "answers set aside left out" if self.format in TOOLS else "of them set aside"
        return (f"{written} written as {self.format}{ties}{hidden}{decided}"
                + (f"; {self.set_aside:,} {aside}" if self.set_aside else ""))


def export(store: Store, path: Path, what: str = "preferences",
           format: str | None = None) -> ExportReport:
    """Write all of one kind to a file, in one of FORMATS (the suffix's if left out), or
    comparisons for one of TOOLS.

    The file appears when it is complete: until then it has another name, and a failure leaves
    nothing, and whatever was there before as it was.

    Raises:
        BadInput: unknown kind or format, or there is nothing to write.
        PrefloopError: the file cannot be written.
    """
    suffix = path.suffix.lower().lstrip(".")
    format = format or suffix
    _check(path, what, format, suffix)
    ties = hidden = aside = decided = 0

    def records() -> Iterator[Record]:
        nonlocal ties, hidden, aside, decided
        source = SOURCES[what]
        for row in source.ordered(store.database, by_task=format in TOOLS):
            if what == "preferences" and row["strength"] == 0:
                ties += 1
            elif format in TOOLS and row["purpose"] not in ("train", "evaluate"):
                hidden += 1
            else:
                record = source.record(row)
                aside += record.get("set_aside", False)
                if format not in TOOLS:
                    yield record
                elif not record["set_aside"]:
                    stands = row["decided_by"] in (None, row["id"])
                    decided += not stands
                    if stands:
                        yield record

    try:
        with whole(path) as partial:
            if format in TOOLS:
                rows = WRITERS[suffix](partial, _SHAPES[format](store, of_tasks(records())))
            else:
                rows = WRITERS[format](partial, records())
            if rows == 0:
                raise BadInput(f"there are no {what} to export yet"
                               + (f", only {ties:,} ties" if ties else "")
                               + (f", only {aside:,} that are set aside" if aside else ""))
    except OSError as error:
        raise PrefloopError(f"{path}: {error.strerror or error}") from error
    return ExportReport(what, format, rows, ties, hidden, aside, decided)


def _check(path: Path, what: str, format: str, suffix: str) -> None:
    if what not in KINDS:
        raise BadInput(f"what: {what!r} is none of {', '.join(KINDS)}")
    if format not in (*FORMATS, *TOOLS):
        raise BadInput(f"{path}: {format or 'no suffix'!r} is no format to export; "
                       f"wanted {', '.join((*FORMATS, *TOOLS))}")
    if format in TOOLS and what != "comparisons":
        raise BadInput(f"--what {what}: {format} takes comparisons")
    if format in TOOLS and suffix not in TOOLS[format]:
        raise BadInput(f"{path}: a file for {format} ends in "
                       + " or ".join(f".{known}" for known in TOOLS[format]))
    if path.is_dir():
        raise BadInput(f"{path}: is a folder")
