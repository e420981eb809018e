"""An answer that cannot be saved is said to be unsaved, waits, and arrives later, once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from browser import (
    Newcomer,
    Server,
    Tasks,
    Visit,
    add_task,
    make_workspace,
    open_round,
    serving,
    settled,
    sign_in,
    visit,
)
from desk_page import key, outbox, sides, status, stored, type_reason
from playwright.sync_api import Browser, expect
from processes import free_port, wait_for
from streamlit.proto.BackMsg_pb2 import BackMsg

from data.records import Labeler
from data.store import Store

pytestmark = pytest.mark.browser
#: What stands at the top of any page while there is no connection.
SAID_BY_THE_APP = "getComputedStyle(document.querySelector('.stApp'), '::before').content"


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """The server neither answers nor hangs up."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def kill(server: Server) -> None:
    """The server is gone without a word."""
    assert server.process is not None
    server.process.kill()
    server.process.wait()


@pytest.fixture
def restarting(tmp_path: Path, chromium: Browser) -> Iterator[tuple[Store, int, Visit]]:
    """A workspace, a port that servers over it may come and go on, and a window."""
    store = make_workspace(tmp_path)
    turn = open_round(store)
    for number in range(6):
        add_task(store, turn, f"Question {number}", ["one", "two"])
    window = visit(chromium)
    yield store, free_port(), window
    window.context.close()


def test_an_answer_given_without_a_connection_arrives_later(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(3)
    me, one = newcomer()
    page = one.page
    sides(page)
    one.page.evaluate("document.addEventListener('prefloop:shown', () => window.n = 1)")
    with frozen(server):
        key(page, "1")
        key(page, "2")
        expect(page.locator(".pf-unsaved")).to_contain_text("2 answers not saved yet, trying again")
        assert outbox(page) == 2 and "Saved:" not in status(page).inner_text()
        assert stored(server, me) == []
    expect(page.get_by_text("you 2")).to_be_visible()
    expect(page.locator(".pf-unsaved")).to_be_hidden()
    assert outbox(page) == 0
    assert [c.answer.strength for c in stored(server, me)] == [4, 3]


def test_answers_survive_a_killed_server_and_a_reload(
        restarting: tuple[Store, int, Visit], tmp_path: Path) -> None:
    store, port, window = restarting
    me = store.people.add("me")
    page = window.page
    with serving(tmp_path, port) as server:
        sign_in(window, server, me)
        sides(page)
        key(page, "1")
        expect(page.get_by_text("you 1")).to_be_visible()
        kill(server)
        key(page, "2")
        expect(page.locator(".pf-unsaved")).to_contain_text("1 answer not saved yet")
        wait_for(lambda: page.wait_for_timeout(100) or "away" in page.evaluate(SAID_BY_THE_APP))
        type_reason(page, "typed while away")
    assert len(store.comparisons.current()) == 1
    with serving(tmp_path, port) as server:
        expect(page.get_by_text("you 2")).to_be_visible()  # by itself
        assert page.evaluate(SAID_BY_THE_APP) == "none"
        expect(page.get_by_role("textbox", name="Reason")).to_have_value("typed while away")
        kill(server)
        key(page, "3")
        assert outbox(page) == 1
    with serving(tmp_path, port) as server:
        page.goto(server.url)
        expect(page.get_by_text("you 3")).to_be_visible()
        answers = store.comparisons.current()
        assert [c.answer.strength for c in answers] == [4, 3, 2]
        assert answers[2].answer.rationale == "typed while away"
        assert all(len(store.comparisons.history(c.task_id, me.id)) == 1 for c in answers)


def test_a_server_that_was_started_anew_before_the_first_answer_takes_it(
        restarting: tuple[Store, int, Visit], tmp_path: Path) -> None:
    store, port, window = restarting
    page = window.page
    with serving(tmp_path, port) as server:
        sign_in(window, server, store.people.add("me"))
        sides(page)
        kill(server)
        wait_for(lambda: page.wait_for_timeout(100) or "away" in page.evaluate(SAID_BY_THE_APP))
        key(page, "2")
    with serving(tmp_path, port):
        expect(page.get_by_text("you 1")).to_be_visible()  # by itself
    assert [c.answer.strength for c in store.comparisons.current()] == [3]


def test_a_disabled_account_is_told_and_its_answer_waits(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(3)
    me, one = newcomer()
    page = one.page
    sides(page)
    type_reason(page, "carefully argued")
    server.store.people.set_disabled(me.id, True)
    key(page, "1")
    alert = page.get_by_role("alert").first
    expect(alert).to_contain_text("NOT saved yet: your session has ended")
    assert stored(server, me) == [] and outbox(page) == 1
    server.store.people.set_disabled(me.id, False)
    sign_in(one, server, me)
    expect(page.get_by_text("you 1")).to_be_visible()
    expect(page.locator(".pf-alert")).to_have_count(0)
    assert stored(server, me)[0].answer.rationale == "carefully argued"


def test_a_lost_connection_is_said_and_a_page_left_meanwhile_does_not_break(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(4)
    me, one = newcomer()
    page = one.page
    sides(page)
    one.context.set_offline(True)
    key(page, "1")
    key(page, "2")
    expect(page.locator(".pf-note")).to_contain_text("No connection to the server")
    expect(page.locator(".pf-unsaved")).to_contain_text("2 answers not saved yet")
    key(page, "u")
    expect(page.locator(".pf-unsaved")).to_contain_text("3 changes not saved yet")
    page.get_by_role("link", name="My answers").click()
    one.context.set_offline(False)
    heading = page.get_by_role("heading", name="My answers")
    with suppress(AssertionError):
        expect(heading).to_be_visible(timeout=20_000)
    if not heading.is_visible():  # the click was lost with the connection
        page.get_by_role("link", name="My answers").click()
    expect(heading).to_be_visible()
    page.wait_for_timeout(1500)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert "encountered an error" not in page.locator("body").inner_text()
    page.get_by_role("link", name="Label", exact=True).click()
    expect(page.get_by_text("you 1")).to_be_visible()
    wait_for(lambda: page.wait_for_timeout(100) or not outbox(page))  # the server says so again
    assert [c.answer.strength for c in stored(server, me)] == [4]


def test_a_page_that_is_gone_to_while_the_desk_asks_for_news_stays(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks) -> None:
    tasks(0)
    one, asked = window(), []
    page = one.page
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(
        BackMsg.FromString(frame).rerun_script)))
    sign_in(one, server, person())
    expect(page.get_by_role("heading", name="has no pairs yet")).to_be_visible()
    account = page.get_by_test_id("stTopNavLink").filter(has_text="Account")
    here = page.get_by_text("You are signed in here only")
    with frozen(server):
        asked.clear()
        account.click()
        page.evaluate("window.dispatchEvent(new Event('online'))")  # it would ask at once
        wait_for(lambda: page.wait_for_timeout(50) or asked)
    expect(here).to_be_visible()
    assert [run.fragment_id for run in asked] == [""]  # the page alone; the desk's would empty it
    settled(page)
    expect(here).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="has no pairs yet")).to_be_visible()
    tasks(1)
    sides(page)  # and from there it asks again


def test_a_full_disk_is_said_and_the_answer_comes_again(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2)
    me, one = newcomer()
    page = one.page
    sides(page)
    blocker = ("CREATE TRIGGER full_disk BEFORE INSERT ON comparisons "
               "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
    server.store.database.connection.conn.execute(blocker)
    try:
        key(page, "1")
        expect(page.get_by_role("alert").first).to_contain_text("NOT saved yet")
        assert stored(server, me) == [] and outbox(page) == 1
    finally:
        server.store.database.connection.conn.execute("DROP TRIGGER full_disk")
    expect(page.get_by_text("you 1")).to_be_visible()
    expect(page.locator(".pf-alert")).to_have_count(0)


def test_leaving_with_unsaved_answers_warns(server: Server, newcomer: Newcomer,
                                            tasks: Tasks) -> None:
    tasks(2)
    me, one = newcomer()
    page = one.page
    sides(page)
    ask = ("() => { const leaving = new Event('beforeunload', {cancelable: true}); "
           "window.dispatchEvent(leaving); return leaving.defaultPrevented; }")
    assert page.evaluate(ask) is False
    with frozen(server):
        key(page, "1")
        assert page.evaluate(ask) is True
    expect(page.get_by_text("you 1")).to_be_visible()
    assert page.evaluate(ask) is False and len(stored(server, me)) == 1
