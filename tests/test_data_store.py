"""What must always be true of labels: kept as given, once each, and never flipped."""

import sqlite3
from datetime import timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from data_world import World, user
from hypothesis import given
from hypothesis import strategies as st

from data.comparisons import pairs_of
from data.database import now
from data.errors import AlreadyAnswered, BadInput, Conflict, NotAllowed, NotFound
from data.prompts import HELD_OUT_SHARE, fingerprint, split_of
from data.records import Answer, NewResponse
from data.store import Store


def age_leases(world: World, minutes: int) -> None:
    """Let time pass for every lease."""
    with world.store.database.write() as db:
        db.conn.execute("UPDATE assignments SET leased_at = ?", [now(-timedelta(minutes=minutes))])


# Comparisons: append-only, by response id, once each

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
    assert second.first_shown_won == (second.shown[0] == task.response_ids[1])


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
    world.store.comparisons.submit(ann.id, task, stored.answer, "edit in one tab", 1)
    with pytest.raises(Conflict):
        world.store.comparisons.submit(ann.id, task, stored.answer, "edit in the other", 1)
    assert len(world.store.comparisons.history(task.id, ann.id)) == 2


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


# Tasks: who gets what next

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


def test_a_closed_round_hands_out_nothing(world: World) -> None:
    ann, bob = world.people(2)
    world.task(wanted=2)
    assert world.store.assignments.next_for(ann.id) is not None
    world.store.rounds.open(world.policy, world.reference)
    assert world.store.assignments.next_for(ann.id) is None  # not even the one she had open
    assert world.store.assignments.next_for(bob.id) is None
    assert world.store.tasks.labels_missing() == world.store.assignments.open_for(bob.id) == 0


def test_a_task_needs_two_different_responses_of_its_prompt(world: World) -> None:
    task, other = world.task(), world.task()
    a, b = task.response_ids
    for ids, wanted, purpose in (([a], 1, "train"), ([a, a], 1, "train"), ([], 1, "train"),
                                 ([a, other.response_ids[0]], 1, "train"), ([a, 999], 1, "train"),
                                 ([a, b], 0, "train"), ([a, b], 1, "fun")):
        with pytest.raises(BadInput):
            world.store.tasks.add(task.prompt_id, ids, wanted=wanted, purpose=purpose)
    assert len(world.store.tasks.of_round(world.round.id)) == 2


# Prompts and responses

def test_the_split_is_the_prompts_own_and_never_changes(tmp_path: Path) -> None:
    texts = [f"Question number {i}?" for i in range(400)]
    one, two = Store(tmp_path / "one.db"), Store(tmp_path / "two.db")
    with one.database.write(), two.database.write():
        for text, last in zip(texts, reversed(texts), strict=True):
            one.prompts.add(user(text), "a")
            two.prompts.add(user(f"  {last} "), "b", ["tag"])  # blanks make no difference
    splits = [{p.text.strip(): p.split for p in store.prompts.all()} for store in (one, two)]
    assert splits[0] == splits[1]
    assert one.prompts.count("held_out") / 400 == pytest.approx(HELD_OUT_SHARE, abs=.07)
    # Pinned: another version of the program must not move prompts between the splits.
    assert fingerprint(user(" Why? ")) == sha256(b'[["user","Why?"]]').hexdigest()
    assert split_of(user("Why?")) == "train"
    longer = [*user("Why?"), {"role": "assistant", "content": "So."}, *user("Still, why?")]
    for last in map(str, range(20)):  # dialogues that begin alike stay together
        assert split_of([{"role": "system", "content": last}, *longer, *user(last)]) == "train"
    assert one.prompts.add(user(texts[0]), "again") == (1, False)


def test_responses_are_stored_once_and_read_in_any_number(world: World) -> None:
    prompt_id, _ = world.store.prompts.add(user("Many?"), "test")
    sample = NewResponse(prompt_id, "x", world.policy, world.round.id)
    ids = world.store.responses.add(
        NewResponse(prompt_id, "y" * (i % 7), world.policy, world.round.id, sample_index=i)
        for i in range(1, 40_000))
    assert [r.id for r in world.store.responses.get(ids[::-1])] == ids[::-1]
    assert world.store.responses.lengths()[ids[0]] == 1
    assert world.store.responses.lengths(world.round.id) == {}
    world.store.responses.add([sample])
    with pytest.raises(sqlite3.IntegrityError):
        world.store.responses.add([NewResponse(prompt_id, "new"), sample])
    assert len(world.store.responses.all()) == 40_000  # nothing of the failed call
    with pytest.raises(NotFound):
        world.store.responses.get([ids[0], 99_999])


# Lineage

def test_a_policy_version_leads_back_to_its_labelers_in_plain_sql(world: World) -> None:
    ann, bob = world.people(2)
    first, second = world.task(wanted=2), world.task(wanted=2)
    kept = [world.choose(ann, first, 0), world.choose(bob, second, 1)]
    unused = world.choose(bob, first, 1)
    reward = world.store.versions.add_reward_model(
        name="rm", base="tiny", path="rm", round_id=world.round.id,
        comparisons={kept[0].id: "train", kept[1].id: "train", unused.id: "held_out"})
    tuned = world.store.versions.add_policy(
        name="tuned", base="tiny", method="ppo", parent_id=world.policy,
        reward_model_id=reward.id, round_id=world.round.id)
    child = world.store.versions.add_policy(name="child", base="tiny", method="best-of-n",
                                            parent_id=tuned.id)
    walk = sqlite3.connect(world.store.database.path).execute("""
        SELECT p.name, m.name, l.name, s.text, source.name FROM policy_versions p
        JOIN reward_models m ON m.id = p.reward_model_id
        JOIN reward_model_comparisons rc ON rc.reward_model_id = m.id AND rc.split = 'train'
        JOIN comparisons c ON c.id = rc.comparison_id JOIN labelers l ON l.id = c.labeler_id
        JOIN task_responses tr ON tr.task_id = c.task_id JOIN responses s ON s.id = tr.response_id
        JOIN policy_versions source ON source.id = s.policy_version_id
        WHERE p.id = ? ORDER BY c.id, tr.position""", [tuned.id]).fetchall()
    assert walk == [("tuned", "rm", ann.name, "one", "reference"),
                    ("tuned", "rm", ann.name, "two", "better"),
                    ("tuned", "rm", bob.name, "one", "reference"),
                    ("tuned", "rm", bob.name, "two", "better")]
    assert world.store.versions.labelers_behind(child.id) == {ann.name: 1, bob.name: 1}
    assert world.store.versions.labelers_behind(world.policy) == {}


def test_settings_and_unknown_names(world: World) -> None:
    world.store.put_setting("k", {"a": [1]})
    world.store.put_setting("k", 2)
    assert (world.store.setting("k"), world.store.setting("none", 7)) == (2, 7)
    for ask in (lambda: world.store.versions.policy_named("x"),
                lambda: world.store.versions.reward_model_named("x"),
                lambda: world.store.people.named("x"), lambda: world.store.prompts.get(99),
                lambda: world.store.tasks.get(99), lambda: world.store.comparisons.get(99),
                lambda: world.store.rounds.get(99), lambda: world.store.jobs.get(99),
                lambda: Store.of_workspace(Path("/nowhere"))):
        with pytest.raises(NotFound):
            ask()
