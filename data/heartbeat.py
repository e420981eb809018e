"""Whether the worker lives: it says every few seconds, in the setting `worker`, that it does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: Seconds of silence after which a worker is taken for gone.
SILENT_FOR = 15.0
_SLACK = 1.0  # seconds that a time of another process may lie ahead


def heard(heartbeat: Mapping[str, Any] | None, within: float = SILENT_FOR) -> bool:
    """Whether the worker has been heard of within so many seconds.

    A time to come is not one at which it was heard of: the clock has been set back since.
    """
    if heartbeat is None:
        return False
    age = (datetime.now(UTC) - datetime.fromisoformat(heartbeat["seen"])).total_seconds()
    return -_SLACK <= age < within
