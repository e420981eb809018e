"""JSON as the project writes it: compact, other alphabets readable, nothing that is not JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

# Made once: with settings of its own, json.dumps makes an encoder for every call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def to_json(value: Any) -> str:
    """Compact JSON; NaN and infinity are refused, since SQLite's JSON refuses them too."""
    return _ENCODER.encode(value)


def finite(value: Any) -> Any:
    """The same with None for NaN and infinity, however deep: no number beats a made-up one."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def kind_of(value: Any) -> str:
    """What an error calls a value that it found: `dict` whatever class holds an object."""
    return "dict" if isinstance(value, dict) else type(value).__name__
