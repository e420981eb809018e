"""How long-running work tells somebody how far it is, and learns that it should stop.

Stages (sampling, training, PPO) take a `Progress` and know nothing of jobs, bars or browsers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

#: What is not done yet is said to be no further than this, which no rounding makes a whole.
ALMOST = 0.99


class Stopped(Exception):
    """The person who asked for the work has asked it to stop; a checkpoint has been kept."""


class Progress(Protocol):
    """Where a stage reports to."""

    def update(self, fraction: float, message: str) -> None:
        """Say how far the work is (0 to 1) and what it does now. Raises Stopped."""

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep one step's figures (numbers, texts, lists of texts)."""


class Silent:
    """Progress that nobody watches, for scripts and tests."""

    def update(self, fraction: float, message: str) -> None:
        """Do nothing."""

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Do nothing."""


class Part:
    """One part of a longer work, whose own way from 0 to 1 is the whole's from `start` to `end`."""

    def __init__(self, whole: Progress, start: float, end: float) -> None:
        self._whole, self._start, self._end = whole, start, end

    def update(self, fraction: float, message: str) -> None:
        """Say how far this part is. Raises Stopped."""
        self._whole.update(self._start + (self._end - self._start) * fraction, message)

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep one step's figures."""
        self._whole.metrics(step, values)
