"""Plots that several pages show, as Plotly figures: dots with their intervals.

Pure functions from figures to plain dictionaries; only `show` draws. Streamlit's theme gives the
background and the text, so the colours here are chosen to be told apart on light and on dark.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from annotate.figures import short
from data.measures.statistics import Estimate

CALM, ALARM, BAND = "#3d8aae", "#d9534f", "rgba(128,128,128,0.22)"
_ROW, _FRAME = 34, 96  # two lines of a name are 32 high
_LONGEST, _LINE = 24, 28  # characters of a word of a row's name, and of a line


@dataclass(frozen=True)
class Dot:
    """One row of a dot plot."""

    name: str
    estimate: Estimate
    alarming: bool = False


def dots(rows: Sequence[Dot], bands: Collection[tuple[str, float, float]] = (),
         chance: float | None = 50.0) -> dict[str, Any]:
    """Shares in percent with their intervals, one row each, the first on top; not those that
    have none.

    A dashed line marks what chance would give, a grey band what others have published.
    """
    known = [row for row in rows if math.isfinite(row.estimate.value) and row.estimate.bounded]
    names = _distinct([row.name for row in known])
    low = min([100 * row.estimate.low for row in known] + [45.0])
    shapes = [_band(start, end) for _, start, end in bands]
    if chance is not None:
        shapes.append({"type": "line", "x0": chance, "x1": chance, "yref": "paper", "y0": 0,
                       "y1": 1, "line": {"dash": "dot", "width": 1, "color": "#888"}})
    return {"data": [{
        "type": "scatter", "mode": "markers", "y": names,
        "x": [100 * row.estimate.value for row in known],
        "error_x": {"type": "data", "symmetric": False, "thickness": 2, "width": 4,
                    "array": [100 * (row.estimate.high - row.estimate.value) for row in known],
                    "arrayminus": [100 * (row.estimate.value - row.estimate.low)
                                   for row in known], "color": "#8a9299"},
        "marker": {"size": 11, "symbol": ["diamond" if row.alarming else "circle"
                                          for row in known],
                   "color": [ALARM if row.alarming else CALM for row in known]},
        "customdata": [[row.estimate.n, 100 * row.estimate.low, 100 * row.estimate.high]
                       for row in known],
        "hovertemplate": "%{y}: %{x:.0f} % (%{customdata[1]:.0f}–%{customdata[2]:.0f} %, "
                         "n = %{customdata[0]:,})<extra></extra>"}],
        "layout": {"height": _FRAME + _ROW * len(known), "showlegend": False, "dragmode": False,
                   "margin": {"l": 8, "r": 8, "t": 40 if bands else 8, "b": 30},
                   "shapes": shapes,
                   "annotations": [_note(i, *band) for i, band in enumerate(bands)],
                   "xaxis": {"range": [max(0, low - 5), 102], "ticksuffix": " %"},
                   "yaxis": {"range": [len(known) - 0.5, -0.5], "automargin": True,
                             "type": "category"}}}


def show(figure: dict[str, Any], key: str, alt: str) -> None:
    """Draw a figure; `alt` says in words what it shows."""
    st.plotly_chart(figure, key=key, alt=alt,
                    config={"displayModeBar": False, "displaylogo": False})


def _band(start: float, end: float) -> dict[str, Any]:
    return {"type": "rect", "x0": start, "x1": end, "yref": "paper", "y0": 0, "y1": 1,
            "fillcolor": BAND, "line": {"width": 0}, "layer": "below"}


def _note(place: int, name: str, start: float, end: float) -> dict[str, Any]:
    """The band's name above it: the first to its left, so that two do not meet; each part of it on
    a line of its own, for narrow pages."""
    left = place == 0
    return {"x": end if left else start, "xanchor": "right" if left else "left", "y": 1,
            "yref": "paper", "yanchor": "bottom", "text": name.replace(", ", ",<br>"),
            "showarrow": False, "align": "left", "font": {"size": 11}}


def _distinct(names: Sequence[str]) -> list[str]:
    """Plotly puts rows of one name on one line, and reads names as HTML of its own."""
    safe = [_lines(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            .replace("\n", "<br>") for name in names]
    return [name + "\u200b" * safe[:i].count(name) for i, name in enumerate(safe)]


def _lines(name: str) -> str:
    """A name on one line or two: a longer one would leave no room for anybody's figures, and would
    not fit a phone. What is too long loses its middle: no mark at the name's end may be cut."""
    lines = textwrap.wrap(" ".join(short(word, _LONGEST) for word in name.split()), _LINE,
                          break_on_hyphens=False)
    return "\n".join(lines if len(lines) <= 2 else [f"{lines[0]} …", lines[-1]])
