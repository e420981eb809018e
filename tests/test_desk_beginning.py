"""A labeler's desk while the round begins: what is said of it, and to somebody new."""

from __future__ import annotations

from datetime import timedelta

import pytest
from data_world import World, user
from desk_world import Person, entry, pairs, send, undo

from annotate.labelers.showing import FIRST_ANSWERS
from annotate.rendering import CUT_OFF
from data.database import now
from data.records import Job, NewResponse


def sampling(world: World) -> Job:
    """A job that writes the round's responses."""
    job = world.store.jobs.add("sample")
    world.store.jobs.claim(job.id)
    world.store.jobs.set_round(job.id, world.round.id)
    return job


def test_no_total_is_named_while_responses_are_being_written(world: World, me: Person) -> None:
    store, job = world.store, sampling(world)
    mine = me.desk()
    for number in (1, 2):
        world.task()
        view = send(mine, entry(mine.view()["question"]))
        assert (view["progress"]["given"], view["progress"]["wanted"]) == (number, None)
    store.jobs.requeue(job.id, "goes on soon")
    assert mine.view()["progress"]["wanted"] is None
    store.jobs.fail(job.id, "the disk is full")  # no more will come
    assert mine.view()["progress"]["wanted"] == 2
    store.rounds.open(world.policy, world.reference)
    sampling(world)
    assert mine.view()["progress"]["wanted"] == 0  # it works for another round


def test_who_has_answered_waits_for_the_next_pair(world: World, me: Person) -> None:
    job = sampling(world)
    world.store.jobs.set_progress(job.id, 0.5, "")
    mine = me.desk()
    assert "The first pair appears" in mine.view()["nothing"]["text"]
    world.task()
    question = mine.view()["question"]
    view = send(mine, entry(question))
    assert "The next pair appears" in view["nothing"]["text"]
    view = send(mine, undo(question))
    view = send(mine, {"key": view["question"]["key"], "do": "skip", "reason": "upsetting"})
    assert "The next pair appears" in view["nothing"]["text"]


def test_who_waits_is_told_for_how_long_or_since_when(world: World, me: Person) -> None:
    store, mine = world.store, me.desk()

    def said() -> str:
        return str(mine.view()["nothing"]["text"])

    first = store.jobs.add("ppo")
    store.jobs.add("sample")
    assert "no worker is running to do it: tell your lead" in said()
    store.put_setting("worker", {"pid": 1, "seen": now()})
    assert said().startswith("The job is queued. ")
    store.jobs.claim(first.id)
    store.jobs.set_progress(first.id, 0.5, "", 300)
    assert "queued behind another, with about 5 min left" in said()
    store.jobs.finish(first.id, {})
    job = store.jobs.claim()
    assert job is not None
    with store.database.write() as db:
        began = now(timedelta(minutes=-7))
        db.conn.execute("UPDATE jobs SET started_at = ? WHERE id = ?", (began, job.id))
    assert "0% done. Begun 7 min ago; how long it takes is known soon" in said()
    store.jobs.set_progress(job.id, 0.25, "", 900)
    assert "25% done. About 15 min left in all. The first pair" in said()


@pytest.mark.parametrize(("reason", "cut"), [("length", CUT_OFF), ("eos", ""), ("stop", ""),
                                             ("unknown", "")])
def test_a_response_that_was_cut_off_says_so(world: World, me: Person, reason: str,
                                             cut: str) -> None:
    prompt, _ = world.store.prompts.add(user("why?"), "test")
    ids = world.store.responses.add(NewResponse(
        prompt, text, world.policy, world.round.id, sample_index=i, finish_reason=how)
        for i, (text, how) in enumerate((("whole", "eos"), ("because of the", reason))))
    world.store.tasks.add(prompt, ids, round_id=world.round.id)
    question = me.desk().view()["question"]
    assert {response["text"]: response["cut"] for response in question["responses"]} == {
        "whole": "", "because of the": cut}


def test_somebody_new_without_guidelines_is_told_what_to_do(world: World, me: Person) -> None:
    pairs(world, 2 * FIRST_ANSWERS)
    mine = me.desk()
    view = mine.view()
    for _ in range(FIRST_ANSWERS):
        assert view["unguided"]
        view = send(mine, entry(view["question"]))
    assert not view["unguided"]
    other = Person(world.store, "you")
    assert other.desk().view()["unguided"]
    world.store.questions.write_guidelines("Be fair.")
    assert not other.desk().view()["unguided"]
