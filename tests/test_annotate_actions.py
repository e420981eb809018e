"""Who may do what, and what a labeler's desk does with each press."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate import actions, desk
from annotate.choices import (
    PAIR_CHOICES,
    choice_of,
    in_words,
    ranking_of,
    ranking_of_ranks,
    ranks_of,
)
from annotate.permissions import PERMISSIONS
from data.errors import BadInput, NotAllowed, PrefloopError
from data.records import ROLES, Answer, Labeler, Message, NewResponse
from data.sessions import SessionRules
from data.store import DATABASE_NAME, Store

KINDS = [{"kind": "ppo", "title": "PPO", "help": "", "common": [],
          "fields": [{"name": "steps", "type": "int", "default": 20, "choices": []}]}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / DATABASE_NAME)
    store.put_setting("job_kinds", KINDS)
    return store


def signed_in(store: Store, name: str, role: str = "labeler") -> tuple[Labeler, str]:
    person = store.people.add(name, role)
    token = store.people.redeem(store.people.create_code(person.id))
    assert token is not None
    return person, token


def add_task(store: Store, text: str = "Why?", count: int = 2, wanted: int = 3) -> int:
    prompt, _ = store.prompts.add([Message(role="user", content=text)], "test")
    ids = store.responses.add([NewResponse(prompt, f"{text} {i}") for i in range(count)])
    return store.tasks.add(prompt, ids, wanted=wanted)


def best_first(shown: tuple[int, ...]) -> Answer:
    return Answer(tuple((i,) for i in shown))


Act = Callable[[Store, str | None], Any]

ACTIONS: dict[str, tuple[str, Act]] = {
    "next_task": ("answer", actions.next_task),
    "submit": ("answer", lambda s, t: actions.submit(s, t, 1, best_first((1, 2)), "key")),
    "skip": ("answer", lambda s, t: actions.skip(s, t, 1, "other")),
    "take_back": ("answer", lambda s, t: actions.take_back(s, t, 1, "key")),
    "undo": ("answer", lambda s, t: actions.undo(s, t, "key")),
    "add_labeler": ("people", lambda s, t: actions.add_labeler(s, t, "Eve", "lead")),
    "new_link": ("people", lambda s, t: actions.new_link(s, t, 1)),
    "set_disabled": ("people", lambda s, t: actions.set_disabled(s, t, 1, True)),
    "set_email": ("people", lambda s, t: actions.set_email(s, t, 1, "eve@example.org")),
    "set_sign_in": ("settings", lambda s, t: actions.set_sign_in(
        s, t, SessionRules(lifetime_days=365), ["example.org"])),
    "start_job": ("rounds", lambda s, t: actions.start_job(s, t, "ppo", {})),
    "stop_job": ("rounds", lambda s, t: actions.stop_job(s, t, 1)),
    "sign_out_everywhere": ("answer", actions.sign_out_everywhere),
}
#: These are their own record, so the audit log does not repeat them.
ANSWERING = {"next_task", "submit", "skip", "take_back", "undo"}


def everything(store: Store) -> list[tuple[str, Any]]:
    """How many rows each table has, and which state people, jobs and settings are in."""
    tables = ("labelers", "sign_in_codes", "comparisons", "assignments", "jobs", "tasks", "audit")
    questions = [f"SELECT count(*) FROM {table}" for table in tables] + [
        "SELECT count(*) FROM labelers WHERE disabled",
        "SELECT count(*) FROM jobs WHERE stop_requested",
        "SELECT count(*) FROM sessions WHERE ended_at IS NULL",
        "SELECT group_concat(config) FROM labelers",
        "SELECT group_concat(key || value) FROM settings"]
    return [(question, store.database.value(question)) for question in questions]


def test_every_public_action_is_covered() -> None:
    public = {name for name, value in vars(actions).items() if callable(value)
              and getattr(value, "__module__", "") == "annotate.actions"
              and not name.startswith("_")}
    assert public == set(ACTIONS) | {"require", "sign_out"}


def test_roles_have_the_stated_permissions() -> None:
    assert set(PERMISSIONS) == set(ROLES)
    assert PERMISSIONS["labeler"] == {"answer"}
    assert "people" not in PERMISSIONS["engineer"]
    assert PERMISSIONS["lead"] >= PERMISSIONS["engineer"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_refused_to_every_role_without_its_permission(
        store: Store, name: str, role: str) -> None:
    permission, act = ACTIONS[name]
    signed_in(store, "somebody else", "lead")
    add_task(store)
    store.jobs.add("ppo")
    _, token = signed_in(store, "me", role)
    before = everything(store)
    if permission in PERMISSIONS[role]:
        try:
            act(store, token)
        except NotAllowed as error:  # the task is somebody else's, which is no matter of roles
            assert "not given to you" in str(error)
        except BadInput:
            pass
    else:
        with pytest.raises(NotAllowed, match="may not"):
            act(store, token)
        assert everything(store) == before


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("end", ["none", "forged", "signed out", "disabled"])
def test_an_action_needs_a_living_session(store: Store, name: str, end: str) -> None:
    other, _ = signed_in(store, "other", "lead")
    me, token = signed_in(store, "me", "lead")
    add_task(store)
    store.jobs.add("ppo")
    given: str | None = token
    if end == "none":
        given = None
    elif end == "forged":
        given = token[:-1] + ("A" if token[-1] != "A" else "B")
    elif end == "signed out":
        actions.sign_out(store, token)
    else:
        store.people.set_disabled(me.id, True)
    before = everything(store)
    with pytest.raises(NotAllowed, match="session has ended"):
        ACTIONS[name][1](store, given)
    assert everything(store) == before
    assert not store.people.get(other.id).disabled


@pytest.mark.parametrize("name", sorted(set(ACTIONS) - ANSWERING))
def test_what_is_more_than_answering_leaves_an_entry_in_the_same_transaction(
        store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in(store, "other")
    me, token = signed_in(store, "me", "lead")
    store.jobs.add("ppo")
    before = everything(store)
    with monkeypatch.context() as patch, pytest.raises(PrefloopError, match="disk is full"):
        def full(*_: Any, **__: Any) -> None:
            raise PrefloopError("the disk is full")

        patch.setattr(store.audit, "record", full)
        ACTIONS[name][1](store, token)
    assert everything(store) == before  # what cannot be logged is not done
    ACTIONS[name][1](store, token)
    entry = store.audit.entries()[0]
    assert entry.labeler_id == me.id and entry.action
    assert len(store.audit.entries()) == 1


def test_the_audit_log_holds_no_secret(store: Store) -> None:
    me, token = signed_in(store, "me", "lead")
    _, code = actions.add_labeler(store, token, "Eve", "labeler")
    again = actions.new_link(store, token, me.id)
    actions.sign_out(store, token)
    told = repr(store.audit.entries())
    assert not any(secret in told for secret in (token, code, again))
    assert [entry.action for entry in store.audit.entries()] == [
        "sign out", "make sign-in link", "add person"]


def test_a_change_of_role_counts_from_the_next_click(store: Store) -> None:
    me, token = signed_in(store, "me", "lead")
    actions.new_link(store, token, me.id)
    store.people.set_role(me.id, "labeler")
    with pytest.raises(NotAllowed, match="a labeler may not"):
        actions.new_link(store, token, me.id)


def test_signing_out_everywhere_ends_ones_own_sessions_only(store: Store) -> None:
    me, token = signed_in(store, "me")
    elsewhere = store.people.redeem(store.people.create_code(me.id))
    _, theirs = signed_in(store, "they")
    assert elsewhere is not None and actions.sign_out_everywhere(store, token) == 2
    assert store.people.of_session(token) is store.people.of_session(elsewhere) is None
    assert store.people.of_session(theirs) is not None


def test_a_task_can_only_be_answered_or_skipped_by_whom_it_was_given_to(store: Store) -> None:
    task = add_task(store)
    _, mine = signed_in(store, "me")
    _, theirs = signed_in(store, "they")
    given = actions.next_task(store, mine)
    assert given is not None and given.task.id == task
    with pytest.raises(NotAllowed, match="not given to you"):
        actions.submit(store, theirs, task, best_first(given.shown), "k")
    with pytest.raises(NotAllowed, match="not given to you"):
        actions.skip(store, theirs, task, "other")
    with pytest.raises(NotAllowed, match="not given to you"):
        actions.submit(store, mine, 999, best_first(given.shown), "k")
    assert store.comparisons.current() == []


def test_a_lead_cannot_lock_themselves_out(store: Store) -> None:
    me, token = signed_in(store, "me", "lead")
    with pytest.raises(BadInput, match="yourself"):
        actions.set_disabled(store, token, me.id, True)
    assert not store.people.get(me.id).disabled


def test_an_unknown_job_or_field_is_refused(store: Store) -> None:
    _, token = signed_in(store, "me", "engineer")
    with pytest.raises(BadInput, match="none of ppo"):
        actions.start_job(store, token, "format-disk", {})
    with pytest.raises(BadInput, match="no field 'path'"):
        actions.start_job(store, token, "ppo", {"path": "/etc/passwd"})
    assert store.jobs.all() == []


def test_previewing_a_link_does_not_use_it_up(store: Store) -> None:
    code = store.people.create_code(store.people.add("Ada").id)
    for _ in range(3):
        found = store.people.of_code(code)
        assert found is not None and found.name == "Ada"
    assert store.people.redeem(code) is not None
    assert store.people.of_code(code) is None and store.people.redeem(code) is None


# The desk -----------------------------------------------------------------------------------


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(desk, "monotonic", clock)
    return clock


def at_desk(store: Store, token: str) -> desk.Desk:
    mine = desk.Desk(store, lambda: token)
    mine.take()
    mine.rendered()
    return mine


def press(mine: desk.Desk, key: str | None = None, choice: int = 0) -> None:
    button = PAIR_CHOICES[choice]
    mine.answer(key or mine.submission_key, lambda question, seconds: Answer(
        ranking_of(button, question.shown), button.strength, button.verdict, seconds=seconds))
    mine.rendered()


def test_the_desk_measures_seconds_from_the_first_render(store: Store, clock: Clock) -> None:
    _, token = signed_in(store, "me")
    add_task(store)
    mine = at_desk(store, token)
    clock.now += 5
    mine.rendered()  # a rerun of the page
    clock.now += 7
    press(mine)
    assert store.comparisons.current()[0].answer.seconds == pytest.approx(12)


def test_a_double_click_and_a_held_key_answer_once(store: Store, clock: Clock) -> None:
    _, token = signed_in(store, "me")
    for i in range(3):
        add_task(store, f"prompt {i}")
    mine = at_desk(store, token)
    clock.now += 3
    old_key = mine.submission_key
    press(mine)
    clock.now += 0.05
    press(mine, old_key)  # the second click, sent before the page had changed
    press(mine)           # the second click, on the next pair, which stands in the same place
    clock.now += desk.QUIET_SECONDS - 0.1
    for _ in range(30):   # a held key
        press(mine)
        clock.now += 0.05
    assert len(store.comparisons.current()) == 1
    assert "ignored" in mine.notice
    clock.now += 1
    press(mine)
    assert len(store.comparisons.current()) == 2


def test_undo_brings_back_answers_and_skips_in_turn(store: Store, clock: Clock) -> None:
    me, token = signed_in(store, "me")
    for i in range(3):
        add_task(store, f"prompt {i}")
    mine = at_desk(store, token)
    assert mine.question is not None
    first, sides = mine.question.task_id, mine.question.shown
    clock.now += 3
    press(mine)
    clock.now += 3
    second = mine.question.task_id
    mine.skip(mine.submission_key, "cannot judge")
    mine.rendered()
    clock.now += 3
    mine.undo(mine.submission_key)
    assert mine.question.task_id == second
    mine.rendered()
    clock.now += 3
    mine.undo(mine.submission_key)
    assert mine.question.task_id == first and mine.question.shown == sides
    assert store.comparisons.current() == []
    mine.rendered()
    clock.now += 3
    press(mine, choice=4)
    stands = store.comparisons.current(labeler_id=me.id)
    assert [c.revision for c in stands] == [3]
    left = {mine.question.task_id}
    clock.now += 3
    press(mine)
    assert left | {mine.question.task_id} == {second, 3}


def test_a_failed_save_says_so_and_keeps_the_question(store: Store, clock: Clock,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = signed_in(store, "me")
    add_task(store)
    mine = at_desk(store, token)
    clock.now += 3

    def full(*_: object) -> None:
        raise PrefloopError("the disk is full, nothing was saved")

    monkeypatch.setattr(actions, "submit", full)
    press(mine)
    assert mine.question is not None and mine.failed
    assert mine.notice == "NOT saved: the disk is full, nothing was saved"
    monkeypatch.undo()
    monkeypatch.setattr(desk, "monotonic", clock)
    clock.now += 3
    press(mine)
    assert mine.question is None and not mine.failed
    assert len(store.comparisons.current()) == 1


def test_two_tabs_store_one_answer(store: Store, clock: Clock) -> None:
    _, token = signed_in(store, "me")
    add_task(store)
    one, two = at_desk(store, token), at_desk(store, token)
    clock.now += 3
    press(one, choice=0)
    press(two, choice=4)
    assert len(store.comparisons.current()) == 1
    assert two.failed and "NOT saved: you have answered this task already" in two.notice


def test_the_question_holds_texts_and_no_origin(store: Store) -> None:
    _, token = signed_in(store, "me")
    add_task(store)
    question = at_desk(store, token).question
    assert question is not None
    assert set(vars(question)) == {"task_id", "round_id", "messages", "texts", "shown"}


# Words and records --------------------------------------------------------------------------


@pytest.mark.parametrize("choice", PAIR_CHOICES, ids=lambda c: c.name)
@pytest.mark.parametrize("shown", [(7, 3), (3, 7)])
def test_a_choice_and_its_answer_say_the_same(choice: Any, shown: tuple[int, ...]) -> None:
    answer = Answer(ranking_of(choice, shown), choice.strength, choice.verdict)
    assert choice_of(answer, shown) == choice
    assert in_words(answer, shown).lower() == choice.label.lower()
    if choice.better is not None:
        assert answer.ranking[0] == (shown[choice.better],)


def test_ranks_become_groups_and_come_back() -> None:
    shown = (40, 10, 30, 20)
    ranking = ranking_of_ranks({0: 2, 1: 1, 2: 4, 3: 2}, shown)
    assert ranking == ((10,), (40, 20), (30,))
    assert ranks_of(Answer(ranking), shown) == {1: 1, 0: 2, 3: 2, 2: 3}
    assert in_words(Answer(ranking), shown) == "B > A = D > C"


def test_a_search_finds_prompt_response_and_reason_literally(store: Store) -> None:
    me, token = signed_in(store, "me")
    for text in ("What is 100% cotton?", "Who wrote a_b?", "Where?"):
        add_task(store, text)
    while (given := actions.next_task(store, token)) is not None:
        answer = Answer(((given.shown[0],), (given.shown[1],)), rationale="Clear as day")
        actions.submit(store, token, given.task.id, answer, f"k{given.task.id}")

    def found(text: str) -> int:
        return store.comparisons.search(me.id, text)[1]

    assert (found(""), found("clear as"), found("100%"), found("a_b"), found("%"),
            found("nowhere")) == (3, 3, 1, 1, 1, 0)
    assert len(store.comparisons.search(me.id, "", 2)[0]) == 2
    assert store.comparisons.count(me.id) == 3


def test_responses_are_placed_best_first_unless_keys_lose_their_order(store: Store,
                                                                      clock: Clock) -> None:
    _, token = signed_in(store, "me")
    add_task(store, count=4)
    mine = at_desk(store, token)
    for position in (2, 0, 3):
        clock.now += 0.1
        mine.place(mine.submission_key, position)
    assert mine.ranks == {2: 1, 0: 2, 3: 3}
    clock.now += 0.001  # came in the same message as the one before
    mine.place(mine.submission_key, 1)
    assert mine.ranks == {2: 1, 0: 2} and "at once" in mine.notice
    clock.now += 0.1
    mine.place("another question's key", 1)
    assert mine.ranks == {2: 1, 0: 2}
