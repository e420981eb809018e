"""A labeler's desk without a browser: what becomes of its questions when their round ends."""

from __future__ import annotations

from dataclasses import replace

from data_world import World
from desk_world import Person, ack, entry, pairs, send, undo

from annotate import actions
from data.activity import activity
from data.assignments import AssignmentRules
from data.records import Answer


def test_what_a_round_that_has_ended_has_is_not_taken_back(world: World, me: Person) -> None:
    pairs(world, 2)
    mine = me.desk()
    view = mine.view()
    answered, skipped = view["question"], view["ahead"]
    send(mine, entry(answered), {"key": skipped["key"], "do": "skip", "reason": "cannot judge"})
    world.store.rounds.open(world.policy, world.reference)
    assert mine.view()["last"] is None and me.desk().view()["last"] is None
    for question, of in ((answered, "answer"), (skipped, "skip")):
        late = undo(question, of)  # a page that has not heard of the next round
        told = ack(send(mine, late), late["key"])
        assert not told["ok"] and told["final"]
        assert told["words"].startswith("the round has ended")
    stands, = world.store.comparisons.current(labeler_id=me.labeler.id)
    actions.submit(world.store, me.token, stands.task_id,  # as My answers does, which it names
                   replace(stands.answer, strength=4), "changed", stands.revision)
    assert [answer.strength for answer in me.stands()] == [4]


def test_hidden_gold_ends_with_the_round_it_was_handed_out_in(world: World, me: Person) -> None:
    task = world.task(wanted=3)
    best, other = task.response_ids
    for _ in range(2):
        gold = world.store.known.add(task.prompt_id, task.response_ids, Answer(((best,), (other,))))
        world.store.assignments.assign(gold, me.labeler.id)
    mine = me.desk()
    answered = mine.view()["question"]
    view = send(mine, entry(answered))  # the second is at hand then, the ordinary one behind it
    assert view["question"] and view["ahead"] and view["last"]
    world.store.rounds.open(world.policy, world.reference)
    for view in (mine.view(), me.desk().view()):
        assert (view["question"], view["ahead"], view["last"]) == (None, None, None)
    late = undo(answered)
    assert ack(send(mine, late), late["key"])["words"].startswith("the round has ended")


def test_hidden_gold_that_is_changed_later_stays_of_the_round_of_then(world: World,
                                                                      me: Person) -> None:
    """Or the bar would move by a change in My answers where it is of hidden gold alone."""
    task = world.task(wanted=3)
    best, other = task.response_ids
    gold = world.store.known.add(task.prompt_id, task.response_ids, Answer(((best,), (other,))))
    for number in (task.id, gold):
        world.choose(me.labeler, world.store.tasks.get(number), 0)
    world.round = world.store.rounds.open(world.policy, world.reference)
    world.task(wanted=3)
    before = me.desk().view()["progress"]
    for stands in world.store.comparisons.current(labeler_id=me.labeler.id):
        actions.submit(world.store, me.token, stands.task_id, replace(stands.answer, strength=4),
                       f"changed {stands.id}", stands.revision)
        assert me.desk().view()["progress"] == before
    assert activity(world.store)[me.labeler.id].in_round == 0


def test_practice_stays_when_a_round_ends(world: World, me: Person) -> None:
    task = world.task(wanted=3)
    world.store.known.add(task.prompt_id, task.response_ids, Answer((task.response_ids,), 0),
                          practice=True)
    world.store.assignments.set_rules(AssignmentRules(practice=1))
    before = me.desk().view()["question"]
    world.store.rounds.open(world.policy, world.reference)
    after = me.desk().view()["question"]
    assert after["practice"] and after["responses"] == before["responses"]


def test_an_undo_that_comes_again_after_its_round_took_nothing_more(world: World,
                                                                    me: Person) -> None:
    pairs(world, 1)
    mine = me.desk()
    question = mine.view()["question"]
    send(mine, entry(question), undo(question))
    world.store.rounds.open(world.policy, world.reference)
    view = send(me.desk(), undo(question))  # its acknowledgement was lost
    assert ack(view, undo(question)["key"])["ok"] and view["question"] is None
