"""Who gets which task next: once each, not too often, what nobody has answered first."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from data_world import World, as_before, user

from annotate.choices import LETTERS
from data.database import now
from data.errors import BadInput, NotFound
from data.records import Answer, NewResponse
from data.store import Store
from data.tasks import MOST_RANKED


def age_leases(world: World, minutes: int) -> None:
    """Let time pass for every lease."""
    with world.store.database.write() as db:
        db.conn.execute("UPDATE assignments SET leased_at = ?", [now(-timedelta(minutes=minutes))])


def test_each_labeler_gets_each_task_once_and_no_task_too_often(world: World) -> None:
    people = world.people(3)
    tasks = {world.task(wanted=2).id for _ in range(6)}
    seen: list[tuple[int, int]] = []
    for turn in range(30):
        labeler = people[turn % 3]
        assignment = world.store.assignments.next_for(labeler.id)
        if assignment is not None:
            seen.append((labeler.id, assignment.task.id))
            world.choose(labeler, assignment.task, 0)
    assert len(seen) == len(set(seen)) == 12
    assert {task for _, task in seen} == tasks
    assert world.store.tasks.progress(world.round.id) == (12, 12)
    assert all(world.store.assignments.open_for(p.id) == 0 for p in people)


def test_what_fewer_have_answered_comes_first_after_priority(world: World) -> None:
    ann, bob = world.people(2)
    first, second, urgent = (world.task(wanted=3), world.task(wanted=3),
                             world.task(wanted=3, priority=1.0))
    world.choose(ann, first, 0)
    order = []
    while assignment := world.store.assignments.next_for(bob.id):
        order.append(assignment.task.id)
        world.choose(bob, assignment.task, 0)
    assert order == [urgent.id, second.id, first.id]


def test_tasks_of_a_workspace_from_before_step_back_with_their_labels(world: World,
                                                                      tmp_path: Path) -> None:
    people, old = world.people(3), tmp_path / "old.db"
    once, fresh, urgent = (world.task(wanted=3), world.task(wanted=3),
                           world.task(wanted=3, priority=1.0))
    world.choose(people[0], once, 0)
    as_before(world.store, old, 9)
    with closing(sqlite3.connect(old)) as db, db:
        db.execute("UPDATE tasks SET priority = 0 WHERE id = ?", [once.id])
    store = Store(old)
    assert [store.tasks.get(t.id).priority for t in (once, fresh, urgent)] == [-1, 0, 1]
    opened = World(store, world.round, world.reference, world.policy)
    for task in (once, fresh, urgent):
        opened.choose(people[1], store.tasks.get(task.id), 0)
    assert [store.tasks.get(t.id).priority for t in (once, fresh, urgent)] == [-2, -1, 1]


def test_a_leased_task_is_not_handed_out_twice_until_the_lease_ends(world: World) -> None:
    ann, bob = world.people(2)
    task = world.task()
    taken = world.store.assignments.next_for(ann.id)
    assert taken is not None and taken.task == task
    assert world.store.assignments.next_for(bob.id) is None
    again = world.store.assignments.next_for(ann.id)  # a reload: the same task, the same sides
    assert again is not None and again.shown == taken.shown
    age_leases(world, 16)
    assert world.store.assignments.next_for(bob.id) is not None
    # Whoever comes back late is still heard.
    world.choose(ann, task, 0)
    world.choose(bob, task, 1)
    assert len(world.store.comparisons.current()) == 2
    assert world.store.tasks.progress(world.round.id) == (1, 1)


def test_fetching_ahead_gives_another_task(world: World) -> None:
    (ann,) = world.people(1)
    world.task()
    world.task()
    here = world.store.assignments.next_for(ann.id)
    assert here is not None
    ahead = world.store.assignments.next_for(ann.id, skip_task=here.task.id)
    assert ahead is not None and ahead.task.id != here.task.id
    world.choose(ann, here.task, 0)
    following = world.store.assignments.next_for(ann.id)
    assert following is not None and following.task.id == ahead.task.id


def test_a_skipped_task_goes_to_somebody_else(world: World) -> None:
    ann, bob = world.people(2)
    task = world.task()
    assert world.store.assignments.next_for(ann.id) is not None
    with pytest.raises(BadInput):
        world.store.assignments.skip(task.id, ann.id, "bored")
    world.store.assignments.skip(task.id, ann.id, "upsetting")
    assert world.store.assignments.next_for(ann.id) is None
    assert world.store.assignments.open_for(ann.id) == 0
    given_to = world.store.assignments.next_for(bob.id)
    assert given_to is not None and given_to.task == task
    world.store.assignments.unskip(task.id, ann.id)
    assert world.store.assignments.next_for(ann.id) is not None
    with pytest.raises(NotFound):
        world.store.assignments.skip(task.id, 99, "other")


def test_a_skipped_task_that_is_answered_after_all_is_no_skip(world: World) -> None:
    ann, = world.people(1)
    task = world.task()
    assert world.store.assignments.next_for(ann.id) is not None
    world.store.assignments.skip(task.id, ann.id, "other")
    assert world.store.assignments.is_skipped(task.id, ann.id)
    assert world.store.assignments.last_done(ann.id) == (task.id, True)
    world.choose(ann, task, 0)
    assert not world.store.assignments.is_skipped(task.id, ann.id)
    assert world.store.assignments.last_done(ann.id) == (task.id, False)


def test_a_closed_round_hands_out_nothing(world: World) -> None:
    ann, bob = world.people(2)
    world.task(wanted=2)
    assert world.store.assignments.next_for(ann.id) is not None
    world.store.rounds.open(world.policy, world.reference)
    assert world.store.assignments.next_for(ann.id) is None  # not even the one she had open
    assert world.store.assignments.next_for(bob.id) is None
    assert world.store.tasks.labels_missing() == world.store.assignments.open_for(bob.id) == 0


def test_a_task_holds_no_more_than_the_page_has_letters_for(world: World) -> None:
    assert len(LETTERS) == MOST_RANKED
    world.task(tuple(LETTERS))
    with pytest.raises(BadInput, match=r"responses: labelers rank at most 9, and .* have 10"):
        world.task((*LETTERS, "J"))
    texts = [*LETTERS, "J"]  # as a file may bring them in
    prompt, _ = world.store.prompts.add(user("Which of ten?"), "test")
    ids = world.store.responses.add(NewResponse(prompt, text) for text in texts)
    with pytest.raises(BadInput, match="at most 9"):
        world.store.known.add(prompt, ids, Answer((tuple(ids),), 0))
    assert world.store.known.all() == []


def test_a_task_needs_two_different_responses_of_its_prompt(world: World) -> None:
    task, other = world.task(), world.task()
    a, b = task.response_ids
    for ids, wanted, purpose in (([a], 1, "train"), ([a, a], 1, "train"), ([], 1, "train"),
                                 ([a, other.response_ids[0]], 1, "train"), ([a, 999], 1, "train"),
                                 ([a, b], 0, "train"), ([a, b], 1, "fun")):
        with pytest.raises(BadInput):
            world.store.tasks.add(task.prompt_id, ids, wanted=wanted, purpose=purpose)
    assert len(world.store.tasks.of_round(world.round.id)) == 2
