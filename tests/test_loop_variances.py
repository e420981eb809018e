"""How uncertain the instant model is of each open task, beside their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking_world import add_features, asked_world, settings
from data_world import World
from models import one_thread

from loop.asking.live import Asker

assert one_thread  # a fixture, used by every test here


def test_how_uncertain_each_open_task_is_stands_beside_the_order(tmp_path: Path) -> None:
    world = asked_world(tmp_path, 30, wanted=2)
    store, (me, other) = world.store, world.people(2)
    asker = Asker(store, tmp_path)
    asker.turn()
    before = store.asking.variances()
    assert before.keys() == {task.id for task in store.asking.tasks()}
    for who in (me, other, me, me):
        given = store.assignments.next_for(who.id)
        assert given
        world.choose(who, given.task, 0)
    asker.turn()
    after, model = store.asking.variances(), asker.model
    assert model is not None
    closed = before.keys() - after.keys()
    assert closed == {task.id for task in store.asking.tasks() if not task.open}
    covariance = model.posterior.covariance
    for task in store.asking.tasks():
        if not task.open:
            assert store.asking.variance_of(task.id) is None
            continue
        a, b = (model.table[model.features.rows[i]] for i in task.response_ids)
        assert after[task.id] == pytest.approx((a - b) @ covariance @ (a - b), rel=0.02)
        assert store.asking.variance_of(task.id) == after[task.id]
        assert after[task.id] < before[task.id] * 1.02, "an answer tells, and never untells"
    assert not asker.turn()
    settings(tmp_path, "enabled = false")
    asker.turn()
    assert store.asking.variances() == {}


def test_of_a_ranking_the_least_certain_pair_counts(tmp_path: Path) -> None:
    world = World.make(tmp_path / "prefloop.db")
    for number in range(12):
        world.task(tuple(f"{word} {number}" for word in ("one", "two", "three", "four")))
    add_features(world.store, tmp_path)
    asker = Asker(world.store, tmp_path)
    asker.turn()
    assert asker.model is not None
    table, covariance = asker.model.table, asker.model.posterior.covariance
    for task in world.store.asking.tasks():
        rows = [table[asker.model.features.rows[i]] for i in task.response_ids]
        every = [(a - b) @ covariance @ (a - b) for a in rows for b in rows]
        assert world.store.asking.variance_of(task.id) == pytest.approx(max(every))


def test_a_closed_rounds_variances_are_not_shown(tmp_path: Path) -> None:
    world = asked_world(tmp_path, 5)
    Asker(world.store, tmp_path).turn()
    (task, *_) = world.store.asking.tasks()
    assert world.store.asking.variance_of(task.id) is not None
    versions = world.store.versions.policies()
    world.store.rounds.open(versions[0].id, versions[0].id)
    assert world.store.asking.variance_of(task.id) is None
