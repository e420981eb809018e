"""The labeling page in real Chromium: pairs, keys, echoes, undo, skip, and what stays hidden."""

from __future__ import annotations

import re

import pytest
from browser import Newcomer, Server, Tasks
from desk_page import PAUSE_MS, button, click, done, key, rest, sides, status, stored, winner_text
from playwright.sync_api import expect
from processes import wait_for

from data.questions import Question

pytestmark = pytest.mark.browser


def test_pairs_are_ranked_by_click_and_by_key(server: Server, newcomer: Newcomer,
                                              tasks: Tasks) -> None:
    tasks(4)
    me, one = newcomer()
    page = one.page
    left, right = sides(page)
    click(page, "A better")
    expect(status(page)).to_have_text("Saved: A better.")
    assert winner_text(server, stored(server, me)[0]) == left
    left, right = sides(page)
    key(page, "7")
    expect(status(page)).to_have_text("Saved: B slightly better.")
    second = stored(server, me)[1]
    assert winner_text(server, second) == right and second.answer.strength == 2
    assert second.winner == second.shown[1]
    assert second.answer.seconds >= PAUSE_MS / 1000 >= 0.4
    assert 0 < (second.answer.active_seconds or 0) <= second.answer.seconds
    key(page, "5")
    expect(status(page)).to_have_text("Saved: Tie.")
    expect(page.get_by_text("you 3")).to_be_visible()
    key(page, "0")
    expect(done(page)).to_be_visible()
    third, fourth = stored(server, me)[2:]
    assert third.answer.is_tie and fourth.answer.verdict == "both_bad"


def test_the_next_question_is_shown_before_the_server_has_answered(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(4)
    me, one = newcomer()
    page = one.page
    sides(page)
    page.evaluate("""() => { window.heard = [];
        document.addEventListener("prefloop:shown", (event) => window.heard.push(event.detail.n));
    }""")
    page.wait_for_timeout(PAUSE_MS)
    at_once = page.evaluate("""() => {
        document.dispatchEvent(new KeyboardEvent("keydown", {key: "1", code: "Digit1"}));
        return [document.querySelector(".pf-desk").dataset.question,
                document.querySelector(".pf-said .pf-status").textContent]; }""")
    assert at_once == ["2", "Saving …"]  # no promise before the server has kept it
    expect(status(page)).to_have_text("Saved: A significantly better.")
    wait_for(lambda: page.wait_for_timeout(50) or page.evaluate("window.heard"))
    assert page.evaluate("window.heard") == [2]
    assert len(stored(server, me)) == 1


def test_a_double_click_and_a_held_key_answer_once(server: Server, newcomer: Newcomer,
                                                   tasks: Tasks) -> None:
    tasks(5)
    me, one = newcomer()
    page = one.page
    rest(page)
    button(page, "A better").dblclick()
    expect(page.get_by_text("you 1")).to_be_visible()
    rest(page)
    page.evaluate("""() => {  // four impatient clicks in one place, a tenth of a second apart
        const box = [...document.querySelectorAll(".pf-choice")]
            .find((each) => each.textContent.includes("B better")).getBoundingClientRect();
        const now = performance.now();
        for (const after of [0, 100, 200, 300]) {
            const click = new MouseEvent("click", {bubbles: true, cancelable: true});
            Object.defineProperty(click, "timeStamp", {value: now + after});
            document.elementFromPoint(box.x + 20, box.y + 10).dispatchEvent(click);
        } }""")
    expect(page.get_by_text("you 2")).to_be_visible()
    page.wait_for_timeout(PAUSE_MS)
    page.evaluate("""() => {  // pressed while the page was busy: before this question was shown
        const press = new KeyboardEvent("keydown", {key: "1", code: "Digit1"});
        Object.defineProperty(press, "timeStamp", {value: performance.now() - 5000});
        document.dispatchEvent(press); }""")
    expect(status(page)).to_have_text(re.compile(  # and does not hide what became of the one before
        r"Saved: B .*better\. A press came too soon after the last one and was ignored\."))
    page.wait_for_timeout(PAUSE_MS)
    page.keyboard.down("5")
    for _ in range(20):  # the keyboard's own repetition
        page.keyboard.down("5")
        page.wait_for_timeout(60)
    page.keyboard.up("5")
    expect(page.get_by_text("you 3")).to_be_visible()
    page.wait_for_timeout(300)
    assert len(stored(server, me)) == 3


def test_keys_do_nothing_while_typing_and_leave_the_browser_its_own(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2)
    me, one = newcomer()
    page = one.page
    sides(page)
    page.get_by_role("group", name="Flags of A").get_by_role("button", name="untrue").click()
    key(page, "r")
    box = page.get_by_role("textbox", name="Reason")
    expect(box).to_be_focused()
    box.press_sequentially("sources 1 and 2, us 345, skip 6 undo", delay=5)
    page.wait_for_timeout(PAUSE_MS)
    assert stored(server, me) == [] and box.input_value().endswith("skip 6 undo")
    page.keyboard.press("Escape")
    expect(box).not_to_be_focused()
    for chord in ("Control+1", "Alt+2", "Meta+3", "Control+Shift+5"):
        page.keyboard.press(chord)
    page.wait_for_timeout(300)
    assert stored(server, me) == []
    key(page, "8")
    expect(status(page)).to_have_text("Saved: B better.")
    answer = stored(server, me)[0]
    assert answer.answer.rationale == "sources 1 and 2, us 345, skip 6 undo"
    assert answer.answer.flags == {answer.shown[0]: ("untrue",)}
    expect(box).to_have_value("")
    expect(page.locator(".pf-flag[aria-pressed=true]")).to_have_count(0)


def test_digits_are_found_on_a_french_keyboard(server: Server, newcomer: Newcomer,
                                               tasks: Tasks) -> None:
    tasks(2)
    me, one = newcomer()
    sides(one.page)
    for event in ('{key: "&", code: "Digit1"}', '{key: "1", code: "Digit1", shiftKey: true}'):
        one.page.wait_for_timeout(PAUSE_MS)
        one.page.evaluate(f'document.dispatchEvent(new KeyboardEvent("keydown", {event}))')
    expect(done(one.page)).to_be_visible()
    assert [c.answer.strength for c in stored(server, me)] == [4, 4]


def test_letters_are_found_on_a_keyboard_of_another_alphabet(server: Server, newcomer: Newcomer,
                                                             tasks: Tasks) -> None:
    tasks(2)
    _, one = newcomer()
    page = one.page
    sides(page)
    key(page, "1")
    expect(status(page)).to_have_text("Saved: A significantly better.")
    page.wait_for_timeout(PAUSE_MS)
    page.evaluate("""document.dispatchEvent(
        new KeyboardEvent("keydown", {key: "г", code: "KeyU"}))""")  # Undo
    expect(status(page)).to_have_text("Taken back: answer it again.")
    page.wait_for_timeout(PAUSE_MS)
    page.evaluate("""document.dispatchEvent(
        new KeyboardEvent("keydown", {key: "u", code: "KeyF"}))""")  # as on a Dvorak keyboard
    expect(page.locator(".pf-active")).to_have_count(0)  # not F: its flags


def test_a_numeric_keypad_answers_only_where_it_types_digits(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2)
    me, one = newcomer()
    page = one.page
    sides(page)

    def keypad(code: str, name: str) -> None:
        page.wait_for_timeout(PAUSE_MS)
        page.evaluate("""([code, key]) => document.dispatchEvent(
            new KeyboardEvent("keydown", {code, key}))""", [code, name])

    for code, name in (("Numpad3", "PageDown"), ("Numpad0", "Insert"), ("Numpad7", "Home"),
                       ("Numpad8", "ArrowUp"), ("Numpad5", "Clear")):  # Num Lock is off
        keypad(code, name)
    keypad("Numpad2", "2")
    expect(status(page)).to_have_text("Saved: A better.")
    assert [c.answer.strength for c in stored(server, me)] == [3]


def test_flags_beyond_the_ninth_promise_no_key(server: Server, newcomer: Newcomer,
                                               tasks: Tasks) -> None:
    tasks(1)
    server.store.questions.change(Question(flags=tuple(f"flag {chr(97 + i)}" for i in range(12))))
    try:
        page = newcomer()[1].page
        sides(page)
        key(page, "f")
        expect(status(page)).to_contain_text("Flags of A: press a number 1 to 9, F for the next")
        chips = page.locator(".pf-response").first.locator(".pf-flag")
        expect(chips.nth(8)).to_have_text("flag i9")
        expect(chips.nth(9)).to_have_text("flag j")
        page.keyboard.press("9")
        chips.nth(9).click()
        for number in (8, 9):
            expect(chips.nth(number)).to_have_attribute("aria-pressed", "true")
    finally:
        server.store.questions.change(Question())


def test_undo_and_skip(server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(3)
    me, one = newcomer()
    page = one.page
    shown, question = sides(page), page.locator(".pf-conversation").inner_text()
    expect(button(page, "Undo")).to_be_disabled()
    key(page, "f")
    page.keyboard.press("2")
    page.keyboard.press("Escape")
    key(page, "r")
    page.keyboard.type("because")
    page.keyboard.press("Escape")
    key(page, "3")
    expect(status(page)).to_have_text("Saved: A slightly better.")
    page.reload()  # also after a reload
    sides(page)
    key(page, "u")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    assert stored(server, me) == [] and sides(page) == shown
    assert page.locator(".pf-conversation").inner_text() == question
    expect(page.get_by_role("textbox", name="Reason")).to_have_value("because")
    expect(page.locator(".pf-flag[aria-pressed=true]")).to_have_text("untrue2")
    expect(page.locator(".pf-choice[aria-current=true]")).to_contain_text("A slightly better")
    key(page, "s")
    expect(button(page, "Cannot judge")).to_be_visible()
    page.keyboard.press("Escape")
    expect(button(page, "Tie")).to_be_visible()
    key(page, "s")
    key(page, "2")
    expect(status(page)).to_have_text("Skipped: cannot judge.")
    assert page.locator(".pf-conversation").inner_text() != question
    click(page, "Undo")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    assert page.locator(".pf-conversation").inner_text() == question
    page.reload()
    sides(page)
    assert page.locator(".pf-conversation").inner_text() == question


def test_undo_pressed_before_the_answer_was_acknowledged(server: Server, newcomer: Newcomer,
                                                         tasks: Tasks) -> None:
    tasks(3)
    me, one = newcomer()
    page = one.page
    question = page.locator(".pf-conversation").inner_text() if sides(page) else ""
    page.wait_for_timeout(PAUSE_MS)
    page.keyboard.press("1")
    page.wait_for_timeout(420)
    page.keyboard.press("u")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    assert page.locator(".pf-conversation").inner_text() == question
    assert stored(server, me) == []


def test_a_plain_question_offers_what_the_lead_left(server: Server, newcomer: Newcomer,
                                                    tasks: Tasks) -> None:
    tasks(3)
    server.store.questions.change(Question(scale="plain", both_bad=False, flags=(), reason=False))
    try:
        me, one = newcomer()
        page = one.page
        sides(page)
        assert page.locator(".pf-answers button > span").all_inner_texts() == [
            "A better", "Tie", "B better"]
        for absent in ("Flags", "Reason", "Rewrite", "Scores"):
            expect(button(page, absent)).to_have_count(0)
        expect(page.get_by_role("textbox", name="Reason")).to_have_count(0)
        key(page, "3")
        expect(status(page)).to_have_text("Saved: B better.")
        key(page, "0")
        page.wait_for_timeout(300)
        assert len(stored(server, me)) == 1
        # The lead changes their mind while the labeler reads.
        server.store.questions.change(Question(flags=("rude",)))
        key(page, "2")
        expect(page.get_by_role("group", name="Flags of A")).to_contain_text("rude")
    finally:
        server.store.questions.change(Question())
