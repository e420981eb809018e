"""The labeling page in a real browser: what stands on it, and pressing as a person would."""

from __future__ import annotations

import re

from browser import Server, lettered
from playwright.sync_api import Locator, Page, expect

from data.records import Comparison, Labeler

#: Above the labeling page's own `QUIET_MS`: before that a press is taken for an echo of the last.
PAUSE_MS = 550


def stored(server: Server, labeler: Labeler) -> list[Comparison]:
    """The labeler's answers that stand, oldest first."""
    return server.store.comparisons.current(labeler_id=labeler.id)


def button(page: Page, label: str) -> Locator:
    """A button of the labeling page by its label."""
    return page.locator(".pf-desk").get_by_role("button", name=label, exact=True)


def status(page: Page) -> Locator:
    """What became of the last press."""
    return page.locator(".pf-said .pf-status")


def panes(page: Page) -> Locator:
    """The responses' texts, as they lie on the page."""
    return page.locator(".pf-response > .pf-text")


def sides(page: Page) -> list[str]:
    """The responses' texts in display order, once they are there."""
    expect(panes(page).nth(1)).to_be_visible()
    lettered(page)
    return panes(page).all_inner_texts()


def click(page: Page, label: str) -> None:
    """Press a button of the labeling page, not too soon after the press before."""
    rest(page)
    button(page, label).click()


def key(page: Page, name: str) -> None:
    """Press a key, not too soon after the press before."""
    rest(page)
    page.keyboard.press(name)


def rest(page: Page) -> None:
    """Wait until the desk shows what it will go on to show, and then until a press counts."""
    shows = page.locator(".pf-desk:not([data-question='0']), .pf-desk.pf-empty-desk")
    expect(shows).to_be_visible()
    expect(page.get_by_role("heading", name="One moment")).to_have_count(0)
    page.wait_for_timeout(PAUSE_MS)


def done(page: Page) -> Locator:
    """The note that the round is complete."""
    return page.get_by_role("heading", name=re.compile("is complete"))


def winner_text(server: Server, comparison: Comparison) -> str:
    """What the winning response says."""
    assert comparison.winner is not None
    return server.store.responses.get([comparison.winner])[0].text


def type_reason(page: Page, text: str) -> None:
    """Give a reason by the keyboard alone, and leave its box."""
    page.keyboard.press("r")
    page.keyboard.type(text)
    page.keyboard.press("Escape")


def outbox(page: Page) -> int:
    """How many presses the browser keeps until the server has saved them."""
    return int(page.evaluate("Object.keys(localStorage).filter((k) => k.includes('/out/')).length"))
