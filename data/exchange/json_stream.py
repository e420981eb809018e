"""JSON values one at a time from a stream, with the lines where they stand."""

from __future__ import annotations

import json
import re
from collections import Counter
from io import TextIOBase
from pathlib import Path
from typing import Any

from data.errors import BadInput

#: Characters that one line or one element of a list may have; it is held in memory.
LONGEST_ROW = 64 * 1024**2
_CHUNK = 1024**2
_LONGEST_ESCAPE = 16  # a surrogate pair is "\\uXXXX\\uXXXX"
_BLANK = re.compile(r"[ \t\r\n]*")


def parsed(path: Path, line: int, text: str) -> Any:
    """The one value of a line of JSON. Raises BadInput, with the line and what is wrong."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise _malformed(path, line, f"{error.msg} (column {error.colno})") from None
    except RecursionError:
        raise _malformed(path, line, "nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise _malformed(path, line, str(error)) from None


class JsonStream:
    """Walks through JSON: `peek` at the next character, `skip` it, or take a whole `value`."""

    def __init__(self, path: Path, stream: TextIOBase) -> None:
        self._path, self._stream = path, stream
        self._decoder = json.JSONDecoder(object_pairs_hook=_object)
        self._text, self._at = "", 0
        self._line, self._column = 1, 0  # where the kept text starts
        self._counted = 0  # up to where its lines are in `_line` already

    @property
    def line(self) -> int:
        """The line (1-based) of the next character."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def peek(self) -> str:
        """The next character that is not blank, without taking it; "" at the end."""
        while True:
            found = _BLANK.match(self._text, self._at)
            assert found is not None  # it matches nothing, too
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def skip(self) -> None:
        """Take the character that `peek` shows."""
        self._at += 1

    def value(self) -> Any:
        """Take one whole value. Raises BadInput, with the line and what is wrong."""
        while True:
            try:
                found, self._at = self._decoder.raw_decode(self._text, self._at)
                return found
            except json.JSONDecodeError as error:
                # It may only be cut, where the text read so far ends.
                cut = (error.msg.startswith("Unterminated")
                       or error.pos > len(self._text) - _LONGEST_ESCAPE)
                if cut and len(self._text) - self._at > LONGEST_ROW:
                    raise self.error(f"longer than {LONGEST_ROW // 1024**2} MiB") from None
                if not cut or not self._read_more(keep=True):
                    raise self._located(error) from None
            except RecursionError:
                raise self.error("nested too deeply") from None
            except ValueError as error:
                raise self.error(str(error)) from None

    def error(self, message: str) -> BadInput:
        """Something is wrong with the next character."""
        return _malformed(self._path, self.line, message)

    def _located(self, error: json.JSONDecodeError) -> BadInput:
        line = self.line + self._text.count("\n", self._at, error.pos)
        start = self._text.rfind("\n", 0, error.pos)
        column = error.pos - start if start >= 0 else self._column + error.pos + 1
        return _malformed(self._path, line, f"{error.msg} (column {column})")

    def _read_more(self, keep: bool = False) -> bool:
        """Read on, as much as is kept; what has been taken is forgotten. False at the end."""
        more = self._stream.read(max(_CHUNK, len(self._text) - self._at if keep else 0))
        if not more:
            return False
        taken = self._text[:self._at]
        self._line = self.line
        self._column = (len(taken) - taken.rfind("\n") - 1 if "\n" in taken
                        else self._column + len(taken))
        self._text, self._at, self._counted = self._text[self._at:] + more, 0, 0
        return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless a name stands twice in it: which of the two is meant cannot be told."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return found


def _malformed(path: Path, line: int, message: str) -> BadInput:
    return BadInput(f"{path}, line {line}: malformed JSON: {message}")
