"""The labeling page in real Chromium: pairs, keys, echoes, undo, skip, and what stays hidden."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from browser import (
    PAUSE_MS,
    Server,
    Visit,
    add_task,
    button,
    click,
    done,
    key,
    panes,
    rest,
    settled,
    sides,
    sign_in,
    status,
    stored,
    winner_text,
)
from playwright.sync_api import expect

from data.assignments import AssignmentRules
from data.questions import Question
from data.records import Labeler

pytestmark = pytest.mark.browser
Newcomer = Callable[..., tuple[Labeler, Visit]]
Tasks = Callable[..., list[int]]


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
    assert second.first_shown_won is False
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
    page.wait_for_function("window.heard.length === 1")
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
    expect(status(page)).to_contain_text("too soon")
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


def test_a_reload_keeps_the_sides_and_hides_who_wrote_what(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1, ("alpha", "omega"), purpose="evaluate", wanted=12)
    orders = set()
    frames: list[Any] = []
    for _ in range(8):
        _, one = newcomer()
        shown = sides(one.page)
        one.page.on("websocket", lambda socket: socket.on(
            "framereceived", lambda frame: frames.append(frame)))
        one.page.reload()
        assert sides(one.page) == shown
        settled(one.page)
        orders.add(tuple(shown))
        document = one.page.content()
        for secret in ("secret", "ppo", "lookalike", "evaluate", "reference"):
            assert secret not in document.lower()
    assert len(orders) == 2  # the order is each labeler's own
    wire = b"".join(f if isinstance(f, bytes) else f.encode() for f in frames)
    assert b"alpha" in wire and b"secret" not in wire and b"evaluate" not in wire
    for page in ("people", "quality", "rounds", "jobs"):
        one.page.goto(f"{server.url}/{page}")
        expect(one.page.get_by_text("a labeler may not do this")).to_be_visible()
        assert "secret" not in one.page.content()


def test_a_waiting_labeler_gets_the_first_pair_by_itself(server: Server, newcomer: Newcomer,
                                                         tasks: Tasks) -> None:
    tasks(0)
    job = server.store.jobs.add("sample")
    server.store.jobs.claim(job.id)
    server.store.jobs.set_progress(job.id, 0.25, "secret-ppo-1: 5 of 20", 40)
    me, one = newcomer()
    page = one.page
    expect(page.get_by_role("heading", name="Responses are being written")).to_be_visible()
    expect(page.get_by_text(re.compile("25%"))).to_be_visible()
    server.store.jobs.set_progress(job.id, 0.5, "", 20)
    expect(page.get_by_text(re.compile("50%"))).to_be_visible()
    turn = server.store.rounds.current()
    assert turn is not None
    add_task(server.store, turn.id, "At last?", ["yes", "no"])
    expect(button(page, "Tie")).to_be_visible(timeout=10_000)
    server.store.jobs.finish(job.id, {})
    key(page, "1")
    expect(done(page)).to_be_visible()
    assert len(stored(server, me)) == 1
    click(page, "Undo")
    expect(button(page, "Tie")).to_be_visible()
    assert stored(server, me) == []


def test_practice_tells_whether_it_was_right_and_then_goes_on(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks) -> None:
    from data.records import Answer

    store = server.store
    task = store.tasks.get(tasks(2, ("right text", "wrong text"))[0])
    store.assignments.set_rules(AssignmentRules(practice=1, daily_goal=7))
    better, worse = task.response_ids
    known = store.known.add(task.prompt_id, task.response_ids, Answer(((better,), (worse,))),
                            practice=True, explanation="It is **right**.")
    try:
        me, one = person(), window()
        sign_in(one, server, me)
        page = one.page
        shown = sides(page)
        expect(page.get_by_text("Practice", exact=True)).to_be_visible()
        expect(page.get_by_text("today 0 of 7")).to_be_visible()
        key(page, "8" if shown[0] == "right text" else "2")
        feedback = page.get_by_role("group", name="Feedback")
        expect(feedback).to_contain_text("Not quite.")
        letter = "A" if shown[0] == "right text" else "B"
        expect(feedback).to_contain_text(f"The answer is: {letter} better.")
        expect(feedback.locator("strong", has_text="right")).to_be_visible()
        assert sides(page) == shown  # still there to be read again
        key(page, "1")  # not an answer to anything
        key(page, "Enter")
        expect(feedback).to_be_hidden()
        expect(page.get_by_text("Practice", exact=True)).to_be_hidden()
        assert len(stored(server, me)) == 1
        key(page, "1")
        expect(page.get_by_text("today 2 of 7")).to_be_visible()
    finally:
        store.assignments.set_rules(AssignmentRules())
        store.known.retire(known)


def test_a_phone_shows_one_response_above_the_other(server: Server, newcomer: Newcomer,
                                                    tasks: Tasks) -> None:
    tasks(2, ("short", "long word " * 600))
    _, one = newcomer(width=390, height=844, has_touch=True)
    page = one.page
    sides(page)
    upper, lower = (panes(page).nth(i).bounding_box() for i in range(2))
    assert upper is not None and lower is not None
    assert upper["x"] == lower["x"] and upper["y"] + upper["height"] <= lower["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before = button(page, "A better").bounding_box()
    assert before is not None and before["y"] + before["height"] <= 844
    assert before["height"] >= 44 and before["width"] >= 44
    page.mouse.move(200, 400)
    page.mouse.wheel(0, 3000)
    page.wait_for_timeout(PAUSE_MS)
    button(page, "A better").tap()
    expect(status(page)).to_have_text("Saved: A better.")
    expect(page.locator(".pf-conversation")).to_be_in_viewport()
    assert button(page, "A better").bounding_box() == before  # nothing jumps
