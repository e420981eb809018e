"""What a lead writes in the settings stays until it is saved, and is read whole."""

from __future__ import annotations

import pytest
from browser import Newcomer, Server, open_page, press, settled
from leads_world import section, workspace
from playwright.sync_api import Page, expect

assert workspace  # a fixture

pytestmark = pytest.mark.browser


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


def test_the_list_of_tasks_says_how_many_more_there_are(server: Server,
                                                        newcomer: Newcomer) -> None:
    page = newcomer("lead")[1].page
    open_page(page, "Settings")
    section(page, "Known answers")
    more = page.get_by_text("20 of 90 tasks are listed")
    expect(more).to_contain_text("To list another, search above for words of it.")
    page.get_by_role("combobox", name="Task").click()
    expect(page.get_by_role("option")).to_have_count(20)
    page.keyboard.press("Escape")
    search = page.get_by_role("textbox", name="Find a task")
    search.fill("Question 42")
    search.press("Enter")
    expect(more).to_have_count(0)
    expect(page.get_by_placeholder("Choose one of these 1")).to_be_visible()


def test_labels_are_read_whole_on_a_phone(server: Server, newcomer: Newcomer) -> None:
    page = newcomer("lead", width=390, height=844)[1].page
    page.goto(f"{server.url}/settings")
    label = page.get_by_text("The best response may be rewritten into a better one")
    expect(label).to_be_visible()
    assert label.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    box = label.bounding_box()
    assert box is not None and box["height"] > 30  # two lines


def test_a_number_that_is_out_of_bounds_is_not_called_saved(server: Server,
                                                            newcomer: Newcomer) -> None:
    """The browser alone would keep it, and let the one before be saved."""
    page, store = newcomer("lead")[1].page, server.store
    before = store.assignments.rules()
    open_page(page, "Settings")
    section(page, "Assignment")
    goal = page.get_by_role("spinbutton", name="Daily goal")
    goal.fill("-5")
    press(page, page.get_by_role("button", name="Save assignment"))
    expect(page.locator(".st-key-notice")).to_contain_text(
        "NOT saved: Daily goal, in answers (0 shows none): must lie from 0 to 1000, not -5")
    expect(goal).to_have_value("-5")
    assert store.assignments.rules() == before
    goal.fill("70")
    press(page, page.get_by_role("button", name="Save assignment"))
    expect(page.locator(".st-key-notice")).to_contain_text("Saved: the rules hold")
    assert store.assignments.rules().daily_goal == 70
