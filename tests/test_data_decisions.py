"""A lead's decision takes nobody's place among the labels that its task wants."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from data_world import World, as_before

from data.errors import Conflict
from data.lineage import card
from data.records import Answer, Labeler, Rewrite, Task
from data.store import Store


def disputed(world: World, wanted: int) -> tuple[Task, list[Labeler]]:
    """A task that two of three people have answered differently, and a lead has decided."""
    crew = world.people(3)
    task = world.task(wanted=wanted)
    world.choose(crew[0], task, 0)
    world.choose(crew[1], task, 1)
    decide(world, world.store.people.add("Lead", "lead"), task)
    return task, crew


def decide(world: World, lead: Labeler, task: Task, key: str = "decided") -> None:
    world.store.decisions.decide(lead.id, task.id, Answer((task.response_ids,), 0), key)


def labels_of(store: Store, task: Task) -> str:
    return dict(card(store, "task", task.id, store.people.all()[0].id).facts)["Labels"]


def is_asked(world: World, who: Labeler, task: Task) -> bool:
    given = world.store.assignments.next_for(who.id)
    return given is not None and given.task.id == task.id


def test_a_decided_task_still_wants_the_labels_that_were_wanted(world: World) -> None:
    task, (*_, cas) = disputed(world, wanted=3)
    assert world.store.tasks.progress(world.round.id) == (2, 3)
    assert labels_of(world.store, task) == "2 of 3, decided"
    assert is_asked(world, cas, task)
    world.choose(cas, task, 0)
    assert world.store.tasks.progress(world.round.id) == (3, 3)
    assert labels_of(world.store, task) == "3 of 3, decided"
    assert not is_asked(world, world.people(1)[0], task)


def test_who_is_set_aside_leaves_a_place_that_no_decision_takes(world: World) -> None:
    task, (_, ben, cas) = disputed(world, wanted=2)
    assert not is_asked(world, cas, task)
    world.store.people.set_aside(ben.id, True)
    assert world.store.tasks.progress(world.round.id) == (1, 2)
    assert is_asked(world, cas, task)


def test_an_answer_that_becomes_a_decision_keeps_its_place(world: World) -> None:
    """However often it is decided anew: else a round whose leads label too could never be full."""
    ada, = world.people(1)
    lead, task = world.store.people.add("Lead", "lead"), world.task(wanted=2)
    world.choose(ada, task, 0)
    world.choose(lead, task, 0)
    for number in range(2):
        answer = Answer((task.response_ids,), 0, rationale=f"reason {number}")
        world.store.decisions.decide(lead.id, task.id, answer, f"decided {number}")
        assert world.store.tasks.progress(world.round.id) == (2, 2)
        assert labels_of(world.store, task) == "2 of 2, decided"
        assert world.store.tasks.get(task.id).priority == -2
    assert not is_asked(world, world.people(1)[0], task)
    world.store.people.set_aside(lead.id, True)
    assert labels_of(world.store, task) == "1 of 2"


def test_what_a_lead_had_said_of_single_responses_stays(world: World) -> None:
    """A rewrite, a demonstration to learn from, is none that a decision throws away."""
    lead, task = world.store.people.add("Lead", "lead"), world.task(wanted=2)
    first, second = task.response_ids
    world.answer(lead, task, Answer(((first,), (second,)), 4, flags={second: ("unsafe",)},
                                    scores={first: 6, second: 2}, rationale="It is kind.",
                                    rewrite=Rewrite(first, "Better.")))
    for number in range(3):  # the third is the second once more, which is none
        word = Answer(((second,), (first,))) if number else Answer((task.response_ids,), 0)
        world.store.decisions.decide(lead.id, task.id, word, f"decided {number}", "A note.")
        stands, = world.store.comparisons.current(decisions=True)
        assert stands.answer.ranking == word.ranking and not stands.answer.rationale
        assert stands.answer.flags == {second: ("unsafe",)}
        assert stands.answer.scores == {first: 6, second: 2}
        rewrites = world.store.database.rows("SELECT text FROM current_demonstrations")
        assert [row["text"] for row in rewrites] == ["Better."]
    assert stands.revision == 3


@pytest.mark.parametrize("taken_back", [False, True])
def test_who_has_only_decided_takes_no_place(world: World, taken_back: bool) -> None:
    """Nor does an answer taken back before; the task stays where tasks of its labels are."""
    lead, task = world.store.people.add("Lead", "lead"), world.task()
    if taken_back:
        world.choose(lead, task, 0)
        world.store.comparisons.undo_last(lead.id, task, "undo")
    for number in range(2):
        answer = Answer((task.response_ids,), 0, rationale=f"reason {number}")
        world.store.decisions.decide(lead.id, task.id, answer, f"decided {number}")
        assert world.store.tasks.progress(world.round.id) == (0, 1)
        assert world.store.tasks.get(task.id).priority == 0
    assert is_asked(world, world.people(1)[0], task)
    assert not is_asked(world, lead, task)


def take_back(world: World, lead: Labeler, task: Task) -> None:
    decisions = world.store.decisions
    stands = decisions.of_task(task.id)
    assert stands is not None
    assert decisions.take_back(lead.id, task.id, stands.comparison_id, f"back {stands}")


def test_a_decision_taken_back_leaves_all_as_if_there_had_been_none(world: World) -> None:
    task, (*_, cas) = disputed(world, wanted=3)
    lead, counts = world.store.people.named("Lead"), world.store.comparisons
    before = [p.comparison_id for p in counts.preferences(blind=True)]
    for number in range(2):
        take_back(world, lead, task)
        assert world.store.decisions.take_back(lead.id, task.id, 0, "once more") is None
        assert world.store.decisions.of_task(task.id) is None
        assert [p.comparison_id for p in counts.preferences()] == before
        assert (counts.count(lead.id, decisions=True), counts.count(lead.id)) == (0, 0)
        assert labels_of(world.store, task) == "2 of 3"
        # They have seen everybody's answers, and hold nobody up.
        assert not is_asked(world, lead, task)
        assert world.store.assignments.last_done(lead.id) is None
        decide(world, lead, task, f"anew {number}")
        assert labels_of(world.store, task) == "2 of 3, decided"
    assert is_asked(world, cas, task)


def test_nobody_waits_for_a_lead_who_took_a_decision_back(world: World) -> None:
    """As for whoever has a task at hand."""
    lead, task = world.store.people.add("Lead", "lead"), world.task()
    decide(world, lead, task)
    take_back(world, lead, task)
    assert is_asked(world, world.people(1)[0], task)


def test_another_leads_decision_stands_again_where_the_later_one_is_taken_back(
        world: World) -> None:
    task, _ = disputed(world, wanted=3)
    first, second = world.store.people.named("Lead"), world.store.people.add("Other", "lead")
    theirs = world.store.decisions.of_task(task.id)
    decide(world, second, task, "overruled")
    take_back(world, second, task)
    assert world.store.decisions.of_task(task.id) == theirs
    take_back(world, first, task)
    assert world.store.decisions.of_task(task.id) is None


def test_what_a_lead_had_answered_blind_stands_again_as_it_was(world: World) -> None:
    lead, task = world.store.people.add("Lead", "lead"), world.task(wanted=2)
    one, other = task.response_ids
    given = world.answer(lead, task, Answer(
        ((one,), (other,)), 4, flags={other: ("unsafe",)}, rationale="It is kind.",
        rewrite=Rewrite(one, "Better.")))
    for number in range(2):
        decide(world, lead, task, f"decided {number}")
        take_back(world, lead, task)
        stands, = world.store.comparisons.current()
        assert stands.answer == given.answer
        assert world.store.comparisons.count(lead.id) == 1
        assert labels_of(world.store, task) == "1 of 2"
        rewrites = world.store.database.rows("SELECT text FROM current_demonstrations")
        assert [row["text"] for row in rewrites] == ["Better."]


def test_an_answer_from_before_a_decision_is_changed_by_deciding_alone(world: World) -> None:
    """Its lead has seen the others' by now, so that no other could be called blind."""
    lead, task = world.store.people.add("Lead", "lead"), world.task(wanted=2)
    world.choose(lead, task, 0)
    decide(world, lead, task)
    take_back(world, lead, task)
    stands, = world.store.comparisons.current()
    with pytest.raises(Conflict, match="decide it anew"):
        world.store.comparisons.undo_last(lead.id, task, "undo")
    with pytest.raises(Conflict, match="decide it anew"):
        world.store.comparisons.submit(lead.id, task, Answer((task.response_ids,), 0), "edit",
                                       stands.revision)
    assert world.store.assignments.last_done(lead.id) is None
    assert world.store.comparisons.current() == [stands]


def test_a_workspace_from_before_counts_no_decision_as_a_label(world: World,
                                                               tmp_path: Path) -> None:
    task, (*_, cas) = disputed(world, wanted=3)
    other = world.task()
    world.choose(cas, other, 0)
    decide(world, cas, other, "decided too")
    old = tmp_path / "old.db"
    as_before(world.store, old, 10)
    with closing(sqlite3.connect(old)) as db:
        db.execute("UPDATE tasks SET labels = 3 WHERE id = ?", [task.id])
        db.commit()
    opened = Store(old)
    assert opened.tasks.progress(world.round.id) == (3, 4)
    assert labels_of(opened, task) == "2 of 3, decided"
    assert labels_of(opened, other) == "1 of 1, decided"
    for each in (task, other):
        assert opened.tasks.get(each.id).priority == world.store.tasks.get(each.id).priority


def test_what_was_answered_after_all_is_no_skip_in_a_workspace_from_before(
        world: World, tmp_path: Path) -> None:
    ada, = world.people(1)
    answered, skipped = world.task(), world.task()
    world.choose(ada, answered, 0)
    world.store.assignments.assign(skipped.id, ada.id)
    for task in (answered, skipped):
        world.store.assignments.skip(task.id, ada.id, "cannot judge")
    old = tmp_path / "old.db"
    as_before(world.store, old, 10)
    opened = Store(old).assignments
    assert not opened.is_skipped(answered.id, ada.id) and opened.is_skipped(skipped.id, ada.id)
    reasons = Store(old).database.rows("SELECT skip_reason FROM assignments ORDER BY task_id")
    assert [row["skip_reason"] for row in reasons] == [None, "cannot judge"]
