"""Hidden gold, hidden repeats, practice, and a lead's decisions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from data_world import World

from data.assignments import REPEAT_AFTER, AssignmentRules
from data.database import now
from data.errors import BadInput
from data.questions import Question
from data.records import Answer, Assignment, Rewrite
from data.store import Store


def answered(store: Store, labeler_id: int, assignment: Assignment, first: bool = True) -> None:
    """The labeler prefers what is shown first (or last)."""
    shown = assignment.shown if first else tuple(reversed(assignment.shown))
    store.comparisons.submit(labeler_id, assignment.task, Answer(((shown[0],), (shown[1],))),
                             f"{assignment.task.id}/{labeler_id}")


def test_hidden_tasks_come_at_their_shares_and_never_in_training(world: World) -> None:
    ann = world.store.people.add("Ann")
    for _ in range(200):
        world.task()
    gold = []
    for _ in range(60):
        task = world.task()
        gold.append(world.store.known.add(task.prompt_id, task.response_ids, Answer(
            ((task.response_ids[0],), (task.response_ids[1],)))))
    world.store.assignments.set_rules(AssignmentRules(gold_share=0.2, repeat_share=0.1))
    purposes = []
    for _ in range(200):
        assignment = world.store.assignments.next_for(ann.id)
        assert assignment is not None
        purposes.append(assignment.task.purpose)
        answered(world.store, ann.id, assignment)
    assert 25 <= purposes.count("gold") <= 55
    assert 8 <= purposes.count("repeat") <= 32
    trained = {p.task_id for p in world.store.comparisons.preferences()}
    assert {world.store.tasks.get(i).purpose for i in trained} == {"train"}
    assert "repeat" not in purposes[:REPEAT_AFTER]


def test_a_repeat_swaps_the_sides_and_is_nobody_elses(world: World) -> None:
    ann, bob = world.store.people.add("Ann"), world.store.people.add("Bob")
    for _ in range(60):
        world.task(wanted=2)
    world.store.assignments.set_rules(AssignmentRules(repeat_share=0.5))
    repeats = []
    for _ in range(50):
        assignment = world.store.assignments.next_for(ann.id)
        assert assignment is not None
        answered(world.store, ann.id, assignment)
        if assignment.task.repeat_of is not None:
            repeats.append(assignment)
    assert len({a.task.repeat_of for a in repeats}) == len(repeats) > 5
    for repeat in repeats:
        first = world.store.assignments.get(repeat.task.repeat_of or 0, ann.id)
        assert first is not None and first.shown == tuple(reversed(repeat.shown))
    while assignment := world.store.assignments.next_for(bob.id):
        assert assignment.task.only_for in (None, bob.id)
        answered(world.store, bob.id, assignment)


def test_repeats_are_of_an_open_round(world: World) -> None:
    """One of a round that has ended could not be answered: it would be gone while it is read."""
    ann = world.store.people.add("Ann")
    before = [world.task() for _ in range(REPEAT_AFTER + 10)]
    for task in before:
        world.choose(ann, task, 0)
    world.store.assignments.set_rules(AssignmentRules(repeat_share=0.5))
    world.round = world.store.rounds.open(world.policy, world.reference)
    for _ in range(REPEAT_AFTER + 20):
        world.task()
    repeats = 0
    while assignment := world.store.assignments.next_for(ann.id):
        assert assignment.task.round_id == world.round.id
        repeats += assignment.task.purpose == "repeat"
        answered(world.store, ann.id, assignment)
    assert repeats > 3
    assert world.store.tasks.of_round(before[0].round_id or 0, "repeat") == []


def test_a_repeat_that_was_left_open_comes_again(world: World) -> None:
    """With the same sides; what was skipped does not."""
    store, ann = world.store, world.store.people.add("Ann")
    for _ in range(REPEAT_AFTER + 40):
        world.task()
    store.assignments.set_rules(AssignmentRules(repeat_share=0.5))
    repeats: list[Assignment] = []
    while assignment := store.assignments.next_for(ann.id):
        if assignment.task.purpose != "repeat":
            answered(store, ann.id, assignment)
            continue
        repeats.append(assignment)
        if len(repeats) == 1:  # left open, longer ago than a lease lasts
            with store.database.write() as db:
                db.conn.execute("UPDATE assignments SET leased_at = ?", [now(-timedelta(hours=1))])
        elif len(repeats) == 3:
            store.assignments.skip(assignment.task.id, ann.id, "other")
        else:
            answered(store, ann.id, assignment)
    left, again, skipped, *others = repeats
    assert (again.task, again.shown) == (left.task, left.shown)
    assert others and skipped.task not in [each.task for each in others]


def test_hidden_tasks_end_with_the_others(world: World) -> None:
    ann = world.store.people.add("Ann")
    task = world.task()
    for _ in range(5):
        world.store.known.add(task.prompt_id, task.response_ids, Answer((task.response_ids,), 0))
    world.store.assignments.set_rules(AssignmentRules(gold_share=0.5))
    while assignment := world.store.assignments.next_for(ann.id):
        answered(world.store, ann.id, assignment)
    assert world.store.comparisons.count(ann.id) <= 6
    assert world.store.assignments.open_for(ann.id) == 0


def test_gold_that_was_left_open_comes_again(world: World) -> None:
    """Also when its round has ended meanwhile; what was skipped does not."""
    store, ann = world.store, world.store.people.add("Ann")
    left, skipped, retired = gold = [store.known.add(task.prompt_id, task.response_ids, Answer(
        (task.response_ids,), 0)) for task in (world.task() for _ in range(3))]
    for task_id in gold:
        store.assignments.assign(task_id, ann.id)
    store.assignments.skip(skipped, ann.id, "other")
    store.known.retire(retired)
    with store.database.write() as db:
        db.conn.execute("UPDATE assignments SET leased_at = ?", [now(-timedelta(hours=1))])
    world.round = store.rounds.open(world.policy, world.reference)
    for _ in range(20):
        world.task()
    store.assignments.set_rules(AssignmentRules(gold_share=0.5))
    asked = []
    while assignment := store.assignments.next_for(ann.id):
        asked.append(assignment.task.id)
        answered(store, ann.id, assignment)
    assert len(asked) == 21 and set(asked) & set(gold) == {left}


def test_practice_comes_first(world: World) -> None:
    ann = world.store.people.add("Ann")
    task = world.task()
    practice = [world.store.known.add(task.prompt_id, task.response_ids,
                                      Answer((task.response_ids,), 0), practice=True,
                                      explanation="They say the same.") for _ in range(3)]
    world.store.assignments.set_rules(AssignmentRules(practice=2))
    order = []
    while assignment := world.store.assignments.next_for(ann.id):
        order.append(assignment.task.id)
        answered(world.store, ann.id, assignment)
    assert order == [*practice[:2], task.id]
    bob = world.store.people.add("Bob")
    here = world.store.assignments.next_for(bob.id)
    assert here is not None
    ahead = world.store.assignments.next_for(bob.id, skip_task=here.task.id)
    assert ahead is not None
    answered(world.store, bob.id, here)
    assert world.store.assignments.next_for(bob.id, skip_task=ahead.task.id) is None
    assert {p.task_id for p in world.store.comparisons.preferences()} == {task.id}


def test_a_decision_stands_for_its_task_and_names_whom_it_overrides(world: World) -> None:
    lead, ann, bob = (world.store.people.add(name) for name in ("Lead", "Ann", "Bob"))
    task = world.task(wanted=2)
    stored = []
    for who, first in ((ann, True), (bob, False)):
        assignment = world.store.assignments.assign(task.id, who.id)
        one, two = task.response_ids if first else tuple(reversed(task.response_ids))
        stored.append(world.store.comparisons.submit(
            who.id, assignment.task, Answer(((one,), (two,))), f"k{who.id}"))
    won = Answer(((task.response_ids[0],), (task.response_ids[1],)), 4)
    decision = world.store.decisions.decide(lead.id, task.id, won, "d1", "Bob missed the error.")
    assert decision.overrides == (stored[1].id,)
    assert world.store.decisions.decide(lead.id, task.id, won, "d1").comparison_id == \
        decision.comparison_id
    assert [(p.labeler_id, p.chosen_id) for p in world.store.comparisons.preferences()] == [
        (lead.id, task.response_ids[0])]
    assert len(world.store.comparisons.current()) == 2
    assert len(world.store.comparisons.current(decisions=True)) == 3
    changed = Answer((task.response_ids,), 0)
    again = world.store.decisions.decide(lead.id, task.id, changed, "d2")
    assert again.overrides == (stored[0].id, stored[1].id)
    assert [p.strength for p in world.store.comparisons.preferences()] == [0]
    standing = world.store.decisions.of_task(task.id)
    assert standing is not None and standing.comparison_id == again.comparison_id


def test_scores_rewrites_and_versions_are_kept(world: World) -> None:
    ann = world.store.people.add("Ann")
    task = world.task()
    version = world.store.questions.change(Question(scores=True, rewrite=True), ann.id)
    assert world.store.questions.change(Question(scores=True, rewrite=True)) == version
    guide = world.store.questions.write_guidelines("Be *fair*.", ann.id)
    world.store.assignments.assign(task.id, ann.id)
    one, two = task.response_ids
    answer = Answer(((one,), (two,)), scores={one: 7, two: 1}, rewrite=Rewrite(one, " Better. "),
                    active_seconds=3.5, seconds=9.0, question_version=version,
                    guidelines_version=guide)
    stored = world.store.comparisons.submit(ann.id, task, answer, "k")
    assert stored.answer.scores == {one: 7, two: 1}
    assert (stored.answer.question_version, stored.answer.guidelines_version) == (version, guide)
    assert stored.answer.active_seconds == 3.5
    assert world.store.comparisons.rewrite_of(stored.id) == Rewrite(one, "Better.")
    for field, bad in (("scores", {"scores": {one: 8}}), ("rewrite", {"rewrite": Rewrite(99, "x")}),
                       ("rewrite", {"rewrite": Rewrite(one, "  ")}),
                       ("active_seconds", {"active_seconds": float("nan")})):
        with pytest.raises(BadInput, match=field):
            world.store.comparisons.submit(
                ann.id, task, Answer(((one,), (two,)), **bad), "k2", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("field", "rules"), [
    ("gold_share", {"gold_share": 0.6}), ("repeat_share", {"repeat_share": -0.1}),
    ("practice", {"practice": 51}), ("lease_minutes", {"lease_minutes": 0}),
    ("daily_goal", {"daily_goal": -1})])
def test_rules_out_of_bounds_name_their_field(field: str, rules: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=field):
        AssignmentRules(**rules)  # type: ignore[arg-type]


@pytest.mark.parametrize(("field", "values"), [
    ("scale", {"scale": "x"}), ("flags", {"flags": ("a", "A")}), ("flags", {"flags": (" a",)}),
    ("flags", {"flags": tuple("abcdefghijklm")})])
def test_questions_out_of_bounds_name_their_field(field: str, values: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=field):
        Question(**values)  # type: ignore[arg-type]


def test_guidelines_have_versions(tmp_path: Path) -> None:
    store = Store(tmp_path / "prefloop.db")
    assert store.questions.guidelines() is None
    first = store.questions.write_guidelines("One")
    assert store.questions.write_guidelines("One") == first
    second = store.questions.write_guidelines("Two")
    assert [g.version for g in store.questions.all_guidelines()] == [second, first]
    with pytest.raises(BadInput, match="guidelines"):
        store.questions.write_guidelines("x" * 50_001)


def test_the_audit_log_is_append_only(tmp_path: Path) -> None:
    import sqlite3

    store = Store(tmp_path / "prefloop.db")
    store.audit.record(None, "labeler.add", "Ann", role="labeler")
    assert store.audit.entries(action="labeler.add")[0].details == {"role": "labeler"}
    for statement in ("UPDATE audit SET action = 'x'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store.database.connection.conn.execute(statement)
