"""What a command shows: a bar on standard error while it works, then its result.

With `--json` the result is one JSON document on standard output and nothing else is there.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

from data.plain_json import finite
from data.progress import ALMOST
from data.visible import reveal, reveal_line

_LINE_EVERY = 30.0  # seconds between two lines of progress where there is no terminal
_NOBODY_READS = (errno.EPIPE, errno.EIO)  # the pipe's reader has ended, the terminal is closed


def print_json(document: Any) -> None:
    """The one document of a command with `--json`."""
    print(json.dumps(finite(document), ensure_ascii=False, indent=2, allow_nan=False))


def note(line: str) -> None:
    """A line for people, on standard error; what could steer their terminal is shown instead."""
    with _whoever_reads():
        print(reveal(line), file=sys.stderr, flush=True)


def silence(stream: TextIO) -> None:
    """Have nobody hear a stream, whose reader is gone, from now on: what is still in its buffer
    would otherwise fail again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _whoever_reads() -> Iterator[None]:
    """What is said here is no part of the work, which goes on where it cannot be said."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOBODY_READS:  # a full disk, say, may pass
            silence(sys.stderr)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A plain table on standard output; nothing where there are no rows."""
    if not rows:
        return
    cells = [[*map(str, header)], *([*map(_cell, row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
             for row in cells]
    print("\n".join(["", title, lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))


def print_result(result: Mapping[str, Any]) -> None:
    """A job's figures, one a line with its interval; lists and texts only stand in the JSON."""
    for name, value in _figures(result):
        print(f"  {name}: {_cell(value)}")


def _figures(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in result.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, dict) and not _is_estimate(value):
            yield from _figures(value, f"{name}: ")
        elif not isinstance(value, list):
            yield name, value


def _is_estimate(value: object) -> bool:
    return isinstance(value, dict) and {"value", "n", "low", "high"} <= value.keys()


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    if isinstance(value, dict) and _is_estimate(value):
        ends = value["low"], value["high"]
        interval = "" if None in ends else f"95 % interval {' to '.join(map(_cell, ends))}, "
        return f"{_cell(value['value'])} ({interval}n = {value['n']})"
    return reveal_line(str(value))


def counted(count: int, noun: str) -> str:
    """So many of something, with an s unless it is one."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Bar:
    """One job's progress on standard error: a bar in a terminal, now and then a line elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last_line = float("-inf")
        self._bar = self._task = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            self._bar = Progress(
                TextColumn("{task.fields[title]}", markup=False), BarColumn(),
                TaskProgressColumn(), TextColumn("{task.description}", markup=False),
                console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=1.0, title=title)

    def __enter__(self) -> Bar:
        if self._bar:
            with _whoever_reads():
                self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._bar:
            with _whoever_reads():
                self._bar.stop()

    def show(self, fraction: float, message: str, seconds_left: float | None) -> None:
        """Show how far the job is, which is not done before its result is there."""
        fraction = min(fraction, ALMOST)
        if seconds_left is not None:
            message = f"{message} ({duration(seconds_left)} left)"
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=fraction, description=message)
        elif time.monotonic() - self._last_line >= _LINE_EVERY:
            self._last_line = time.monotonic()
            note(f"{self._title}: {fraction:.0%} {message}")
