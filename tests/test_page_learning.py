"""The page of the instant model: what it says and shows of what the worker has kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser import Server, Visit, open_page, settled, sign_in
from forging import Arrive, run
from learning_world import STATE_KEPT, kept_curve
from playwright.sync_api import expect

from annotate.engineers import learning_figures as figures
from data.asking import CURVE, STATE
from data.records import Labeler


def test_figures_have_their_n_and_interval() -> None:
    cards = {name: (value, more) for name, value, more in figures.facts(STATE_KEPT, kept_curve())}
    assert cards["Accuracy by now"] == ("76 %", "n = 120, 68–83 %")
    assert cards["On held-out prompts alone"] == ("74 %", "n = 45, 60–84 %")
    assert cards["A further 100 labels"] == ("+1.3 points", "n = 120, 0.1 to 3.1")
    assert cards["Answers learned from"] == ("204", "the last taken in within 4 ms")
    none = list(figures.facts({**STATE_KEPT, "answers": 0}, None))
    assert none[-1] == ("Answers learned from", "0", "none yet")
    assert next(figures.facts(STATE_KEPT, None))[1] == "–"
    assert list(figures.facts(None, kept_curve(False)))[2][1:] == ("–", "too early to say")


def test_the_forecast_says_how_sure_it_is_and_how_it_did() -> None:
    first, second = figures.forecast_words(kept_curve())
    assert "+1.3 points of accuracy (0.1 to 3.1, n = 120)" in first
    assert "less certain than it says" in first
    assert "would have foreseen 75.2 %" in second and "76.0 %" in second
    early, = figures.forecast_words(kept_curve(False))
    assert early.startswith("Too early to say")


def test_the_plot_ends_where_the_forecast_leads() -> None:
    drawn = figures.plot(kept_curve())
    assert drawn["data"][0]["x"] == [12.0, 24.5, 50.0, 101.0, 204.0]
    assert drawn["data"][-1]["x"] == [304.0]
    assert drawn["data"][-1]["y"] == pytest.approx([75.7 + 1.3])
    assert len(figures.plot(kept_curve(False))["data"]) == 1
    assert "12 labels 58.0 % (50.0–65.0 %, n = 120)" in figures.in_words(kept_curve())


def test_the_page_shows_what_was_kept(server: Server, arrive: Arrive) -> None:
    async def main() -> None:
        server.store.put_setting(STATE, None)
        server.store.put_setting(CURVE, None)
        visitor = arrive("engineer")[1]
        async with await visitor.tab("learning") as tab:
            assert "Nothing has been learned yet" in tab.text()
        server.store.put_setting(STATE, STATE_KEPT)
        server.store.put_setting(CURVE, kept_curve(False))
        async with await visitor.tab("learning") as tab:
            text = tab.text()
            assert "Accuracy by now" in text and "Too early to say" in text
            assert len(tab.all("plotly_chart")) == 1 and not tab.all("exception")
        server.store.put_setting(CURVE, kept_curve())
        async with await visitor.tab("learning") as tab:
            assert "points of accuracy" in tab.text() and not tab.all("exception")
            assert "switched off" not in tab.text()
        server.store.put_setting(STATE, None)  # as `enabled = false` leaves it
        async with await visitor.tab("learning") as tab:
            assert "Learning is switched off" in tab.text()
            assert "of 2026-01-05 09:30 UTC, and no answer since" in tab.text()
    run(main())


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
def test_an_engineer_sees_the_curve_and_a_labeler_does_not(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        width: int) -> None:
    server.store.put_setting(STATE, None)
    server.store.put_setting(CURVE, None)
    engineer, visit = person("engineer"), window(width=width)
    sign_in(visit, server, engineer)
    page = visit.page
    if width > 1000:
        open_page(page, "Learning")
    else:
        page.goto(f"{server.url}/learning")
        settled(page)
    expect(page.get_by_text("Nothing has been learned yet")).to_be_visible()
    server.store.put_setting(STATE, STATE_KEPT)
    server.store.put_setting(CURVE, kept_curve())
    # It refreshes by itself.
    expect(page.get_by_text("Accuracy by now")).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_be_visible()
    expect(page.get_by_text("chance chooses 20 %")).to_be_visible()
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "nothing to scroll sideways"
    other = window()
    sign_in(other, server, person())
    links = other.page.get_by_test_id("stTopNavLink")
    expect(links.filter(has_text="Account")).to_be_visible()
    assert links.filter(has_text="Learning").count() == 0
    other.page.goto(f"{server.url}/learning")
    settled(other.page)
    expect(other.page.get_by_text("a labeler may not do this")).to_be_visible()
