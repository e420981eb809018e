"""A workspace in which everything has happened that a figure must know of, and its raw tables with
what follows from them by sums alone: for audits that share no code with what they hold to account.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_world import World, user

from data.exchange.importing import import_file
from data.measures.statistics import Estimate, student_t
from data.records import Answer, Labeler, Message, Task
from data.store import Store

FURTHER: list[Message] = [Message(role="assistant", content="and?"), *user("more")]
Row = dict[str, Any]
#: Values within 0 to 1, each with the cluster that it is in.
Outcomes = Sequence[tuple[float, Hashable]]


def eventful(folder: Path) -> Store:
    """Two rounds of pairs and rankings of four, by four people of whom one is disabled and one set
    aside, a lead, and two simulated labelers; ties, both bad, skips, changed and withdrawn answers,
    decisions, known answers, practice, repeats, and imported preferences."""
    world, rng = World.make(folder / "prefloop.db"), np.random.default_rng(5)
    store, people, robots = world.store, world.people(4), world.people(2, kind="simulated")
    lead = store.people.add("Lead", role="lead")
    with store.database.write():
        for number in range(2):
            if number:
                world.round = store.rounds.open(world.policy, world.reference)
            _round(world, rng, number, [*people, *robots], lead)
    path = folder / "imported.jsonl"
    path.write_text("".join(json.dumps({
        "prompt": f"from afar {n}", "chosen": f"yes {n}", "rejected": "no", "labeler": "Zoe"})
        + "\n" for n in range(12)))
    import_file(store, path)
    store.people.set_disabled(people[2].id, True)
    store.people.set_aside(people[3].id, True)
    return store


def _round(world: World, rng: np.random.Generator, number: int, people: list[Labeler],
           lead: Labeler) -> None:
    tasks = [world.task(_texts(rng, 2 if n % 5 else 4), wanted=3,
                        prompt=f"round {number} question {n // 2}",
                        further=FURTHER if n % 2 else (),
                        purpose="evaluate" if n % 3 == 0 and n % 5 else "train")
             for n in range(30)]
    for task in tasks:
        for who in [*people, lead]:
            _act(world, rng, who, task)
    for task in tasks[::7]:
        world.store.decisions.decide(lead.id, task.id, _answer(rng, task), f"decided {task.id}")
    _hidden(world, rng, people[:-1], tasks)


def _texts(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    return tuple("word " * int(rng.integers(1, 40)) + str(n) for n in range(count))


def _answer(rng: np.random.Generator, task: Task) -> Answer:
    """Any; the first response, the reference's, is somewhat liked, and so is the longer one."""
    seconds = float(rng.choice([0.0, rng.uniform(2, 60)], p=[0.2, 0.8]))
    active = None if rng.random() < 0.5 else seconds / 2
    if rng.random() < 0.1:
        return Answer((task.response_ids,), 0, "both_bad", seconds=seconds, active_seconds=active)
    order = sorted(task.response_ids, key=lambda i: i + rng.normal(0, 1.5))
    groups: list[tuple[int, ...]] = []
    for one in order:
        if groups and rng.random() < 0.15:
            groups[-1] += (one,)
        else:
            groups.append((one,))
    return Answer(tuple(groups), 0 if len(groups) == 1 else int(rng.integers(1, 5)),
                  seconds=seconds, active_seconds=active)


def _act(world: World, rng: np.random.Generator, who: Labeler, task: Task) -> None:
    """What somebody does with a task: nothing, skip it, answer it, change that, take it back."""
    store, draw = world.store, rng.random()
    if draw < 0.3:
        return
    if draw < 0.4:
        store.assignments.assign(task.id, who.id)
        store.assignments.skip(task.id, who.id, "cannot judge")
        return
    given = world.answer(who, task, _answer(rng, task))
    if rng.random() < 0.2:
        given = store.comparisons.submit(who.id, task, _answer(rng, task),
                                         f"changed {given.id}", given.revision)
    if rng.random() < 0.15:
        store.comparisons.undo_last(who.id, task, f"undone {given.id}")


def _hidden(world: World, rng: np.random.Generator, people: list[Labeler],
            tasks: list[Task]) -> None:
    """Known answers (one is practice, one is stated anew), and repeats of what was answered."""
    store = world.store
    for number, task in enumerate(tasks[:5]):
        truth = Answer(tuple((i,) for i in task.response_ids), 2)
        known = store.known.add(task.prompt_id, task.response_ids, truth, practice=number == 4)
        for who in people:
            _act(world, rng, who, store.tasks.get(known))
        if number == 3:
            store.known.retire(known)
            store.known.add(task.prompt_id, task.response_ids,
                            Answer(tuple((i,) for i in task.response_ids[::-1]), 2))
    for who in people:
        for first in store.comparisons.current(round_id=world.round.id, labeler_id=who.id,
                                               purpose="train", set_aside=True)[:6]:
            task = store.tasks.get(first.task_id)
            again = store.tasks.add(task.prompt_id, task.response_ids, round_id=world.round.id,
                                    purpose="repeat", repeat_of=task.id, only_for=who.id)
            _act(world, rng, who, store.tasks.get(again))


@dataclass
class Tables:
    """The raw tables, by primary key."""

    store: Store
    answers: list[Row] = field(default_factory=list)
    """Every last revision that is not withdrawn, with `decision`, its task's `purpose`, `round_id`,
    `prompt_id`, `repeat_of`, its labeler's `kind` and whether they are `aside`."""

    def __post_init__(self) -> None:
        self.tasks, self.people, self.responses, self.prompts, decisions = (
            {row[key]: row for row in self.rows(table)} for table, key in (
                ("tasks", "id"), ("labelers", "id"), ("responses", "id"), ("prompts", "id"),
                ("decisions", "comparison_id")))
        last: dict[tuple[int, int], Row] = {}
        for row in sorted(self.rows("comparisons"), key=lambda row: int(row["revision"])):
            last[row["task_id"], row["labeler_id"]] = row
        for row in sorted(last.values(), key=lambda row: int(row["id"])):
            if row["verdict"] == "withdrawn":
                continue
            task, person = self.tasks[row["task_id"]], self.people[row["labeler_id"]]
            self.answers.append({**row, **{k: task[k] for k in (
                "purpose", "round_id", "prompt_id", "repeat_of")}, "kind": person["kind"],
                "aside": person["set_aside_at"] is not None, "decision": row["id"] in decisions})

    def begins(self) -> dict[int, str]:
        """What the user says first, by prompt."""
        return {i: json.loads(row["messages"])[0]["content"] for i, row in self.prompts.items()}

    def rows(self, table: str) -> list[Row]:
        return [dict(row) for row in self.store.database.rows(f"SELECT * FROM {table}")]


def said(answer: Row) -> Iterator[tuple[int, int, int]]:
    """(lower id, higher id, 1: the lower is better, −1: the higher, 0: neither) of each pair."""
    rank = {i: n for n, group in enumerate(json.loads(answer["ranking"])) for i in group}
    for a, b in combinations(sorted(rank), 2):
        yield a, b, int(np.sign(rank[b] - rank[a]))


def teaching(tables: Tables) -> list[Row]:
    """What is exported as preferences: no hidden task's, and a decision alone where there is one
    (of somebody who counts)."""
    decided = {row["task_id"]: row["id"] for row in tables.answers
               if row["decision"] and not row["aside"]}
    return [row for row in tables.answers if row["purpose"] in ("train", "evaluate")
            and decided.get(row["task_id"], row["id"]) == row["id"]]


def check(found: Estimate | None, wanted: Outcomes) -> None:
    """A share of (value, cluster): its value, n, and interval (Korn & Graubard with Wilson's)."""
    if not wanted:
        assert found is None
        return
    values = [value for value, _ in wanted]
    n, mean = len(values), statistics.fmean(values)
    sums: dict[Hashable, float] = defaultdict(float)
    for value, cluster in wanted:
        sums[cluster] += value - mean
    groups = len(sums)
    variance = sum(s * s for s in sums.values()) / n**2 * (groups / max(groups - 1, 1))
    size = (1.0 if groups == 1 else groups if variance < 1e-14
            else min(max(mean * (1 - mean) / variance, 1.0), n))
    z = statistics.NormalDist().inv_cdf(0.975) if groups == 1 else student_t(groups - 1)
    middle = (mean + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(mean * (1 - mean) / size + z * z / (4 * size**2))
    assert found is not None and found.n == n
    assert (found.value, found.low, found.high) == pytest.approx(
        (mean, max(0.0, middle - half), min(1.0, middle + half)), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1
