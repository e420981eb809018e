"""What leads write: who may, what it leaves behind, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from test_annotate_actions import add_task, best_first, signed_in

from annotate import actions
from annotate.leads import lead_actions
from annotate.permissions import PERMISSIONS
from data.assignments import AssignmentRules
from data.errors import BadInput, Conflict, NotAllowed, NotFound, PrefloopError
from data.questions import Question
from data.records import ROLES, Answer, Labeler, NewResponse
from data.sessions import SessionRules
from data.store import DATABASE_NAME, Store

Act = Callable[[Store, str | None], Any]

ACTIONS: dict[str, tuple[str, Act]] = {
    "change_question": ("settings", lambda s, t: lead_actions.change_question(
        s, t, Question(tie=False), Question())),
    "write_guidelines": ("settings", lambda s, t: lead_actions.write_guidelines(
        s, t, "Be kind", 0)),
    "set_rules": ("settings", lambda s, t: lead_actions.set_rules(
        s, t, AssignmentRules(gold_share=0.1), AssignmentRules())),
    "add_known_answer": ("settings", lambda s, t: lead_actions.add_known_answer(
        s, t, 1, best_first((1, 2)), False, "")),
    "retire_known_answer": ("settings", lambda s, t: lead_actions.retire_known_answer(s, t, 2)),
    "decide": ("settings", lambda s, t: lead_actions.decide(s, t, 1, best_first((1, 2)), "key")),
    "take_back_decision": ("settings", lambda s, t: lead_actions.take_back_decision(
        s, t, 1, s.database.value("SELECT max(comparison_id) FROM decisions"))),
    "add_labelers": ("people", lambda s, t: lead_actions.add_labelers(s, t, ["Eve"], "lead")),
    "change_role": ("people", lambda s, t: lead_actions.change_role(s, t, 1, "engineer")),
    "set_aside": ("people", lambda s, t: lead_actions.set_aside(s, t, 1, True)),
    "note_download": ("quality", lambda s, t: lead_actions.note_download(s, t, "answers", 3)),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With a lead of id 1, a task of id 1 and a known answer of id 2 (over other responses)."""
    store = Store(tmp_path / DATABASE_NAME)
    signed_in(store, "first", "lead")
    add_task(store)
    prompt = store.prompts.all()[0].id
    ids = store.responses.add([NewResponse(prompt, text) for text in ("yes", "no")])
    store.known.add(prompt, ids, best_first(tuple(ids)))
    return store


def arrived(store: Store, role: str) -> tuple[Labeler, str]:
    """Somebody who once had a task's last word."""
    me, token = signed_in(store, "me", role)
    store.decisions.decide(me.id, 1, best_first((2, 1)), "their decision")
    return me, token


def everything(store: Store) -> list[tuple[str, int]]:
    tables = ("labelers", "sign_in_codes", "comparisons", "assignments", "decisions", "tasks",
              "questions", "guidelines", "known_answers", "audit", "settings")
    return [(table, store.database.value(f"SELECT count(*) FROM {table}")) for table in tables] + [
        ("leads", store.database.value("SELECT count(*) FROM labelers WHERE role = 'lead'")),
        ("aside", store.database.value("SELECT count(set_aside_at) FROM labelers")),
        ("retired", store.database.value("SELECT count(*) FROM known_answers WHERE retired"))]


def test_every_public_action_is_covered() -> None:
    public = {name for name, value in vars(lead_actions).items() if callable(value)
              and getattr(value, "__module__", "") == "annotate.leads.lead_actions"}
    assert public == set(ACTIONS)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ACTIONS)
def test_only_who_may_can_and_a_trace_is_left(store: Store, name: str, role: str) -> None:
    permission, act = ACTIONS[name]
    me, token = arrived(store, role)
    before = everything(store)
    if permission in PERMISSIONS[role]:
        act(store, token)
        assert everything(store) != before
        entry, = store.audit.entries()
        assert entry.labeler_id == me.id
    else:
        with pytest.raises(NotAllowed, match=f"an? {role} may not"):
            act(store, token)
        assert everything(store) == before


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("token", [None, "forged"])
def test_nobody_acts_without_a_session(store: Store, name: str, token: str | None) -> None:
    before = everything(store)
    with pytest.raises(NotAllowed, match="session has ended"):
        ACTIONS[name][1](store, token)
    assert everything(store) == before


@pytest.mark.parametrize("name", sorted(set(ACTIONS) - {"note_download"}))
def test_what_cannot_be_logged_is_not_done(store: Store, name: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = arrived(store, "lead")
    before = everything(store)

    def full(*_: Any, **__: Any) -> None:
        raise PrefloopError("the disk is full")

    monkeypatch.setattr(store.audit, "record", full)
    with pytest.raises(PrefloopError, match="disk is full"):
        ACTIONS[name][1](store, token)
    assert everything(store) == before


def test_what_changes_nothing_leaves_no_trace(store: Store) -> None:
    _, token = signed_in(store, "me", "lead")
    for _ in range(2):
        lead_actions.change_question(store, token, Question(tie=False), Question())
        lead_actions.write_guidelines(store, token, "Be kind", 0)
        lead_actions.set_rules(store, token, AssignmentRules(daily_goal=7), AssignmentRules())
        lead_actions.change_role(store, token, 1, "engineer")
        lead_actions.set_aside(store, token, 1, True)
        lead_actions.decide(store, token, 1, best_first((1, 2)), uuid4().hex, "So.")
    since = store.people.get(1).set_aside_at
    lead_actions.set_aside(store, token, 1, True)
    assert store.people.get(1).set_aside_at == since
    for _ in range(2):
        lead_actions.set_aside(store, token, 1, False)
    assert sorted(entry.action for entry in store.audit.entries()) == [
        "change assignment", "change question", "change role", "count answers again",
        "decide", "set answers aside", "write guidelines"]


def test_what_somebody_else_has_saved_meanwhile_is_not_undone(store: Store) -> None:
    """Whoever saves a form says what it was filled with."""
    (_, mine), (other, theirs) = signed_in(store, "me", "lead"), signed_in(store, "Other", "lead")
    domains = (SessionRules(), ("example.org",))
    acts: list[tuple[Callable[..., Any], list[Any], Any, list[Any]]] = [
        (lead_actions.change_question, [Question(tie=False)], Question(), [Question(scores=True)]),
        (lead_actions.write_guidelines, ["Theirs"], 0, ["Mine"]),
        (lead_actions.set_rules, [AssignmentRules(gold_share=0.1)], AssignmentRules(),
         [AssignmentRules(daily_goal=7)]),
        (actions.set_sign_in, list(domains), (SessionRules(), ()), [SessionRules(365), ()])]
    for act, first, began, second in acts:
        act(store, theirs, *first, began)
        before = everything(store)
        with pytest.raises(Conflict, match=f"changed meanwhile by {other.name}: look again"):
            act(store, mine, *second, began)
        act(store, mine, *first, began)  # pressed twice, or both wanted the same
        assert everything(store) == before
    assert store.questions.current() == (1, Question(tie=False))
    assert [g.text for g in store.questions.all_guidelines()] == ["Theirs"]
    assert store.assignments.rules() == AssignmentRules(gold_share=0.1)
    assert (store.people.sessions.rules(), store.people.domains()) == domains
    lead_actions.change_question(store, mine, Question(scores=True), Question(tie=False))
    lead_actions.write_guidelines(store, mine, "Mine", 1)
    assert store.questions.current() == (2, Question(scores=True))


def test_a_known_answer_is_a_copy_with_the_right_answer(store: Store) -> None:
    _, token = signed_in(store, "me", "lead")
    new = lead_actions.add_known_answer(store, token, 1, best_first((2, 1)), True, "Because.")
    task = store.tasks.get(new)
    assert task.purpose == "gold" and task.response_ids == (1, 2)
    known = store.known.get(new)
    assert known is not None and known.practice and known.answer.ranking == ((2,), (1,))
    with pytest.raises(BadInput, match="known answer already"):
        lead_actions.add_known_answer(store, token, 1, best_first((1, 2)), False, "")
    lead_actions.retire_known_answer(store, token, new)
    lead_actions.add_known_answer(store, token, 1, best_first((1, 2)), False, "")
    with pytest.raises(BadInput, match="explanation"):
        lead_actions.add_known_answer(store, token, 1, best_first((1, 2)), True, "  ")
    lead_actions.retire_known_answer(store, token, 2)
    with pytest.raises(BadInput, match="ranking"):
        lead_actions.add_known_answer(store, token, 2, best_first((1, 2, 3)), False, "")
    with pytest.raises(NotFound):
        lead_actions.retire_known_answer(store, token, 999)


def test_a_decision_names_whom_it_overrides(store: Store) -> None:
    ben, _ = signed_in(store, "ben")
    cy, _ = signed_in(store, "cy")
    me, token = signed_in(store, "me", "lead")
    for who, order in ((ben, (1, 2)), (cy, (2, 1))):
        task = store.assignments.assign(1, who.id).task
        store.comparisons.submit(who.id, task, best_first(order), who.name)
    told = store.assignments.order_for(store.tasks.get(1), me.id)
    asked = store.questions.change(Question(scores=True)), store.questions.write_guidelines("Fair.")
    decision = lead_actions.decide(store, token, 1, Answer(((1,), (2,)), 4), "key", "So.")
    assert [store.comparisons.get(i).labeler_id for i in decision.overrides] == [cy.id]
    stored = store.comparisons.get(decision.comparison_id)
    assert stored.shown == told
    assert (stored.answer.question_version, stored.answer.guidelines_version) == asked
    assert {p.comparison_id for p in store.comparisons.preferences()} == {decision.comparison_id}


def test_only_the_decision_that_one_has_in_view_is_taken_back(store: Store) -> None:
    _, token = signed_in(store, "me", "lead")
    _, theirs = signed_in(store, "other", "lead")
    decide, take_back = lead_actions.decide, lead_actions.take_back_decision
    old = decide(store, token, 1, best_first((1, 2)), "old").comparison_id
    take_back(store, theirs, 1, old)  # it is not theirs, and they have none
    new = decide(store, token, 1, best_first((2, 1)), "new").comparison_id
    with pytest.raises(Conflict, match="decided anew meanwhile"):
        take_back(store, token, 1, old)
    for _ in range(2):  # pressed twice
        take_back(store, token, 1, new)
    assert store.decisions.of_task(1) is None
    entries = [entry for entry in store.audit.entries() if entry.action != "decide"]
    assert [(entry.action, entry.subject, entry.details) for entry in entries] == [
        ("take back decision", "task 1", {"comparison": new})]


def test_several_people_come_all_or_none(store: Store) -> None:
    _, token = signed_in(store, "me", "lead")
    before = everything(store)
    for names, error in ((["A", "B", "A"], "'A' stands in the list twice .lines 1 and 3."),
                         (["A B", "", " a  b"], "twice .lines 1 and 3.; nobody was added"),
                         (["A", "", "first"], "line 3: .*already.*; nobody was added"),
                         ([], "at least"), (["A", "x" * 200], "at most 80 characters.* 200"),
                         ([f"P{i}" for i in range(201)], "at most")):
        with pytest.raises(BadInput, match=error):
            lead_actions.add_labelers(store, token, names, "labeler")
    with pytest.raises(BadInput, match="role"):
        lead_actions.add_labelers(store, token, ["A"], "king")
    assert everything(store) == before
    added = lead_actions.add_labelers(store, token, ["A", "B"], "labeler")
    assert [person.name for person, _ in added] == ["A", "B"]
    for person, code in added:
        found = store.people.of_code(code)
        assert found is not None and found.id == person.id
    assert not any(code in repr(store.audit.entries()) for _, code in added)


def test_nobody_changes_their_own_role(store: Store) -> None:
    me, token = signed_in(store, "me", "lead")
    with pytest.raises(BadInput, match="your own"):
        lead_actions.change_role(store, token, me.id, "labeler")
    robot = store.people.add("robot", kind="simulated")
    with pytest.raises(BadInput, match="role"):
        lead_actions.change_role(store, token, robot.id, "lead")
    with pytest.raises(BadInput, match="king"):
        lead_actions.change_role(store, token, 1, "king")
    assert store.people.get(me.id).role == "lead"


def test_nobody_sets_their_own_answers_aside_or_counts_them_again(store: Store) -> None:
    me, token = signed_in(store, "me", "lead")
    _, other = signed_in(store, "other", "lead")
    with pytest.raises(BadInput, match="another lead"):
        lead_actions.set_aside(store, token, me.id, True)
    lead_actions.set_aside(store, other, me.id, True)
    with pytest.raises(BadInput, match="another lead"):
        lead_actions.set_aside(store, token, me.id, False)
    assert store.people.get(me.id).set_aside_at is not None
    with pytest.raises(NotFound):
        lead_actions.set_aside(store, token, 999, True)


def test_a_full_disk_does_not_keep_people_from_their_data(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = signed_in(store, "me", "lead")

    def full(*_: Any, **__: Any) -> None:
        raise PrefloopError("the disk is full")

    monkeypatch.setattr(store.audit, "record", full)
    lead_actions.note_download(store, token, "answers", 3)
