"""Figures as people read them."""

from __future__ import annotations

import math
import re

from reward_world import example

from annotate.engineers.reward_figures import gains
from annotate.figures import (
    Linked,
    as_prose,
    estimate_of,
    number,
    share,
    table_html,
    text_html,
    time,
)
from annotate.plots import Dot, dots
from data.measures.statistics import Estimate
from reward.report.figures import report


def test_an_interval_that_there_is_not_is_not_written() -> None:
    assert time(Estimate(21.0, 120, 18.0, 24.0)) == ("21 s", "n = 120, 18 s to 24 s")
    assert time(Estimate(3.9, 1, -math.inf, math.inf)) == ("3.9 s", "n = 1")
    assert number(Estimate(0.5, 2, math.nan, math.nan)) == ("0.5", "n = 2")
    assert time(None) == number(None) == ("–", "no data yet")
    unbounded = Estimate(0.65, 12, -math.inf, math.inf)
    assert (str(unbounded), unbounded.percent()) == ("0.650 (n = 12)", "65.0 % (n = 12)")
    assert share(unbounded) == ("65 %", "n = 12")
    assert share(Estimate(0.65, 12, 0.4, 0.8)) == ("65 %", "n = 12, 40–80 %")
    assert share(Estimate(0.997, 999, 0.99, 1.0)) == ("99.7 %", "n = 999, 99–100 %")
    figure, = dots([Dot("one", unbounded), Dot("two", Estimate(0.5, 12, 0.2, 0.8))])["data"]
    assert figure["y"] == ["two"]


def test_a_stored_estimate_without_an_interval_is_a_figure_all_the_same() -> None:
    kept = Estimate(0.65, 12, -math.inf, math.inf).as_dict()
    assert number(estimate_of(kept)) == ("0.65", "n = 12")
    assert estimate_of({**kept, "value": None}) is estimate_of({"value": 1.0, "n": 3}) is None
    texts = ["a", "long one"]
    found = report([example(1, texts, [(0, 1, 3)] * 9 + [(1, 0, 3)] * 3)], {100: 1.0, 101: 0.0})
    assert gains(found) == [("the longer one wins", "+50.0 points (n = 12)")]


def test_no_line_ends_within_a_date_an_interval_or_a_name() -> None:
    html = table_html(("When", ""), [
        ("2026-11-30 08:41 UTC", "55.7 % (42.0–68.7 %, n = 1,744)"),
        (Linked("reward-2", "/browse?reward=2"), "a-1" * 99)])
    whole = re.findall(r'<span class="pf-whole[^"]*">([^<]*)</span>', html)
    assert whole[:5] == ["2026-11-30 08:41 UTC", "55.7 %", "42.0–68.7 %", "n = 1,744", "reward-2"]
    assert max(map(len, whole)) < 60  # a name without end still wraps
    assert text_html("over -0.0266") == 'over <span class="pf-whole">-0.0266</span>'
    prose = as_prose("right in 55.7 % (42.0–68.7 %), counted 2026-11-30 08:41 UTC")
    assert not re.search(r"[-–](?!\u2060)", prose)
    assert len(prose.split(" ")) == 6  # all the other spaces hold the line together
    assert "<th></th>" not in html and "<th>When</th><td></td>" in html
