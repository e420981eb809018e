"""A file's text as a stream: unpacked, decoded, and never more of it than we take.

UTF-8 with or without a byte order mark, UTF-16 with one; gzip by its first bytes.
"""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from data.errors import BadInput

#: What a file may hold once unpacked: a small gzip can hide terabytes of zeros.
MOST_BYTES = 2 * 1024**3
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_CHUNK = 1024**2
#: By its mark: the codec without a mark, and what people call it.
_MARKS = {codecs.BOM_UTF8: ("utf-8", "UTF-8"), codecs.BOM_UTF16_LE: ("utf-16-le", "UTF-16"),
          codecs.BOM_UTF16_BE: ("utf-16-be", "UTF-16")}


@contextmanager
def text_stream(path: Path, newline: str) -> Iterator[io.TextIOWrapper]:
    """The text of a file; `newline` is as for `open`.

    Raises (also while it is read):
        BadInput: named .gz and is none, begins as no text does, or holds more than MOST_BYTES.
        UnicodeDecodeError: see `where_undecodable`.
        OSError, EOFError, gzip.BadGzipFile, zlib.error: cannot be read or unpacked.
    """
    with ExitStack() as files:
        data = _unpacked(path, files)
        mark, codec, _ = _encoding(path, data)
        data.read(len(mark))
        yield files.enter_context(io.TextIOWrapper(data, encoding=codec, newline=newline))


def where_undecodable(path: Path) -> str:
    """Where a file's first bytes are that its encoding does not know, as "line 2: not ..."."""
    if path.is_fifo():
        return "somewhere: not UTF-8"  # what was read of a pipe cannot be read again
    with ExitStack() as files:
        data = _unpacked(path, files)
        mark, codec, name = _encoding(path, data)
        offset, line = len(data.read(len(mark))), 1
        decoder = codecs.getincrementaldecoder(codec)()
        waiting = b""  # bytes of a character that the last chunk cut
        while True:
            chunk = data.read(_CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += (waiting + chunk).count(b"\n", 0, error.start)
                return f"line {line}: not {name} at byte {offset + error.start}"
            if not chunk:
                return "line 1: not UTF-8"  # it has changed since; say what was asked for
            whole = waiting + chunk
            waiting = decoder.getstate()[0]
            offset += len(whole) - len(waiting)
            line += whole.count(b"\n", 0, len(whole) - len(waiting))


def _unpacked(path: Path, files: ExitStack) -> io.BufferedReader:
    packed = files.enter_context(path.open("rb"))
    start = packed.peek(2)[:2]
    if start == _GZIP:
        source: BinaryIO | gzip.GzipFile = files.enter_context(gzip.GzipFile(fileobj=packed))
    elif path.suffix.lower() == ".gz" and start:
        raise BadInput(f"{path}: not a gzip file, whatever its name says")
    else:
        source = packed
    return io.BufferedReader(_Limited(path, source), _CHUNK)


def _encoding(path: Path, data: io.BufferedReader) -> tuple[bytes, str, str]:
    start = data.peek(4)[:4]
    for mark, (codec, name) in _MARKS.items():
        if start.startswith(mark) and start != codecs.BOM_UTF32_LE:
            return mark, codec, name
    if b"\0" in start or start == _PARQUET:
        raise BadInput(f"{path}: begins as no text in UTF-8 does, but as UTF-16 without its mark "
                       "or a file of another kind, such as Parquet; save it as UTF-8, or say how "
                       "it is written by its suffix or --format")
    return b"", "utf-8", "UTF-8"


class _Limited(io.RawIOBase):
    """Bytes of a file, up to MOST_BYTES; then an error, in place of a full memory."""

    def __init__(self, path: Path, source: BinaryIO | gzip.GzipFile) -> None:
        self._path, self._source, self._left = path, source, MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise BadInput(f"{self._path}: more than {MOST_BYTES // 1024**3} GiB; split the file")
        buffer[:len(data)] = data
        return len(data)
