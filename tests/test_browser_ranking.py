"""Rankings in real Chromium: by keys alone, by dragging, by touch; scores, flags and rewrites."""

from __future__ import annotations

import re

import pytest
from browser import Newcomer, Server, Tasks, open_page, unfold
from desk_page import button, click, done, key, panes, sides, status, stored
from playwright.sync_api import Locator, Page, expect

from data.questions import Question
from data.records import Labeler

pytestmark = pytest.mark.browser
FOUR = ("one", "two", "three", "four")


def tiers(page: Page) -> list[str]:
    return [" ".join(tier.locator(".pf-chip").all_inner_texts())
            for tier in page.locator(".pf-tier").all()]


def chip(page: Page, letter: str) -> Locator:
    return page.locator(".pf-ranking .pf-chip").filter(has_text=letter)


def ranked_texts(server: Server, labeler: Labeler, number: int) -> list[list[str]]:
    comparison = stored(server, labeler)[number]
    texts = {r.id: r.text for r in server.store.responses.get(comparison.shown)}
    return [sorted(texts[i] for i in group) for group in comparison.answer.ranking]


def drag(page: Page, what: Locator, where: Locator) -> None:
    start, end = what.bounding_box(), where.bounding_box()
    assert start is not None and end is not None
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(start["x"] + 20, start["y"] - 10, steps=3)
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=5)
    expect(page.locator(".pf-over")).to_have_count(1)
    page.mouse.up()


def test_four_responses_are_ranked_by_keys_alone(server: Server, newcomer: Newcomer,
                                                 tasks: Tasks) -> None:
    tasks(3, FOUR)
    me, one = newcomer()
    page = one.page
    shown = sides(page)
    for place, left in zip("3124", ("(3 to go)", "(2 to go)", "(1 to go)", ""), strict=True):
        page.keyboard.press(place)
        expect(button(page, f"Save ranking {left}".strip())).to_be_visible()
    assert tiers(page) == ["C", "A", "B", "D"]
    key(page, "Enter")
    expect(status(page)).to_have_text("Saved: C > A > B > D.")
    assert ranked_texts(server, me, 0) == [[shown[i]] for i in (2, 0, 1, 3)]

    shown = sides(page)
    for place in "123":
        page.keyboard.press(place)
    page.keyboard.press("=")  # B and C are tied
    page.keyboard.press("4")
    assert tiers(page) == ["A", "B C", "D"]
    page.keyboard.press("1")  # out again
    assert tiers(page) == ["B C", "D"]
    expect(page.locator(".pf-pool .pf-chip")).to_have_text("A")
    chip(page, "A").focus()
    for press, wanted in (("ArrowLeft", ["B C", "D", "A"]), ("ArrowLeft", ["B C", "A D"]),
                          ("ArrowLeft", ["B C", "A", "D"]), ("ArrowLeft", ["A B C", "D"]),
                          ("ArrowUp", ["A", "B C", "D"]), ("ArrowUp", ["A", "B C", "D"]),
                          ("ArrowDown", ["A B C", "D"])):
        page.keyboard.press(press)
        assert tiers(page) == wanted
        expect(chip(page, "A")).to_be_focused()
    expect(status(page)).to_have_text("A is 1st, tied with B, C.")
    key(page, "Enter")
    expect(status(page)).to_have_text("Saved: A = B = C > D.")
    assert ranked_texts(server, me, 1) == [sorted(shown[:3]), [shown[3]]]

    page.keyboard.press("2")
    page.keyboard.press("x")
    assert tiers(page) == []
    key(page, "0")
    expect(done(page)).to_be_visible()
    assert stored(server, me)[2].answer.verdict == "both_bad"


def test_responses_are_dragged_into_tiers(server: Server, newcomer: Newcomer,
                                          tasks: Tasks) -> None:
    tasks(1, FOUR)
    me, one = newcomer()
    page = one.page
    shown = sides(page)
    drag(page, chip(page, "B"), page.locator(".pf-gap").last)
    assert tiers(page) == ["B"]
    drag(page, chip(page, "D"), page.locator(".pf-gap").first)
    assert tiers(page) == ["D", "B"]
    drag(page, chip(page, "A"), page.locator(".pf-tier").nth(1))
    assert tiers(page) == ["D", "A B"]
    # By the letter above the text, too.
    drag(page, page.locator(".pf-handle").filter(has_text="C"), page.locator(".pf-gap").nth(1))
    assert tiers(page) == ["D", "C", "A B"]
    drag(page, chip(page, "C"), page.locator(".pf-pool"))
    assert tiers(page) == ["D", "A B"]
    drag(page, chip(page, "C"), page.locator(".pf-gap").first)
    assert tiers(page) == ["C", "D", "A B"]
    click(page, "Save ranking")
    expect(done(page)).to_be_visible()
    assert ranked_texts(server, me, 0) == [[shown[2]], [shown[3]], sorted(shown[:2])]


def test_what_is_dragged_is_dropped_on_no_other_question(server: Server, newcomer: Newcomer,
                                                         tasks: Tasks) -> None:
    tasks(2, FOUR)
    _, one = newcomer()
    page = one.page
    sides(page)
    other = one.context.new_page()
    other.goto(server.url)
    sides(other)
    held, gap = chip(page, "B").bounding_box(), page.locator(".pf-gap").last.bounding_box()
    assert held is not None and gap is not None
    page.mouse.move(held["x"] + 5, held["y"] + 5)
    page.mouse.down()
    page.mouse.move(gap["x"] + 5, gap["y"] + 5, steps=5)
    expect(page.locator(".pf-ghost")).to_be_visible()
    key(other, "0")
    expect(status(page)).to_contain_text("in another tab")
    expect(page.locator(".pf-ghost")).to_have_count(0)
    page.mouse.move(gap["x"] + 6, gap["y"] + 6)
    page.mouse.up()
    assert tiers(page) == []


def test_nine_responses_are_ranked_with_a_finger(server: Server, newcomer: Newcomer,
                                                 tasks: Tasks) -> None:
    tasks(1, tuple(f"text {number}" for number in range(9)))
    me, one = newcomer(width=390, height=844, has_touch=True)
    page = one.page
    expect(panes(page)).to_have_count(9)
    session = page.context.new_cdp_session(page)

    def swipe(what: Locator, where: Locator) -> None:
        points = [box for box in (what.bounding_box(), where.bounding_box()) if box]
        (x, y), (to_x, to_y) = ((p["x"] + p["width"] / 2, p["y"] + p["height"] / 2)
                                for p in points)
        session.send("Input.dispatchTouchEvent",
                     {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 9):
            session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [
                {"x": x + (to_x - x) * step / 8, "y": y + (to_y - y) * step / 8}]})
        page.wait_for_timeout(150)  # a finger that rests: after a fling, the next tap only stops it
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    swipe(chip(page, "I"), page.locator(".pf-gap").first)
    assert tiers(page) == ["I"]
    swipe(chip(page, "H"), page.locator(".pf-tier").first)
    assert tiers(page) == ["H I"]
    for letter in "ABCDEFG":
        page.wait_for_timeout(100)
        button(page, f"Next best: {letter}").tap()
        expect(chip(page, letter)).to_have_attribute(
            "aria-label", re.compile(r"\d\w\w of \d"))
    assert tiers(page) == ["H I", *"ABCDEFG"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.wait_for_timeout(500)
    button(page, "Save ranking").tap()
    expect(done(page)).to_be_visible()
    assert [len(group) for group in stored(server, me)[0].answer.ranking] == [2] + [1] * 7


def test_a_ranking_under_way_survives_a_reload(server: Server, newcomer: Newcomer,
                                               tasks: Tasks) -> None:
    tasks(1, FOUR)
    _, one = newcomer()
    page = one.page
    sides(page)
    page.keyboard.press("4")
    page.keyboard.press("2")
    page.reload()
    sides(page)
    assert tiers(page) == ["D", "B"]


def test_a_tie_that_is_asked_for_no_more_is_ranked_again(server: Server, newcomer: Newcomer,
                                                         tasks: Tasks) -> None:
    tasks(1, FOUR)
    me, one = newcomer()
    page = one.page
    sides(page)
    for press in "3=12=4":
        page.keyboard.press(press)
    assert tiers(page) == ["C", "A B", "D"]
    server.store.questions.change(Question(tie=False))
    try:
        page.reload()
        sides(page)
        assert tiers(page) == ["C"]
        expect(button(page, "Save ranking (3 to go)")).to_be_disabled()
        for press in "214":
            page.keyboard.press(press)
        key(page, "Enter")
        expect(done(page)).to_be_visible()
        assert [len(group) for group in stored(server, me)[0].answer.ranking] == [1, 1, 1, 1]
    finally:
        server.store.questions.change(Question())


def test_scores_flags_and_a_rewrite_by_keys_alone(server: Server, newcomer: Newcomer,
                                                  tasks: Tasks) -> None:
    tasks(2, ("the first text", "the second text"))
    server.store.questions.change(Question(scores=True, rewrite=True, flags=("rude", "wrong")))
    try:
        me, one = newcomer()
        page = one.page
        shown = sides(page)
        key(page, "1")
        expect(status(page)).to_contain_text("score first")
        page.keyboard.press("p")
        expect(status(page)).to_contain_text("Score of A")
        page.keyboard.press("6")
        expect(status(page)).to_contain_text("Score of B")
        page.keyboard.press("3")
        expect(page.get_by_role("radio", name="6", exact=True).first).to_be_checked()
        page.keyboard.press("f")
        page.keyboard.press("f")
        expect(status(page)).to_contain_text("Flags of B")
        page.keyboard.press("2")
        page.keyboard.press("Escape")
        page.keyboard.press("w")
        page.keyboard.press("Enter")  # starts from A, which has the focus
        field = page.get_by_role("textbox", name="Rewrite")
        expect(field).to_be_focused()
        expect(field).to_have_value(shown[0])
        field.press("End")
        field.press_sequentially(", made better 1 2 3")
        page.reload()
        sides(page)
        expect(field).to_have_value(f"{shown[0]}, made better 1 2 3")
        page.keyboard.press("Escape")
        key(page, "1")
        expect(status(page)).to_have_text("Saved: A significantly better.")
        comparison = stored(server, me)[0]
        a, b = comparison.shown
        assert comparison.answer.scores == {a: 6, b: 3}
        assert comparison.answer.flags == {b: ("wrong",)}
        rewrite = server.store.comparisons.rewrite_of(comparison.id)
        assert rewrite is not None and rewrite.response_id == a
        assert rewrite.text == f"{shown[0]}, made better 1 2 3"

        open_page(page, "My answers")
        unfold(page, page.get_by_text("A significantly better · Question"))
        page.get_by_role("radiogroup", name="Score of B").get_by_role("radio", name="7").click()
        page.get_by_role("textbox", name="Rewrite").fill("quite another text")
        page.get_by_role("textbox", name="Reason").fill("on second thought")
        page.get_by_role("radio", name="B slightly better").click()
        page.get_by_role("button", name="Save the change").click()
        expect(page.get_by_text("Saved: B slightly better.")).to_be_visible()
        before, after = server.store.comparisons.history(comparison.task_id, me.id)
        assert after.revision == 2 and after.shown == before.shown
        assert after.answer.ranking == before.answer.ranking[::-1]
        assert after.answer.scores == {a: 6, b: 7} and after.answer.strength == 2
        assert after.answer.question_version == before.answer.question_version
        changed = server.store.comparisons.rewrite_of(after.id)
        assert changed is not None and changed.text == "quite another text"
    finally:
        server.store.questions.change(Question())


def test_own_answers_are_found_and_changed(server: Server, newcomer: Newcomer,
                                           tasks: Tasks) -> None:
    tasks(2, ("a first text", "a second text", "a third text"))
    me, one = newcomer()
    page = one.page
    sides(page)
    for press in "213":
        page.keyboard.press(press)
    key(page, "Enter")
    expect(status(page)).to_have_text("Saved: B > A > C.")
    open_page(page, "My answers")
    search = page.get_by_role("textbox", name="Search")
    search.fill("nosuchwords")
    search.press("Enter")
    expect(page.get_by_text("No answer mentions that.")).to_be_visible()
    search.fill("FIRST")
    search.press("Enter")
    unfold(page, page.get_by_text("B > A > C · Question"))
    page.get_by_role("radiogroup", name="Rank of C").get_by_role("radio", name="2").click()
    page.get_by_role("button", name="Save the change").click()
    expect(page.get_by_text("Saved: B > A = C.")).to_be_visible()
    before, after = server.store.comparisons.history(stored(server, me)[0].task_id, me.id)
    assert after.revision == 2 and len(after.answer.ranking) == 2
    assert after.answer.seconds == before.answer.seconds
