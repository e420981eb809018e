"""What was answered is kept, and what was not is said: restarts, lost connections, two tabs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from browser import (
    Newcomer,
    Server,
    Tasks,
    Visit,
    add_task,
    button,
    free_port,
    key,
    make_workspace,
    open_round,
    serving,
    sides,
    sign_in,
    status,
    stored,
    visit,
)
from playwright.sync_api import Browser, Page, expect

from data.store import Store

pytestmark = pytest.mark.browser
LONG = 40_000


def outbox(page: Page) -> int:
    return int(page.evaluate("Object.keys(localStorage).filter((k) => k.includes('/out/')).length"))


def type_reason(page: Page, text: str) -> None:
    page.keyboard.press("r")
    page.keyboard.type(text)
    page.keyboard.press("Escape")


def said_by_the_app(page: Page) -> str:
    """What stands at the top of any page while there is no connection."""
    return str(page.evaluate(
        "getComputedStyle(document.querySelector('.stApp'), '::before').content"))


def test_drafts_survive_a_reload_and_belong_to_their_person(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2, wanted=2)
    _, one = newcomer()
    page = one.page
    sides(page)
    type_reason(page, "half a sentence")
    page.get_by_role("group", name="Flags of B").get_by_role("button", name="unsafe").click()
    page.reload()
    sides(page)
    expect(page.get_by_role("textbox", name="Reason")).to_have_value("half a sentence")
    expect(page.locator(".pf-flag[aria-pressed=true]")).to_have_count(1)
    # Somebody else in the same browser finds nothing of it.
    other = server.store.people.add("somebody else")
    page.context.clear_cookies()
    sign_in(one, server, other)
    sides(page)
    expect(page.get_by_role("textbox", name="Reason")).to_have_value("")


def test_two_tabs_do_not_conflict(server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(4)
    me, one = newcomer()
    first = one.page
    second = one.context.new_page()
    second.goto(server.url)
    questions = [page.locator(".pf-conversation").inner_text()
                 for page in (first, second) if sides(page)]
    assert questions[0] == questions[1]
    key(first, "1")
    expect(status(first)).to_contain_text("Saved")
    expect(status(second)).to_contain_text("in another tab")  # and it goes on by itself
    assert second.locator(".pf-conversation").inner_text() != questions[1]

    # With something typed, it is not taken away: the server says what became of it.
    type_reason(second, "what I typed")
    key(first, "9")
    expect(status(first)).to_have_text("Saved: B significantly better.")
    key(second, "2")
    alert = second.get_by_role("alert")
    expect(alert).to_contain_text("NOT saved: you have answered this task already")
    expect(alert.get_by_role("textbox", name="What you typed")).to_have_value("what I typed")
    assert len(stored(server, me)) == 2
    key(second, "2")
    expect(second.get_by_text("you 3")).to_be_visible()
    second.keyboard.press("Escape")
    expect(second.locator(".pf-alert")).to_have_count(0)


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
    expect(page.get_by_text("you 2")).to_be_visible(timeout=LONG)
    expect(page.locator(".pf-unsaved")).to_be_hidden()
    assert outbox(page) == 0
    assert [c.answer.strength for c in stored(server, me)] == [4, 3]


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
        page.wait_for_timeout(2500)
        assert "The server is away" in said_by_the_app(page)
        type_reason(page, "typed while away")
    assert len(store.comparisons.current()) == 1
    with serving(tmp_path, port) as server:
        expect(page.get_by_text("you 2")).to_be_visible(timeout=LONG)  # by itself
        assert said_by_the_app(page) == "none"
        expect(page.get_by_role("textbox", name="Reason")).to_have_value("typed while away")
        kill(server)
        key(page, "3")
        assert outbox(page) == 1
    with serving(tmp_path, port) as server:
        page.goto(server.url)
        expect(page.get_by_text("you 3")).to_be_visible(timeout=LONG)
        answers = store.comparisons.current()
        assert [c.answer.strength for c in answers] == [4, 3, 2]
        assert answers[2].answer.rationale == "typed while away"
        assert all(len(store.comparisons.history(c.task_id, me.id)) == 1 for c in answers)


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
        expect(heading).to_be_visible()
    if not heading.is_visible():  # the click was lost with the connection
        page.get_by_role("link", name="My answers").click()
    expect(heading).to_be_visible(timeout=LONG)
    page.wait_for_timeout(1500)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert "encountered an error" not in page.locator("body").inner_text()
    page.get_by_role("link", name="Label", exact=True).click()
    expect(page.get_by_text("you 1")).to_be_visible(timeout=LONG)
    for _ in range(60):  # until the server has said so again
        if not outbox(page):
            break
        page.wait_for_timeout(250)
    assert outbox(page) == 0 and [c.answer.strength for c in stored(server, me)] == [4]


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
    expect(page.get_by_text("you 1")).to_be_visible(timeout=LONG)
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
    expect(page.get_by_text("you 1")).to_be_visible(timeout=LONG)
    assert page.evaluate(ask) is False and len(stored(server, me)) == 1


def test_idle_time_is_taken_out(server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1)
    me, one = newcomer()
    page = one.page
    page.clock.install()
    page.goto(server.url)
    sides(page)
    page.wait_for_timeout(1000)
    page.clock.fast_forward(20_000)
    page.mouse.move(300, 300)
    page.clock.fast_forward(300_000)
    page.clock.run_for(1000)
    page.keyboard.press("1")
    page.clock.run_for(1000)
    expect(button(page, "Undo")).to_be_enabled()
    page.wait_for_timeout(500)
    # The server knows that the question was not there for five minutes.
    answer = stored(server, me)[0].answer
    assert answer.seconds < 60 and (answer.active_seconds or 0) <= answer.seconds


def test_reading_time_survives_a_reload_and_an_undo(server: Server, newcomer: Newcomer,
                                                    tasks: Tasks) -> None:
    tasks(3)
    me, one = newcomer()
    page = one.page
    sides(page)
    page.wait_for_timeout(3000)
    page.reload()
    sides(page)
    key(page, "1")
    expect(page.get_by_text("you 1")).to_be_visible()
    taken = stored(server, me)[0].answer.seconds
    assert taken >= 3
    key(page, "u")
    expect(page.get_by_text("you 0")).to_be_visible()
    key(page, "2")
    expect(page.get_by_text("you 1")).to_be_visible()
    assert stored(server, me)[-1].answer.seconds >= taken
