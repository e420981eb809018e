"""Who may do what, tried by sending what no page would send: forged pages, widgets, fragments,
sessions and messages, over the app's own websocket."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from browser import Server, add_task, make_workspace, open_round, serving
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit_client import Tab, Visitor, press_of
from websockets.exceptions import ConnectionClosed, InvalidStatus

from annotate.door.gate import is_use
from annotate.permissions import PERMISSIONS, Permission
from data.assignments import AssignmentRules
from data.database import now
from data.records import ROLES, Answer, Labeler
from data.store import Store

#: What a page needs; a page that is not named here is for nobody until it is.
PAGES: dict[str, Permission] = {
    "": "answer", "answers": "answer", "account": "answer", "quality": "quality",
    "disputes": "quality", "browse": "quality", "settings": "settings", "people": "people",
    "audit": "people", "rounds": "rounds", "reward": "rounds", "jobs": "rounds"}
#: Stand on leads' and engineers' pages, and may reach no labeler.
SECRETS = ("secret-ppo-1", "secret-reference", "Zebediah Secretname", "secret-job-setting",
           "lookalike")
KINDS = [{"kind": "ppo", "title": "PPO", "help": "secret-job-setting", "common": ["steps"],
          "fields": [{"name": "steps", "type": "int", "default": 20, "choices": []}]}]
_number = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("forging") / "workspace"
    store = make_workspace(workspace)
    store.put_setting("job_kinds", KINDS)
    store.put_setting("worker", {"seen": now()})
    round_id = open_round(store)
    for i in range(40):
        add_task(store, round_id, f"prompt {i}?", [f"one {i}", f"other {i}"], wanted=2)
    store.people.add("Zebediah Secretname")
    job = store.jobs.add("ppo", {"steps": 7})
    with store.database.write() as db:
        db.conn.execute("UPDATE jobs SET message = 'secret-job-setting' WHERE id = ?", [job.id])
    with serving(workspace) as running:
        yield running


@pytest.fixture
def arrive(server: Server) -> Callable[..., tuple[Labeler, Visitor]]:
    """A new person of a role, signed in."""
    def come(role: str = "labeler") -> tuple[Labeler, Visitor]:
        labeler = server.store.people.add(f"somebody {next(_number)}", role)
        visitor = Visitor(server.url)
        assert visitor.sign_in(server.store.people.create_code(labeler.id)).status == 303
        return labeler, visitor
    return come


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 120))


def everything(store: Store) -> dict[str, str]:
    """A digest of every table; when a session was last used is no change."""
    tables = [row["name"] for row in store.database.rows(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%search%'")]
    found = {}
    for table in tables:
        rows = [tuple(v for k, v in dict(row).items() if k != "seen_at")
                for row in store.database.rows(f"SELECT * FROM {table}")]
        found[table] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def widgets(tab: Tab) -> list[str]:
    """The ids of everything that can be pressed, set or triggered on the page."""
    return [one.id for one in tab.placed.values() if one.id]


def told(tab: Tab) -> str:
    """All bytes that ever came, as text."""
    return b"\n".join(tab.received).decode("utf-8", "replace")


def test_every_page_is_known_here(arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab() as tab:
            assert set(tab.pages) <= set(PAGES)
    run(main())


@pytest.mark.parametrize("role", ROLES)
def test_a_page_opens_by_its_address_only_for_who_may_see_it(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]], role: str) -> None:
    async def main() -> None:
        _, visitor = arrive(role)
        async with await visitor.tab() as tab:
            pages = dict(tab.pages)
        for path in pages:
            refused = PAGES[path] not in PERMISSIONS[role]
            async with await visitor.tab(path, record=True) as by_name, \
                    await visitor.tab("account", record=True) as by_hash:
                by_hash.received.clear()
                await by_hash.rerun(page=path)
                for tab in (by_name, by_hash):
                    assert (f"a {role} may not do this" in tab.text()) is refused, (role, path)
                    assert not tab.all("exception"), tab.text()
                    if role == "labeler":
                        assert not [secret for secret in SECRETS if secret in told(tab)]
    run(main())


def test_a_labeler_presses_nothing_of_a_leads_pages(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        _, lead = arrive("lead")
        _, labeler = arrive()
        async with await lead.tab() as theirs, await labeler.tab("account", record=True) as mine:
            for path in (path for path, needed in PAGES.items()
                         if path in theirs.pages and needed != "answer"):
                await theirs.rerun(page=path)
                ids = widgets(theirs)
                fragments = {one.fragment for one in theirs.placed.values()} | set(
                    theirs.refreshing)
                await mine.rerun(page=path)
                before = everything(server.store)
                for forged in (
                        [press_of(name) for name in ids],
                        [WidgetState(id=name, string_value="forged") for name in ids],
                        [WidgetState(id=name, json_trigger_value='[{"event": "send"}]')
                         for name in ids]):
                    await mine.rerun(*forged)
                for fragment in fragments:
                    await mine.rerun(*map(press_of, ids), fragment=fragment, wait=False)
                await mine.rerun()
                assert everything(server.store) == before, path
            assert not [secret for secret in SECRETS if secret in told(mine)]
    run(main())


def test_the_same_presses_work_for_the_lead(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    """Else the test above would pass with messages that mean nothing."""
    async def main() -> None:
        _, lead = arrive("lead")
        async with await lead.tab("people") as tab:
            name = f"added {next(_number)}"
            tab.set(tab.labelled("Name"), name)
            await tab.press(tab.labelled("Add"))
            assert server.store.people.named(name).role == "labeler"
            assert server.store.audit.entries(action="add person")[0].subject == name
    run(main())


END: dict[str, Callable[[Store, Visitor, Labeler], Any]] = {
    "signed out": lambda store, visitor, who: visitor.sign_out(),
    "disabled": lambda store, visitor, who: store.people.set_disabled(who.id, True),
    "signed out everywhere": lambda store, visitor, who: store.people.sessions.end_all(who.id),
    "too old": lambda store, visitor, who: _age(store, who, "created_at", timedelta(days=15)),
    "unused": lambda store, visitor, who: _age(store, who, "seen_at", timedelta(hours=121)),
    "another role": lambda store, visitor, who: store.people.set_role(who.id, "labeler"),
}


def _age(store: Store, who: Labeler, column: str, ago: timedelta) -> None:
    with store.database.write() as db:
        db.conn.execute(f"UPDATE sessions SET {column} = ? WHERE labeler_id = ?",
                        [now(-ago), who.id])


@pytest.mark.parametrize("end", END)
def test_an_open_page_stops_serving_when_its_session_has_ended(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]], end: str) -> None:
    async def main() -> None:
        who, visitor = arrive("lead")
        async with await visitor.tab("people", record=True) as people, \
                await visitor.tab("jobs", record=True) as jobs:
            assert jobs.refreshing and any(secret in told(jobs) for secret in SECRETS)
            END[end](server.store, visitor, who)
            people.received.clear()
            jobs.received.clear()
            before = everything(server.store)
            people.set(people.labelled("Name"), "smuggled in")
            await people.press(people.labelled("Add"))
            for fragment in list(jobs.refreshing):  # what refreshes by itself, without a click
                await jobs.rerun(fragment=fragment)
            await jobs.rerun()
            assert everything(server.store) == before
            over = "a labeler may not" if end == "another role" else "You are not signed in"
            assert over in people.text() and over in jobs.text()
            assert not [secret for secret in SECRETS if secret in told(people) + told(jobs)]
    run(main())


def test_only_what_somebody_does_keeps_a_session_alive() -> None:
    def state(*events: str, auto: bool = False) -> ClientState:
        return ClientState(is_auto_rerun=auto, widget_states=WidgetStates(widgets=[
            WidgetState(id="typed before", string_value="x"),
            *(WidgetState(id="desk", json_trigger_value=event) for event in events)]))

    look, act = (json.dumps([{"event": "send", "value": {"entries": entries}}])
                 for entries in ([], [{"do": "skip"}]))
    assert is_use(state()) and is_use(state(act)) and is_use(state(look, act))
    assert not is_use(state(look)) and not is_use(state(auto=True))
    for strange in ("", "x", "[[]]", "null", '[{"value": 1}]', "[" * 9000):
        assert is_use(state(strange))


def test_use_is_written_down(server: Server,
                             arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        who, visitor = arrive()
        _age(server.store, who, "seen_at", timedelta(hours=100))
        async with await visitor.tab("account"):
            for _ in range(100):  # in the background, after the page
                (session,) = server.store.people.sessions.of(who.id)
                if session.seen_at > now(-timedelta(minutes=1)):
                    return
                await asyncio.sleep(0.05)
        raise AssertionError("nobody wrote it down")
    run(main())


def test_a_tab_cannot_be_taken_over_by_its_id(
        arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        who, lead = arrive("lead")
        _, labeler = arrive()
        forged = Visitor(labeler.url, dict(labeler.cookies), {"X-Prefloop-Person": str(who.id)})
        async with await lead.tab("people") as theirs:
            for thief in (labeler, forged, Visitor(labeler.url)):
                async with await thief.tab("people", session=theirs.session, record=True) as mine:
                    assert mine.session != theirs.session
                    assert not [secret for secret in SECRETS if secret in told(mine)]
            await theirs.rerun()
            assert "Zebediah Secretname" in theirs.text()
            async with await lead.tab("people", session=theirs.session) as again:
                assert again.session == theirs.session  # a dropped connection of one's own
    run(main())


def test_who_is_not_signed_in_is_shown_how_to(server: Server) -> None:
    async def main() -> None:
        for cookies in ({}, {"prefloop_000000000000": "x" * 43}):
            for path in PAGES:
                async with await Visitor(server.url, dict(cookies)).tab(path, record=True) as tab:
                    assert "You are not signed in" in tab.text()
                    assert not [secret for secret in SECRETS if secret in told(tab)]
    run(main())


# The labeling page --------------------------------------------------------------------------------


def answer_to(question: dict[str, Any], ask: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What the page would send for its first button."""
    return {"key": question["key"], "do": "answer", "choice": ask["choices"][0]["name"],
            "seconds": 5.0, "active_seconds": 4.0, **more}


async def sent(tab: Tab, *entries: Any) -> list[dict[str, Any]]:
    """Let the page send these; what it is told of them."""
    await tab.trigger(tab.component("desk"), "send", {"entries": list(entries)})
    return list(tab.component("desk").data["acks"])


def test_a_labeler_answers_only_what_was_given_to_them(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        (one, first), (other, second) = arrive(), arrive()
        count = server.store.comparisons.count
        async with await first.tab() as mine, await second.tab() as theirs:
            view = theirs.component("desk").data
            stolen = answer_to(view["question"], view["ask"])
            acks = await sent(mine, stolen, {**stolen, "do": "skip", "reason": "other"},
                              {**stolen, "do": "undo", "of": "answer"})
            assert acks and not any(ack["ok"] for ack in acks)
            assert count(one.id) == count(other.id) == 0
            (ack,) = await sent(theirs, stolen)
            assert ack["ok"] and count(other.id) == 1 and count(one.id) == 0
            # Their session, sent along with another's key, is of no use either.
            view = mine.component("desk").data
            first.sign_out()
            await sent(mine, answer_to(view["question"], view["ask"]))
            assert count(one.id) == 0
            assert "your session has ended" in mine.component("desk").data["refused"]
    run(main())


def test_forged_answers_are_refused_and_leave_nothing(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        labeler, visitor = arrive()
        async with await visitor.tab() as tab:
            view = tab.component("desk").data
            good = answer_to(view["question"], view["ask"])
            before = everything(server.store)
            sealed = good["key"].split("-")[0]
            forgeries: tuple[Any, ...] = (
                    {**good, "choice": "c-better"}, {**good, "choice": None},
                    {**good, "choice": ["a"]}, {**good, "do": "decide"}, {**good, "key": "x-y"},
                    {**good, "key": 7}, {**good, "key": good["key"] + "\u0000"},
                    {**good, "flags": {"0": "unsafe"}}, {**good, "flags": {"9": ["unsafe"]}},
                    {**good, "reason": {"$ne": 1}}, {**good, "reason": "half \ud800"},
                    {**good, "reason": "x" * 1_000_000}, {**good, "seconds": "NaN"},
                    {**good, "seconds": -1}, {**good, "question_version": 99},
                    {**good, "rewrite": {"base": 0, "text": "not asked for", "labeler_id": 1}}
                    if view["ask"]["rewrite"] else {**good, "rank": 1, "choice": 0},
                    None, 7, "answer", [], {})
            for number, forged in enumerate(forgeries):
                if isinstance(forged, dict) and forged.get("key") == good["key"]:
                    forged = {**forged, "key": f"{sealed}-{number}"}  # a settled key is not read
                assert not any(ack["ok"] for ack in await sent(tab, forged)), forged
            wrong: tuple[Any, ...] = ("send", None, {"entries": "x"}, {"entries": [[]] * 5000})
            for junk in wrong:
                await tab.trigger(tab.component("desk"), "send", junk)
            assert everything(server.store) == before
            # A refused key stays refused; the page makes a new one for another try.
            again = {**good, "key": good["key"].split("-")[0] + "-again"}
            assert [ack["ok"] for ack in await sent(tab, again) if ack["key"] == again["key"]] == [
                True]
            assert server.store.comparisons.count(labeler.id) == 1
    run(main())


def test_hidden_tasks_look_like_any_other(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    """By what reaches the browser: the same fields of the same kinds, and names without numbers."""
    store = server.store
    ordinary = store.tasks.get(1)
    lead, _ = arrive("lead")

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(of) for name, of in value.items()}
        return type(value).__name__

    async def main() -> None:
        seen = {}
        for share in (0.0, 0.5):
            store.assignments.set_rules(AssignmentRules(gold_share=share))
            for _ in range(12):
                labeler, visitor = arrive()
                async with await visitor.tab(record=True) as tab:
                    question = tab.component("desk").data["question"]
                    open_task, = [row["task_id"] for row in store.database.rows(
                        "SELECT task_id FROM assignments WHERE labeler_id = ? "
                        "ORDER BY leased_at LIMIT 1", [labeler.id])]
                    purpose = store.tasks.get(open_task).purpose
                    seen[purpose] = shape(question)
                    assert str(open_task) not in question["key"].split("-")
                    assert purpose == "train" or purpose not in told(tab)
        assert set(seen) == {"train", "gold"} and seen["train"] == seen["gold"]

    store.known.add(ordinary.prompt_id, ordinary.response_ids,
                    Answer(tuple((i,) for i in ordinary.response_ids), 3), practice=False,
                    explanation="", by=lead.id)
    try:
        run(main())
    finally:
        store.assignments.set_rules(AssignmentRules())


def _messages() -> Iterator[BackMsg]:
    """What no page of ours sends; some of it would reach every other person's page."""
    yield BackMsg(clear_cache=True)
    yield BackMsg(load_git_info=True)
    yield BackMsg(set_run_on_save=True)
    yield BackMsg(debug_disconnect_websocket=True)
    yield BackMsg(debug_shutdown_runtime=True)
    for payload in ("install_skills", "dismiss_skills_nudge"):
        message = BackMsg()
        message.backend_operation_request.request_id = "x"
        getattr(message.backend_operation_request, payload).SetInParent()
        yield message
    message = BackMsg()
    message.file_urls_request.request_id = "x"
    message.file_urls_request.file_names.append("../../etc/passwd")
    yield message


def test_messages_that_no_page_sends_are_not_heard(
        arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab("account") as tab:
            for message in _messages():
                await tab.send(message)
            await tab.send(BackMsg(app_heartbeat=True))
            heard: list[str] = []

            def note(message: ForwardMsg) -> bool:
                heard.append(str(message.WhichOneof("type")))
                return heard[-1] == "heartbeat_ack"

            await tab.until(note)
            # The other tells that the page's own run is over.
            assert set(heard) <= {"heartbeat_ack", "session_status_changed"}
            await tab.rerun()
            assert "Signed in as" in tab.text()
    run(main())


def test_a_page_of_another_site_gets_no_connection(
        arrive: Callable[..., tuple[Labeler, Visitor]]) -> None:
    async def main() -> None:
        _, visitor = arrive("lead")
        for origin in ("https://evil.example", "http://localhost:1", "http://127.0.0.1:1", "null",
                       "http://127.0.0.1.evil.example"):
            with pytest.raises(InvalidStatus, match="403"):
                await visitor.tab(origin=origin)
    run(main())


@pytest.mark.parametrize("junk", [b"", b"\xff" * 40, b"\x00", "a text frame", b"\x0a" * 5_000_000])
def test_junk_closes_the_connection_and_nothing_else(
        server: Server, arrive: Callable[..., tuple[Labeler, Visitor]], junk: bytes | str) -> None:
    async def main() -> None:
        _, visitor = arrive()
        async with await visitor.tab("account") as tab:
            await tab.send_raw(junk)
            with suppress(ConnectionClosed):
                await tab.rerun()
        async with await visitor.tab("account") as tab:
            assert "Signed in as" in tab.text()
        assert visitor.request("GET", "/healthz").status == 200
    run(main())
