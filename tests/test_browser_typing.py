"""What somebody types goes into its field, whatever becomes of the question meanwhile."""

from __future__ import annotations

import pytest
from browser import Newcomer, Server, Tasks
from desk_page import key, sides, status, stored
from playwright.sync_api import Page, expect

from data.questions import Question

pytestmark = pytest.mark.browser
IGNORED = "A press came too soon after the last one and was ignored."


def look(page: Page) -> None:
    """What the server has to say comes now."""
    page.evaluate("window.dispatchEvent(new Event('online'))")


def type_on(page: Page, *presses: tuple[int, str]) -> None:
    """Keys, each as if so many milliseconds after the next question is shown."""
    page.evaluate("""(presses) => new MutationObserver((_, observer) => {
        observer.disconnect();
        const shown = performance.now();
        for (const [after, key] of presses) {
            const press = new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true});
            Object.defineProperty(press, "timeStamp", {value: shown + after});
            document.activeElement.dispatchEvent(press);
        }
    }).observe(document.querySelector(".pf-desk"), {attributeFilter: ["data-question"]})""",
                  presses)


def test_a_question_drawn_anew_leaves_the_cursor_where_it_was(server: Server, newcomer: Newcomer,
                                                              tasks: Tasks) -> None:
    tasks(2, ("the first text", "the second text"))
    server.store.questions.change(Question(rewrite=True))
    try:
        me, one = newcomer()
        page = one.page
        sides(page)
        for box, opening in (("Reason", "r"), ("Rewrite", "w")):
            key(page, opening)
            if box == "Rewrite":
                page.keyboard.press("Enter")  # starts from A, which has the focus
            field = page.get_by_role("textbox", name=box)
            expect(field).to_be_focused()
            field.fill("beginning end")
            for _ in "end":
                page.keyboard.press("ArrowLeft")
            server.store.questions.change(Question(rewrite=True, flags=(f"no {box}",)))
            look(page)
            expect(page.get_by_role("group", name="Flags of A")).to_contain_text(f"no {box}")
            page.keyboard.type("su1 ")
            expect(field).to_have_value("beginning su1 end")
            page.keyboard.press("Escape")
        assert stored(server, me) == []
        key(page, "1")
        expect(status(page)).to_contain_text("Saved")
    finally:
        server.store.questions.change(Question())


def test_letters_on_their_way_are_no_keys_of_the_next_question(server: Server, newcomer: Newcomer,
                                                               tasks: Tasks) -> None:
    tasks(4)
    me, one = newcomer()
    page = one.page
    other = one.context.new_page()
    other.goto(server.url)
    sides(page)
    for number, begun in enumerate(("", "half a sen")):
        sides(other)
        key(page, "r")
        page.keyboard.type(begun)
        type_on(page, (450, "1"), (1200, "2"))
        key(other, "9")
        expect(status(other)).to_contain_text("Saved")
        if begun:  # what is typed is not taken away before the server says so
            look(page)
        expect(page.locator(".pf-desk")).to_have_attribute("data-question", str(number + 2))
        expect(status(page)).to_contain_text(IGNORED)
        page.wait_for_timeout(2500)  # more than a second after the last of them
        assert len(stored(server, me)) == number + 1
    key(page, "1")
    expect(status(page)).to_contain_text("Saved")
    assert len(stored(server, me)) == 3


def test_a_field_that_the_lead_takes_away_leaves_no_keys_behind(server: Server, newcomer: Newcomer,
                                                                tasks: Tasks) -> None:
    tasks(2)
    me, one = newcomer()
    page = one.page
    sides(page)
    key(page, "r")
    page.keyboard.type("half a sen")
    type_on(page, (450, "1"), (700, "Escape"), (800, "2"))
    server.store.questions.change(Question(reason=False))
    try:
        look(page)
        expect(status(page)).to_have_text("Saved: A better.")  # Esc: no letters any more
        assert len(stored(server, me)) == 1
    finally:
        server.store.questions.change(Question())


def test_a_rewrite_that_is_asked_for_no_more_is_not_typed_in_vain(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1, ("the first text", "the second text"))
    server.store.questions.change(Question(rewrite=True))
    try:
        _, one = newcomer()
        page = one.page
        sides(page)
        key(page, "w")
        page.keyboard.press("Enter")
        field = page.get_by_role("textbox", name="Rewrite")
        field.fill("a better text")
        server.store.questions.change(Question())
        look(page)
        expect(field).to_be_hidden()
        page.reload()  # and no draft opens it
        sides(page)
        expect(field).to_be_hidden()
        server.store.questions.change(Question(rewrite=True))
        look(page)
        expect(field).to_have_value("a better text")
        expect(field).to_be_visible()
    finally:
        server.store.questions.change(Question())
