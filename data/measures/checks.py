"""The habits that careless labelers show, as measures to test: which outcomes, in which words.

`data.measures.alarms` does the testing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.measures.quality import characters_of, characters_per_second, seconds_per_task, speed_of
from data.measures.significance import counts_of
from data.measures.statistics import Estimate, clustered_mean, median, percent
from data.measures.votes import (
    Gold,
    Outcome,
    Repeat,
    agreed,
    first_shown,
    longer,
    repeated,
    right,
    tied,
)
from data.records import Comparison

#: Characters per second, from a slow and careful reader to the fastest.
READING_SPEEDS = (15, 50)

#: Faster than this, an answer's responses were not read: twice the fastest reading, since even a
#: careful person may stop early where one response is plainly the worse.
UNREAD_SPEED = 2 * READING_SPEEDS[1]


class Measure:
    """The outcomes of one measure in columns, and the words for so many of them."""

    def __init__(self, words: str, outcomes: Iterable[Outcome]) -> None:
        table = np.array(list(outcomes), dtype=float).reshape(-1, 4)
        self.words = words
        self._labelers = table[:, :2].astype(int).T
        self._tasks = np.unique(table[:, 2], return_inverse=True)[1]
        self._values = table[:, 3]

    def sides(self, labeler: int, crew: set[int]) -> tuple[Side, Side]:
        """The labeler's outcomes with the crew, and the crew's own without the labeler."""
        one, other = self._labelers
        own = (one == labeler) | (other == labeler)
        within = np.isin(one, [*crew, labeler]) & np.isin(other, [*crew, labeler])
        return (Side(self._values[within & own], self._tasks[within & own]),
                Side(self._values[within & ~own], self._tasks[within & ~own]))

    def evidence(self, own: Side, crew: Side) -> str:
        """Both sides' figures in words."""
        counted = f"{own.values.sum():g} of {len(own.values)}"
        share = (f"the crew: {percent(float(crew.values.mean()))}" if len(crew.values)
                 else "nobody to compare with")
        return f"{self.words.format(counted)} ({share})"


class Side:
    """The outcomes on one side of a test."""

    def __init__(self, values: np.ndarray[Any, Any], tasks: np.ndarray[Any, Any]) -> None:
        self.values = values
        self._tasks = tasks
        self.counts = counts_of(values, tasks)

    def estimate(self) -> Estimate | None:
        """The share, or None without outcomes."""
        return clustered_mean(self.values.tolist(), self._tasks.tolist())


@dataclass(frozen=True)
class Check:
    """A kind of carelessness: the measures it shows in, and the share that it leads to."""

    kind: str
    measures: tuple[Measure, ...]
    careless: float
    harmless: float | None = None
    """A share that is no carelessness whatever the crew's, where there is one."""
    far: float = 0.5
    """How far on the way from the crew's share to the careless one harmless differences end."""
    weight: float = 1.0
    """Its share in the risk of a false alarm."""
    detail: Callable[[int], str] | None = None
    """More words on a labeler."""


def checks_of(answers: Sequence[Comparison], lengths: Mapping[int, int],
              repeats: Sequence[Repeat], gold: Sequence[Gold]) -> list[Check]:
    """Everything that labelers are checked for."""
    # Golds and second answers have measures of their own, and no answer should speak twice.
    apart = {c.id for c, _ in gold} | {again.id for _, again in repeats}
    left = Measure("chose the one shown first (left) in {} decided pairs", first_shown(answers))
    length = Measure("chose the longer one in {} decided pairs", longer(answers, lengths))
    tie = Measure("called a tie in {} pairs", tied(answers))
    unread = Measure("gave {} answers faster than anybody reads", _unread(answers, lengths))
    others = Measure("agrees with the others in {} pairs that both decided",
                     agreed(c for c in answers if c.id not in apart))
    again = Measure("named the same winner in {} repeats decided both times",
                    repeated(repeats, decided=True))
    known = Measure("has {} known answers right", right(gold))
    return [
        Check("always-left", (left,), careless=1, harmless=0.5),
        Check("always-right", (left,), careless=0, harmless=0.5),
        Check("always-longer", (length,), careless=1),
        Check("always-shorter", (length,), careless=0),
        Check("always-tie", (tie,), careless=1),
        Check("too-fast", (unread,), careless=1, harmless=0.5,
               detail=lambda labeler: _pace([c for c in answers if c.labeler_id == labeler],
                                            lengths)),
        # A coin names the same winner as anybody, or as itself, half of the time. Hardest to tell
        # from bad luck, so this check gets as much of the risk as all others together: they have
        # it easy, since who always does one thing does it far more often than chance. A third
        # of the way is somebody who tosses a coin for every third answer.
        Check("random", (others, known, again), careless=0.5, far=1 / 3, weight=8),
        Check("inconsistent", (again,), careless=0.5),
        Check("gold", (known,), careless=0.5),
    ]


def _unread(answers: Iterable[Comparison], lengths: Mapping[int, int]) -> Iterator[Outcome]:
    """Whether each answer, of those whose time is known, came faster than `UNREAD_SPEED`."""
    for c in answers:
        speed = speed_of(c, lengths)
        if speed is not None:
            yield Outcome(c.labeler_id, c.labeler_id, c.task_id, float(speed > UNREAD_SPEED))


def _pace(answers: Sequence[Comparison], lengths: Mapping[int, int]) -> str:
    """A labeler's median time and speed beside those of people who read."""
    seconds, speed = seconds_per_task(answers), characters_per_second(answers, lengths)
    characters = median([characters_of(c, lengths) for c in answers])
    assert seconds and speed and characters  # the alarm rests on answers whose time is known
    slow, fast = READING_SPEEDS
    return (f"median {seconds.value:.1f} s for {characters.value:.0f} characters, "
            f"{speed.value:.0f} characters/s; reading speed is {slow}–{fast}")
