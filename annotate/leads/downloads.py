"""Files of what a search has filtered: JSON Lines and CSV, made when they are asked for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from annotate.actions import require
from annotate.leads import lead_actions
from annotate.session import store
from data.blindness import hidden_from
from data.exchange.export_files import WRITERS, Record
from data.exchange.export_records import SOURCES
from data.plain_json import to_json
from data.search import HEEDED, Filters, find
from data.store import Store

#: A larger file is for `prefloop export`, which need not hold it in the server's memory.
MOST_ROWS = 20_000
_BATCH = 500
#: What a response's record would tell of who wrote it; ids and times, since the samples of one
#: policy version are stored one after the other.
_TELLING = ("policy", "sampling", "seed", "sample_index", "logprob", "token_ids", "response_id",
            "created_at")
_TYPES = {"csv": "text/csv", "jsonl": "application/jsonl"}


def buttons(kind: str, filters: Filters, token: str | None) -> None:
    """One button a format; the file is made on the press, by who is signed in then."""
    for form, mime in _TYPES.items():
        st.download_button(form.upper(), _maker(store(), kind, filters, token, form),
                           f"{kind}.{form}", mime, key=f"download-{form}", on_click="ignore",
                           icon=":material/download:",
                           help=f"What is filtered, at most the newest {MOST_ROWS:,}")


def _maker(store: Store, kind: str, filters: Filters, token: str | None,
           form: str) -> Callable[[], bytes]:
    # Runs later and outside any page's run: nothing of Streamlit may be asked then.
    return lambda: made(store, kind, filters, token, form)


def made(store: Store, kind: str, filters: Filters, token: str | None, form: str) -> bytes:
    """The file's bytes, and an entry in the audit log.

    Raises:
        NotAllowed: the session has ended, or the role may not.
    """
    me = require(store, token, "quality")
    ids = find(store, kind, filters, MOST_ROWS).ids
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download"
        rows = WRITERS[form](path, records(store, kind, ids, me.id))
        heeded = {name: value for name, value in asdict(filters).items()
                  if value and name in HEEDED[kind]}
        lead_actions.note_download(store, token, f"{kind} as {form}", rows, heeded)
        return path.read_bytes()


def records(store: Store, kind: str, ids: Sequence[int], viewer: int) -> Iterator[Record]:
    """Answers, tasks, responses or prompts as an export has them, in the order of their ids.

    Where the viewer may still be asked about a response, its record has None for what would tell
    who wrote it. In a record of several, that holds of all of them: they stand in the order of
    their texts, and their ids, wherever the record names them, are their places in it, from 0.
    """
    query, as_record = _SOURCES[kind]
    for start in range(0, len(ids), _BATCH):
        part = ids[start:start + _BATCH]
        found = {row["id"]: as_record(row) for row in store.database.rows(
            f"SELECT * FROM ({query}) WHERE id IN (SELECT value FROM json_each(?))",
            [to_json(list(part))])}
        yield from _blinded(store, [found[i] for i in part if i in found], viewer)


def _blinded(store: Store, records: Sequence[Record], viewer: int) -> Iterable[Record]:
    hidden = hidden_from(store, viewer, {
        _id(response) for record in records for response in _responses(record)})
    for record in records:
        if not hidden.isdisjoint(map(_id, _responses(record))):
            _number_by_text(record)
            for response in _responses(record):
                response.update({name: None for name in _TELLING if name in response})
    return records


def _number_by_text(record: Record) -> None:
    """Let a record of several responses name them by their places, in the order of their texts."""
    if "responses" not in record:
        return
    record["responses"] = sorted(record["responses"], key=lambda response: str(response["text"]))
    places = {_id(response): place for place, response in enumerate(record["responses"])}
    for response in record["responses"]:
        response["id"] = places[_id(response)]
    if "ranking" in record:
        record["ranking"] = [sorted(places[i] for i in group) for group in record["ranking"]]
        record["shown"] = [places[i] for i in record["shown"]]


def _responses(record: Record) -> list[Record]:
    """The records of responses in a record, which may be one itself."""
    return list(record.get("responses", ())) or ([record] if "response_id" in record else [])


def _id(response: Record) -> int:
    return int(response["response_id"] if "response_id" in response else response["id"])


_TASKS = """
    SELECT t.*, p.messages, p.split, r.number AS round, (
        SELECT json_group_array(json_object('id', s.id, 'text', s.text, 'policy',
            coalesce(v.name, s.source)))
        FROM task_responses tr JOIN responses s ON s.id = tr.response_id
        LEFT JOIN policy_versions v ON v.id = s.policy_version_id
        WHERE tr.task_id = t.id) AS responses
    FROM tasks t JOIN prompts p ON p.id = t.prompt_id LEFT JOIN rounds r ON r.id = t.round_id"""


def _task(row: Any) -> Record:
    return {"prompt": json.loads(row["messages"]), "responses": json.loads(row["responses"]),
            "purpose": row["purpose"], "wanted": row["wanted"], "labels": row["labels"],
            "split": row["split"], "round": row["round"], "prompt_id": row["prompt_id"],
            "task_id": row["id"], "created_at": row["created_at"]}


def _prompt(row: Any) -> Record:
    return {"prompt": json.loads(row["messages"]), "source": row["source"],
            "split": row["split"], "tags": json.loads(row["tags"]), "prompt_id": row["id"],
            "created_at": row["created_at"]}


_SOURCES: dict[str, tuple[str, Callable[[Any], Record]]] = {
    "answers": (SOURCES["comparisons"].query, SOURCES["comparisons"].record),
    "responses": (SOURCES["responses"].query, SOURCES["responses"].record),
    "tasks": (_TASKS, _task), "prompts": ("SELECT * FROM prompts", _prompt)}
