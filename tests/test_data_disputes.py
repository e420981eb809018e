"""Where labelers disagree most, from answers whose disagreement is known by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from data_world import World

from data.disputes import disputes, entropy, heat_of
from data.records import Answer


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path / "prefloop.db")


def test_entropy_is_that_of_the_textbook() -> None:
    assert entropy([1.0]) == 0
    assert entropy([0.5, 0.5]) == pytest.approx(1)
    assert entropy([0.25] * 4) == pytest.approx(2)
    assert entropy([0.25, 0.75]) == pytest.approx(2 - 0.75 * math.log2(3))


def test_strong_words_make_a_dispute_hotter() -> None:
    assert heat_of({"first": 4, "second": 4}, 2) == pytest.approx(1)
    assert heat_of({"first": 1, "second": 1}, 2) == pytest.approx(0.25)
    assert heat_of({"first": 8}, 2) == 0
    # One of three says the opposite: p = 1/3, at full strength.
    assert heat_of({"first": 8, "second": 4}, 3) == pytest.approx(math.log2(3) - 2 / 3)


def test_the_hottest_comes_first_and_agreement_is_none(world: World) -> None:
    ada, ben, cy = world.people(3)
    agreed, mild, hot, alone = (world.task(wanted=3) for _ in range(4))
    for who in (ada, ben, cy):
        world.choose(who, agreed, 0, strength=1 + who.id % 3)
    for who, winner in ((ada, 0), (ben, 0), (cy, None)):
        world.choose(who, mild, winner)
    for who, winner in ((ada, 0), (ben, 1)):
        world.choose(who, hot, winner, strength=4)
    world.choose(ada, alone, 0)
    found = disputes(world.store)
    assert [(d.task_id, d.answers, d.decided) for d in found] == [
        (hot.id, 2, False), (mild.id, 3, False)]
    assert found[0].heat == pytest.approx(1)
    assert disputes(world.store, world.round.id) == found
    assert disputes(world.store, 999) == []


def test_sides_are_undone(world: World) -> None:
    """Two who were shown opposite sides and chose the same response agree."""
    task = world.task(wanted=8)
    for who in world.people(8):
        world.choose(who, task, 1)
    shown = {c.shown for c in world.store.comparisons.of_task(task.id)}
    assert len(shown) == 2
    assert disputes(world.store) == []


def test_a_ranking_is_disputed_pair_by_pair(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(("a", "b", "c"), wanted=2)
    a, b, c = task.response_ids
    world.answer(ada, task, Answer(((a,), (b,), (c,)), 4))
    world.answer(ben, task, Answer(((b,), (a,), (c,)), 4))
    assert [d.heat for d in disputes(world.store)] == [pytest.approx(1 / 3)]


def test_a_decision_settles_and_is_no_vote(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(wanted=2)
    world.choose(ada, task, 0)
    world.choose(ben, task, 1)
    lead = world.store.people.add("Lead", "lead")
    before, = disputes(world.store)
    first, second = task.response_ids
    world.store.decisions.decide(lead.id, task.id, Answer(((second,), (first,)), 4), "key")
    after, = disputes(world.store)
    assert (before.decided, after.decided) == (False, True)
    assert (after.heat, after.answers) == (before.heat, 2)


def test_known_answers_and_repeats_are_no_disputes(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task()
    first, second = task.response_ids
    gold = world.store.known.add(task.prompt_id, task.response_ids, Answer(((first,), (second,))))
    repeat = world.store.tasks.add(task.prompt_id, task.response_ids, round_id=world.round.id,
                                   purpose="repeat", repeat_of=task.id, only_for=ada.id)
    for number in (gold, repeat):
        for who, winner in ((ada, 0), (ben, 1)):
            world.choose(who, world.store.tasks.get(number), winner)
    assert disputes(world.store) == []


def test_a_withdrawn_answer_is_no_vote(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(wanted=2)
    world.choose(ada, task, 0)
    world.choose(ben, task, 1)
    world.store.comparisons.undo_last(ben.id, task, "undo")
    assert disputes(world.store) == []
