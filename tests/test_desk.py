"""A labeler's desk without a browser: what it hands out, and what becomes of what is sent."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from data_world import World

from annotate import actions
from annotate.labelers import desk
from annotate.labelers.sealing import seal, secret_of, unseal
from data.assignments import AssignmentRules
from data.errors import PrefloopError
from data.questions import Question
from data.records import Answer, Labeler
from data.store import Store


class Person:
    """A labeler with a session, and the desks of their tabs."""

    def __init__(self, store: Store, name: str = "me") -> None:
        self.store = store
        self.labeler: Labeler = store.people.add(name)
        token = store.people.redeem(store.people.create_code(self.labeler.id))
        assert token is not None
        self.token: str = token
        self.sent = 0

    def desk(self) -> desk.Desk:
        return desk.Desk(self.store, lambda: self.token)

    def stands(self) -> list[Answer]:
        return [c.answer for c in self.store.comparisons.current(labeler_id=self.labeler.id)]


@pytest.fixture
def me(world: World) -> Person:
    return Person(world.store)


def pairs(world: World, count: int) -> None:
    for number in range(count):
        world.task((f"one {number}", f"two {number}"), wanted=3)


def entry(question: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"key": question["key"], "do": "answer", "choice": "a-better", "seconds": 3.0,
            "active_seconds": 2.0, **more}


def send(mine: desk.Desk, *entries: dict[str, Any]) -> dict[str, Any]:
    """What the page does: its outbox goes in as JSON, the next view comes back as JSON."""
    mine.receive(json.loads(json.dumps({"entries": entries})))
    found: dict[str, Any] = json.loads(json.dumps(mine.view()))
    return found


def ack(view: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in view["acks"] if each["key"] == key)
    return found


def undo(question: dict[str, Any], of: str = "answer", mark: str = "1") -> dict[str, Any]:
    return {"key": f"{question['key'].split('-')[0]}-undo{mark}", "do": "undo", "of": of}


# What goes out ------------------------------------------------------------------------------


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


def test_a_view_tells_neither_ids_nor_origin_nor_purpose(world: World, me: Person) -> None:
    store = world.store
    ordinary = world.task(("same one", "same two"), prompt="plain", wanted=3)
    first, second = (store.responses.get([i])[0] for i in ordinary.response_ids)
    store.known.add(first.prompt_id, (second.id, first.id), Answer(((second.id,), (first.id,))))
    store.assignments.set_rules(AssignmentRules(gold_share=0.5))
    view = me.desk().view()
    assert set(view) == {"owner", "question", "ahead", "ask", "progress", "acks", "last", "nothing",
                         "refused"}
    for shown in (view["question"], view["ahead"]):
        if shown is not None:
            assert set(shown) == {"key", "practice", "conversation", "responses", "before"}
            assert all(set(response) == {"html", "text"} for response in shown["responses"])
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


# What comes in ------------------------------------------------------------------------------


def test_an_act_is_done_once_however_often_it_comes(world: World, me: Person) -> None:
    pairs(world, 4)
    mine = me.desk()
    question = mine.view()["question"]
    for tab in (mine, mine, me.desk(), me.desk()):  # resent; after a reload; after a restart
        view = send(tab, entry(question))
        assert ack(view, question["key"])["ok"]
    assert len(me.stands()) == 1 and view["progress"]["today"] == 1
    assert len(world.store.comparisons.history(1, me.labeler.id)) == 1


def test_the_whole_outbox_is_settled_in_its_order(world: World, me: Person) -> None:
    pairs(world, 4)
    mine = me.desk()
    view = mine.view()
    one, two = view["question"], view["ahead"]
    skipping = {"key": two["key"], "do": "skip", "reason": "cannot judge"}
    view = send(mine, entry(one, choice="tie"), skipping, undo(two, "skip"))
    assert [each["ok"] for each in view["acks"]] == [True, True, True]
    assert view["question"]["key"].split("-")[0] == two["key"].split("-")[0]
    again = send(me.desk(), entry(one, choice="tie"), skipping, undo(two, "skip"))
    assert [each["ok"] for each in again["acks"]] == [True, True, True]
    assert [answer.is_tie for answer in me.stands()] == [True]


def test_undo_brings_back_the_answer_to_begin_with(world: World, me: Person) -> None:
    pairs(world, 3)
    world.store.questions.change(Question(scores=True, rewrite=True))
    mine = me.desk()
    question = mine.view()["question"]
    given = entry(question, choice="b-slightly", scores={"0": 2, "1": 6}, question_version=1,
                  flags={"1": ["untrue"]}, reason=" it is older ",
                  rewrite={"base": 1, "text": "better text"})
    view = send(mine, given)
    assert view["last"] == {"id": question["key"].split("-")[0], "of": "answer"}
    assert rewrites(world, me) == ["better text"]
    view = send(mine, undo(question))
    back = view["question"]
    assert ack(view, undo(question)["key"])["show"] == back["key"] != question["key"]
    assert back["before"] == {
        "choice": "b-slightly", "tiers": [], "flags": {"1": ["untrue"]},
        "scores": {"0": 2, "1": 6}, "reason": "it is older",
        "rewrite": {"base": 1, "text": "better text"}}
    assert me.stands() == [] and view["progress"]["today"] == 0
    assert me.desk().view()["question"]["before"] is not None  # after a reload, too
    view = send(mine, entry(back, scores={"0": 1, "1": 1}, question_version=1))
    assert len(me.stands()) == 1
    # The old undo once more, as after a lost acknowledgement: nothing is taken back.
    late = send(me.desk(), undo(question))
    assert len(me.stands()) == 1 and ack(late, undo(question)["key"])["ok"]


def rewrites(world: World, me: Person) -> list[str]:
    found = [world.store.comparisons.rewrite_of(c.id)
             for c in world.store.comparisons.current(labeler_id=me.labeler.id)]
    return [each.text for each in found if each is not None]


def test_an_unchanged_rewrite_is_none(world: World, me: Person) -> None:
    pairs(world, 1)
    world.store.questions.change(Question(rewrite=True))
    mine = me.desk()
    question = mine.view()["question"]
    text = f"  {question['responses'][0]['text']}\n"
    send(mine, entry(question, question_version=1, rewrite={"base": 0, "text": text}))
    assert len(me.stands()) == 1 and rewrites(world, me) == []


def test_rankings_come_as_tiers(world: World, me: Person) -> None:
    world.task(("a", "b", "c", "d"), wanted=3)
    world.task(("e", "f", "g"), wanted=3)
    mine = me.desk()
    view = mine.view()
    four, three = view["question"], view["ahead"]
    assert len(four["responses"]) == 4
    shown = world.store.assignments.assign(1, me.labeler.id).shown
    for wrong in ([[0, 1], [2]], [[0, 1], [2, 2, 3]], [[0], [], [1, 2, 3]], "0123", [[0, 1, 2, 9]],
                  [[True, False], [2, 3]], None):
        told = ack(send(mine, entry(four, choice=None, tiers=wrong)), four["key"])
        assert not told["ok"] and told["words"].startswith("tiers:")
        mine.acks.clear()
    view = send(mine, entry(four, choice=None, tiers=[[2], [3, 0], [1]]),
                entry(three, choice="all-bad"))
    assert ack(view, four["key"])["words"] == "Saved: C > A = D > B."
    ranked, bad = me.stands()
    assert ranked.ranking == ((shown[2],), (shown[0], shown[3]), (shown[1],))
    assert bad.verdict == "both_bad"


@pytest.mark.parametrize(("more", "field"), [
    ({"choice": "c-better"}, "choice"), ({"choice": 3}, "choice"), ({"scores": {"0": 3}}, "scores"),
    ({"flags": {"7": ["unsafe"]}}, "flags"), ({"flags": {"0": "unsafe"}}, "flags"),
    ({"flags": ["unsafe"]}, "flags"), ({"reason": 5}, "reason"), ({"reason": "\ud800"}, "reason"),
    ({"reason": "x" * 5000}, "rationale"), ({"seconds": -1}, "seconds"),
    ({"seconds": "long"}, "seconds"), ({"active_seconds": float("nan")}, "active_seconds"),
    ({"question_version": 9}, "question_version"), ({"guidelines_version": "1"}, "guidelines"),
    ({"do": "delete"}, "do")])
def test_a_forged_or_broken_answer_is_refused_by_field(world: World, me: Person,
                                                       more: dict[str, Any], field: str) -> None:
    pairs(world, 1)
    mine = me.desk()
    question = mine.view()["question"]
    mine.receive({"entries": [entry(question, **more)]})
    told = ack(mine.view(), question["key"])
    assert not told["ok"] and told["final"] and told["words"].startswith(field)
    assert me.stands() == []


def test_garbage_is_not_even_acknowledged(world: World, me: Person) -> None:
    pairs(world, 1)
    mine = me.desk()
    for garbage in (None, 3, "x", [], {}, {"entries": 3}, {"entries": [None, 4, {}, {"key": 1}]},
                    {"entries": [{"key": "<script>-1", "do": "answer"}]},
                    {"entries": [{"key": "a-" + "b" * 400}]}):
        mine.receive(garbage)
    assert mine.view()["acks"] == [] and me.stands() == []


def test_nobody_can_answer_under_anothers_name(world: World, me: Person) -> None:
    pairs(world, 2)
    yours = Person(world.store, "you")
    question = yours.desk().view()["question"]
    told = ack(send(me.desk(), entry(question)), question["key"])
    assert not told["ok"] and told["final"] and "not given to you" in told["words"]
    never = f"{seal(secret_of(world.store, me.labeler.id), 2)}-1"
    told = ack(send(me.desk(), entry({"key": never})), never)  # there is no lease on it
    assert world.store.comparisons.current() == [] or told["ok"]


def test_two_tabs_store_one_answer(world: World, me: Person) -> None:
    pairs(world, 2)
    one, two = me.desk(), me.desk()
    mine, other = one.view()["question"], two.view()["question"]
    assert mine["key"] != other["key"]
    assert mine["key"].split("-")[0] == other["key"].split("-")[0]  # drafts find the task
    send(one, entry(mine))
    view = send(two, entry(other, choice="b-better"))
    told = ack(view, other["key"])
    assert not told["ok"] and told["final"] and "answered this task already" in told["words"]
    assert len(me.stands()) == 1
    assert view["question"]["key"].split("-")[0] != mine["key"].split("-")[0]


@pytest.mark.parametrize("trouble", ["full disk", "defect", "signed out", "disabled"])
def test_what_cannot_be_kept_now_is_said_and_comes_again(
        world: World, me: Person, trouble: str, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    pairs(world, 3)
    mine = me.desk()
    view = mine.view()
    acts = [entry(view["question"]), entry(view["ahead"])]
    token = me.token
    if trouble == "full disk":
        def full(*_: object) -> None:
            raise PrefloopError("the disk is full, nothing was saved")
        monkeypatch.setattr(actions, "submit", full)
    elif trouble == "defect":
        monkeypatch.setattr(actions, "submit", lambda *_: 1 / 0)
    elif trouble == "signed out":
        me.token = "expired"
    else:
        world.store.people.set_disabled(me.labeler.id, True)
    with caplog.at_level(logging.CRITICAL if trouble != "defect" else logging.ERROR):
        view = send(mine, *acts)
    told = ack(view, acts[0]["key"])
    assert not told["ok"] and not told["final"] and told["words"]
    assert len(view["acks"]) == 1  # the second waits for the first: the order is kept
    assert me.stands() == []
    if trouble in ("signed out", "disabled"):
        assert view["refused"] and view["question"] is None and view["owner"]
    monkeypatch.undo()
    me.token = token
    world.store.people.set_disabled(me.labeler.id, False)
    fresh = world.store.people.redeem(world.store.people.create_code(me.labeler.id))
    assert fresh is not None
    me.token = fresh
    view = send(mine, *acts)
    assert [each["ok"] for each in view["acks"]] == [True, True] and len(me.stands()) == 2


def test_no_answer_took_longer_than_its_question_was_there(
        world: World, me: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(world, 2)
    moment = [1000.0]
    monkeypatch.setattr(desk, "monotonic", lambda: moment[0])
    mine = me.desk()
    view = mine.view()
    moment[0] += 20
    send(mine, entry(view["question"], seconds=3600, active_seconds=1800),
         entry(view["ahead"], seconds=12, active_seconds=40))
    assert [(a.seconds, a.active_seconds) for a in me.stands()] == [(20, 20), (12, 12)]


# Practice, progress, nothing ----------------------------------------------------------------


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
