"""The process that orders tasks stands on the features that there are, however late they come."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking_world import add_features, asked_world
from data_world import user
from models import one_thread

from data.asking import CURVE
from data.prompts import cluster_of
from data.records import Answer, Message
from loop.asking import extracting
from loop.asking.live import Asker
from reward.instant.model import learnable

assert one_thread  # a fixture, used by every test here


@pytest.mark.parametrize("again", [False, True])
def test_the_curve_grows_with_features_that_come_after_the_answers(tmp_path: Path,
                                                                   again: bool) -> None:
    world = asked_world(tmp_path, tasks=20)
    store, (me,) = world.store, world.people(1)
    for number in range(40):
        world.task((f"late {number}", f"later {number}"))
    for task in store.asking.tasks():
        world.choose(me, store.tasks.get(task.id), task.id % 2)
    asker = Asker(store, tmp_path)
    asker.turn()
    early = store.setting(CURVE)
    add_features(store, tmp_path)
    (Asker(store, tmp_path) if again else asker).turn()
    grown = store.setting(CURVE)
    store.put_setting(CURVE, None)
    Asker(store, tmp_path).turn()
    fresh = store.setting(CURVE)
    assert {**grown, "at": None} == {**fresh, "at": None}
    assert grown["points"][-1]["labels"] > 2 * early["points"][-1]["labels"]
    assert (early["answers"], grown["answers"]) == (20, 60)


def test_of_a_large_import_it_stands_on_a_part(tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Training has read all of it, part by part."""
    monkeypatch.setattr(extracting, "MOST", 10)
    world = asked_world(tmp_path, tasks=5)
    asker, (me,) = Asker(world.store, tmp_path), world.people(1)
    for number in range(15):
        world.choose(me, world.task((f"old {number}", f"older {number}")), 0)
        add_features(world.store, tmp_path)
        asker.turn()
        assert asker.model is not None
        assert set(asker.model.features.rows) == set(world.store.asking.responses(10))
    assert len(asker.model.table) == 10 and len(world.store.asking.responses()) == 40
    asker = Asker(world.store, tmp_path)
    asker.turn()
    assert asker.model is not None and len(asker.model.table) == 10


def test_where_more_tasks_wait_than_it_stands_on_it_remembers_the_last_answers(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracting, "MOST", 12)
    world = asked_world(tmp_path, tasks=20)
    store, (me,) = world.store, world.people(1)
    tasks = [store.tasks.get(task.id) for task in store.asking.tasks()]

    def of(*numbers: int) -> set[int]:
        return {i for number in numbers for i in tasks[number].response_ids}

    for number in (3, 19, 1, 7, 5):
        world.choose(me, tasks[number], 0)
    asker = Asker(store, tmp_path)
    asker.turn()
    assert asker.model is not None and asker.model.learned
    assert set(asker.model.features.rows) == of(1, 7, 5) | of(18, 17, 16)
    # What one kind does not use, the other may.
    for number in sorted({*range(20)} - {3, 19, 1, 7, 5, 0, 4}):
        world.choose(me, tasks[number], 0)
    assert set(store.asking.responses(12)) == of(0, 4) | of(18, 17, 16, 15)
    assert set(store.asking.responses(12)[:4]) == of(0, 4)
    assert set(store.asking.responses(30)) == of(0, 4) | of(*range(8, 19), 6, 2)


def test_of_a_dialogue_it_knows_all_lengths_as_one(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=2)
    further: list[Message] = [{"role": "assistant", "content": "and?"}, *user("more")]
    dialogue = [world.task(prompt="tell  me"), world.task(prompt="tell me", further=further)]
    add_features(world.store, tmp_path)
    asker, (me,) = Asker(world.store, tmp_path), world.people(1)
    for task in dialogue:
        world.choose(me, task, 0)
    asker.turn()
    assert asker.model is not None
    features, pairs = asker.model.features, world.store.asking.pairs()
    of = {int(features.clusters[features.rows[i]]) for task in dialogue for i in task.response_ids}
    assert of == {cluster_of(user("tell me"))} and len(set(features.clusters.tolist())) == 3
    assert set(learnable(pairs, features).comparisons.groups.tolist()) == of


def test_it_reads_the_answers_that_it_can_learn_from_alone(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=6)
    (me,), ranked = world.people(1), world.task(("a", "b", "c"))
    for task in world.store.tasks.of_round(world.round.id)[:4]:
        world.choose(me, task, 1)
    world.answer(me, ranked, Answer(tuple((i,) for i in ranked.response_ids)))
    asking = world.store.asking
    every, known = asking.pairs(), set(asking.responses()[2:])
    known -= {ranked.response_ids[0]}
    some = [p for p in every if {p.chosen_id, p.rejected_id} <= known]
    assert asking.pairs(known) == some and asking.pairs([]) == []
    assert 1 < len(some) < len(every) == 7
