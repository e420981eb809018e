"""What the labeling page shows: the same sides after a reload, nothing of who wrote what, waiting,
practice, and a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from browser import Newcomer, Server, Tasks, Visit, add_task, settled, sign_in
from desk_page import PAUSE_MS, button, click, done, key, panes, sides, status, stored
from playwright.sync_api import expect

from data.assignments import AssignmentRules
from data.records import Labeler

pytestmark = pytest.mark.browser


def test_a_reload_keeps_the_sides_and_hides_who_wrote_what(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(1, ("alpha", "omega"), purpose="evaluate", wanted=12)
    orders: set[tuple[str, ...]] = set()
    frames: list[Any] = []
    for number in range(8):
        if len(orders) == 2 and number > 2:
            break
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
            # As a word: among the made-up names of the page's parts any three letters may stand.
            assert not re.search(rf"(?<![a-z0-9]){secret}(?![a-z0-9])", document.lower())
    assert len(orders) == 2  # the order is each labeler's own; of eight, all alike 1 time in 128
    wire = b"".join(f if isinstance(f, bytes) else f.encode() for f in frames)
    assert b"alpha" in wire and b"secret" not in wire and b"evaluate" not in wire
    for page in ("people", "quality", "rounds", "jobs"):
        one.page.goto(f"{server.url}/{page}")
        expect(one.page.get_by_text("a labeler may not do this")).to_be_visible()
        assert "secret" not in one.page.content()
    one.page.get_by_role("link", name="Go to Label").click()
    assert sides(one.page) == shown


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
    expect(button(page, "Tie")).to_be_visible()
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
