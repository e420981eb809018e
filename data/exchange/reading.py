"""Rows of a file, one at a time: JSON Lines, JSON, CSV, plain text (gzipped or not) and Parquet.

Holds one row in memory and not the file. Whatever is wrong ends as one BadInput that names the
file and the line (in Parquet, the record). Knows nothing of prompts or preferences, opens nothing
but the path it is given, and fetches nothing.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import TextIOBase
from itertools import chain
from pathlib import Path
from typing import Any

from data.errors import BadInput
from data.exchange.json_stream import LONGEST_ROW, JsonStream, parsed
from data.exchange.text_stream import MOST_BYTES, text_stream, where_undecodable
from data.plain_json import kind_of

FORMATS = ("jsonl", "json", "csv", "txt", "parquet")
_LONGEST_CELL = 10_000_000  # beyond any text we take, so that the text's own limit is what speaks
_PARQUET_BATCH = 256


@dataclass(frozen=True)
class Row:
    """One record of a file: its first line (1-based) and its fields as the file gives them."""

    path: Path
    line: int
    values: dict[str, Any]
    unit: str = "line"
    """What `line` counts: Parquet has no lines, only records."""
    header: int = 0
    """The line that names the fields, where that is another one (CSV)."""

    @property
    def is_cells(self) -> bool:
        """Whether its values are cells: texts, also where the file's maker had lists (CSV)."""
        return self.header > 0

    def error(self, message: object) -> BadInput:
        """An error that names the file and the line."""
        return BadInput(f"{self.path}, {self.unit} {self.line}: {message}")

    def error_in_names(self, message: object) -> BadInput:
        """An error in the names of the fields."""
        return replace(self, line=self.header or self.line).error(message)


def format_of(path: Path, named: str | None = None) -> str:
    """One of FORMATS: the one named, else by the suffix (before a `.gz`). Raises BadInput."""
    if named is not None:
        if named not in FORMATS:
            raise BadInput(f"--format: {named!r} is none of {', '.join(FORMATS)}")
        return named
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    name = suffixes[-1].lstrip(".") if suffixes else ""
    name = "jsonl" if name == "ndjson" else name
    if name not in FORMATS:
        raise BadInput(f"{path}: cannot tell the format from the name; wanted one that ends in "
                       + ", ".join(f".{known}" for known in FORMATS) + ", or that and .gz")
    return name


def name_of(path: Path) -> str:
    """A file's name as a text: on Linux it is bytes, which need not be any."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_rows(path: Path, format: str | None = None) -> Iterator[Row]:
    """The rows of a file, in order; blank lines are passed over.

    Plain text gives one row a line, with the field `prompt`. A row is read when it is asked for,
    and so is what is wrong with it.

    Raises:
        BadInput: missing, unreadable or empty file, unknown format, wrong encoding, malformed.
    """
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; name a file in it")
    kind = format_of(path, format)
    return _parquet(path) if kind == "parquet" else _text(path, kind)


def rows_of(path: Path, format: str | None = None) -> Iterator[Row]:
    """The rows of a file that has some, in order, as `read_rows` reads them.

    Raises:
        BadInput: it has none, or the first is wrong already.
    """
    rows = read_rows(path, format)
    first = next(rows, None)
    if first is None:
        raise BadInput(f"{path}: the file holds no rows")
    return chain([first], rows)


def _text(path: Path, kind: str) -> Iterator[Row]:
    with _plain_errors(path), text_stream(path, "" if kind == "csv" else "\n") as stream:
        yield from _READERS[kind](path, stream)


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise BadInput(f"{path}, {where_undecodable(path)}; save the file as UTF-8") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise BadInput(f"{path}: the gzip file is damaged or cut short") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None


def _lines(path: Path, stream: TextIOBase) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers.

    They end at a line feed only: JSON allows U+2028 and the like inside a string.
    """
    number, blank = 0, True
    while content := stream.readline(LONGEST_ROW + 1):
        number += 1
        if len(content) > LONGEST_ROW:
            raise _overlong(path, number)
        if content.strip():
            blank = False
            yield number, content.rstrip("\n")
    if blank:
        raise BadInput(f"{path}: the file is empty")


def _overlong(path: Path, line: int) -> BadInput:
    return BadInput(f"{path}, line {line}: longer than {LONGEST_ROW // 1024**2} MiB")


def _json_lines(path: Path, stream: TextIOBase) -> Iterator[Row]:
    first = True
    for number, content in _lines(path, stream):
        if first and (content.lstrip().startswith("[") or content.strip() == "{"):
            raise BadInput(f"{path}, line {number}: wanted a whole object {{...}} on each line; "
                           "name a file of plain JSON .json, or say --format json")
        first = False
        yield _object(path, number, parsed(path, number, content))


def _plain(path: Path, stream: TextIOBase) -> Iterator[Row]:
    for number, content in _lines(path, stream):
        yield Row(path, number, {"prompt": content.strip()})


def _json(path: Path, stream: TextIOBase) -> Iterator[Row]:
    """The elements of a list; or objects one after another (JSON Lines by another name)."""
    document = JsonStream(path, stream)
    if not document.peek():
        raise BadInput(f"{path}: the file is empty")
    if document.peek() != "[":
        while document.peek():
            yield _object(path, document.line, document.value())
        return
    document.skip()
    while document.peek() != "]":
        yield _object(path, document.line, document.value())
        following = document.peek()
        if following == ",":
            document.skip()
        elif following != "]":
            raise document.error("expected , or ]")
    document.skip()
    if document.peek():
        raise document.error("text after the end of the list")


def _refuse_twice(columns: list[str], where: object) -> None:
    """Columns without a name may be several: spreadsheets write empty ones, which nobody reads."""
    for name, count in Counter(filter(None, columns)).most_common(1):
        if count > 1:
            raise BadInput(f"{where}: the column {name!r} is named twice")


def _object(path: Path, line: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadInput(f"{path}, line {line}: wanted an object {{...}}, "
                       f"found {kind_of(value)}")
    return Row(path, line, value)


def _csv(path: Path, stream: TextIOBase) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    header: list[str] | None = None
    named = taken = 0
    start = 1

    def lines() -> Iterator[str]:
        """The stream's, as long as a row (which may take many) is none that would fill memory."""
        nonlocal taken
        while content := stream.readline(LONGEST_ROW + 1):
            taken += len(content)
            if taken > LONGEST_ROW:
                raise _overlong(path, start)
            yield content

    reader = csv.reader(lines(), strict=True)
    try:
        for cells in reader:
            line, start, taken = start, reader.line_num + 1, 0
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header, named = [name.strip() for name in cells], line
                _refuse_twice(header, f"{path}, line {line}")
            elif len(cells) != len(header):
                raise BadInput(f"{path}, line {line}: {len(cells)} cells, but the header has "
                               f"{len(header)} columns ({', '.join(header)})")
            else:
                yield Row(path, line, dict(zip(header, cells, strict=True)), header=named)
    except csv.Error as error:
        raise BadInput(f"{path}, line {max(start, reader.line_num)}: malformed CSV: "
                       f"{error}") from None
    if header is None:
        raise BadInput(f"{path}: the file is empty")


_READERS: dict[str, Callable[[Path, TextIOBase], Iterator[Row]]] = {
    "jsonl": _json_lines, "json": _json, "csv": _csv, "txt": _plain}


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            _refuse_twice(file.schema_arrow.names, path)
            groups = range(file.metadata.num_row_groups)
            if sum(file.metadata.row_group(i).total_byte_size for i in groups) > MOST_BYTES:
                raise BadInput(f"{path}: more than {MOST_BYTES // 1024**3} GiB; split the file")
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
                for values in _records(batch):
                    number += 1
                    yield Row(path, number, values, "record")
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: not a Parquet file that can be read: {reason}") from None
    except (ValueError, OverflowError) as error:  # no UTF-8; the year 99999
        raise BadInput(f"{path}, record {number + 1}: {error}") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None


def _records(batch: Any) -> Iterator[dict[str, Any]]:
    """The records of a batch; what Python cannot hold fails in its own place."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for start in range(batch.num_rows):
            yield from batch.slice(start, 1).to_pylist()
