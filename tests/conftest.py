"""What many tests begin with: a small workspace, and for those with a real browser, that.

One Chromium and one server a file: a browser's event loop must not outlive the file's tests, since
other tests run loops of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from browser import Server, Visit
    from data_world import World
    from desk_world import Person
    from leads_world import LeadsWorld
    from playwright.sync_api import Browser
    from streamlit_client import Visitor

    from data.records import Labeler
    from data.store import Store

_names = count(1)
if "PYTEST_XDIST_WORKER" in os.environ:
    # As many processes as cores: torch's threads in each would stand in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A new store with nothing in it."""
    from data.store import Store

    return Store(tmp_path / "prefloop.db")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A new store with two policy versions and an open round."""
    from data_world import World

    return World.make(tmp_path / "prefloop.db")


@pytest.fixture
def me(world: World) -> Person:
    """A labeler with a session, who has answered nothing yet."""
    from desk_world import Person

    return Person(world.store)


@pytest.fixture(scope="module")
def leads(tmp_path_factory: pytest.TempPathFactory) -> LeadsWorld:
    """A round that eight people have labeled, with known answers and repeats; shared by a file."""
    from browser import make_workspace
    from leads_world import LeadsWorld

    made = LeadsWorld.make(make_workspace(tmp_path_factory.mktemp("leads")))
    made.hidden()
    return made


@pytest.fixture
def aside(leads: LeadsWorld) -> Iterator[int]:
    """The careless one, set aside for the length of a test; the world is shared by the file."""
    from leads_world import CARELESS

    who = leads.people[CARELESS].id
    leads.store.people.set_aside(who, True)
    yield who
    leads.store.people.set_aside(who, False)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; skipped where there is none."""
    from browser import PATIENCE_MS, launch_browser
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = launch_browser(playwright)
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server of a file serves: nothing but an open round. Some files make another."""
    from browser import make_workspace, open_round

    from data.database import now

    folder = tmp_path_factory.mktemp("workspace")
    store = make_workspace(folder)
    store.put_setting("worker", {"pid": 1, "seen": now()})
    open_round(store)
    return folder


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[Server]:
    """One server for all tests of a file; each test opens a round of its own."""
    from browser import serving

    with serving(workspace) as running:
        yield running


@pytest.fixture
def person(server: Server) -> Callable[..., Labeler]:
    """Adds somebody with a name of their own."""
    return lambda role="labeler": server.store.people.add(f"{role} {next(_names)}", role)


@pytest.fixture
def window(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens windows, and holds each to the rule that no request leaves this machine."""
    from browser import visit

    opened: list[Visit] = []

    def open_one(**options: object) -> Visit:
        opened.append(visit(chromium, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for one in opened:
        assert one.strangers() == []
        assert one.dialogs == []
        assert one.errors == []
        one.context.close()


@pytest.fixture
def tasks(server: Server) -> Callable[..., list[int]]:
    """Opens a round of its own, with so many tasks of the same texts."""
    from browser import add_task

    def make(number: int = 3, texts: tuple[str, ...] = ("first text", "second text"),
             **options: Any) -> list[int]:
        versions = server.store.versions.policies()
        turn = server.store.rounds.open(versions[1].id, versions[0].id)
        server.store.rounds.set_stage(turn.id, "labeling")
        return [add_task(server.store, turn.id, f"Question {next(_names)}", list(texts), **options)
                for _ in range(number)]
    return make


@pytest.fixture
def newcomer(server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
             ) -> Callable[..., tuple[Labeler, Visit]]:
    """A new person of a role, signed in, in a window of their own."""
    from browser import sign_in

    def come(role: str = "labeler", **options: Any) -> tuple[Labeler, Visit]:
        me, one = person(role), window(**options)
        sign_in(one, server, me)
        return me, one
    return come


@pytest.fixture
def arrive(server: Server, person: Callable[..., Labeler],
           ) -> Callable[..., tuple[Labeler, Visitor]]:
    """The same without a browser."""
    from streamlit_client import Visitor

    def come(role: str = "labeler") -> tuple[Labeler, Visitor]:
        who, visitor = person(role), Visitor(server.url)
        assert visitor.sign_in(server.store.people.create_code(who.id)).status == 303
        return who, visitor
    return come
