"""A reward model's report as plots: plain dictionaries and rows of dots; nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate.engineers.reward_figures import FEW_FOR_BINS, rows_of
from annotate.figures import estimate_of
from annotate.plots import ALARM, CALM, Dot
from data.reward_reports import FEW


def baseline_dots(metrics: Mapping[str, Any]) -> list[Dot]:
    """The model, and what it has to beat or can hope for, on the same held-out pairs."""
    base = metrics.get("baselines") or {}
    previous = base.get("previous") or {}
    rows = (("This model", metrics.get("held_out_accuracy")),
            (f"Before: {previous.get('name')}", previous.get("accuracy")),
            ("The longer one wins", base.get("longer")),
            ("Another labeler", base.get("other_labeler")),
            ("This model, same pairs", base.get("model_there")))
    return [Dot(name, estimate) for name, values in rows
            if (estimate := estimate_of(values)) is not None and estimate.n >= FEW]


def group_dots(metrics: Mapping[str, Any], way: str) -> list[Dot]:
    """The accuracy of each group that has enough pairs."""
    return [Dot(row["name"], estimate) for row in rows_of(metrics, way)
            if (estimate := estimate_of(row["accuracy"])) is not None and estimate.n >= FEW]


def reliability(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The reliability diagram as a Plotly figure; None where there are too few pairs."""
    found = metrics.get("calibration") or {}
    bins = [(one, observed) for one in found.get("bins", ())
            if (observed := estimate_of(one["observed"])) is not None]
    if sum(one["n"] for one, _ in bins) < FEW_FOR_BINS:
        return None
    most = max(one["n"] for one, _ in bins)
    return {"data": [
        {"type": "scatter", "mode": "lines", "x": [50, 100], "y": [50, 100],
         "line": {"dash": "dot", "width": 1, "color": "#888"}, "hoverinfo": "skip"},
        {"type": "scatter", "mode": "markers",
         "x": [100 * one["predicted"] for one, _ in bins],
         "y": [100 * observed.value for _, observed in bins],
         "error_y": {"type": "data", "symmetric": False, "thickness": 2, "width": 4,
                     "array": [100 * (o.high - o.value) for _, o in bins],
                     "arrayminus": [100 * (o.value - o.low) for _, o in bins],
                     "color": "#8a9299"},
         "marker": {"size": [6 + 14 * (one["n"] / most) ** 0.5 for one, _ in bins],
                    "color": [CALM if o.low <= one["predicted"] <= o.high else ALARM
                              for one, o in bins]},
         "customdata": [[one["n"], 100 * o.low, 100 * o.high] for one, o in bins],
         "hovertemplate": "predicted %{x:.0f} %, observed %{y:.0f} % (%{customdata[1]:.0f}–"
                          "%{customdata[2]:.0f} %, n = %{customdata[0]:,})<extra></extra>"}],
        "layout": {"height": 330, "showlegend": False, "dragmode": False,
                   "margin": {"l": 56, "r": 8, "t": 8, "b": 44},
                   "xaxis": {"range": [48, 102], "ticksuffix": " %", "nticks": 6,
                             "title": {"text": "the model's probability"}},
                   "yaxis": {"range": [0, 102], "ticksuffix": " %", "nticks": 6,
                             "title": {"text": "labelers chose it"}}}}
