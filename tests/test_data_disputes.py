"""Where labelers disagree most, from answers known by hand; what a decision is, and is not."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from data_world import World

from data.activity import Activity, activity
from data.assignments import REPEAT_AFTER, AssignmentRules
from data.database import now
from data.disputes import any_answered_twice, disputes, entropy, heat_of
from data.errors import Conflict
from data.records import Answer, Labeler, Task


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


def test_a_question_must_have_two_answers_for_anybody_to_disagree(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(wanted=2)
    assert not any_answered_twice(world.store)
    world.choose(ada, task, 0)
    assert not any_answered_twice(world.store)
    world.choose(ben, task, 0)
    assert any_answered_twice(world.store) and any_answered_twice(world.store, world.round.id)
    assert not any_answered_twice(world.store, 999)


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


def test_a_decision_stays_listed_however_the_answers_stand(world: World) -> None:
    """It is changed among the disputes alone."""
    ada, ben = world.people(2)
    lead = world.store.people.add("Lead", "lead")
    task, untouched = world.task(wanted=3), world.task()
    first, second = task.response_ids

    def listed() -> list[tuple[int, float, int, bool]]:
        return [(d.task_id, d.heat, d.answers, d.decided) for d in disputes(world.store)]

    world.choose(ada, task, 0, strength=4)
    world.choose(lead, task, 1, strength=4)
    assert listed() == [(task.id, pytest.approx(1), 2, False)]
    world.store.decisions.decide(lead.id, task.id, Answer(((first,), (second,))), "slip")
    assert listed() == [(task.id, 0, 1, True)]  # the lead's own was the one that differed
    assert not any_answered_twice(world.store)
    said = world.choose(ben, task, 1, strength=4)
    assert listed() == [(task.id, pytest.approx(1), 2, True)]
    world.store.people.set_aside(ben.id, True)
    assert listed() == [(task.id, 0, 1, True)]
    world.store.people.set_aside(ben.id, False)
    world.store.comparisons.submit(ben.id, task, Answer(((first,), (second,))), "revised",
                                   said.revision)
    assert listed() == [(task.id, 0, 2, True)]
    world.store.decisions.decide(lead.id, untouched.id, Answer((untouched.response_ids,), 0), "key")
    assert listed() == [(task.id, 0, 2, True), (untouched.id, 0, 0, True)]
    assert disputes(world.store, world.round.id) == disputes(world.store)
    assert disputes(world.store, 999) == []
    world.store.people.set_aside(lead.id, True)  # a decision that is set aside is none
    assert listed() == []


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


def decided(world: World, count: int = 1) -> tuple[Labeler, list[Task]]:
    """A lead who has decided so many tasks, each of which still wants labels."""
    lead = world.store.people.add("Lead", "lead")
    tasks = [world.task(wanted=3) for _ in range(count)]
    for task in tasks:
        ranking = tuple((i,) for i in task.response_ids)
        world.store.decisions.decide(lead.id, task.id, Answer(ranking), f"decision {task.id}")
    return lead, tasks


def test_who_has_decided_a_task_is_not_asked_it_as_a_labeler(world: World) -> None:
    lead, (task,) = decided(world)
    assert world.store.assignments.next_for(lead.id) is None
    assert world.store.assignments.open_for(lead.id) == 0
    assert world.store.assignments.last_done(lead.id) is None  # nothing for Undo to bring back
    other = world.task()
    world.choose(lead, other, 0)
    world.store.decisions.decide(lead.id, task.id, Answer((task.response_ids,), 0), "anew")
    assert world.store.assignments.last_done(lead.id) == (other.id, False)


def test_a_decision_is_no_answer_of_its_lead(world: World,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is an answer that became one; deciding anew changes nothing about that."""
    lead, (task, *_) = decided(world, 2)
    assert activity(world.store)[lead.id] == Activity()
    mine, other = world.task(wanted=2), world.task(wanted=2)
    world.choose(lead, mine, 0)
    world.choose(lead, other, 0)
    assert activity(world.store)[lead.id] == Activity(2, 2, 2)
    for number, changed in enumerate((mine, task)):
        world.store.decisions.decide(lead.id, changed.id, Answer((changed.response_ids,), 0),
                                     f"anew {number}")
    assert activity(world.store)[lead.id] == Activity(1, 1, 1)
    world.store.rounds.open(world.policy, world.reference)
    assert activity(world.store)[lead.id] == Activity(1, 0, 1)
    monkeypatch.setattr("data.activity.now", lambda: now(timedelta(days=1)))
    assert activity(world.store)[lead.id] == Activity(1, 0, 0)


def test_hidden_tasks_are_answers_of_the_round(world: World) -> None:
    """Also known answers, which are of none; those from before it, and practice, are not."""
    ada, ben = world.people(2)
    task, known = world.task(), [world.task() for _ in range(3)]
    earlier, gold, practice = (world.store.known.add(
        one.prompt_id, one.response_ids, Answer(tuple((i,) for i in one.response_ids)),
        practice=one is known[2]) for one in known)
    world.choose(ada, world.store.tasks.get(earlier), 0)
    turn = world.store.rounds.open(world.policy, world.reference)
    assert activity(world.store)[ada.id] == Activity(1, 0, 1)
    add = world.store.tasks.add
    ordinary = add(task.prompt_id, task.response_ids, round_id=turn.id)
    repeat = add(task.prompt_id, task.response_ids, round_id=turn.id, purpose="repeat",
                 repeat_of=task.id, only_for=ada.id)
    for number in (ordinary, repeat, gold):
        world.choose(ada, world.store.tasks.get(number), 0)
    assert activity(world.store)[ada.id] == Activity(4, 3, 4)
    world.choose(ada, world.store.tasks.get(practice), 0)
    assert activity(world.store)[ada.id] == Activity(5, 3, 5)
    assert world.store.comparisons.hidden(ada.id, turn.id) == (1, 1)
    assert activity(world.store)[ben.id] == Activity()


def test_a_decision_is_changed_by_deciding_alone(world: World) -> None:
    lead, (task,) = decided(world)
    stands = world.store.decisions.of_task(task.id)
    with pytest.raises(Conflict, match="decide it anew"):
        world.store.comparisons.undo_last(lead.id, task, "undo")
    with pytest.raises(Conflict, match="decide it anew"):
        world.store.comparisons.submit(lead.id, task, Answer((task.response_ids,), 0), "edit", 1)
    assert world.store.decisions.of_task(task.id) == stands
    assert world.store.comparisons.current() == []  # nothing that was answered blind


def test_the_same_decision_once_more_is_none(world: World) -> None:
    """But a new note is a new one, and so is the same word against more answers or another lead."""
    decisions = world.store.decisions
    lead, other, ada = world.people(3)
    task = world.task(wanted=3)
    first, second = task.response_ids
    word, against = Answer(((first,), (second,))), Answer(((second,), (first,)))
    ids = [decisions.decide(lead.id, task.id, word, f"press {number}", "So.").comparison_id
           for number in (1, 2)]
    assert ids[0] == ids[1] and len(world.store.comparisons.history(task.id, lead.id)) == 1
    ids.append(decisions.decide(lead.id, task.id, word, "note", "So it is.").comparison_id)
    world.choose(ada, task, 1)
    anew = decisions.decide(lead.id, task.id, word, "more", "So it is.")
    assert len(anew.overrides) == 1
    decisions.decide(other.id, task.id, against, "other")
    last = decisions.decide(lead.id, task.id, word, "again", "So it is.")
    assert len({*ids, anew.comparison_id, last.comparison_id}) == 4
    assert decisions.of_task(task.id) == last


def test_no_hidden_repeat_is_of_a_decision(world: World) -> None:
    lead, tasks = decided(world, REPEAT_AFTER + 5)
    world.store.assignments.set_rules(AssignmentRules(repeat_share=0.5))
    repeated = set()
    for _ in range(40):
        world.task()
        given = world.store.assignments.next_for(lead.id)
        assert given is not None
        repeated.add(given.task.repeat_of)
        world.choose(lead, given.task, 0)
    assert len(repeated) > 5 and not repeated & {task.id for task in tasks}


def test_nobody_is_measured_by_an_answer_that_they_stated(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task()
    world.store.assignments.set_rules(AssignmentRules(gold_share=0.5))
    gold = [world.store.known.add(task.prompt_id, task.response_ids,
                                  Answer((task.response_ids,), 0), by=ada.id) for _ in range(20)]
    asked: dict[int, set[int]] = {ada.id: set(), ben.id: set()}
    for who in (ada, ben):
        for _ in range(20):
            world.task(wanted=2)
            given = world.store.assignments.next_for(who.id)
            assert given is not None
            asked[who.id].add(given.task.id)
            world.choose(who, given.task, 0)
    assert not asked[ada.id] & set(gold) and asked[ben.id] & set(gold)
