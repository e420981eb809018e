"""Plots of what benchmarks measured: `--curves FILE` of a benchmark keeps the curves behind its
figures, and this draws them, each as FOLDER/NAME.png, in the Chromium that the tests use.

    python -m benchmarks.plots CURVES.json docs/images/benchmarks
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 760, 460


@dataclass(frozen=True)
class Line:
    """One series; `low` and `high` are the ends of its interval, where it has one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = field(default_factory=list)
    high: Sequence[float] = field(default_factory=list)
    points: bool = False
    """Points alone, where what lies between them was not measured."""


@dataclass(frozen=True)
class Plot:
    """One plot of several lines."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    levels: Mapping[str, float] = field(default_factory=dict)
    """Horizontal lines to hold the others against, by their names."""


def keep(path: Path | None, plots: Mapping[str, Plot]) -> None:
    """Write plots, by their names, as `main` reads them; nothing where no path is given."""
    if path is not None:
        path.write_text(json.dumps({name: asdict(plot) for name, plot in plots.items()}), "utf-8")


def figure_of(plot: Plot) -> Any:
    """The plot as plotly has it."""
    from plotly.colors import qualitative
    from plotly.graph_objects import Figure, Scatter

    figure = Figure()
    for number, line in enumerate(plot.lines):
        color = qualitative.D3[number % len(qualitative.D3)]
        if len(line.low):
            figure.add_trace(Scatter(
                x=[*line.x, *reversed(line.x)], y=[*line.high, *reversed(line.low)], fill="toself",
                fillcolor=color, opacity=0.15, line={"width": 0}, mode="lines",
                hoverinfo="skip", showlegend=False))
        figure.add_trace(Scatter(x=list(line.x), y=list(line.y), name=line.name,
                                 mode="markers" if line.points else "lines",
                                 line={"color": color}, marker={"color": color}))
    for name, level in plot.levels.items():
        figure.add_hline(y=level, line={"dash": "dot", "color": "#777"}, annotation_text=name)
    figure.update_layout(template="plotly_white", title=plot.title, xaxis_title=plot.x,
                         yaxis_title=plot.y, margin={"l": 60, "r": 20, "t": 50, "b": 50},
                         width=WIDTH, height=HEIGHT)
    return figure


def draw(plots: Mapping[str, Plot], folder: Path) -> None:
    """Write each plot as a picture into the folder."""
    from browser import launch_browser
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch_browser(playwright)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for name, plot in plots.items():
            page.set_content("<style>body{margin:0}</style>" + figure_of(plot).to_html(
                full_html=False, include_plotlyjs=True, config={"staticPlot": True}))
            page.wait_for_selector(".main-svg")
            page.screenshot(path=folder / f"{name}.png")
        browser.close()


def read(path: Path) -> dict[str, Plot]:
    """What `keep` wrote."""
    found = json.loads(path.read_text("utf-8"))
    return {name: Plot(**{**values, "lines": [Line(**line) for line in values["lines"]]})
            for name, values in found.items()}


def main() -> None:
    """Draw a file's plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curves", type=Path, help="what a benchmark's --curves wrote")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    asked = parser.parse_args()
    draw(read(asked.curves), asked.folder)


if __name__ == "__main__":
    main()
