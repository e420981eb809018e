"""What stands beside an answer in Browse: its time, and how a hidden task turned out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from data_world import World

from annotate.leads import evidence
from annotate.leads.evidence import evidence_of
from data.records import Answer, Labeler, Task


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(evidence, "store", lambda: world.store)
    return world


def ranked(task: Task, *order: int, seconds: float = 0.0) -> Answer:
    """The responses at these places, best first."""
    return Answer(tuple((task.response_ids[i],) for i in order), seconds=seconds)


def said(world: World, who: Labeler, task: Task, answer: Answer) -> str:
    return evidence_of(world.answer(who, task, answer), task)


def test_an_ordinary_answer_shows_its_time_if_that_is_known(world: World) -> None:
    (ada,), task = world.people(1), world.task()
    assert said(world, ada, task, ranked(task, 0, 1, seconds=0.94)) == "0.9 s"
    other = world.task()
    assert said(world, ada, other, ranked(other, 0, 1)) == ""


def gold(world: World, texts: tuple[str, ...], practice: bool = False, tie: bool = False) -> Task:
    task = world.task(texts)
    right = Answer((task.response_ids,), 0) if tie else ranked(task, *range(len(texts)))
    return world.store.tasks.get(world.store.known.add(
        task.prompt_id, task.response_ids, right, practice=practice, explanation="so"))


def test_a_known_answer_says_whether_it_was_right(world: World) -> None:
    ada, ben, cy = world.people(3)
    pair = gold(world, ("good", "bad"))
    assert said(world, ada, pair, ranked(pair, 0, 1, seconds=12)) == "12 s · known answer: right"
    assert said(world, ben, pair, ranked(pair, 1, 0)) == "known answer: wrong"
    assert "half right" in said(world, cy, pair, Answer((pair.response_ids,), 0))
    practised = gold(world, ("good", "bad"), practice=True)
    assert said(world, ada, practised, ranked(practised, 0, 1)) == "practice: right"
    tied = gold(world, ("same", "same too"), tie=True)
    assert said(world, ada, tied, ranked(tied, 0, 1)) == "known answer: nothing to be right in"
    three = gold(world, ("a", "b", "c"))
    assert said(world, ada, three, ranked(three, 1, 0, 2)) == "known answer: right in 2 of 3 pairs"
    world.store.known.retire(pair.id)  # what was answered stays as right or wrong as it was
    mine, = world.store.comparisons.history(pair.id, ben.id)
    assert evidence_of(mine, pair) == "known answer: wrong"
    world.store.known.add(pair.prompt_id, pair.response_ids, ranked(pair, 1, 0))
    assert evidence_of(mine, pair) == "known answer: right"  # the first one was wrong itself


def test_a_repeat_says_whether_it_was_the_same_again(world: World) -> None:
    (ada,), store = world.people(1), world.store
    for again, words in (((0, 1), "repeat: same again"), ((1, 0), "repeat: not the same again")):
        task = world.task()
        world.answer(ada, task, ranked(task, 0, 1))
        repeat = store.tasks.get(store.tasks.add(
            task.prompt_id, task.response_ids, round_id=world.round.id, purpose="repeat",
            repeat_of=task.id, only_for=ada.id))
        assert said(world, ada, repeat, replace(ranked(repeat, *again), strength=1)) == words
    store.comparisons.undo_last(ada.id, task, "taken back")
    again, = store.comparisons.history(repeat.id, ada.id)
    assert evidence_of(again, repeat) == "repeat: the first answer was taken back"
