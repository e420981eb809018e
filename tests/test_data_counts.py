"""Counts that triggers keep say what counting anew would say, whatever happens in between."""

import sqlite3
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from data_world import World, as_before
from hypothesis import given, settings
from hypothesis import strategies as st
from same_examples import SAME

from data.database import now
from data.records import Answer, Task
from data.store import Store

PEOPLE = 2
_STEPS = st.lists(st.tuples(st.sampled_from(("task", "answer", "revise", "undo", "want", "decide",
                                             "aside")),
                            st.integers(0, 5), st.integers(0, PEOPLE - 1)), max_size=30)


def counted_anew(store: Store) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
    """Progress of each round; for each labeler and round the answers that stand, how many of them
    are decisions, and the newest of all that was ever answered."""
    return ({tuple(row) for row in store.database.rows(
                "SELECT round_id, sum(min(labels, wanted)), sum(wanted) FROM tasks WHERE round_id "
                "IS NOT NULL AND purpose IN ('train', 'evaluate') GROUP BY round_id")},
            {tuple(row) for row in store.database.rows(
                "SELECT c.labeler_id, coalesce(t.round_id, 0), count(*) AS n, count(d.task_id), "
                "(SELECT max(a.id) FROM comparisons a JOIN tasks b ON b.id = a.task_id "
                " WHERE a.labeler_id = c.labeler_id AND b.round_id IS t.round_id) "
                "FROM current_comparisons c JOIN tasks t ON t.id = c.task_id "
                "LEFT JOIN decisions d ON d.comparison_id = c.id GROUP BY 1, 2")})


def labels_anew(store: Store) -> dict[int, int]:
    """How many places of each task are taken, asked of the people and not of a view."""
    counted = [person.id for person in store.people.all() if person.set_aside_at is None]
    return {task: sum(takes_a_place(store, task, person) for person in counted)
            for task in kept_labels(store)}


def takes_a_place(store: Store, task: int, person: int) -> bool:
    """Whether the newest of somebody's answers to a task that is no decision was not taken back."""
    blind = [one for one in store.comparisons.history(task, person)
             if store.decisions.get(one.id) is None]
    return blind != [] and blind[-1].answer.verdict != "withdrawn"


def kept_labels(store: Store) -> dict[int, int]:
    """The same as the tasks have it."""
    return {row["id"]: row["labels"] for row in store.database.rows("SELECT * FROM tasks")}


def kept(store: Store) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
    """The same from the tables of counts."""
    return ({tuple(row) for row in store.database.rows("SELECT * FROM round_progress")},
            {tuple(row) for row in store.database.rows(
                "SELECT * FROM answer_counts WHERE answers <> 0")})


def step(world: World, what: str, which: int, who: int) -> None:
    """One thing that happens to a workspace; what is not possible just now does not."""
    tasks = world.store.tasks.of_round(world.round.id)
    me = world.store.people.all()[who].id
    if what == "aside":
        world.store.people.set_aside(me, which % 2 == 0)
        return
    if what == "task" or not tasks:
        world.task(purpose=("train", "gold", "evaluate")[which % 3], wanted=1 + which % 2)
        return
    task = tasks[which % len(tasks)]
    if what == "want":
        with world.store.database.write() as db:
            db.conn.execute("UPDATE tasks SET wanted = ? WHERE id = ?", [1 + which, task.id])
        return
    history = world.store.comparisons.history(task.id, me)
    key = f"{task.id}/{me}/{len(history)}"
    last = history[-1] if history else None
    if what == "decide":
        world.store.decisions.decide(me, task.id, _ranked(task), key)
        return
    stands = last is not None and last.answer.verdict != "withdrawn"
    if stands == (what == "answer") or (
            last is not None and world.store.decisions.get(last.id) is not None):
        return
    if what == "undo":
        world.store.comparisons.undo_last(me, task, key)
        return
    world.store.assignments.assign(task.id, me)
    world.store.comparisons.submit(me, task, _ranked(task), key,
                                   last.revision if last and stands else None)


def _ranked(task: Task) -> Answer:
    return Answer(tuple((i,) for i in task.response_ids))


@settings(SAME, max_examples=25)
@given(_STEPS)
def test_counts_follow_every_change(steps: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        world = World.make(Path(folder) / "prefloop.db")
        world.people(PEOPLE)
        for one in steps:
            step(world, *one)
            assert kept(world.store) == counted_anew(world.store)
            assert kept_labels(world.store) == labels_anew(world.store)
        for person in world.store.people.all():
            for decisions in (False, True):
                assert world.store.comparisons.count(person.id, decisions=decisions) == len(
                    world.store.comparisons.current(labeler_id=person.id, decisions=decisions,
                                                    set_aside=True))
        blind = Counter(one.labeler_id for one in world.store.comparisons.current(set_aside=True))
        assert world.store.comparisons.by_labeler(world.round.id) == blind
        assert +Counter(world.store.comparisons.given_since("2020")) == blind


def test_what_was_given_today_was_first_given_today(tmp_path: Path) -> None:
    """An answer of yesterday that is changed today is yesterday's."""
    world = World.make(tmp_path / "prefloop.db")
    me = world.people(1)[0].id
    for _ in range(4):
        step(world, "task", 0, 0)
    step(world, "answer", 0, 0)
    moment = now()
    for what, task in (("revise", 0), ("answer", 1), ("revise", 1), ("answer", 2), ("undo", 2),
                       ("decide", 3), ("decide", 3)):
        step(world, what, task, 0)
    assert world.store.comparisons.given_since(moment)[me] == 1
    assert world.store.comparisons.given_since(moment, me + 1) == {}
    assert world.store.comparisons.given_since("2020", me)[me] == 2


def test_a_workspace_from_before_is_counted_when_it_is_opened(tmp_path: Path) -> None:
    world = World.make(tmp_path / "prefloop.db")
    world.people(PEOPLE)
    for number in range(6):
        step(world, "task", number, 0)
        step(world, "answer", number, number % PEOPLE)
    for task, who in ((0, 0), (0, 0), (1, 0), (2, 1)):
        step(world, "decide", task, who)
    old = tmp_path / "old.db"
    as_before(world.store, old, 2)
    opened = Store(old)
    assert kept(opened) == counted_anew(opened) == counted_anew(world.store)
    assert kept(opened)[1]


def test_a_task_keeps_its_round_and_its_purpose(tmp_path: Path) -> None:
    """The counts depend on it."""
    world = World.make(tmp_path / "prefloop.db")
    world.task()
    for change in ("round_id = NULL", "purpose = 'gold'"):
        with pytest.raises(sqlite3.IntegrityError, match="keeps its"), \
                world.store.database.write() as db:
            db.conn.execute(f"UPDATE tasks SET {change}")
