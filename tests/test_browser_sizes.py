"""The labeling page in small windows: narrow, low, or enlarged to 200 % (which halves both)."""

from __future__ import annotations

import pytest
from browser import Newcomer, Server, Tasks
from desk_page import PAUSE_MS, button, key, rest, sides, status
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
    (Question(), 700), (Question(), 820), (Question(), 390), (Question(), 320),
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


def test_the_narrowest_window_breaks_no_word_and_keeps_every_tool(
        newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1)
    page = newcomer(width=320, height=640)[1].page
    sides(page)
    heights = page.locator(".pf-choice > span").evaluate_all("""(all) => all.map((span) => {
        const words = document.createRange();
        return [...span.textContent.matchAll(/\\S+/g)].map((word) => {
            const at = (offset) => {
                const walker = document.createTreeWalker(span, NodeFilter.SHOW_TEXT);
                for (let left = offset, node; (node = walker.nextNode()); left -= node.length) {
                    if (left <= node.length) return [node, left];
                }
            };
            words.setStart(...at(word.index + 1));
            words.setEnd(...at(word.index + word[0].length));
            return new Set([...words.getClientRects()].map((each) => each.top)).size;
        }); })""")
    assert len(heights) == 10 and {n for each in heights for n in each} <= {0, 1}
    for tool in ("Differences", "A: smaller text", "A: larger text", "Keys"):
        expect(button(page, tool)).to_be_in_viewport(ratio=1)


def test_a_phone_is_shown_no_keys_and_has_the_more_to_read(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2)
    page = newcomer(width=390, height=844, has_touch=True, is_mobile=True)[1].page
    sides(page)
    expect(page.locator(".pf-desk kbd:visible")).to_have_count(0)
    for of_keys in ("Keys", "Flags"):
        expect(button(page, of_keys)).to_be_hidden()
    bar = page.locator(".pf-answer-bar").bounding_box()
    assert bar is not None and bar["height"] < 844 / 4
    page.wait_for_timeout(PAUSE_MS)
    button(page, "A better").tap()
    expect(status(page)).to_have_text("Saved: A better.")


def test_nine_responses_leave_room_to_read_on_a_phone(newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1, tuple(f"text {number}" for number in range(9)))
    page = newcomer(width=390, height=844, has_touch=True, is_mobile=True)[1].page
    sides(page)
    edges = page.locator(".pf-pool, .pf-pool .pf-chip").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().right)")
    assert len(edges) == 10 and max(edges) <= 390
    for letter in "ABCDEFGHI":
        button(page, f"Next best: {letter}").tap()
    bar = page.locator(".pf-answer-bar").bounding_box()
    assert bar is not None and bar["height"] < 0.42 * 844


def test_a_reason_that_was_opened_on_a_phone_closes_with_its_question(
        newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2)
    page = newcomer(width=390, height=844, has_touch=True, is_mobile=True)[1].page
    sides(page)
    reason = page.get_by_role("textbox", name="Reason")
    button(page, "Reason").tap()
    reason.fill("It is true.")
    page.wait_for_timeout(PAUSE_MS)
    button(page, "A better").tap()
    expect(status(page)).to_have_text("Saved: A better.")
    expect(reason).to_be_hidden()
    button(page, "Undo").tap()
    expect(reason).to_be_visible()  # what was typed is never out of sight
    expect(reason).to_have_value("It is true.")


@pytest.mark.parametrize("texts", [("one", "two"), ("one", "two", "three")])
def test_every_button_is_called_what_is_written_on_it(
        server: Server, newcomer: Newcomer, tasks: Tasks, texts: tuple[str, ...]) -> None:
    tasks(1, texts)
    server.store.questions.change(Question(scores=True, rewrite=True))
    try:
        page = newcomer()[1].page
        sides(page)
        if len(texts) > 2:
            button(page, "Next best: B").click()
            expect(button(page, "Rank 1: B")).to_be_visible()
        named = page.locator(".pf-desk button[aria-label]:visible").evaluate_all("""(all) =>
            all.map((one) => [one.getAttribute("aria-label"), [...one.childNodes].filter(
                (each) => each.localName !== "kbd").map((each) => each.textContent).join("")])""")
        assert len(named) >= 2
        assert [(name, words) for name, words in named if words not in name] == []
    finally:
        server.store.questions.change(Question())


def test_a_letter_of_the_ranking_leads_to_its_response(server: Server, newcomer: Newcomer,
                                                       tasks: Tasks) -> None:
    """On a phone they stand one below the other, each as long as it is."""
    tasks(1, tuple(f"{number}. {LONG * 3}" for number in range(4)))
    page = newcomer(width=390, height=844, has_touch=True, is_mobile=True)[1].page
    letters = page.locator(".pf-response .pf-handle")
    expect(letters).to_have_count(4)
    rest(page)
    for place, letter in ((3, "D"), (1, "B")):
        expect(letters.nth(place)).not_to_be_in_viewport()
        page.locator(".pf-chip").filter(has_text=letter).tap()
        expect(letters.nth(place)).to_be_in_viewport(ratio=1)
    expect(page.locator(".pf-tier")).to_have_count(0)  # nothing was ranked by it
