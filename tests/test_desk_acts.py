"""A labeler's desk without a browser: what becomes of what is sent."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from data_world import World
from desk_world import Person, ack, entry, pairs, send, undo

from annotate import actions
from annotate.labelers.sealing import seal, secret_of
from data.errors import PrefloopError
from data.questions import Question


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
    spent = back["before"].pop("spent")
    assert 0 <= spent["active"] <= spent["seconds"] <= 3.0  # no longer than it was here
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


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_unchanged_rewrite_is_none(world: World, me: Person, end: str) -> None:
    world.task((f"one{end}two", f"three{end}four"), wanted=3)
    world.store.questions.change(Question(rewrite=True))
    mine = me.desk()
    question = mine.view()["question"]
    text = question["responses"][0]["text"].replace(end, "\n")  # as a browser's text field has it
    send(mine, entry(question, question_version=1, rewrite={"base": 0, "text": f"  {text}\n"}))
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
    pairs(world, 8)
    yours = Person(world.store, "you").desk().view()["question"]
    never = {"key": f"{seal(secret_of(world.store, me.labeler.id), 8)}-1"}  # sealed, not lent
    for question in (yours, never):
        told = ack(send(me.desk(), entry(question)), question["key"])
        assert not told["ok"] and told["final"] and "not given to you" in told["words"]
        assert world.store.assignments.get(8, me.labeler.id) is None
    assert world.store.comparisons.current() == []


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


def test_what_is_skipped_in_one_tab_is_gone_from_the_other(world: World, me: Person) -> None:
    pairs(world, 3)
    one, two = me.desk(), me.desk()
    mine, other = one.view()["question"], two.view()["question"]
    skipping = {"key": mine["key"], "do": "skip", "reason": "cannot judge"}
    send(one, skipping)
    view = two.view()
    assert view["question"]["key"].split("-")[0] != mine["key"].split("-")[0]
    assert view["last"]["of"] == "skip"
    # Sent again, as after a lost acknowledgement, or pressed in both tabs: skipped it is.
    for tab, key in ((me.desk(), mine["key"]), (two, other["key"])):
        assert ack(send(tab, {**skipping, "key": key}), key)["ok"]
    assert me.stands() == []


def test_a_skip_that_comes_late_undoes_nothing_that_was_done_since(world: World,
                                                                   me: Person) -> None:
    """A tab that was not heard for a while sends its own acts, which another has sent for it."""
    pairs(world, 3)
    question = me.desk().view()["question"]
    task = question["key"].split("-")[0]
    skipping = {"key": question["key"], "do": "skip", "reason": "cannot judge"}
    back = {"key": f"{task}-undo1", "do": "undo", "of": "skip"}
    view = send(me.desk(), skipping, back)
    late = send(me.desk(), skipping)
    told = ack(late, question["key"])
    assert told["ok"] and told["words"] == "You have taken this skip back since."
    assert view["question"]["key"].split("-")[0] == late["question"]["key"].split("-")[0] == task
    # Skipped once more, which the first Undo does not take back again.
    send(me.desk(), {**skipping, "key": view["question"]["key"]})
    late = send(me.desk(), back)
    told = ack(late, back["key"])
    assert told["ok"] and told["words"] == "You have answered or skipped it since."
    assert late["question"]["key"].split("-")[0] != task and late["last"]["of"] == "skip"


def test_an_answer_that_met_a_skip_on_its_way_counts_alone(world: World, me: Person) -> None:
    """The other tab's answer was in its outbox already; Undo then brings the answer back."""
    pairs(world, 3)
    one, two = me.desk(), me.desk()
    mine, other = one.view()["question"], two.view()["question"]
    send(one, {"key": mine["key"], "do": "skip", "reason": "cannot judge"})
    view = send(two, entry(other))
    assert len(me.stands()) == 1 and view["last"]["of"] == "answer"
    late = undo(mine, "skip")  # of a tab that has not heard of the answer
    told = ack(send(one, late), late["key"])
    assert told["ok"] and told["words"] == "You have answered or skipped it since."
    assert len(me.stands()) == 1
    view = send(two, undo(other))
    assert me.stands() == []
    assert view["question"]["key"].split("-")[0] == other["key"].split("-")[0]


@pytest.mark.parametrize("wrong", [{"choice": None, "tiers": [[0, 1], [2]]},
                                   {"do": "skip", "reason": "bored"}])
def test_what_was_refused_can_be_put_right(world: World, me: Person,
                                           wrong: dict[str, Any]) -> None:
    world.task(("a", "b", "c"), wanted=3)
    world.store.questions.change(Question(tie=False))
    mine = me.desk()
    question = mine.view()["question"]
    refused = entry(question, question_version=1, **wrong)
    for _ in range(2):  # the acknowledgement was lost, and the act comes again
        view = send(mine, refused)
        told = ack(view, question["key"])
        assert not told["ok"] and told["final"]
    again = view["question"]
    assert again["key"] != question["key"]
    assert {**again, "key": ""} == {**question, "key": ""}  # the same question, as it was read
    assert mine.view()["question"] == again
    view = send(mine, entry(again, question_version=1, choice=None, tiers=[[0], [1], [2]]))
    assert ack(view, again["key"])["words"] == "Saved: A > B > C." and len(me.stands()) == 1


@pytest.mark.parametrize("act", ["skip", "undo"])
def test_an_act_on_what_is_lent_no_more_does_not_hold_back_the_others(world: World, me: Person,
                                                                      act: str) -> None:
    """A power cut, or a restored backup, may have undone the lease."""
    pairs(world, 2)
    mine = me.desk()
    view = mine.view()
    gone, next_one = view["question"], view["ahead"]
    with world.store.database.write() as db:
        db.conn.execute("DELETE FROM assignments WHERE task_id = ?", [mine.handed[0].task_id])
    late = undo(gone) if act == "undo" else {"key": gone["key"], "do": "skip",
                                             "reason": "cannot judge"}
    mine.receive({"entries": [late, entry(next_one)]})
    lost, saved = mine.acks[late["key"]], mine.acks[next_one["key"]]
    assert lost["final"] and lost["words"] == "this question was not given to you"
    assert saved["ok"] and len(me.stands()) == 1
    back = mine.view()["question"]
    assert {**back, "key": ""} == {**gone, "key": ""}  # lent anew, with the same sides
    assert ack(send(mine, entry(back)), back["key"])["ok"] and len(me.stands()) == 2


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
