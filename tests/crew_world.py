"""Simulated crews whose habits are known, for the tests of agreement, quality and alarms."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from data.records import Answer, Comparison


@dataclass(frozen=True)
class Habits:
    """How somebody labels. Two careful labelers name the same winner 75 times of 100."""

    accuracy: float = 0.854
    """How often the truly better response is named: .854² + .146² = .75."""
    left: float = 0.0
    """How often the left one is chosen whatever it says."""
    longer: float = 0.0
    tie: float = 0.08
    characters_per_second: float = 25.0
    steady: float = 0.8
    """How often a repeated pair gets the same answer without another thought."""


CAREFUL = Habits()
NOISY = Habits(accuracy=0.6, steady=0.1)
ALWAYS_LEFT = Habits(left=0.95)
ALWAYS_LONGER = Habits(longer=0.97)
RANDOM = Habits(accuracy=0.5, steady=0.0)
TOO_FAST = Habits(accuracy=0.7, characters_per_second=400.0)


@dataclass
class Crew:
    """The answers of one simulated round; labelers are numbered from 1."""

    lengths: dict[int, int] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    repeats: list[tuple[Comparison, Comparison]] = field(default_factory=list)
    gold: list[tuple[Comparison, Answer]] = field(default_factory=list)


def simulate(rng: np.random.Generator, people: Sequence[Habits], *, each: int = 80,
             overlap: int = 3, golds: int = 0, repeats: int = 0,
             longer_is_better: float = 0.65) -> Crew:
    """A round in which everybody answers about `each` tasks that `overlap` of them share.

    `golds` tasks of known answer, clearer than others, go to everybody, and `repeats` of each
    labeler's tasks come again. In all of them the truly better response is the longer one with
    the chance `longer_is_better`.
    """
    crew = Crew()
    everybody = range(len(people))
    speeds = [p.characters_per_second * float(rng.lognormal(0, 0.25)) for p in people]
    tasks = 0

    def pair() -> tuple[int, bool]:
        nonlocal tasks
        tasks += 1
        sizes = rng.integers(100, 500, size=2)
        crew.lengths[2 * tasks], crew.lengths[2 * tasks + 1] = int(sizes[0]), int(sizes[1])
        return tasks, bool((sizes[0] > sizes[1]) == (rng.random() < longer_is_better))

    def answer(who: int, task: int, responses: tuple[int, int], first_better: bool,
               accuracy: float) -> Comparison:
        habits, draws = people[who], rng.random(5)
        a, b = responses
        shown = (a, b) if draws[0] < 0.5 else (b, a)
        if draws[1] < habits.left:
            winner = shown[0]
        elif draws[1] < habits.left + habits.longer:
            winner = a if crew.lengths[a] > crew.lengths[b] else b
        else:
            winner = a if first_better == (draws[2] < accuracy) else b
        ranking: tuple[tuple[int, ...], ...] = (
            ((a, b),) if draws[3] < habits.tie else ((winner,), (a + b - winner,)))
        seconds = 1 + (crew.lengths[a] + crew.lengths[b]) / speeds[who] * np.exp(
            0.4 * rng.standard_normal())
        number = len(crew.comparisons) + 1
        crew.comparisons.append(Comparison(
            number, task, who + 1, 1,
            Answer(ranking, 0 if len(ranking) == 1 else 1 + int(4 * draws[4]),
                   seconds=float(seconds)), shown, str(number), "2026-01-01T00:00:00Z"))
        return crew.comparisons[-1]

    firsts: dict[int, list[tuple[Comparison, bool]]] = {who: [] for who in everybody}
    for _ in range(len(people) * each // overlap):
        task, truth = pair()
        for who in rng.permutation(len(people))[:overlap].tolist():
            said = answer(who, task, (2 * task, 2 * task + 1), truth, people[who].accuracy)
            firsts[who].append((said, truth))
    for _ in range(golds):
        task, truth = pair()
        first, second = (2 * task, 2 * task + 1) if truth else (2 * task + 1, 2 * task)
        for who in everybody:
            # On clear cases everybody is better than usual, but a coin remains a coin.
            accuracy = 1.2 * people[who].accuracy - 0.1
            crew.gold.append((answer(who, task, (2 * task, 2 * task + 1), truth, accuracy),
                              Answer(((first,), (second,)))))
    for who in everybody:
        for said, truth in firsts[who][:repeats]:
            tasks += 1
            responses = (2 * said.task_id, 2 * said.task_id + 1)
            again = answer(who, tasks, responses, truth, people[who].accuracy)
            if rng.random() < people[who].steady:
                again = crew.comparisons[-1] = Comparison(
                    again.id, again.task_id, again.labeler_id, 1, said.answer, again.shown,
                    again.submission_key, again.created_at)
            crew.repeats.append((said, again))
    return crew
