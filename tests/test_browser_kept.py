"""What is on a labeler's page is kept: over a reload, beside another tab, and how long it took."""

from __future__ import annotations

import pytest
from browser import Newcomer, Server, Tasks, sign_in
from desk_page import key, sides, status, stored, type_reason
from playwright.sync_api import Locator, Page, expect

from data.questions import Question

pytestmark = pytest.mark.browser


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


def test_what_was_taken_off_after_an_undo_stays_off(server: Server, newcomer: Newcomer,
                                                    tasks: Tasks) -> None:
    tasks(3)
    me, one = newcomer()
    page = one.page
    sides(page)
    key(page, "1")
    expect(status(page)).to_have_text("Saved: A significantly better.")
    page.get_by_role("group", name="Flags of B").get_by_role("button", name="unsafe").click()
    key(page, "2")
    expect(status(page)).to_have_text("Saved: A better.")
    key(page, "u")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    pressed = page.locator(".pf-flag[aria-pressed=true]")
    pressed.click()
    expect(pressed).to_have_count(0)
    key(page, "u")  # to the question before, and back
    expect(page.locator(".pf-choice[aria-current=true]")).to_contain_text("A significantly better")
    key(page, "1")
    expect(page.locator(".pf-choice[aria-current=true]")).to_contain_text("A better")
    expect(pressed).to_have_count(0)
    key(page, "2")
    expect(status(page)).to_have_text("Saved: A better.")
    assert [c.answer.flags for c in stored(server, me)] == [{}, {}]


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


def test_a_tab_that_is_left_takes_nothing_from_what_another_has_written(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1)
    _, one = newcomer()
    writing = one.page
    idle = one.context.new_page()

    def reason(page: Page) -> Locator:
        return page.get_by_role("textbox", name="Reason")

    def leave(page: Page) -> None:
        page.goto("about:blank")

    def come_back(page: Page) -> None:
        page.goto(server.url)
        sides(page)

    come_back(idle)
    type_reason(writing, "half a sentence")
    leave(writing)
    leave(idle)  # where nothing was begun
    come_back(writing)
    expect(reason(writing)).to_have_value("half a sentence")
    come_back(idle)
    reason(writing).fill("the whole sentence")
    leave(writing)
    leave(idle)  # where half of it stood
    come_back(writing)
    expect(reason(writing)).to_have_value("the whole sentence")
    reason(writing).fill("")
    leave(writing)
    come_back(writing)
    expect(reason(writing)).to_have_value("")


def test_what_full_storage_cannot_keep_is_not_replaced_by_what_it_has(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1)
    _, one = newcomer()
    page = one.page
    sides(page)
    reason = page.get_by_role("textbox", name="Reason")
    reason.fill("at first")
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error(); }; }")
    reason.fill("at first, and then")
    server.store.questions.change(Question(flags=("rude",)))  # the question is drawn anew
    try:
        page.evaluate("window.dispatchEvent(new Event('online'))")
        expect(page.get_by_role("group", name="Flags of A")).to_contain_text("rude")
        expect(reason).to_have_value("at first, and then")
    finally:
        server.store.questions.change(Question())


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
    expect(status(page)).to_contain_text("Saved")
    # The server knows that the question was not there for five minutes.
    answer = stored(server, me)[0].answer
    assert answer.seconds < 300 and (answer.active_seconds or 0) <= answer.seconds


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
