"""Reports as HTML files, in a real browser: on phones, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Visit

from annotate.plots import Dot, dots
from data.measures.statistics import Estimate
from loop.reports import html_page

pytestmark = pytest.mark.browser

#: A sheet's width in CSS pixels (A4), without the margins that browsers leave.
SHEET = 718


def report(folder: Path) -> Path:
    """A page with one of each part."""
    path = folder / "report.html"
    html_page.write(path, "Reward model reward-2", [
        html_page.plot(dots([Dot("This model", Estimate(0.553, 636, 0.472, 0.632))]), first=True),
        html_page.table(["", "this model is right", "the longer one wins"], [
            ["significantly better", "55.3 % (47.2–63.2 %, n = 636)", "54.9 % (41.4–63.2 %)"]]),
        html_page.table(["", "prompt", "labelers chose", "the model chose"], [
            ["4 of 4 chose it", "Why?", "Because." * 30, "a word " * 40]], "text")])
    return path


def test_a_report_fits_a_phone_and_breaks_no_word_or_interval(
        window: Callable[..., Visit], tmp_path: Path) -> None:
    page = window(width=320, height=640).page
    page.goto(report(tmp_path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    lines = """(one) => { const range = document.createRange(); range.selectNodeContents(one);
        return new Set([...range.getClientRects()].map((each) => each.top)).size }"""
    for found in page.locator(".pf-whole").all():
        assert found.evaluate(lines) == 1, found.inner_text()
    assert page.get_by_text("significantly better").evaluate(
        "(one) => one.getBoundingClientRect().width") > 80  # the longest word stands in one line
    texts = page.locator("td.text").evaluate_all(
        "(all) => all.map((one) => [one.getBoundingClientRect().left, one.offsetWidth])")
    assert len({left for left, _ in texts}) == 1 and min(width for _, width in texts) > 250


def test_what_is_drawn_keeps_to_the_sheet_when_it_is_printed(
        window: Callable[..., Visit], tmp_path: Path) -> None:
    page = window(width=1280, height=800, color_scheme="dark").page
    page.goto(report(tmp_path).as_uri())
    page.locator(".plot svg").first.wait_for()
    shown = "getComputedStyle(document.querySelector('.plot')).filter"
    assert page.evaluate(shown) != "none"  # drawn for a light page
    page.emulate_media(media="print")
    assert page.evaluate(shown) == "none"
    # Drawn for the window, and not again for the sheet.
    assert page.locator(".plot svg").first.evaluate("(one) => one.clientWidth") <= SHEET
