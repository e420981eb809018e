"""Plots of what benchmarks measured."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import plots
from benchmarks.plots import Line, Plot
from benchmarks.reward_labels import BATCH, DEFAULT, RANDOM_SHARE, plot_of
from loop.settings import AskingConfig


def test_what_is_kept_is_what_is_drawn(tmp_path: Path) -> None:
    made = Plot("A title", "labels", "accuracy", [
        Line("with an interval", [10, 20], [0.5, 0.6], [0.4, 0.5], [0.6, 0.7]),
        Line("points", [10, 20], [0.55, 0.65], points=True)], {"0.80": 0.8})
    plots.keep(None, {"never": made})
    plots.keep(tmp_path / "curves.json", {"labels": made})
    assert plots.read(tmp_path / "curves.json") == {"labels": made}
    figure = plots.figure_of(made)
    assert [trace.mode for trace in figure.data if trace.name] == ["lines", "markers"]
    band = figure.data[0]
    assert list(band.x) == [10, 20, 20, 10] and list(band.y) == [0.6, 0.7, 0.5, 0.4]
    assert figure.layout.shapes[0].y0 == 0.8


def test_a_rule_is_drawn_with_its_interval_over_folds() -> None:
    curves = np.array([[0.6, 0.7, 0.8], [0.7, 0.8, 0.9]])
    found, = plot_of({"d-optimal": curves}).lines
    assert (found.name, list(found.x)) == ("d optimal", [BATCH, 2 * BATCH, 3 * BATCH])
    assert list(found.y) == pytest.approx([0.65, 0.75, 0.85])
    assert all(low <= y <= high for low, y, high in zip(found.low, found.y, found.high,
                                                        strict=True))


def test_the_saving_is_that_of_the_products_own_rule() -> None:
    assert (AskingConfig().rule, AskingConfig().random_share) == (DEFAULT, RANDOM_SHARE)


def test_a_plot_is_a_picture(tmp_path: Path) -> None:
    plots.draw({"labels": Plot("A", "x", "y", [Line("a", [0, 1], [0, 1])])}, tmp_path / "in")
    assert (tmp_path / "in" / "labels.png").read_bytes().startswith(b"\x89PNG")
