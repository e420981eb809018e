"""Prompts, preferences and other tools' comparisons from files, all or nothing.

Prompts: JSON Lines or JSON with `prompt` (text or messages) or `messages`, and `tags`; CSV with a
column `prompt` (and `tags`, with commas between them); plain text, one prompt a line.

Preferences: `prompt`, `chosen`, `rejected` as texts or as lists of messages; `chosen` and
`rejected` as whole dialogues that share their beginning; Anthropic HH's transcripts. Each becomes a
comparison by a labeler of kind `imported` named after the file. On which side they were shown is
not known, so `shown` stays empty.

Comparisons: the exports of Label Studio, Argilla and OpenAssistant, and our own; one labeler of
kind `imported` for each annotator, one task for each prompt with its responses.

What says nothing to learn from, or was never meant to count, is left out and counted. Anything
malformed refuses the file, with its line, and then nothing is stored. What the workspace holds
already, from any file or from its own labelers, is a duplicate; an annotator's changed answer
becomes a revision. A lead's decision of another workspace stays one, and stands for its task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from data.errors import BadInput
from data.exchange import argilla, label_studio, oasst, own_comparisons
from data.exchange.dialogues import Pair, Unusable, pair_from, prompt_from, tags_from
from data.exchange.foreign_fields import Fields
from data.exchange.homecoming import Homecoming
from data.exchange.import_report import ImportReport
from data.exchange.imported_labelers import labeler_of_file, labelers_of
from data.exchange.judgements import Judgement, LeftOut, plain_keys
from data.exchange.reading import Row, name_of, read_rows
from data.exchange.staging import staging
from data.store import Store

Found = Iterator[tuple[Row, Judgement | LeftOut]]
TOOLS = (label_studio.NAME, argilla.NAME, oasst.NAME, own_comparisons.NAME)
KINDS = ("prompts", "preferences", "comparisons")
_SUPERSEDED = "an answer that the same annotator changed later"


def sniff(path: Path, format: str | None = None) -> str:
    """What a file holds, by the fields of its first row: one of TOOLS, `preferences`, `prompts`.

    Raises:
        BadInput: none of them, a file that cannot be read, or one that can be read only once.
    """
    if path.is_fifo():
        raise BadInput(f"{path}: is a pipe, of which reading the first row leaves no whole; say "
                       "with --what whether it holds prompts or preferences, or save it as a file")
    row = _first(path, format)
    for name, is_of in ((own_comparisons.NAME, own_comparisons.is_own),
                        (label_studio.NAME, label_studio.is_label_studio),
                        (oasst.NAME, oasst.is_oasst), (argilla.NAME, argilla.is_argilla)):
        if is_of(row.values):
            return name
    if {"chosen", "rejected"} & row.values.keys():
        return "preferences"
    if {"prompt", "messages"} & row.values.keys():
        return "prompts"
    raise row.error_in_names(
        f"the fields are {', '.join(row.values) or 'none'}; wanted prompt or messages (to import "
        "prompts), chosen and rejected (to import preferences), or an export of Label Studio, "
        "Argilla or OpenAssistant" + _hint(row.values))


def _hint(fields: Collection[str]) -> str:
    """What may be wrong with fields of which none is known."""
    if len(fields) == 1 and (mark := next((m for m in ";\t|" if m in next(iter(fields))), "")):
        return f"; the columns seem to be separated by {mark!r}: save the file with commas"
    small = [name for name in fields if name != name.lower()
             and name.lower() in ("prompt", "messages", "chosen", "rejected")]
    return f"; write {', '.join(small)} in small letters" if small else ""


def import_file(store: Store, path: Path, format: str | None = None, *, tool: str | None = None,
                what: str | None = None, fields: Fields | None = None) -> ImportReport:
    """Import whatever a file holds, or what is named: a tool of TOOLS, or one of KINDS.

    `format` is how the file is written (see `data.exchange.reading`), told by its name if left out.

    Raises:
        BadInput: the file, line and field that are wrong; then nothing was added.
    """
    if what not in (None, *KINDS):
        raise BadInput(f"what: {what!r} is none of {', '.join(KINDS)}")
    if tool is None and what in (None, "comparisons"):
        found = sniff(path, format)
        tool, what = (found, None) if found in TOOLS else (None, what or found)
    if tool is not None and what in (None, "comparisons"):
        return import_comparisons(store, path, tool, format, fields)
    if tool is not None:
        raise BadInput(f"--what {what}: {tool} is read as comparisons")
    if what == "comparisons":
        raise BadInput(f"{path}: is of no tool that is known; name it with --format: "
                       + ", ".join(TOOLS))
    if what == "preferences":
        return import_preferences(store, path, format)
    return import_prompts(store, path, format=format)


def import_prompts(store: Store, path: Path, source: str | None = None,
                   format: str | None = None) -> ImportReport:
    """Add a file's prompts; `source` names where they come from (the file's name if left out).

    Raises:
        BadInput: the file, line and field that are wrong; then no prompt was added.
    """
    with staging(store.database) as staged:
        count = 0
        for row in _rows(path, format):
            try:
                staged.add_prompt(prompt_from(row.values, cells=row.is_cells),
                                  tags_from(row.values))
            except BadInput as error:
                raise row.error(error) from None
            count += 1
        different = staged.prompts()
        with store.database.write():
            added = staged.commit_prompts(source or name_of(path))
            _log(store, path, "prompts", added)
    return ImportReport("prompts", added, different - added, repeats=count - different)


def import_preferences(store: Store, path: Path, format: str | None = None) -> ImportReport:
    """Add a file's preferences as comparisons of a labeler of kind `imported`.

    Raises:
        BadInput: the file, line and field that are wrong, or no line that can be used; then
            nothing was added.
    """
    return _import(store, path, "preferences", _preferences(_rows(path, format)))


def import_comparisons(store: Store, path: Path, tool: str, format: str | None = None,
                       fields: Fields | None = None) -> ImportReport:
    """Add what the annotators of another tool (one of TOOLS) said.

    Raises:
        BadInput: the file, line and field that are wrong, or no answer that can be used; then
            nothing was added.
    """
    rows, names = _rows(path, format), fields or Fields()
    if tool == oasst.NAME:
        found = oasst.judgements(rows, store.database)
    elif tool == own_comparisons.NAME:
        found = _each(rows, own_comparisons.judgements)
    elif tool in (label_studio.NAME, argilla.NAME):
        of = label_studio.judgements if tool == label_studio.NAME else argilla.judgements
        found = _each(rows, lambda values: of(values, names))
    else:
        raise BadInput(f"--format: {tool!r} is none of {', '.join(TOOLS)}")
    return _import(store, path, "comparisons", found)


def read_pairs(path: Path,
               format: str | None = None) -> tuple[list[Pair], dict[str, int]]:
    """A file's preferences, and how many rows say nothing to learn from, by reason.

    Raises:
        BadInput: the file, line and field that are wrong, or no line that can be used.
    """
    pairs: list[Pair] = []
    skipped: Counter[str] = Counter()
    for _, found in _pairs(_rows(path, format)):
        if isinstance(found, LeftOut):
            skipped[found.reason] += 1
        else:
            pairs.append(found)
    if not pairs:
        raise _nothing(path, skipped)
    return pairs, dict(skipped)


def _import(store: Store, path: Path, what: str, judgements: Found) -> ImportReport:
    """Check everything, then store everything."""
    skipped: Counter[str] = Counter()
    usable = repeats = contradictions = duplicates = 0
    home = Homecoming(store.database)
    with staging(store.database) as staged:
        for row, judgement in judgements:
            if isinstance(judgement, LeftOut):
                skipped[judgement.reason] += 1
                continue
            try:
                settled = judgement.settled()
                if home.holds(settled):
                    usable += 1
                    duplicates += 1
                    continue
                key, opposite = ("", "") if settled.annotator else plain_keys(judgement)
                kept = staged.add(settled, key)
            except Unusable as reason:
                skipped[str(reason)] += 1
            except BadInput as error:
                raise row.error(error) from None
            else:
                usable += 1
                repeats += kept == "same"
                contradictions += kept == "new" and staged.holds(opposite)
                skipped[_SUPERSEDED] += kept == "later"
        if not usable:
            raise _nothing(path, skipped)
        with store.database.write():
            duplicates += staged.answers()
            staged.prune()
            people, decisions = staged.annotators(), staged.decisions()
            added = staged.commit(name_of(path), {
                **labelers_of(store, [name for name in people if name], path),
                **({"": labeler_of_file(store, path).id} if "" in people else {})})
            duplicates -= added
            _log(store, path, what, added)
    return ImportReport(what, added, duplicates, dict(+skipped),
                        len(people) if what == "comparisons" else 0, repeats, contradictions,
                        decisions)


def _log(store: Store, path: Path, what: str, added: int) -> None:
    """Files are imported on the command line alone, so by nobody who is signed in."""
    store.audit.record(None, "import", name_of(path), what=what, added=added)


def _pairs(rows: Iterator[Row]) -> Iterator[tuple[Row, Pair | LeftOut]]:
    for row in rows:
        try:
            yield row, pair_from(row.values, cells=row.is_cells)
        except Unusable as reason:
            yield row, LeftOut(str(reason))
        except BadInput as error:
            raise row.error(error) from None


def _preferences(rows: Iterator[Row]) -> Found:
    for row, found in _pairs(rows):
        yield row, (found if isinstance(found, LeftOut) else Judgement(
            found.messages, (found.chosen, found.rejected), ((0,), (1,)), found.strength,
            origin=own_comparisons.origin_of(row.values)))


def _each(rows: Iterator[Row],
          of: Callable[[dict[str, Any]], Iterator[Judgement | LeftOut]]) -> Found:
    for row in rows:
        try:
            for found in of(row.values):
                yield row, found
        except BadInput as error:
            raise row.error(error) from None


def _rows(path: Path, format: str | None = None) -> Iterator[Row]:
    rows = read_rows(path, format)
    first = next(rows, None)
    if first is None:
        raise BadInput(f"{path}: the file holds no rows")
    return chain([first], rows)


def _first(path: Path, format: str | None) -> Row:
    return next(_rows(path, format))


def _nothing(path: Path, skipped: Counter[str]) -> BadInput:
    return BadInput(f"{path}: no line can be used: "
                    + "; ".join(f"{reason} ({count})" for reason, count in skipped.items()))
