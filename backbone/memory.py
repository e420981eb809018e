"""How a process that computes on a CPU takes and gives back memory.

A page that comes fresh from the system costs a fault, on a virtual machine several microseconds,
and a training step goes through gigabytes of tensors that live for milliseconds: taking each anew
was a tenth of a PPO update. Nothing here changes a number.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_KEPT = 32 * 2 ** 20
"""Bytes; glibc takes no more."""


def keep_freed() -> None:
    """Keep what is freed for what comes next, where the C library is glibc."""
    set_option = _malloc("mallopt")
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGEST_KEPT)
        set_option(_TRIM_THRESHOLD, -1)  # never by itself


def give_back() -> None:
    """Give the system what is kept and not in use, at the end of something large."""
    trim = _malloc("malloc_trim")
    if trim is not None:
        trim(0)


def _malloc(name: str) -> Callable[..., int] | None:
    """A function of malloc's, where the C library has it: other systems give memory back as they
    like."""
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found
