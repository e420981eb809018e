"""Figures as people read them."""

from __future__ import annotations

import math

from annotate.figures import number, time
from data.measures.statistics import Estimate


def test_an_interval_that_there_is_not_is_not_written() -> None:
    assert time(Estimate(21.0, 120, 18.0, 24.0)) == ("21 s", "n = 120, 18 s to 24 s")
    assert time(Estimate(3.9, 1, -math.inf, math.inf)) == ("3.9 s", "n = 1")
    assert number(Estimate(0.5, 2, math.nan, math.nan)) == ("0.5", "n = 2")
    assert time(None) == number(None) == ("–", "no data yet")
