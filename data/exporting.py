"""Comparisons, preferences and responses as files that other tools open as they are.

JSON Lines and Parquet hold nested values; CSV holds them as JSON text, and a text cell that a
spreadsheet would run as a formula (it begins with = + - @, a tab or a return) gets an apostrophe
in front. Preferences have the columns of TRL's conversational form (`prompt`, `chosen`,
`rejected`), then where they come from. Ties have no chosen one: they are left out of preferences
and counted, and stand in the comparisons.

Readers such as `datasets` take a column's type from the first rows. So every list has a type to
show, and rows with a value come before rows without one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from sqlite3 import Row
from typing import Any

from data.errors import BadInput, PrefloopError
from data.plain_json import to_json
from data.store import Store

KINDS = ("preferences", "comparisons", "responses")
FORMATS = ("jsonl", "csv", "parquet")
_BATCH = 2000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Record = dict[str, Any]


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how many ties preferences left out."""

    what: str
    format: str
    rows: int
    ties_left_out: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        ties = f"; {self.ties_left_out:,} ties left out" if self.ties_left_out else ""
        return f"{self.rows:,} {self.what} written as {self.format}{ties}"


def export(store: Store, path: Path, what: str = "preferences",
           format: str | None = None) -> ExportReport:
    """Write all of one kind to a file; the format is the suffix's unless given.

    The file appears when it is complete: until then it has another name, and a failure leaves
    nothing, and whatever was there before as it was.

    Raises:
        BadInput: unknown kind or format, or there is nothing to write.
        PrefloopError: the file cannot be written.
    """
    format = format or path.suffix.lower().lstrip(".")
    if what not in KINDS:
        raise BadInput(f"what: {what!r} is none of {', '.join(KINDS)}")
    if format not in FORMATS:
        raise BadInput(f"{path}: {format or 'no suffix'!r} is no format to export; "
                       f"wanted {', '.join(FORMATS)}")
    if path.is_dir():
        raise BadInput(f"{path}: is a folder")
    query, as_record = _SOURCES[what]
    ties = 0

    def records() -> Iterator[Record]:
        nonlocal ties
        for row in store.database.each(query):
            if what == "preferences" and row["strength"] == 0:
                ties += 1
            else:
                yield as_record(row)

    partial = path.with_name(path.name + ".partial")
    try:
        rows = _WRITERS[format](partial, records())
        if rows == 0:
            raise BadInput(f"there are no {what} to export yet"
                           + (f", only {ties:,} ties" if ties else ""))
        partial.replace(path)
    except OSError as error:
        raise PrefloopError(f"{path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return ExportReport(what, format, rows, ties)


_PREFERENCES = """
    SELECT f.*, p.messages, p.split, chosen.text AS chosen_text, rejected.text AS rejected_text,
        coalesce(chosen_by.name, chosen.source) AS chosen_policy,
        coalesce(rejected_by.name, rejected.source) AS rejected_policy,
        l.name AS labeler, l.kind AS labeler_kind, t.purpose, r.number AS round
    FROM current_preferences f JOIN prompts p ON p.id = f.prompt_id
    JOIN tasks t ON t.id = f.task_id JOIN labelers l ON l.id = f.labeler_id
    JOIN responses chosen ON chosen.id = f.chosen_id
    JOIN responses rejected ON rejected.id = f.rejected_id
    LEFT JOIN policy_versions chosen_by ON chosen_by.id = chosen.policy_version_id
    LEFT JOIN policy_versions rejected_by ON rejected_by.id = rejected.policy_version_id
    LEFT JOIN rounds r ON r.id = t.round_id ORDER BY r.number IS NULL, f.id"""


def _preference(row: Row) -> Record:
    return {
        "prompt": json.loads(row["messages"]),
        "chosen": [{"role": "assistant", "content": row["chosen_text"]}],
        "rejected": [{"role": "assistant", "content": row["rejected_text"]}],
        "strength": row["strength"], "labeler": row["labeler"],
        "labeler_kind": row["labeler_kind"], "purpose": row["purpose"], "split": row["split"],
        "round": row["round"], "chosen_policy": row["chosen_policy"],
        "rejected_policy": row["rejected_policy"], "prompt_id": row["prompt_id"],
        "task_id": row["task_id"], "comparison_id": row["comparison_id"],
        "chosen_id": row["chosen_id"], "rejected_id": row["rejected_id"]}


_COMPARISONS = """
    SELECT c.*, t.purpose, t.prompt_id, p.messages, p.split, l.name AS labeler,
        l.kind AS labeler_kind, r.number AS round, (
            SELECT json_group_array(json_object('id', s.id, 'text', s.text, 'policy',
                coalesce(v.name, s.source), 'position', tr.position))
            FROM task_responses tr JOIN responses s ON s.id = tr.response_id
            LEFT JOIN policy_versions v ON v.id = s.policy_version_id
            WHERE tr.task_id = c.task_id) AS responses
    FROM current_comparisons c JOIN tasks t ON t.id = c.task_id
    JOIN prompts p ON p.id = t.prompt_id JOIN labelers l ON l.id = c.labeler_id
    LEFT JOIN rounds r ON r.id = t.round_id
    ORDER BY r.number IS NULL, c.rationale = '', c.id"""


def _comparison(row: Row) -> Record:
    flags = json.loads(row["flags"])
    found = sorted(json.loads(row["responses"]), key=lambda r: int(r.pop("position")))
    responses = [{**r, "flags": ",".join(flags.get(str(r["id"]), []))} for r in found]
    return {
        "prompt": json.loads(row["messages"]), "responses": responses,
        "ranking": json.loads(row["ranking"]), "strength": row["strength"],
        "verdict": row["verdict"], "rationale": row["rationale"],
        "shown": json.loads(row["shown"]), "seconds": row["seconds"],
        "revision": row["revision"], "labeler": row["labeler"],
        "labeler_kind": row["labeler_kind"], "purpose": row["purpose"], "split": row["split"],
        "round": row["round"], "prompt_id": row["prompt_id"], "task_id": row["task_id"],
        "comparison_id": row["id"], "created_at": row["created_at"]}


_RESPONSES = """
    SELECT s.*, p.messages, p.split, v.name AS policy, r.number AS round
    FROM responses s JOIN prompts p ON p.id = s.prompt_id
    LEFT JOIN policy_versions v ON v.id = s.policy_version_id
    LEFT JOIN rounds r ON r.id = s.round_id ORDER BY r.number IS NULL, s.logprob IS NULL, s.id"""


def _response(row: Row) -> Record:
    return {
        "prompt": json.loads(row["messages"]), "text": row["text"],
        "policy": row["policy"] or row["source"], "source": row["source"],
        "finish_reason": row["finish_reason"], "logprob": row["logprob"],
        "token_ids": json.loads(row["token_ids"]), "sampling": row["sampling"],
        "seed": row["seed"], "sample_index": row["sample_index"], "split": row["split"],
        "round": row["round"], "prompt_id": row["prompt_id"], "response_id": row["id"],
        "created_at": row["created_at"]}


_SOURCES: dict[str, tuple[str, Callable[[Row], Record]]] = {
    "preferences": (_PREFERENCES, _preference), "comparisons": (_COMPARISONS, _comparison),
    "responses": (_RESPONSES, _response)}


def _write_jsonl(path: Path, records: Iterable[Record]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(to_json(record) + "\n")
            count += 1
    return count


def _write_csv(path: Path, records: Iterable[Record]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for record in records:
            if count == 0:
                writer.writerow(record)
            writer.writerow([_cell(value) for value in record.values()])
            count += 1
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return to_json(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _write_parquet(path: Path, records: Iterable[Record]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = iter(records)
    batch = list(islice(rows, _BATCH))
    if not batch:
        return 0
    count, types = 0, _parquet_types()
    schema = pa.schema([(name, types.get(name, pa.string())) for name in batch[0]])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
            batch = list(islice(rows, _BATCH))
    return count


def _parquet_types() -> dict[str, Any]:
    """The columns that are not text."""
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    messages = pa.list_(pa.struct([("role", text), ("content", text)]))
    responses = pa.list_(pa.struct(
        [("id", whole), ("text", text), ("policy", text), ("flags", text)]))
    return {
        **dict.fromkeys(("prompt", "chosen", "rejected"), messages), "responses": responses,
        "ranking": pa.list_(pa.list_(whole)),
        **dict.fromkeys(("shown", "token_ids"), pa.list_(whole)),
        **dict.fromkeys(("seconds", "logprob"), real),
        **dict.fromkeys(("strength", "round", "revision", "seed", "sample_index", "prompt_id",
                         "task_id", "comparison_id", "chosen_id", "rejected_id", "response_id"),
                        whole)}


_WRITERS: dict[str, Callable[[Path, Iterable[Record]], int]] = {
    "jsonl": _write_jsonl, "csv": _write_csv, "parquet": _write_parquet}
