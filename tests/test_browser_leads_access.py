"""The leads' pages with a whole crew's work in them: for axe-core, and on a phone."""

from __future__ import annotations

import pytest
from accessibility import LOOKS, violations
from browser import Newcomer, Server, settled, unfold
from leads_world import section, workspace
from playwright.sync_api import expect

from data.records import Message

assert workspace  # a fixture

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_axe_finds_nothing_serious(server: Server, newcomer: Newcomer, scheme: str,
                                   width: int) -> None:
    page = newcomer("lead", width=width, color_scheme=scheme)[1].page
    found = []
    for path, press in (("quality", None), ("disputes", "summary"), ("browse?answer=1", None),
                        ("settings", "Guidelines"), ("settings", "Assignment"),
                        ("settings", "Known answers"), ("settings", "Signing in"),
                        ("people", "Set answers aside")):
        page.goto(f"{server.url}/{path}")
        settled(page)
        if press == "summary":
            unfold(page, page.get_by_test_id("stExpander").first.locator("summary"))
            expect(page.get_by_role("button", name="Record decision")).to_be_visible()
        elif path == "people":
            page.get_by_role("button", name=press).click()
            expect(page.get_by_role("button", name="Set aside the answers of")).to_be_visible()
        elif press:
            section(page, press)
        page.wait_for_timeout(500)
        found += violations(page)
    assert not found, "\n".join(dict.fromkeys(found))


@pytest.mark.parametrize("path", ["quality", "disputes", "browse", "browse?answer=1", "settings",
                                  "people", "audit"])
def test_a_phone_can_read_every_page(server: Server, newcomer: Newcomer, path: str) -> None:
    page = newcomer("lead", width=390, height=844)[1].page
    page.goto(f"{server.url}/{path}")
    settled(page)
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.get_by_test_id("stException")).to_have_count(0)


def test_a_phone_shows_a_long_prompt_whole(server: Server, newcomer: Newcomer) -> None:
    long, _ = server.store.prompts.add([Message(role="user", content="Word by word. " * 200)], "me")
    page = newcomer("lead", width=390, height=844)[1].page
    page.goto(f"{server.url}/browse?prompt={long}")
    settled(page)
    prompt = page.locator(".pf-conversation")
    expect(prompt).to_be_visible()
    assert prompt.evaluate("e => e.scrollHeight <= e.clientHeight")


def test_the_labels_above_the_figures_stand_in_one_line(server: Server,
                                                        newcomer: Newcomer) -> None:
    page = newcomer("lead")[1].page
    page.goto(f"{server.url}/quality")
    settled(page)
    labels = page.get_by_test_id("stWidgetLabel")
    expect(labels.filter(has_text="Whose answers")).to_be_visible()
    tops = dict(labels.evaluate_all(
        "(all) => all.map((one) => [one.innerText.trim(), one.getBoundingClientRect().top])"))
    assert abs(tops["Round"] - tops["Whose answers"]) < 1
