"""Files that outlive a power cut: on the disk before they get their name, and the name with them.

The database keeps what it says in the same way, so that a row never tells of a file that is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def put_in_place(partial: Path, place: Path) -> None:
    """Give a file or folder that is written its name, in the place of a file of that name."""
    if partial.is_dir():
        for path in partial.rglob("*"):
            _sync(path)
    _sync(partial)
    os.replace(partial, place)
    _sync(place.parent)


@contextmanager
def whole(place: Path) -> Iterator[Path]:
    """Where to write a file that becomes `place` at the end of the block. A failure leaves nothing
    of it, and `place` as it was; two processes that write the same one do not mix.

    For what can be made anew: a power cut may take it, since folders on a network often refuse
    to be synced.
    """
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
