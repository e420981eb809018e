"""A labeler's desk without a browser: what it hands out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from data_world import World
from desk_world import Person, ack, entry, pairs, send, undo

from annotate.labelers.sealing import seal, secret_of, unseal
from data.assignments import AssignmentRules
from data.questions import Question
from data.records import Answer


def test_the_next_question_is_handed_out_ahead_and_stays(world: World, me: Person) -> None:
    pairs(world, 3)
    mine = me.desk()
    first = mine.view()
    assert mine.view()["question"]["key"] == first["question"]["key"]
    after = send(mine, entry(first["question"]))
    assert after["question"]["key"] == first["ahead"]["key"]
    assert after["ahead"]["key"] not in (first["question"]["key"], first["ahead"]["key"])
    assert ack(after, first["question"]["key"])["words"] == "Saved: A better."
    assert (after["progress"]["mine"], after["progress"]["today"]) == (1, 1)


def test_reloads_show_the_question_that_was_read(world: World, me: Person) -> None:
    """However many were handed out and left open: undo brings a third."""
    pairs(world, 5)
    mine = me.desk()
    question = mine.view()["question"]
    send(mine, entry(question))
    read = send(mine, undo(question))["question"]
    left_open = [name(read), *(name(each.payload) for each in mine.handed[1:])]
    assert name(read) == name(question) and len(left_open) == 3
    for _ in range(4):
        mine = me.desk()
        view = mine.view()
        assert [name(view["question"]), name(view["ahead"])] == left_open[:2]
    view = send(mine, entry(view["question"]))
    assert [name(view["question"]), name(view["ahead"])] == left_open[1:]
    assert view["last"]["id"] == left_open[0]
    assert name(me.desk().view()["question"]) == left_open[1]


def name(question: dict[str, Any]) -> str:
    """What stays the same when a question is handed out again."""
    found: str = question["key"].split("-")[0]
    return found


def test_a_view_tells_neither_ids_nor_origin_nor_purpose(world: World, me: Person) -> None:
    store = world.store
    ordinary = world.task(("same one", "same two"), prompt="plain", wanted=3)
    first, second = (store.responses.get([i])[0] for i in ordinary.response_ids)
    store.known.add(first.prompt_id, (second.id, first.id), Answer(((second.id,), (first.id,))))
    store.assignments.set_rules(AssignmentRules(gold_share=0.5))
    view = me.desk().view()
    assert set(view) == {"owner", "question", "ahead", "ask", "progress", "acks", "last",
                         "unguided", "nothing", "refused"}
    for shown in (view["question"], view["ahead"]):
        if shown is not None:
            assert set(shown) == {"key", "practice", "conversation", "responses", "before"}
            assert all(set(response) == {"html", "text", "cut"} for response in shown["responses"])
            assert shown["practice"] is False
    text = json.dumps(view).lower()
    for secret in ("gold", "better\", \"base", "policy", "held_out", "reference", "\"id\""):
        assert secret not in text
    assert view["progress"]["round"] == 0  # also for a task without a round


def test_names_of_tasks_say_nothing_and_are_each_labelers_own(world: World) -> None:
    store = world.store
    mine, yours = secret_of(store, 1), secret_of(store, 2)
    assert secret_of(store, 1) == mine
    names = [seal(mine, task) for task in range(1, 200)]
    assert [unseal(mine, name) for name in names] == list(range(1, 200))
    assert len({name[:2] for name in names}) > 60  # no order, no common beginning
    assert seal(yours, 7) != seal(mine, 7) and unseal(yours, seal(mine, 7)) is None
    for wrong in ("", "zz", names[0][:-1], names[0][:-1] + ("0" if names[0][-1] != "0" else "1")):
        assert unseal(mine, wrong) is None


def test_what_a_lead_switched_off_is_neither_offered_nor_taken(world: World, me: Person) -> None:
    pairs(world, 2)
    version = world.store.questions.change(Question(scale="plain", tie=False, both_bad=False,
                                                    flags=(), reason=False))
    mine = me.desk()
    view = mine.view()
    assert [choice["name"] for choice in view["ask"]["choices"]] == ["a-better", "b-better"]
    key = view["question"]["key"]
    for wrong in ({"choice": "tie"}, {"choice": "both-bad"}, {"choice": "a-slightly"}):
        told = ack(send(mine, entry(view["question"], question_version=version, **wrong)), key)
        assert not told["ok"] and told["final"] and "offers" in told["words"]
        mine.acks.clear()
    send(mine, entry(view["question"], question_version=version, reason="why", flags={"0": ["x"]}))
    (answer,) = me.stands()
    assert (answer.strength, answer.rationale, answer.flags) == (3, "", {})
    assert answer.question_version == version


def test_practice_is_told_and_comes_with_feedback(world: World, me: Person) -> None:
    store = world.store
    ids = world.task(("right", "wrong"), prompt="practise").response_ids
    prompt = store.responses.get(ids)[0].prompt_id
    store.known.add(prompt, ids, Answer(((ids[0],), (ids[1],))), practice=True,
                    explanation="It is **right** <b>here</b>.")
    store.assignments.set_rules(AssignmentRules(practice=1))
    mine = me.desk()
    question = mine.view()["question"]
    assert question["practice"]
    right_is_a = question["responses"][0]["text"] == "right"
    view = send(mine, entry(question, choice="b-slightly" if right_is_a else "a-slightly"))
    feedback = ack(view, question["key"])["feedback"]
    assert not feedback["right"]
    assert feedback["known"] == f"{'A' if right_is_a else 'B'} better"
    assert "<strong>right</strong>" in feedback["html"] and "<b>" not in feedback["html"]
    assert view["last"] is None and not view["question"]["practice"]
    told = ack(send(mine, undo(question)), undo(question)["key"])
    assert not told["ok"] and "practice" in told["words"]


def test_hidden_gold_gives_no_feedback_and_looks_like_any_other(world: World, me: Person) -> None:
    store = world.store
    ids = world.task(("right", "wrong"), prompt="hide").response_ids
    gold = store.known.add(store.responses.get(ids)[0].prompt_id, ids,
                           Answer(((ids[0],), (ids[1],))))
    store.assignments.assign(gold, me.labeler.id)
    mine = me.desk()
    view = mine.view()
    question = view["question"]
    assert not question["practice"]
    after = send(mine, entry(question))
    assert ack(after, question["key"])["feedback"] is None
    assert after["last"] is not None


@pytest.mark.parametrize("aside", [False, True])
def test_no_figure_tells_a_hidden_question_from_another(world: World, me: Person,
                                                        aside: bool) -> None:
    """Not even who watches the figures after each answer learns which ones were measured."""
    store = world.store
    store.people.set_aside(me.labeler.id, aside)
    moves = ("mine", "today") if aside else ("given", "mine", "today")
    pairs(world, 9)
    for number in range(3):
        ids = world.task((f"right {number}", f"wrong {number}"), prompt=f"gold {number}",
                         wanted=1).response_ids
        store.known.add(store.responses.get(ids)[0].prompt_id, ids, Answer(((ids[0],), (ids[1],))))
    store.assignments.set_rules(AssignmentRules(gold_share=0.3, repeat_share=0.3))
    mine = me.desk()
    view = mine.view()
    for number in range(14):
        before = view["progress"]
        if number == 10:  # any answer of the first ones again, as a repeat is
            again = store.comparisons.current(labeler_id=me.labeler.id, set_aside=True)[0].task_id
            task = store.tasks.get(again)
            repeat = store.tasks.add(task.prompt_id, task.response_ids, round_id=task.round_id,
                                     purpose="repeat", repeat_of=again, only_for=me.labeler.id)
            store.assignments.assign(repeat, me.labeler.id)
        view = send(mine, entry(view["question"]))
        assert view["progress"] == {**before, **{name: before[name] + 1 for name in moves}}
        if view["question"] is None:
            break
    purposes = {store.tasks.get(c.task_id).purpose
                for c in store.comparisons.current(labeler_id=me.labeler.id, set_aside=True)}
    assert purposes == {"train", "gold", "repeat"}


def test_progress_and_the_reason_for_nothing(world: World, me: Person) -> None:
    assert me.desk().view()["nothing"]["title"] == "Round 0 has no pairs yet"
    world.task(wanted=1)
    world.store.assignments.set_rules(AssignmentRules(daily_goal=30))
    mine = me.desk()
    view = mine.view()
    assert view["nothing"] is None and view["ahead"] is None
    assert view["progress"] == {"round": 0, "given": 0, "wanted": 1, "mine": 0, "today": 0,
                                "goal": 30}
    view = send(mine, entry(view["question"]))
    assert view["nothing"]["title"] == "Round 0 is complete"
    assert view["last"]["of"] == "answer"


@pytest.mark.parametrize("other_reads", [False, True])
def test_why_there_is_nothing_counts_no_hidden_question_either(world: World, me: Person,
                                                               other_reads: bool) -> None:
    """Beside the bar, which runs ahead by them, a count without them would tell how many."""
    pairs(world, 1)
    mine = me.desk()
    view = send(mine, entry(mine.view()["question"]))
    if other_reads:
        world.task(("x", "y"), wanted=1)
        assert Person(world.store, "the other").desk().view()["question"]
        view = mine.view()
    nothing = view["nothing"]
    assert nothing["title"] == ("Others have the last pairs" if other_reads
                                else "You have answered all of yours")
    assert "round 0" in nothing["text"] and not re.search(r"\d", nothing["text"][len(
        "The labels that round 0"):])


def test_guidelines_and_their_version_are_part_of_an_answer(world: World, me: Person) -> None:
    pairs(world, 1)
    world.store.questions.write_guidelines("Be **fair** <script>alert(1)</script>")
    mine = me.desk()
    view = mine.view()
    assert view["ask"]["guidelines"]["version"] == 1
    assert "<strong>fair</strong>" in view["ask"]["guidelines"]["html"]
    assert "<script" not in view["ask"]["guidelines"]["html"]
    send(mine, entry(view["question"], guidelines_version=1))
    assert me.stands()[0].guidelines_version == 1


def test_another_person_finds_an_empty_desk(world: World, me: Person) -> None:
    pairs(world, 2)
    mine = me.desk()
    before = mine.view()
    me.token = Person(world.store, "you").token
    after = mine.view()
    assert after["owner"] != before["owner"] and after["acks"] == []
    assert after["question"]["key"].split("-")[0] != before["question"]["key"].split("-")[0]
