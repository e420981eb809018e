"""Who may do what, and what a labeler's desk does with each press."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate import actions
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
    return store.tasks.add(prompt, ids, round_id=open_round(store), wanted=wanted)


def open_round(store: Store) -> int:
    """The round that is open, or a new one."""
    turn = store.rounds.current()
    if turn is None:
        policy = store.versions.add_policy(name="policy", base="tiny", method="sft").id
        turn = store.rounds.open(policy, policy)
    return turn.id


def best_first(shown: tuple[int, ...]) -> Answer:
    return Answer(tuple((i,) for i in shown))


Act = Callable[[Store, str | None], Any]

ACTIONS: dict[str, tuple[str, Act]] = {
    "next_task": ("answer", actions.next_task),
    "submit": ("answer", lambda s, t: actions.submit(s, t, 1, best_first((1, 2)), "key")),
    "skip": ("answer", lambda s, t: actions.skip(s, t, 1, "other", "key")),
    "take_back": ("answer", lambda s, t: actions.take_back(s, t, 1, "key")),
    "add_labeler": ("people", lambda s, t: actions.add_labeler(s, t, "Eve", "lead")),
    "new_link": ("people", lambda s, t: actions.new_link(s, t, 1)),
    "set_disabled": ("people", lambda s, t: actions.set_disabled(s, t, 1, True)),
    "set_email": ("people", lambda s, t: actions.set_email(s, t, 1, "eve@example.org")),
    "set_sign_in": ("settings", lambda s, t: actions.set_sign_in(
        s, t, SessionRules(lifetime_days=365), ["example.org"], (SessionRules(), ()))),
    "start_job": ("rounds", lambda s, t: actions.start_job(s, t, "ppo", {})),
    "stop_job": ("rounds", lambda s, t: actions.stop_job(s, t, 1)),
    "resume_job": ("rounds", lambda s, t: actions.resume_job(s, t, 1)),
    "sign_out_everywhere": ("answer", actions.sign_out_everywhere),
}
#: These are their own record, so the audit log does not repeat them.
ANSWERING = {"next_task", "submit", "skip", "take_back"}


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
    assert public == set(ACTIONS) | {"require", "require_unchanged", "sign_out"}


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
    with pytest.raises(NotAllowed, match="session has ended: sign in again"):
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
        actions.skip(store, theirs, task, "other", "k")
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
    store.put_setting("job_kinds", [{"kind": "ppo", "fields": [{"name": "kl_stop"}]}])
    for number in (math.inf, math.nan):
        with pytest.raises(BadInput, match="kl_stop: wanted a finite number"):
            actions.start_job(store, token, "ppo", {"kl_stop": number})
    store.put_setting("job_kinds", [{"kind": "ppo", "fields": [
        {"name": "steps", "least": 1}, {"name": "learning_rate", "above": 0}]}])
    with pytest.raises(BadInput, match="steps: must be at least 1, not 0"):
        actions.start_job(store, token, "ppo", {"steps": 0})
    with pytest.raises(BadInput, match="learning_rate: must be above 0, not"):
        actions.start_job(store, token, "ppo", {"steps": 1, "learning_rate": 0.0})
    store.put_setting("job_kinds", [])
    with pytest.raises(BadInput, match="no worker has run"):
        actions.start_job(store, token, "ppo", {})
    assert store.jobs.all() == []


def test_previewing_a_link_does_not_use_it_up(store: Store) -> None:
    code = store.people.create_code(store.people.add("Ada").id)
    for _ in range(3):
        found = store.people.of_code(code)
        assert found is not None and found.name == "Ada"
    assert store.people.redeem(code) is not None
    assert store.people.of_code(code) is None and store.people.redeem(code) is None


def test_the_command_line_leaves_entries_too(tmp_path: Path) -> None:
    from loop.cli import run

    here = ["--workspace", str(tmp_path / "w")]
    assert run(["init", *here]) == 0
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Why?"}\n')
    for command in (["labeler", "add", "Ann", "--email", "ann@example.org"],
                    ["labeler", "link", "Ann"], ["labeler", "disable", "Ann"],
                    ["labeler", "enable", "Ann"], ["import", str(file)]):
        assert run([*command, *here]) == 0
    store = Store.of_workspace(tmp_path / "w")
    entries = store.audit.entries()
    assert {entry.labeler_id for entry in entries} == {None}
    assert [entry.action for entry in entries] == [
        "import", "enable person", "disable person", "make sign-in link", "make sign-in link",
        "add person"]
    found = store.people.of_email("ann@example.org")
    assert found is not None and found.name == "Ann"


def test_the_account_page_names_the_keys_of_the_labeling_page() -> None:
    from annotate.keys import keys_of
    from data.questions import Question

    full = dict(keys_of(Question(scores=True, rewrite=True)))
    assert set("=0FPRWSUGDHX") <= set(full) and full["5"] == "Two responses: Tie"
    bare = dict(keys_of(Question(scale="plain", tie=False, both_bad=False, flags=(), reason=False)))
    assert not set("=0FPRW") & set(bare)
    assert full["1 to 9"] == "Three responses or more: rank that response next"
    assert full["F"] == "Flags of A, then of B, …, each by its number"
    many = dict(keys_of(Question(flags=tuple(f"flag {i}" for i in range(12)))))
    assert many["F"] == "Flags of A, then of B, …, the first nine by number"
    static = Path(__file__).parents[1] / "annotate" / "labelers" / "static"
    script = (static / "keys.js").read_text("utf-8")
    for key in ("g", "d", "u", "h", "s", "f", "p", "r", "w", "x"):
        assert re.search(rf"\b{key}: ", script), key
