"""What must always be true of labels: kept as given, once each, and never flipped."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from itertools import pairwise

import pytest
from data_world import World
from hypothesis import given
from hypothesis import strategies as st
from same_examples import SAME

from data.comparisons import pairs_of
from data.errors import AlreadyAnswered, BadInput, Conflict, NotAllowed, NotFound
from data.records import Answer, Rewrite


def test_comparisons_cannot_be_changed_or_deleted(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task()
    world.choose(ann, task, 0)
    world.store.comparisons.undo_last(ann.id, task, "undo")  # has no preferences to hold it
    before = world.store.comparisons.history(task.id, ann.id)
    for sql in ("UPDATE comparisons SET strength = 1", "DELETE FROM comparisons",
                "INSERT OR REPLACE INTO comparisons SELECT * FROM comparisons WHERE id = 2"):
        with pytest.raises(sqlite3.IntegrityError), world.store.database.write() as db:
            db.conn.execute(sql)
    assert world.store.comparisons.history(task.id, ann.id) == before


def test_a_revision_cannot_flip_a_winner_by_swapped_sides(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task(wanted=2)
    sides = {world.store.assignments.assign(task.id, p.id).shown for p in world.people(12)}
    assert len(sides) == 2  # both orders occur
    first = world.choose(ann, task, 1)
    assert world.store.assignments.assign(task.id, ann.id).shown == first.shown
    second = world.store.comparisons.submit(
        ann.id, task, Answer(first.answer.ranking, 1, rationale="still"), "edit", 1)
    assert (second.winner, second.shown, second.revision) == (first.winner, first.shown, 2)
    (preference,) = world.store.comparisons.preferences()
    assert (preference.chosen_id, preference.strength) == (task.response_ids[1], 1)
    assert [c.revision for c in world.store.comparisons.history(task.id, ann.id)] == [1, 2]
    assert world.store.comparisons.get(first.id).answer.strength == 3  # the old one is as it was
    assert second.winner == task.response_ids[1]


def test_sides_are_drawn_once_and_evenly(world: World) -> None:
    (ann,) = world.people(1)
    firsts = 0
    with world.store.database.write():
        for _ in range(200):
            task = world.task()
            shown = world.store.assignments.assign(task.id, ann.id).shown
            assert world.store.assignments.assign(task.id, ann.id).shown == shown
            firsts += shown[0] == task.response_ids[0]
    assert 70 < firsts < 130


def test_sending_an_answer_twice_stores_it_once(world: World) -> None:
    ann, bob = world.people(2)
    task, other = world.task(wanted=2), world.task()
    stored = world.choose(ann, task, 0)
    assert world.choose(ann, task, 0) == stored
    assert world.choose(ann, task, 1) == stored  # the key decides, not what came with it
    with pytest.raises(Conflict):
        world.answer(bob, task, stored.answer, key=stored.submission_key)
    with pytest.raises(Conflict):
        first, second = other.response_ids
        world.answer(ann, other, Answer(((first,), (second,))), key=stored.submission_key)
    assert len(world.store.comparisons.current()) == len(world.store.comparisons.preferences()) == 1


def test_two_tabs_cannot_answer_or_edit_over_each_other(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task()
    stored = world.choose(ann, task, 0)
    with pytest.raises(AlreadyAnswered):
        world.store.comparisons.submit(ann.id, task, stored.answer, "second tab")
    changed = replace(stored.answer, strength=1)
    world.store.comparisons.submit(ann.id, task, changed, "edit in one tab", 1)
    with pytest.raises(Conflict):
        world.store.comparisons.submit(ann.id, task, stored.answer, "edit in the other", 1)
    assert len(world.store.comparisons.history(task.id, ann.id)) == 2


def test_a_change_that_is_sent_twice_under_two_keys_is_one(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task()
    changed = replace(world.choose(ann, task, 0).answer, strength=1)
    first, second = (world.store.comparisons.submit(ann.id, task, changed, f"press {number}", 1)
                     for number in (1, 2))
    assert first == second and first.revision == 2
    assert len(world.store.comparisons.history(task.id, ann.id)) == 2


def test_a_revision_that_changes_nothing_is_none(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task()
    one, two = task.response_ids
    said = Answer(((one,), (two,)), 2, flags={one: ("unsafe", "untrue")}, rationale="so",
                   seconds=5.0, scores={one: 6, two: 2}, rewrite=Rewrite(one, "Better."))
    stored = world.answer(ann, task, said)
    same = replace(said, flags={one: ("untrue", "unsafe"), two: ()}, rationale=" so ",
                   seconds=60.0, rewrite=Rewrite(one, "Better.\n"))
    for number, answer in enumerate((said, same)):
        assert world.store.comparisons.submit(ann.id, task, answer, f"k{number}", 1) == stored
    for number, change in enumerate((
            {"ranking": ((two,), (one,))}, {"strength": 3}, {"flags": {one: ("unsafe",)}},
            {"rationale": "so."}, {"scores": {one: 6, two: 1}}, {"rewrite": None},
            {"rewrite": Rewrite(two, "Better.")}), 1):
        changed = replace(said, **change)  # type: ignore[arg-type]
        assert world.store.comparisons.submit(
            ann.id, task, changed, f"c{number}", number).revision == number + 1
        said = changed
    # A lead who decides what they had answered blind: the same answer, but a decision.
    assert world.store.decisions.decide(ann.id, task.id, said, "d").comparison_id != stored.id


def test_undo_gives_the_task_back_and_takes_the_preference_out(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task()
    world.choose(ann, task, 0)
    assert world.store.assignments.next_for(ann.id) is None
    withdrawn = world.store.comparisons.undo_last(ann.id, task, "undo")
    assert withdrawn.answer.verdict == "withdrawn"
    assert world.store.comparisons.current() == world.store.comparisons.preferences() == []
    assert world.store.tasks.progress(world.round.id) == (0, 1)
    with pytest.raises(NotFound):
        world.store.comparisons.undo_last(ann.id, task, "undo again")
    again = world.store.assignments.next_for(ann.id)
    assert again is not None and again.task == task
    first, second = task.response_ids
    world.store.comparisons.submit(ann.id, task, Answer(((second,), (first,))), "anew")
    assert [c.winner for c in world.store.comparisons.current()] == [second]
    assert world.store.tasks.progress(world.round.id) == (1, 1)


def test_answers_that_do_not_fit_are_refused(world: World) -> None:
    (ann,) = world.people(1)
    task, other = world.task(), world.task()
    a, b = task.response_ids
    world.store.assignments.assign(task.id, ann.id)
    for wrong in (Answer(((a,),)), Answer(((a,), (a,))), Answer(((a,), (other.response_ids[0],))),
                  Answer(((a, b),), 3), Answer(((a,), (b,)), 0), Answer(((a,), (b,)), 5),
                  Answer(((a,), (b,)), 3, "both_bad"), Answer(((a,), (b,)), flags={99: ("x",)}),
                  Answer(((a,), (b,)), rationale="x" * 4001),
                  Answer(((a,), (b,)), seconds=float("nan"))):
        with pytest.raises(BadInput):
            world.store.comparisons.submit(ann.id, task, wrong, f"{wrong}")
    with pytest.raises(NotFound, match="was not shown"):
        c, d = other.response_ids
        world.store.comparisons.submit(ann.id, other, Answer(((c,), (d,))), "unseen")
    world.store.people.set_disabled(ann.id, True)
    with pytest.raises(NotAllowed):
        world.choose(ann, task, 0)
    assert world.store.database.value("SELECT count(*) FROM comparisons") == 0


@SAME
@given(st.permutations(range(5)), st.sets(st.integers(1, 4)))
def test_a_ranking_gives_each_pair_once(order: list[int], cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), 5]
    groups = tuple(tuple(order[i:j]) for i, j in pairwise(edges))
    rank = {i: place for place, group in enumerate(groups) for i in group}
    pairs = pairs_of(Answer(groups, 0 if len(groups) == 1 else 2))
    assert len(pairs) == 10 == len({frozenset(pair[:2]) for pair in pairs})
    for chosen, rejected, strength in pairs:
        if strength == 0:
            assert rank[chosen] == rank[rejected]
        else:
            assert rank[chosen] < rank[rejected] and strength == 2


def test_both_bad_is_a_tie_and_a_withdrawn_answer_nothing() -> None:
    assert pairs_of(Answer(((1, 2),), 0, "both_bad")) == [(1, 2, 0)]
    assert pairs_of(Answer(((1,), (2,)), 3, "withdrawn")) == []
