"""A job's metrics as small line charts, and its result as figures with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from annotate.engineers.reward_figures import accuracy_card
from annotate.figures import (
    estimate_of,
    facts_html,
    is_share,
    number,
    plain,
    share,
    table_html,
    title_of,
)
from data.measures.statistics import Estimate
from data.reward_reports import over_file

#: What to watch first in each kind of job; the rest is folded away.
MAIN_CURVES: Mapping[str, Sequence[str]] = {
    "ppo": ("reward", "kl", "length", "entropy"),
    "train-reward": ("loss", "accuracy", "held_out_loss", "held_out_accuracy"),
    "best-of-n": ("loss", "reward"),
}
#: Lie between 0 and 1.
SHARES = frozenset({"accuracy", "held_out_accuracy", "eos_share", "clip_fraction",
                    "value_clip_fraction", "repetition", "repeated_tokens", "distinct_1",
                    "distinct_2"})
#: Of a reward model's report, what it was tested on, and not what was trained on.
_TESTED = frozenset({"prompts", "pairs", "ties", "comparisons"})
PER_ROW = 4
#: More points than this are thinned out evenly; the last is always kept.
MOST_POINTS = 400


def series_of(metrics: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    """Every numeric metric as steps and values; steps without a value are left out."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    for entry in metrics:
        for name, value in entry.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                steps, values = series.setdefault(name, ([], []))
                steps.append(entry["step"])
                values.append(float(value))
    return series


def curves(job_id: int, kind: str, metrics: Sequence[Mapping[str, Any]]) -> None:
    """The main curves side by side, the others in a fold."""
    series = series_of(metrics)
    main = [name for name in MAIN_CURVES.get(kind, ()) if name in series] \
        or list(series)[:PER_ROW]
    _grid(job_id, {name: series[name] for name in main})
    rest = {name: series[name] for name in series if name not in main}
    if rest:
        with st.expander(f"All curves ({len(rest)} more)", key=f"rest-{job_id}",
                         on_change="rerun") as fold:
            if fold.open:
                _grid(job_id, rest)


def _grid(job_id: int, series: Mapping[str, tuple[list[int], list[float]]]) -> None:
    names = list(series)
    for start in range(0, len(names), PER_ROW):
        columns = st.columns(PER_ROW, gap="small")
        for name, column in zip(names[start:start + PER_ROW], columns, strict=False):
            with column:
                _curve(job_id, name, *series[name])


def axes_of(name: str, steps: Sequence[int]) -> dict[str, Any]:
    """The axes of a metric's plot: every tick a whole step, and no share below 0 or above 1."""
    across: dict[str, Any] = {"tickformat": "d"}
    across |= {"dtick": 1} if max(steps) - min(steps) < 5 else {"nticks": 5}
    up: dict[str, Any] = {"nticks": 5}
    if name in SHARES:  # with room for half a marker
        up["autorangeoptions"] = {"minallowed": -0.05, "maxallowed": 1.05}
    return {"xaxis": across, "yaxis": up}


def _curve(job_id: int, name: str, steps: list[int], values: list[float]) -> None:
    """One metric: its last value as the title's second half, the curve below."""
    title = title_of(name)
    stride = -(-len(steps) // MOST_POINTS)
    steps, values = steps[::-stride][::-1], values[::-stride][::-1]
    figure = {
        "data": [{"type": "scatter", "mode": "lines+markers" if len(steps) < 40 else "lines",
                  "x": steps, "y": values, "line": {"width": 2, "color": "#3d8aae"},
                  "marker": {"size": 4}, "hovertemplate": "step %{x}: %{y:.4g}<extra></extra>"}],
        "layout": {"height": 190, "margin": {"l": 44, "r": 8, "t": 34, "b": 28},
                   "title": {"text": f"{title}  {plain(values[-1])}", "font": {"size": 14},
                             "x": 0.01, "y": 0.97},
                   **axes_of(name, steps), "showlegend": False, "dragmode": False},
    }
    st.plotly_chart(figure, key=f"curve-{job_id}-{name}",
                    config={"displayModeBar": False, "displaylogo": False},
                    alt=f"{title} over {len(steps)} steps, last {plain(values[-1])}")


def result(kind: str, values: Mapping[str, Any]) -> None:
    """A job's result: estimates as cards, the rest as a small table."""
    held_out = kind in ("train-reward", "eval-reward") and not over_file(values)
    cards, rows = [], []
    for name, value in values.items():
        title, estimate = title_of(name), estimate_of(value)
        if held_out and name in _TESTED:
            title = f"Held-out {name}"
        if estimate is not None:
            cards.append((title, *_shown(name, estimate)))
        elif isinstance(value, bool | int | float | str):
            rows.append((title, value if isinstance(value, str) else plain(value)))
    if cards:
        st.html(facts_html(cards))
    if rows:
        st.html(table_html(("Result", ""), rows))


def _shown(name: str, estimate: Estimate) -> tuple[str, str]:
    if "accuracy" in name:
        return accuracy_card(estimate)
    return share(estimate) if is_share(name, estimate) else number(estimate)
