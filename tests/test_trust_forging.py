"""Who may see and do what, tried by forging: pages, widgets, fragments and sessions, over the app's
own websocket."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from browser import Server, add_task, make_workspace, open_round
from forging import SECRETS, Arrive, age_session, everything, run, told
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit_client import Tab, Visitor, press_of

from annotate.permissions import PERMISSIONS, Permission
from data.database import now
from data.records import ROLES, Labeler
from data.store import Store

#: What a page needs; a page that is not named here is for nobody until it is.
PAGES: dict[str, Permission] = {
    "": "answer", "answers": "answer", "account": "answer", "quality": "quality",
    "disputes": "quality", "browse": "quality", "settings": "settings", "people": "people",
    "audit": "people", "rounds": "rounds", "reward": "rounds", "learning": "rounds",
    "jobs": "rounds"}
KINDS = [{"kind": "ppo", "title": "PPO", "help": "secret-job-setting", "common": ["steps"],
          "fields": [{"name": "steps", "type": "int", "default": 20, "choices": []}]}]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With something secret on each page that is not a labeler's."""
    folder = tmp_path_factory.mktemp("forging") / "workspace"
    store = make_workspace(folder)
    store.put_setting("job_kinds", KINDS)
    store.put_setting("worker", {"seen": now()})
    round_id = open_round(store)
    for i in range(40):
        add_task(store, round_id, f"prompt {i}?", [f"one {i}", f"other {i}"], wanted=2)
    store.people.add("Zebediah Secretname")
    job = store.jobs.add("ppo", {"steps": 7})
    with store.database.write() as db:
        db.conn.execute("UPDATE jobs SET message = 'secret-job-setting' WHERE id = ?", [job.id])
    return folder


def widgets(tab: Tab) -> list[str]:
    """The ids of everything that can be pressed, set or triggered on the page."""
    return [one.id for one in tab.placed.values() if one.id]


def test_every_page_is_known_here(arrive: Arrive) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab() as tab:
            assert set(tab.pages) <= set(PAGES)
    run(main())


@pytest.mark.parametrize("role", ROLES)
def test_a_page_opens_by_its_address_only_for_who_may_see_it(
        server: Server, arrive: Arrive, role: str) -> None:
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
                    assert (f" {role} may not do this" in tab.text()) is refused, (role, path)
                    assert not tab.all("exception"), tab.text()
                    if role == "labeler":
                        assert not [secret for secret in SECRETS if secret in told(tab)]
    run(main())


def test_a_labeler_presses_nothing_of_a_leads_pages(
        server: Server, arrive: Arrive) -> None:
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
        server: Server, arrive: Arrive) -> None:
    """Else the test above would pass with messages that mean nothing."""
    async def main() -> None:
        _, lead = arrive("lead")
        async with await lead.tab("people") as tab:
            name = "somebody added"
            tab.set(tab.labelled("Name"), name)
            await tab.press(tab.labelled("Add"))
            assert server.store.people.named(name).role == "labeler"
            assert server.store.audit.entries(action="add person")[0].subject == name
    run(main())


END: dict[str, Callable[[Store, Visitor, Labeler], Any]] = {
    "signed out": lambda store, visitor, who: visitor.sign_out(),
    "disabled": lambda store, visitor, who: store.people.set_disabled(who.id, True),
    "signed out everywhere": lambda store, visitor, who: store.people.sessions.end_all(who.id),
    "too old": lambda store, visitor, who: age_session(
        store, who, "created_at", timedelta(days=15)),
    "unused": lambda store, visitor, who: age_session(store, who, "seen_at", timedelta(hours=121)),
    "another role": lambda store, visitor, who: store.people.set_role(who.id, "labeler"),
}


@pytest.mark.parametrize("end", END)
def test_an_open_page_stops_serving_when_its_session_has_ended(
        server: Server, arrive: Arrive, end: str) -> None:
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


def test_who_is_not_signed_in_is_shown_how_to(server: Server) -> None:
    async def main() -> None:
        for cookies in ({}, {"prefloop_000000000000": "x" * 43}):
            for path in PAGES:
                async with await Visitor(server.url, dict(cookies)).tab(path, record=True) as tab:
                    assert "You are not signed in" in tab.text()
                    assert not [secret for secret in SECRETS if secret in told(tab)]
    run(main())
