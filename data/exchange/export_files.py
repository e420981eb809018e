"""Records as JSON Lines, one JSON list, CSV or Parquet, with few of them in memory at a time.

CSV holds nested values as JSON text, and a text that a spreadsheet would run as a formula (it
begins with = + - @, a tab or a return) gets an apostrophe in front.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from data.exchange.own_comparisons import guarded
from data.plain_json import to_json

_BATCH = 2000

Record = dict[str, Any]


def write_jsonl(path: Path, records: Iterable[Record]) -> int:
    """A record a line; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(to_json(record) + "\n")
            count += 1
    return count


def write_json(path: Path, records: Iterable[Record]) -> int:
    """One list, a record a line; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(("[\n" if count == 0 else ",\n") + to_json(record))
            count += 1
        file.write("\n]\n")
    return count


def write_csv(path: Path, records: Iterable[Record]) -> int:
    """A table with a header; returns how many rows follow it."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        # RFC 4180's line ends; with "\n" alone, Python would not quote a cell that holds a return,
        # and what stands after it would be a cell of its own, a formula perhaps.
        writer = csv.writer(file, lineterminator="\r\n")
        for record in records:
            if count == 0:
                writer.writerow(record)
            writer.writerow([_cell(value) for value in record.values()])
            count += 1
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return to_json(value)
    return guarded(value) if isinstance(value, str) else value


def write_parquet(path: Path, records: Iterable[Record]) -> int:
    """Columns with the types of `_parquet_types`; returns how many rows."""
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
    responses = pa.list_(pa.struct([("id", whole), ("text", text), ("policy", text),
                                    ("flags", text), ("score", whole)]))
    return {
        **dict.fromkeys(("prompt", "chosen", "rejected", "completion"), messages),
        **dict.fromkeys(("set_aside", "decision"), pa.bool_()), "responses": responses,
        "ranking": pa.list_(pa.list_(whole)),
        **dict.fromkeys(("shown", "token_ids", "overrides"), pa.list_(whole)),
        **dict.fromkeys(("seconds", "active_seconds", "logprob"), real),
        **dict.fromkeys(("strength", "round", "revision", "seed", "sample_index", "prompt_id",
                         "task_id", "comparison_id", "chosen_id", "rejected_id", "response_id",
                         "demonstration_id", "question_version", "guidelines_version"), whole)}


WRITERS: dict[str, Callable[[Path, Iterable[Record]], int]] = {
    "jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet, "json": write_json}
