"""Prompts and preferences from files, all or nothing.

Prompts: JSON Lines or JSON with `prompt` (text or messages) or `messages`, and `tags`; CSV with a
column `prompt` (and `tags`, with commas between them); plain text, one prompt a line.

Preferences: `prompt`, `chosen`, `rejected` as texts or as lists of messages; `chosen` and
`rejected` as whole dialogues that share their beginning; Anthropic HH's transcripts. A line with
nothing to learn from (equal or empty answers, dialogues that differ earlier) is left out and
counted. Anything malformed refuses the file, with its line, and then nothing is stored.

Each preference becomes a prompt, two responses that no policy wrote, a task, and a comparison by a
labeler of kind `imported` named after the file. On which side they were shown is not known, so
`shown` stays empty. A preference that the workspace holds already, from any file, is a duplicate.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.database import now
from data.dialogues import Pair, Unusable, pair_from, prompt_from, tags_from
from data.errors import BadInput
from data.people import LONGEST_NAME
from data.plain_json import to_json
from data.prompts import fingerprint
from data.reading import Row, read_rows
from data.records import Labeler, Message
from data.store import Store

#: Files say which answer is better, not by how much.
STRENGTH = 3


@dataclass(frozen=True)
class ImportReport:
    """What an import did: how many prompts or preferences came in, and what did not and why."""

    what: str
    added: int
    duplicates: int
    skipped: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"what": self.what, "added": self.added, "duplicates": self.duplicates,
                "skipped": dict(self.skipped)}

    def __str__(self) -> str:
        parts = [f"{self.added:,} {self.what} added"]
        if self.duplicates:
            parts.append(f"{self.duplicates:,} there already")
        parts += [f"{count:,} left out: {reason}" for reason, count in self.skipped.items()]
        return "; ".join(parts)


def sniff(path: Path, format: str | None = None) -> str:
    """`prompts` or `preferences`, by the fields of the first row.

    Raises:
        BadInput: neither, or a file that cannot be read.
    """
    row = next(read_rows(path, format), None)
    if row is None:
        raise BadInput(f"{path}: the file holds no rows")
    if {"chosen", "rejected"} & row.values.keys():
        return "preferences"
    if {"prompt", "messages"} & row.values.keys():
        return "prompts"
    raise row.error(f"the fields are {', '.join(row.values) or 'none'}; wanted prompt or messages "
                    "(to import prompts), or chosen and rejected (to import preferences)")


def import_file(store: Store, path: Path, format: str | None = None) -> ImportReport:
    """Import whatever the file holds, prompts or preferences. Raises BadInput."""
    if sniff(path, format) == "preferences":
        return import_preferences(store, path, format)
    return import_prompts(store, path, format=format)


def import_prompts(store: Store, path: Path, source: str | None = None,
                   format: str | None = None) -> ImportReport:
    """Add a file's prompts; `source` names where they come from (the file's name if left out).

    Raises:
        BadInput: the file, line and field that are wrong; then no prompt was added.
    """
    entries: list[tuple[list[Message], list[str]]] = []
    for row in _rows(path, format):
        try:
            entries.append((prompt_from(row.values), tags_from(row.values)))
        except BadInput as error:
            raise row.error(error) from None
    with store.database.write():
        added = sum(store.prompts.add(messages, source or path.name, tags)[1]
                    for messages, tags in entries)
    return ImportReport("prompts", added, len(entries) - added)


def import_preferences(store: Store, path: Path, format: str | None = None) -> ImportReport:
    """Add a file's preferences as comparisons of a labeler of kind `imported`.

    Raises:
        BadInput: the file, line and field that are wrong, or no line that can be used; then
            nothing was added.
    """
    pairs, skipped = read_pairs(path, format)
    with store.database.write():
        labeler = _labeler(store, path)
        added = sum(_add(store, pair, labeler.id, path.name) for pair in pairs)
    return ImportReport("preferences", added, len(pairs) - added, skipped)


def read_pairs(path: Path,
               format: str | None = None) -> tuple[list[Pair], dict[str, int]]:
    """A file's preferences, and how many rows say nothing to learn from, by reason.

    Raises:
        BadInput: the file, line and field that are wrong, or no line that can be used.
    """
    pairs: list[Pair] = []
    skipped: Counter[str] = Counter()
    for row in _rows(path, format):
        try:
            pairs.append(pair_from(row.values))
        except Unusable as reason:
            skipped[str(reason)] += 1
        except BadInput as error:
            raise row.error(error) from None
    if not pairs:
        raise BadInput(f"{path}: no line can be used: "
                       + "; ".join(f"{reason} ({count})" for reason, count in skipped.items()))
    return pairs, dict(skipped)


def _rows(path: Path, format: str | None = None) -> list[Row]:
    rows = list(read_rows(path, format))
    if not rows:
        raise BadInput(f"{path}: the file holds no rows")
    return rows


def _labeler(store: Store, path: Path) -> Labeler:
    """The labeler who stands for a file; a person of that name is never taken for it."""
    plain = "".join(c if c.isprintable() else "?" for c in " ".join(path.name.split()))
    name, number = plain[:LONGEST_NAME - 4], 1
    known = {labeler.name: labeler for labeler in store.people.all()}
    while name in known and known[name].kind != "imported":
        number += 1
        name = f"{plain[:LONGEST_NAME - 4]} {number}"
    return known.get(name) or store.people.add(name, kind="imported", config={"file": path.name})


def _add(store: Store, pair: Pair, labeler_id: int, source: str) -> bool:
    """Store one preference unless it is there; whether it was new.

    Written with plain inserts rather than through `Comparisons.submit`: nobody was shown these
    responses, and tens of thousands of them share one transaction.
    """
    database = store.database
    words = to_json([fingerprint(pair.messages), pair.chosen, pair.rejected])
    key = f"imported/{hashlib.sha256(words.encode()).hexdigest()}"
    if database.value("SELECT 1 FROM comparisons WHERE submission_key = ?", [key]):
        return False
    prompt_id, _ = store.prompts.add(pair.messages, source)
    chosen, rejected = (_response(store, prompt_id, text) for text in (pair.chosen, pair.rejected))
    task_id = store.tasks.add(prompt_id, [chosen, rejected])
    moment = now()
    database.insert("assignments", {"task_id": task_id, "labeler_id": labeler_id, "shown": [],
                                    "leased_at": moment})
    comparison_id = database.insert("comparisons", {
        "task_id": task_id, "labeler_id": labeler_id, "revision": 1, "verdict": "ranked",
        "ranking": [[chosen], [rejected]], "strength": STRENGTH, "shown": [],
        "submission_key": key, "created_at": moment})
    database.insert("preferences", {
        "comparison_id": comparison_id, "task_id": task_id, "prompt_id": prompt_id,
        "labeler_id": labeler_id, "chosen_id": chosen, "rejected_id": rejected,
        "strength": STRENGTH})
    with database.write() as db:
        db.conn.execute("UPDATE tasks SET labels = 1 WHERE id = ?", [task_id])
    return True


def _response(store: Store, prompt_id: int, text: str) -> int:
    """The imported response of a prompt with this text; pairs of one prompt may share texts."""
    found = store.database.value(
        "SELECT id FROM responses WHERE prompt_id = ? AND source = 'import' AND text = ?",
        [prompt_id, text])
    if found is not None:
        return int(found)
    return store.database.insert("responses", {
        "prompt_id": prompt_id, "text": text, "finish_reason": "import", "source": "import",
        "created_at": now()})
