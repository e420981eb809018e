"""Every page for everybody: axe-core finds nothing serious, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from accessibility import LOOKS, violations
from browser import Newcomer, Server, Tasks, Visit, settled, sign_in, unfold
from desk_page import key, sides
from playwright.sync_api import expect

from data.assignments import AssignmentRules
from data.questions import Question
from data.records import Answer, Labeler

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_labeling_page_in_all_its_states(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]], scheme: str, width: int) -> None:
    tasks(3, ("A **bold** text, `code` and $x^2$\n\n| a |\n|---|\n| 1 |", "short", "third"))
    store = server.store
    store.questions.write_guidelines("Be *fair*.")
    store.questions.change(Question(scores=True, rewrite=True))
    store.assignments.set_rules(AssignmentRules(daily_goal=5))
    one = window(width=width, height=844, color_scheme=scheme)
    me = person()
    sign_in(one, server, me)
    page = one.page
    sides(page)
    found = violations(page)
    for presses in (["d", "2", "1"], ["w"], ["Escape", "Escape", "s"], ["Escape", "p"], ["5", "f"],
                    ["Escape", "g"]):
        for press in presses:
            page.keyboard.press(press)
        found += violations(page)
    tasks(2)  # pairs
    page.reload()
    sides(page)
    found += violations(page)
    store.people.set_disabled(me.id, True)
    for press in ("p", "3", "4"):
        page.keyboard.press(press)
    key(page, "1")
    expect(page.locator(".pf-alert")).to_be_visible()
    found += violations(page)
    tasks(0)
    store.people.set_disabled(me.id, False)
    sign_in(one, server, me)
    expect(page.get_by_role("heading", name="has no pairs yet")).to_be_visible()
    found += violations(page)
    store.questions.change(Question())
    assert not found, "\n".join(dict.fromkeys(found))


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_every_other_page(server: Server, person: Callable[..., Labeler],
                          window: Callable[..., Visit], tasks: Callable[..., list[int]],
                          scheme: str, width: int) -> None:
    lead = person("lead")
    for task in tasks(3, wanted=2):
        for who in (lead, person()):
            assignment = server.store.assignments.assign(task, who.id)
            first, second = assignment.shown
            server.store.comparisons.submit(who.id, assignment.task,
                                            Answer(((first,), (second,)), rationale="so"),
                                            f"{who.id}/{task}")
    server.store.jobs.add("best-of-n", {"prompts": 64, "temperature": 0.7, "policy": "base"})
    one = window(width=width, height=844, color_scheme=scheme)
    page = one.page
    page.goto(server.link(lead))
    found = violations(page)
    page.get_by_role("button", name="Sign in as").click()
    settled(page)
    page.goto(f"{server.url}/answers")
    settled(page)
    unfold(page, page.get_by_text("better · Question").first)
    expect(page.get_by_role("button", name="Save the change")).to_be_visible()
    found += violations(page)
    for path in pages():
        page.goto(f"{server.url}/{path}")
        settled(page)
        if path == "jobs":
            unfold(page, page.get_by_text("Configuration"))
        page.wait_for_timeout(500)
        found += violations(page)
    assert not found, "\n".join(dict.fromkeys(found))


def pages() -> list[str]:
    """The addresses of all pages, from the app itself."""
    import re
    from pathlib import Path

    import annotate

    source = (Path(annotate.__file__).parent / "app.py").read_text("utf-8")
    found = re.findall(r'^    \("([a-z-]+)", "[A-Z]', source, re.M)
    assert len(found) >= 7
    return found


def test_what_is_chosen_is_seen_in_a_persons_own_colours(server: Server, newcomer: Newcomer,
                                                         tasks: Tasks) -> None:
    tasks(1, ("first", "second", "third"))
    server.store.questions.change(Question(scores=True))
    try:
        _, one = newcomer(forced_colors="active")
        page = one.page
        sides(page)
        for press in ("1", "p", "4", "Escape", "f", "1", "Escape", "d"):
            page.keyboard.press(press)
        page.mouse.move(0, 0)
        chosen = page.locator(".pf-desk :is([aria-pressed=true], [aria-checked=true])")
        expect(chosen).to_have_count(4)  # a rank, a score, a flag and the differences
        ground = "each => getComputedStyle(each).backgroundColor"
        others = page.locator(".pf-desk :is([aria-pressed=false], [aria-checked=false])")
        assert not ({each.evaluate(ground) for each in chosen.all()}
                    & {each.evaluate(ground) for each in others.all()})
    finally:
        server.store.questions.change(Question())


def test_the_keyboard_sees_where_it_is_in_the_menu(server: Server, newcomer: Newcomer) -> None:
    page = newcomer("lead")[1].page
    for width, link in ((1400, "stTopNavLink"), (390, "stSidebarNavLink")):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(f"{server.url}/audit")
        settled(page)
        if width < 400:
            page.get_by_test_id("stExpandSidebarButton").click()
        quality = page.get_by_test_id(link).filter(has_text="Quality")
        expect(quality).to_be_visible()
        page.keyboard.press("Tab")
        quality.focus()
        expect(quality).to_have_css("outline-style", "solid")
        expect(page.get_by_test_id(link).filter(has_text="Audit")).not_to_have_css(
            "outline-style", "solid")
