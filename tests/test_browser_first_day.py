"""What somebody new meets on the labeling page: cut responses, a round still being written, what to
do without guidelines, the list of keys, and mending what was just done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from accessibility import LOOKS, violations
from browser import Newcomer, Server, Tasks, Visit, add_task, open_page, settled, sign_in, unfold
from desk_page import PAUSE_MS, button, click, key, rest, sides, status, stored
from playwright.sync_api import Page, expect

from annotate.keys import keys_of
from annotate.labelers.showing import FIRST_ANSWERS
from annotate.rendering import CUT_OFF
from data.questions import Question
from data.records import Labeler, Message, NewResponse

pytestmark = pytest.mark.browser


def question(page: Page) -> str:
    """What is asked, once it is there."""
    sides(page)
    return page.locator(".pf-conversation").inner_text()


def press(page: Page, *keys: tuple[str, float], since: float | None = None) -> float:
    """Keys, each as if so many milliseconds after a moment, however late the browser comes to it:
    after `since`, or after now. Returns that moment, as the browser has it."""
    return float(page.evaluate("""([keys, since]) => {
        const began = since ?? performance.now();
        for (const [key, after] of keys) {
            const press = new KeyboardEvent("keydown", {key});
            Object.defineProperty(press, "timeStamp", {value: began + after});
            document.dispatchEvent(press);
        }
        return began; }""", [[list(each) for each in keys], since]))


def test_a_response_that_was_cut_off_says_so(server: Server, newcomer: Newcomer,
                                             tasks: Tasks) -> None:
    tasks(0)
    turn = server.store.rounds.current()
    assert turn is not None
    prompt, _ = server.store.prompts.add([Message(role="user", content="Why?")], "test")
    server.store.tasks.add(prompt, server.store.responses.add(
        NewResponse(prompt, text, sample_index=i, finish_reason=reason)
        for i, (text, reason) in enumerate((("It ended.", "eos"), ("It was", "length")))),
        round_id=turn.id)
    me, one = newcomer()
    page = one.page
    assert set(sides(page)) == {"It ended.", "It was"}  # it is no part of the text
    response = page.locator(".pf-response", has_text="It was")
    expect(response.get_by_text(CUT_OFF)).to_be_visible()
    expect(page.get_by_text(CUT_OFF)).to_have_count(1)
    key(page, "1")
    expect(status(page)).to_contain_text("Saved")
    open_page(page, "My answers")
    unfold(page, page.get_by_text("better · Why?"))
    expect(page.get_by_text(CUT_OFF)).to_have_count(1)
    page.get_by_role("button", name="Save the change").click()
    expect(page.get_by_text("Nothing was changed, and nothing saved.")).to_be_visible()
    (answer,) = stored(server, me)
    assert answer.revision == 1


def test_while_responses_are_being_written_no_total_is_named(
        server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    store = server.store
    versions = store.versions.policies()
    turn = store.rounds.open(versions[1].id, versions[0].id)
    job = store.jobs.add("sample")
    store.jobs.claim(job.id)
    store.jobs.set_round(job.id, turn.id)
    store.jobs.set_progress(job.id, 0.5, "", 40)
    for number in range(2):
        add_task(store, turn.id, f"Early {number}?", ["yes", "no"])
    _, one = newcomer()
    page = one.page
    sides(page)
    bar = page.locator(".pf-top .pf-track")
    for number, labels in enumerate(("0 labels", "1 label")):
        expect(page.get_by_text(f"{labels} so far · you {number}")).to_be_visible()
        expect(bar).to_be_hidden()
        key(page, "1")
    expect(page.get_by_text("50% done. About 40 s left in all. The next pair")).to_be_visible()
    expect(page.get_by_text("2 labels so far · you 2")).to_be_visible()
    store.jobs.finish(job.id, {})
    store.rounds.set_stage(turn.id, "labeling")
    add_task(store, turn.id, "Late?", ["yes", "no"])
    expect(page.get_by_text("2 of 3 labels · you 2")).to_be_visible()
    expect(bar).to_be_visible()


def test_a_reload_shows_the_question_that_was_read(server: Server, newcomer: Newcomer,
                                                   tasks: Tasks) -> None:
    tasks(5)
    _, one = newcomer()
    page = one.page
    read = question(page)
    key(page, "1")
    key(page, "u")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    for _ in range(4):
        page.reload()
        settled(page)
        assert question(page) == read


def test_undo_is_never_too_soon_after_an_answer(server: Server, newcomer: Newcomer,
                                                tasks: Tasks) -> None:
    tasks(4)
    me, one = newcomer()
    page = one.page
    read = question(page)
    page.evaluate("""() => new MutationObserver(() => { window.shownAt = performance.now(); })
        .observe(document.querySelector(".pf-desk"), {attributeFilter: ["data-question"]})""")
    rest(page)
    press(page, ("1", 0), ("u", 200))
    expect(status(page)).to_have_text("Taken back: answer it again.")
    assert question(page) == read and stored(server, me) == []
    # As soon after the question came back it is an echo, as ever.
    press(page, ("5", 50), since=page.evaluate("window.shownAt"))
    expect(status(page)).to_contain_text("too soon")
    rest(page)
    press(page, ("2", 0))
    expect(status(page)).to_have_text("Saved: A better.")
    second = question(page)
    key(page, "3")
    expect(status(page)).to_have_text("Saved: A slightly better.")
    first = press(page, ("u", 0))
    expect(status(page)).to_have_text("Taken back: answer it again.")
    press(page, ("u", 300), since=first)  # the key bounced: one question comes back, not two
    expect(status(page)).to_contain_text("too soon")
    assert question(page) == second and len(stored(server, me)) == 1
    page.wait_for_timeout(300 + PAUSE_MS)  # the bounce may be dated later than it came
    page.keyboard.press("u")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    assert question(page) == read and stored(server, me) == []


def test_while_typing_no_key_is_shown(server: Server, newcomer: Newcomer, tasks: Tasks) -> None:
    tasks(2)
    server.store.questions.change(Question(rewrite=True))
    try:
        _, one = newcomer()
        page = one.page
        sides(page)
        digit = page.locator(".pf-answers kbd").first
        hint = page.get_by_text("You are typing. Esc goes back to the keys.")
        before = button(page, "Tie").bounding_box()
        expect(hint).to_be_hidden()
        for opener, name in (("r", "Reason"), ("w", "Rewrite")):
            expect(digit).to_be_visible()
            key(page, opener)
            if opener == "w":
                page.get_by_role("button", name="Start from A").click()
            box = page.get_by_role("textbox", name=name)
            expect(box).to_be_focused()
            expect(box).to_have_accessible_description("You are typing. Esc goes back to the keys.")
            expect(digit).to_be_hidden()
            expect(hint).to_be_visible()
            page.keyboard.press("Escape")
            expect(hint).to_be_hidden()
            page.keyboard.press("Escape")  # closes the rewrite
        expect(digit).to_be_visible()
        assert button(page, "Tie").bounding_box() == before
    finally:
        server.store.questions.change(Question())


@pytest.mark.parametrize("width", [1400, 390])
def test_who_has_no_guidelines_is_told_what_to_do_and_nothing_moves(
        server: Server, newcomer: Newcomer, tasks: Tasks, width: int) -> None:
    tasks(FIRST_ANSWERS + 2, ("one text", "another"))
    _, one = newcomer(width=width, height=844)
    page = one.page
    sides(page)
    hint = page.get_by_text("Choose the response you find better. "
                            "Your lead has written no guidelines.")
    boxes = [places(page)]
    key(page, "g")
    expect(status(page)).to_contain_text("There are no guidelines")
    for _ in range(FIRST_ANSWERS):
        expect(hint).to_be_in_viewport()
        boxes.append(places(page))
        key(page, "1")
        expect(status(page)).to_contain_text("Saved")
    expect(hint).to_be_hidden()
    boxes.append(places(page))
    assert boxes == [boxes[0]] * len(boxes)


def places(page: Page) -> list[object]:
    """Where what is read and what is pressed lies."""
    return [page.locator(part).bounding_box() for part in
            (".pf-conversation", ".pf-responses", ".pf-answers", ".pf-extras")]


def test_a_ranking_has_words_of_its_own(server: Server, newcomer: Newcomer,
                                        tasks: Tasks) -> None:
    tasks(1, ("one", "two", "three"))
    _, one = newcomer()
    sides(one.page)
    expect(one.page.get_by_text("Put the responses in order, best first.")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_keys_are_listed_on_the_page_itself(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks, scheme: str, width: int) -> None:
    tasks(2)
    me, one = person(), window(width=width, height=844, color_scheme=scheme)
    sign_in(one, server, me)
    page = one.page
    sides(page)
    found = violations(page)
    key(page, "?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    listed = [tuple(row.get_by_role("cell").all_inner_texts())
              for row in dialog.get_by_role("row").all()[1:]]
    assert listed == keys_of(Question())
    found += violations(page)
    for other in "15us":
        key(page, other)  # nothing behind it hears them
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert stored(server, me) == [] and page.locator(".pf-desk").get_attribute("data-mode") == ""
    click(page, "Keys")
    expect(dialog).to_be_visible()
    page.keyboard.press("?")
    expect(dialog).to_be_hidden()
    expect(button(page, "Keys")).to_be_focused()
    click(page, "Keys")
    page.mouse.click(width / 2, 10)  # beside it
    expect(dialog).to_be_hidden()
    key(page, "2")
    expect(status(page)).to_have_text("Saved: A better.")
    server.store.questions.write_guidelines("Be fair.")  # one more button beside it
    page.reload()
    sides(page)
    for name in ("Guidelines", "Keys"):
        expect(button(page, name)).to_be_in_viewport(ratio=1)
    server.store.questions.write_guidelines("")
    assert not found, "\n".join(dict.fromkeys(found))
