"""One answer more, of any weight, against the posterior itself on a grid; and what is predicted of
a difference that is hardly known."""

import numpy as np
import pytest

from reward.instant.comparisons import FIRST, SECOND, TIE
from reward.instant.davidson import Fit, probabilities
from reward.instant.linear import LinearReward
from reward.instant.standard import Standard


@pytest.mark.parametrize("log_tie", [-0.5, -np.inf], ids=["ties", "no ties"])
@pytest.mark.parametrize("weight", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("doubt", [1.0, 0.1])
def test_an_update_counts_by_its_weight(log_tie: float, weight: float, doubt: float) -> None:
    """Along the one direction that it sees: the peak of the posterior, and the curvature there."""
    rng = np.random.default_rng(0)
    square, first, second = rng.normal(size=(3, 3)), *rng.normal(size=(2, 3))
    before = Fit(rng.normal(size=3), log_tie, doubt * square @ square.T, 0.0)
    model = LinearReward(Standard(np.zeros(3), np.ones(3), np.eye(3)), 1.0, before)
    row = first - second
    mean, variance = float(row @ before.coefficients), float(row @ before.covariance @ row)
    assert abs(mean) > 0.5 and variance > 0.5 * doubt

    def likelihood(delta: np.ndarray, side: int) -> np.ndarray:
        p = probabilities(delta, log_tie)
        if side == TIE and log_tie == -np.inf:  # half a vote for either
            return np.asarray(weight * (np.log(p[:, FIRST]) + np.log(p[:, SECOND])) / 2)
        return np.asarray(weight * np.log(p[:, side]))

    for side in (FIRST, TIE, SECOND):
        after = model.updated(first, second, side, weight).posterior
        moved = float(row @ after.coefficients)
        grid = np.linspace(mean - 6, mean + 6, 120_001)
        density = likelihood(grid, side) - (grid - mean) ** 2 / (2 * variance)
        assert moved == pytest.approx(grid[density.argmax()], abs=2e-4)
        lower, at, upper = likelihood(moved + np.array([-1e-3, 0, 1e-3]), side)
        told = -(lower - 2 * at + upper) / 1e-6
        assert row @ after.covariance @ row == pytest.approx(1 / (1 / variance + told), rel=1e-4)
        # Nothing is learned of what differs in no way that the two responses differ in.
        other = np.linalg.solve(before.covariance, np.cross(row, [1.0, 2.0, 3.0]))
        assert other @ after.coefficients == pytest.approx(other @ before.coefficients)
        assert other @ after.covariance @ other == pytest.approx(other @ before.covariance @ other)


@pytest.mark.parametrize(("mean", "variance"), [(1.0, 0.5), (2.0, 10.0), (-3.0, 4.0)])
def test_predictions_are_averages_however_little_is_known(mean: float, variance: float) -> None:
    found = Fit(np.array([mean]), -np.inf, np.array([[variance]]), 0.0).predictions(
        np.ones((1, 1)))
    delta = np.linspace(-60, 60, 60_001)
    density = np.exp(-(delta - mean) ** 2 / (2 * variance))
    exact = (density / (1 + np.exp(-delta))).sum() / density.sum()
    assert found[0, FIRST] == pytest.approx(exact, abs=0.01)
    assert found[0].sum() == pytest.approx(1) and found[0, TIE] == 0
