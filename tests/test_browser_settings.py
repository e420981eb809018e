"""What a lead writes in the settings stays until it is saved, and is read whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Newcomer, Server, open_page, settled
from leads_world import LeadsWorld, section
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def workspace(leads: LeadsWorld) -> Path:
    return leads.folder


def agree(page: Page, text: str) -> None:
    """The editor and its preview say this."""
    expect(page.get_by_role("textbox", name="Guidelines")).to_have_value(text)
    expect(page.locator(".pf-text").first).to_have_text(text)
    settled(page)  # what is typed during a run may be undone by it


def test_a_draft_stays_wherever_one_goes_and_is_what_is_saved(server: Server,
                                                              newcomer: Newcomer) -> None:
    (_, one), questions = newcomer("lead"), server.store.questions
    page, began = one.page, questions.write_guidelines("Old text")
    open_page(page, "Settings")
    section(page, "Guidelines")
    agree(page, "Old text")
    expect(page.get_by_role("button", name="Discard draft")).to_have_count(0)
    text = page.get_by_role("textbox", name="Guidelines")
    text.fill("First draft")
    section(page, "Assignment")
    section(page, "Guidelines")
    agree(page, "First draft")
    text.fill("Second draft")
    for _ in range(3):
        open_page(page, "People")
        open_page(page, "Settings")
        agree(page, "Second draft")
    expect(page.get_by_text("A draft: not saved yet.")).to_be_visible()
    page.get_by_role("button", name="Save guidelines").click()
    expect(page.get_by_text(f"Saved: version {began + 1} of the guidelines")).to_be_visible()
    agree(page, "Second draft")
    now = questions.guidelines()
    assert now is not None and now.text == "Second draft"
    text.fill("Third draft")
    text.press("Control+Enter")
    agree(page, "Third draft")
    page.get_by_role("button", name="Discard draft").click()
    agree(page, "Second draft")
    assert questions.guidelines() == now


def test_a_draft_is_not_lost_to_what_another_lead_saves(server: Server,
                                                        newcomer: Newcomer) -> None:
    (_, one), questions = newcomer("lead"), server.store.questions
    page = one.page
    questions.write_guidelines("Before either")
    open_page(page, "Settings")
    section(page, "Guidelines")
    agree(page, "Before either")
    theirs = questions.write_guidelines("Theirs", server.store.people.add("Lead Two", "lead").id)
    section(page, "Assignment")
    section(page, "Guidelines")
    agree(page, "Theirs")  # nothing was typed: it is what is in force
    text = page.get_by_role("textbox", name="Guidelines")
    text.fill("Mine")
    newer = questions.write_guidelines("Theirs again")
    assert newer == theirs + 1
    open_page(page, "People")
    open_page(page, "Settings")
    agree(page, "Mine")
    expect(page.get_by_text(f"Version {newer} came into force")).to_be_visible()
    page.get_by_role("button", name="Save guidelines").click()
    expect(page.get_by_text(f"Saved: version {newer + 1} of the guidelines")).to_be_visible()
    agree(page, "Mine")
    expect(page.get_by_role("button", name="Discard draft")).to_have_count(0)
    assert [g.text for g in questions.all_guidelines()][:2] == ["Mine", "Theirs again"]
