"""Prompts, preferences and other tools' comparisons from files, all or nothing.

Prompts: a field of `data.exchange.prompt_fields`, as text or messages, and `tags`; of a dialogue
that ends with its answer, what stands before that; plain text, one prompt a line.

Preferences: a chosen answer and a rejected one (`data.exchange.chosen_rejected`), as texts, as
messages, as whole dialogues that share their beginning, or as Anthropic HH's transcripts. Each
becomes a comparison by a labeler of kind `imported` named after the file. On which side they were
shown is not known, so `shown` stays empty.

Comparisons: published sets with several responses and what was said of them
(`data.exchange.compared`), or with graded ones (`data.exchange.graded`); the exports of Label
Studio, Argilla and OpenAssistant, and our own. One labeler of kind `imported` for each annotator,
else one for the file; one task for each prompt with its responses.

What says nothing to learn from, or was never meant to count, is left out and counted. Anything
malformed refuses the file, with its line, and then nothing is stored. What the workspace holds
already, from any file or from its own labelers, is a duplicate; an annotator's changed answer
becomes a revision. A lead's decision of another workspace stays one, and stands for its task.
Fields that nothing was taken from are named in the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

from data.errors import BadInput
from data.exchange.answers import prompt_alone
from data.exchange.foreign_fields import Fields
from data.exchange.homecoming import Homecoming
from data.exchange.import_report import ImportReport
from data.exchange.imported_labelers import labeler_of_file, labelers_of
from data.exchange.judgements import SUPERSEDED, LeftOut, plain_keys
from data.exchange.messages import Unusable
from data.exchange.prompt_fields import tags_from
from data.exchange.reading import Row, name_of, rows_of
from data.exchange.sniffing import KINDS, TOOLS, first_rows, sniff
from data.exchange.sources import Found, nothing_usable, of_tool, preferences, published
from data.exchange.staging import staging
from data.exchange.unread import Unread
from data.store import Store

_ANSWER = "the answer at the end of a dialogue, whose prompt is taken"


def import_file(store: Store, path: Path, format: str | None = None, *, tool: str | None = None,
                what: str | None = None, fields: Fields | None = None) -> ImportReport:
    """Import whatever a file holds, or what is named: a tool of TOOLS, or one of KINDS.

    `format` is how the file is written (see `data.exchange.reading`), told by its name if left out.

    Raises:
        BadInput: the file, line and field that are wrong; then nothing was added.
    """
    if what not in (None, *KINDS):
        raise BadInput(f"what: {what!r} is none of {', '.join(KINDS)}")
    if tool is None and (what is None or (what == "comparisons" and not path.is_fifo())):
        found = sniff(path, format, fields, what)
        tool, what = (found, None) if found in TOOLS else (None, what or found)
    if tool is not None and what in (None, "comparisons"):
        return import_comparisons(store, path, tool, format, fields)
    if tool is not None:
        raise BadInput(f"--what {what}: {tool} is read as comparisons")
    if what == "comparisons":
        return import_comparisons(store, path, None, format, fields)
    if fields not in (None, Fields()):
        raise BadInput(f"{path}: holds {what}; --prompt-field and --response-fields tell the "
                       "fields of comparisons alone")
    if what == "preferences":
        return import_preferences(store, path, format)
    return import_prompts(store, path, format)


def import_prompts(store: Store, path: Path, format: str | None = None) -> ImportReport:
    """Add a file's prompts, whose source is its name.

    Raises:
        BadInput: the file, line and field that are wrong; then no prompt was added.
    """
    unread, skipped = Unread(), Counter[str]()
    with staging(store.database) as staged:
        count = 0
        for row in unread.watch(rows_of(path, format)):
            try:
                messages, answered = prompt_alone(row.values, cells=row.is_cells)
                staged.add_prompt(messages, tags_from(row.values))
            except Unusable as reason:
                skipped[str(reason)] += 1
            except BadInput as error:
                raise row.error(error) from None
            else:
                count += 1
                skipped[_ANSWER] += answered
        if not count:
            raise nothing_usable(path, skipped)
        different = staged.prompts()
        with store.database.write():
            added = staged.commit_prompts(name_of(path))
            _log(store, path, "prompts", added)
    return ImportReport("prompts", added, different - added, dict(+skipped),
                        repeats=count - different, unread=unread.names())


def import_preferences(store: Store, path: Path, format: str | None = None) -> ImportReport:
    """Add a file's preferences as comparisons of a labeler of kind `imported`.

    Raises:
        BadInput: the file, line and field that are wrong, or no line that can be used; then
            nothing was added.
    """
    unread = Unread()
    report = _import(store, path, "preferences", preferences(unread.watch(rows_of(path, format))))
    return replace(report, unread=unread.names())


def import_comparisons(store: Store, path: Path, tool: str | None, format: str | None = None,
                       fields: Fields | None = None) -> ImportReport:
    """Add what the annotators of another tool (one of TOOLS) said, or those of a published set.

    Raises:
        BadInput: the file, line and field that are wrong, or no answer that can be used; then
            nothing was added.
    """
    rows, names = rows_of(path, format), fields or Fields()
    if tool is not None:
        return _import(store, path, "comparisons", of_tool(tool, rows, names))
    first: Iterable[Row]
    if path.is_fifo():  # which can be read only once
        first = [next(rows)]
        rows = chain(first, rows)
    else:
        first = first_rows(path, format)
    unread = Unread()
    report = _import(store, path, "comparisons", published(unread.watch(rows), names, first))
    return replace(report, unread=unread.names())


def _import(store: Store, path: Path, what: str, judgements: Found) -> ImportReport:
    """Check everything, then store everything."""
    skipped: Counter[str] = Counter()
    ranked_by: Counter[str] = Counter()
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
                key, opposite = ("", "") if settled.annotator else plain_keys(settled)
                kept = staged.add(settled, key)
            except Unusable as reason:
                skipped[str(reason)] += 1
            except BadInput as error:
                raise row.error(error) from None
            else:
                usable += 1
                ranked_by[settled.ranked_by] += 1
                repeats += kept == "same"
                contradictions += kept == "new" and staged.holds(opposite)
                skipped[SUPERSEDED] += kept == "later"
        if not usable:
            raise nothing_usable(path, skipped)
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
                        len(people) if what == "comparisons" else sum(map(bool, people)),
                        repeats, contradictions,
                        decisions, _fields(ranked_by))


def _fields(ranked_by: Counter[str]) -> str:
    """The field that ranked responses; of several, with how many of its rankings each made."""
    named = [(name, count) for name, count in ranked_by.most_common() if name]
    return ", ".join(f"{name} ({count:,})" if len(named) > 1 else name for name, count in named)


def _log(store: Store, path: Path, what: str, added: int) -> None:
    """Files are imported on the command line alone, so by nobody who is signed in."""
    store.audit.record(None, "import", name_of(path), what=what, added=added)
