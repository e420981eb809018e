"""The order of open tasks: a rule's favourites, and among them the share that chance chooses.

Which tasks are chance's is drawn once for each task, from the workspace's seed and the task's id,
so that it is the same after a restart and nothing that becomes known later can change it; nor does
what a rule has passed over become chance's where the settings change. Tasks that measure rather
than teach (head to head, held-out prompts) are always chance's. One place in so many is chance's,
as many as its share of all tasks, counting those that were handed out already: so its share holds
at any moment, and both kinds come to their end together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from data.asking import BLIND, RANDOM, REST, AskedTask

#: So many tasks are put in order at a time; the others wait behind them, as they were made.
MOST_ORDERED = 64

Favourites = Callable[[Sequence[AskedTask], int], list[AskedTask]]
"""The best of some tasks by a rule, so many at most, the best first."""


def by_chance(task: AskedTask, share: float, seed: int) -> bool:
    """Whether chance, and not the rule, says when a task is asked."""
    return task.measures or _draw(task, seed, "lane") < share


def order(tasks: Sequence[AskedTask], rule: str, share: float, seed: int, favourites: Favourites,
          passed_over: bool = False) -> dict[int, tuple[float, str]]:
    """Task id -> (place, from 0 to below 1, the greater the sooner; who chose) of every open task.

    Args:
        tasks: open ones, and those that were put in order before.
        rule: recorded with the tasks that it chooses; `random` leaves every task to chance, and
            what a rule has passed over is recorded as the rest.
        favourites: asked for the rule's own among the tasks with the fewest labels, and so on
            upwards until all places are taken: a task that everybody skips holds up no other.
        passed_over: whether a rule has chosen before, so that what was its own is no sample of all
            any more, whatever is to choose now.
    """
    share = 1.0 if rule == RANDOM else share
    lanes = {t.id: _is_chances(t, share, seed, passed_over) for t in tasks}
    waiting = [t for t in tasks if t.open]
    placed = [t for t in tasks if t.open or t.chosen_by is not None]
    of_chance = sum(lanes[t.id] for t in placed) / max(len(placed), 1)
    merged: list[AskedTask] = []
    handed_out = [t for t in placed if t.handed_out]
    for labels in sorted({t.labels for t in waiting}):
        room = MOST_ORDERED - len(merged)
        if not room:
            break
        level = [t for t in waiting if t.labels == labels]
        chance = sorted((t for t in level if lanes[t.id]), key=lambda t: _draw(t, seed, "place"))
        ruled = favourites([t for t in level if not lanes[t.id]], room)
        merged += _merged(ruled, chance, of_chance, [*handed_out, *merged], lanes)[:room]
    choosers = {True: RANDOM, False: REST if rule == RANDOM else rule}
    found = {t.id: (0.0, choosers[lanes[t.id]]) for t in waiting}
    found |= {t.id: (1 - (place + 1) / (len(merged) + 1), choosers[lanes[t.id]])
              for place, t in enumerate(merged)}
    return found


def changed(order: Mapping[int, tuple[float, str]], tasks: Sequence[AskedTask]
            ) -> dict[int, tuple[float, str]]:
    """What of an order the store does not hold yet."""
    known = {t.id: t for t in tasks}
    return {i: (place, chooser) for i, (place, chooser) in order.items()
            if abs(known[i].priority + known[i].labels - place) > 1e-9
            or known[i].chosen_by is None
            or (not known[i].handed_out and known[i].chosen_by != chooser)}


def _is_chances(task: AskedTask, share: float, seed: int, passed_over: bool) -> bool:
    """Whether a task is one of chance's: who chose it stays, once it was handed out, and what a
    rule has passed over does not become chance's by a change of the settings."""
    if task.chosen_by not in BLIND and (task.handed_out or passed_over):
        return False
    settled = task.handed_out and task.chosen_by is not None
    return settled or by_chance(task, share, seed)


def _merged(ruled: Sequence[AskedTask], chance: Sequence[AskedTask], share: float,
            before: Sequence[AskedTask], lanes: Mapping[int, bool]) -> list[AskedTask]:
    """Both lanes as one, such that chance keeps its share of all that was ever handed out, and of
    what is to be handed out `before`."""
    given, of_chance = len(before), sum(lanes[t.id] for t in before)
    found: list[AskedTask] = []
    left, right = list(ruled), list(chance)
    while left or right:
        due = share * (given + 1) - of_chance >= 0.5
        take_chance = bool(right) and (due or not left)
        found.append((right if take_chance else left).pop(0))
        given, of_chance = given + 1, of_chance + take_chance
    return found


def _draw(task: AskedTask, seed: int, what: str) -> float:
    """A number within 0 and 1 that belongs to the task; not security, only chance."""
    return random.Random(f"{what}/{seed}/{task.id}").random()
