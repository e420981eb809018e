"""A PPO run's rewards against the distance √KL that they cost: where it stopped being worth it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from annotate.figures import as_prose

#: What is drawn, how it is called, and its colour.
LINES = (("reward", "reward model", "#3d8aae"),
         ("judge_reward", "further reward models", "#b5651d"))


def figure(metrics: Sequence[Mapping[str, Any]], offered: int | None) -> dict[str, Any]:
    """The plot as plotly reads it; `offered` is the step of the policy that became the version."""
    data: list[dict[str, Any]] = []
    for name, title, colour in LINES:
        points = [(math.sqrt(max(float(entry["kl"]), 0.0)), float(entry[name]), entry["step"])
                  for entry in metrics if None not in (entry.get("kl"), entry.get(name))]
        if not points:
            continue
        distance, reward, steps = (list(column) for column in zip(*points, strict=True))
        data.append({"type": "scatter", "mode": "lines+markers", "name": title, "x": distance,
                     "y": reward, "text": steps, "line": {"width": 1, "color": colour},
                     "marker": {"size": [12 if step == offered else 4 for step in steps],
                                "color": colour},
                     "hovertemplate": "step %{text}: %{y:.3g}<extra></extra>"})
    return {"data": data, "layout": {
        "height": 260, "margin": {"l": 44, "r": 8, "t": 34, "b": 40},
        "title": {"text": "Reward against distance", "font": {"size": 14}, "x": 0.01, "y": 0.97},
        "xaxis": {"title": {"text": "√KL to the reference, √nats"}}, "yaxis": {"nticks": 6},
        "legend": {"orientation": "h", "y": 1.12, "x": 0.35}, "dragmode": False}}


def frontier(job_id: int, metrics: Sequence[Mapping[str, Any]],
             result: Mapping[str, Any] | None) -> None:
    """Draw it, and say which policy is offered, once it is known."""
    drawn = figure(metrics, (result or {}).get("offered_step"))
    if not drawn["data"]:
        return
    st.plotly_chart(drawn, key=f"frontier-{job_id}",
                    config={"displayModeBar": False, "displaylogo": False},
                    alt="Reward against the square root of the KL to the reference, "
                        f"{len(metrics)} steps")
    if words := offered_words(result or {}):
        st.caption(as_prose(words))


def offered_words(result: Mapping[str, Any]) -> str:
    """Which policy a run offers and why; empty where nothing was chosen."""
    if "offered_step" not in result:
        return ""
    why = result.get("offered_because", "it is the best of those kept")
    return (f"Offered: the policy after {result['offered_step']} updated steps (the large dot, "
            f"where it is on the curve), because {why}. The result's other figures are of the "
            "run's last step.")
