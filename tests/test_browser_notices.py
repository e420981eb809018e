"""What a press did is told over the page: in view, moving nothing, each time anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Newcomer, Server, choose, make_workspace, open_page, press
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notices") / "workspace"
    make_workspace(folder)
    return folder


def top(what: Locator) -> float:
    box = what.bounding_box()
    assert box is not None
    return box["y"]


def faded(page: Page) -> None:
    """As after a while."""
    page.evaluate("document.getAnimations().forEach((one) => one.finish())")


def test_a_notice_moves_nothing_and_a_second_one_is_seen_too(server: Server,
                                                             newcomer: Newcomer) -> None:
    page = newcomer("lead", width=390, height=844)[1].page
    page.goto(f"{server.url}/people")
    role = page.get_by_test_id("stMain").get_by_role("combobox", name="Role").last
    choose(page, page.get_by_role("combobox", name="Person"), server.store.people.add("Ida").name,
           typed="Ida")
    button, notice = page.get_by_role("button", name="Change role"), page.locator(".st-key-notice")
    heading = page.get_by_role("heading", name="Links, access and answers")
    apart = top(button) - top(heading)
    button.scroll_into_view_if_needed()
    before = top(button)
    for wanted, said in (("engineer", "Ida is an engineer now."), ("lead", "Ida is a lead now.")):
        choose(page, role, wanted)
        expect(notice.get_by_text("Ida is")).to_have_count(0)  # over at the next run
        assert (top(button), top(button) - top(heading)) == (before, apart)
        press(page, button)
        told = notice.get_by_text(said)
        expect(told).to_be_in_viewport()
        assert (top(button), top(button) - top(heading)) == (before, apart)
        faded(page)
        expect(told).to_be_hidden()


def test_what_failed_stays_in_view_and_what_is_typed_below_it_stays(server: Server,
                                                                    newcomer: Newcomer) -> None:
    page = newcomer("lead")[1].page
    open_page(page, "Settings")
    press(page, page.get_by_role("radio", name="Guidelines", exact=True))
    text = page.get_by_role("textbox", name="Guidelines")
    press(page, page.get_by_role("button", name="Save guidelines"))
    refused = page.locator(".st-key-notice").get_by_text("NOT saved: the guidelines are empty.")
    expect(refused).to_be_in_viewport()
    faded(page)
    expect(refused).to_be_in_viewport()
    text.fill("Be kind.")
    press(page, page.get_by_role("button", name="Save guidelines"))
    expect(refused).to_have_count(0)
    assert text.input_value() == "Be kind."


def test_a_notice_is_closed_by_a_press_or_by_escape_and_what_is_typed_stays(
        server: Server, newcomer: Newcomer) -> None:
    """On a phone, what failed lies over the fields in which it is to be put right."""
    page = newcomer("lead", width=390, height=844)[1].page
    page.goto(f"{server.url}/settings")
    press(page, page.get_by_role("radio", name="Guidelines", exact=True))
    text, close = (page.get_by_role(role, name=name) for role, name in (
        ("textbox", "Guidelines"), ("button", "Close")))
    for way in (lambda: press(page, close), lambda: page.keyboard.press("Escape")):
        text.fill("")
        press(page, page.get_by_role("button", name="Save guidelines"))
        refused = page.get_by_role("alert").filter(has_text="NOT saved")
        expect(refused).to_be_in_viewport()
        text.click()
        page.keyboard.type("Be kind")
        way()
        expect(refused).to_have_count(0)
        assert text.input_value() == "Be kind"
