"""The labeling page in small windows: narrow, low, or enlarged to 200 % (which halves both)."""

from __future__ import annotations

import pytest
from browser import Newcomer, Server, Tasks
from desk_page import button, key, sides, status
from playwright.sync_api import expect

from data.questions import Question

pytestmark = pytest.mark.browser

LONG = "A sentence that goes on and on for as long as anybody would read it. " * 12


@pytest.mark.parametrize(("width", "height"), [(844, 390), (640, 400)])
def test_a_low_window_leaves_room_to_read(server: Server, newcomer: Newcomer, tasks: Tasks,
                                          width: int, height: int) -> None:
    tasks(2, (LONG, "short"))
    page = newcomer(width=width, height=height)[1].page
    sides(page)
    desk, bar = page.locator(".pf-desk"), page.locator(".pf-answer-bar")
    read = page.evaluate("""() => innerHeight - document.querySelector(".pf-area")
        .getBoundingClientRect().top""")
    assert read > height / 2.5
    expect(bar).not_to_be_in_viewport()
    key(page, "s")
    expect(button(page, "Back")).to_be_in_viewport(ratio=1)  # what is asked comes into view
    key(page, "Escape")
    expect(bar).not_to_be_in_viewport()
    page.keyboard.press("End")
    expect(bar).to_be_in_viewport()
    key(page, "2")
    expect(status(page)).to_have_text("Saved: A better.")
    assert desk.evaluate("(desk) => desk.scrollTop") == 0  # the next one begins at its beginning


@pytest.mark.parametrize(("question", "width"), [
    (Question(), 700), (Question(), 820), (Question(), 390),
    (Question(scale="plain", tie=False, both_bad=False), 390),
    (Question(scale="plain", both_bad=False), 390), (Question(tie=False, both_bad=False), 390)])
def test_answers_fill_their_rows_and_keep_their_words(
        server: Server, newcomer: Newcomer, tasks: Tasks, question: Question, width: int) -> None:
    tasks(1)
    server.store.questions.change(question)
    try:
        page = newcomer(width=width, height=844)[1].page
        sides(page)
        left, right, wide = page.locator(".pf-answers").evaluate("""(row) => {
            const places = [...row.children].map((one) => one.getBoundingClientRect());
            const all = row.getBoundingClientRect();
            const over = [...row.children].some((one) => [...one.children].some(
                (each) => each.getBoundingClientRect().width > one.clientWidth));
            return [Math.min(...places.map((one) => one.left)) - all.left,
                all.right - Math.max(...places.map((one) => one.right)), over]; }""")
        assert abs(left) < 1 and abs(right) < 1 and not wide
    finally:
        server.store.questions.change(Question())
