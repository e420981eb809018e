"""What a reward of several parts says of itself, in a file beside its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import BadInput


@contextmanager
def read_about(path: Path, what: str) -> Iterator[dict[str, Any]]:
    """The file's fields; the block takes from them what it needs.

    Raises:
        BadInput: it cannot be read, or lacks a field, or holds something else in it.
    """
    try:
        yield json.loads(path.read_text("utf-8"))
    except KeyError as error:
        raise BadInput(f"{path.parent}: no {what} can be read there: it lacks {error}") from error
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{path.parent}: no {what} can be read there: {error}") from error
