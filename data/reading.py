"""Rows of a text file (JSON Lines, JSON, CSV, plain text; gzipped or not), with their line numbers.

Whatever is wrong with a file ends as one BadInput that names the file and the line. Knows nothing
of prompts or preferences, opens nothing but the path it is given, and fetches nothing.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import BadInput

FORMATS = ("jsonl", "json", "csv", "txt")
#: What a file may hold once unpacked: a small gzip can hide terabytes of zeros.
MOST_BYTES = 2 * 1024**3
_GZIP = b"\x1f\x8b"
_LONGEST_CELL = 10_000_000  # beyond any text we take, so that the text's own limit is what speaks


@dataclass(frozen=True)
class Row:
    """One record of a file: its first line (1-based) and its fields as the file gives them."""

    path: Path
    line: int
    values: dict[str, Any]

    def error(self, message: object) -> BadInput:
        """An error that names the file and the line."""
        return BadInput(f"{self.path}, line {self.line}: {message}")


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


def read_rows(path: Path, format: str | None = None) -> Iterator[Row]:
    """The rows of a file, in order; blank lines are passed over.

    Plain text gives one row a line, with the field `prompt`.

    Raises:
        BadInput: missing, unreadable or empty file, unknown format, wrong encoding, malformed.
    """
    kind = format_of(path, format)
    text = read_text(path)
    if not text.strip():
        raise BadInput(f"{path}: the file is empty")
    if kind == "csv":
        return _csv(path, text)
    if kind == "txt":
        return _plain(path, text)
    if kind == "json" and text.lstrip().startswith("["):
        return _array(path, text)
    return _json_lines(path, text)


def read_text(path: Path) -> str:
    """A file's text: UTF-8 (with or without BOM), or UTF-16 with one; unpacked if gzipped."""
    data = _bytes(path)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the BOM.
        skipped = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        offset = error.start + skipped if encoding == "utf-8-sig" else error.start
        line = data.count(b"\n", 0, offset) + 1
        raise BadInput(f"{path}, line {line}: not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'} "
                       f"at byte {offset}; save the file as UTF-8") from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            if start != _GZIP:
                if path.suffix.lower() == ".gz" and start:
                    raise BadInput(f"{path}: not a gzip file, whatever its name says")
                data = file.read(MOST_BYTES + 1)
            else:
                with gzip.open(file) as unpacked:
                    data = unpacked.read(MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise BadInput(f"{path}: the gzip file is damaged or cut short") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
    if len(data) > MOST_BYTES:
        raise BadInput(f"{path}: more than {MOST_BYTES // 1024**3} GiB; split the file")
    return data


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines(): JSON allows U+2028 and the like inside a string.
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            yield _object(path, line, _parsed(path, content, line))


def _array(path: Path, text: str) -> Iterator[Row]:
    """A JSON array; each element's line is where it starts, found by decoding one at a time."""
    decoder, position, line, counted = json.JSONDecoder(), text.index("[") + 1, 1, 0

    def skip_blanks(start: int) -> int:
        while start < len(text) and text[start] in " \t\r\n":
            start += 1
        return start

    position = skip_blanks(position)
    while text[position:position + 1] != "]":
        line += text.count("\n", counted, position)
        counted = position
        value, position = _parsed(path, text, line, decoder, position)
        yield _object(path, line, value)
        position = skip_blanks(position)
        if text[position:position + 1] == ",":
            position = skip_blanks(position + 1)
        elif text[position:position + 1] != "]":
            line += text.count("\n", counted, position)
            raise BadInput(f"{path}, line {line}: malformed JSON: expected , or ]")
    after = skip_blanks(position + 1)
    if after < len(text):
        line = text.count("\n", 0, after) + 1
        raise BadInput(f"{path}, line {line}: malformed JSON: text after the end of the list")


def _parsed(path: Path, text: str, line: int, decoder: json.JSONDecoder | None = None,
            position: int = 0) -> Any:
    try:
        return json.loads(text) if decoder is None else decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        at = error.lineno if decoder is not None else line
        raise BadInput(f"{path}, line {at}: malformed JSON: {error.msg} "
                       f"(column {error.colno})") from None
    except RecursionError:
        raise BadInput(f"{path}, line {line}: malformed JSON: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise BadInput(f"{path}, line {line}: malformed JSON: {error}") from None


def _object(path: Path, line: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadInput(f"{path}, line {line}: wanted an object {{...}}, "
                       f"found {type(value).__name__}")
    return Row(path, line, value)


def _csv(path: Path, text: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [name.strip() for name in cells]
                if len(set(header)) < len(header):
                    raise BadInput(f"{path}, line {line}: a column is named twice")
            elif len(cells) != len(header):
                raise BadInput(f"{path}, line {line}: {len(cells)} cells, but the header has "
                               f"{len(header)} columns ({', '.join(header)})")
            else:
                yield Row(path, line, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise BadInput(f"{path}, line {max(start, reader.line_num)}: malformed CSV: "
                       f"{error}") from None


def _plain(path: Path, text: str) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            yield Row(path, line, {"prompt": content.strip()})
