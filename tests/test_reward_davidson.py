"""Davidson's likelihood and its Laplace fit, against another optimizer and numerical integrals."""

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from linear_world import by_torch, linear_world

from reward.instant.davidson import (
    TIE_PRECISION,
    Design,
    fit,
    halved,
    information,
    log_likelihood,
    probabilities,
)
from reward.instant.standard import prior_precision

Array = np.ndarray[Any, Any]


def test_davidson_is_bradley_terry_among_decided_and_a_distribution() -> None:
    delta = np.linspace(-30, 30, 41)
    p = probabilities(delta, 0.7)
    assert p.sum(axis=1) == pytest.approx(1)
    assert p[:, 0] / (p[:, 0] + p[:, 2]) == pytest.approx(1 / (1 + np.exp(-delta)), rel=1e-9)
    none = probabilities(delta, -np.inf)
    assert none[:, 1].max() == 0
    assert information(delta) == pytest.approx(none[:, 0] * none[:, 2], abs=1e-12)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("pairs", [20, 300])  # fewer and more than responses: two ways to the Gram
def test_the_mode_is_what_another_optimizer_finds(ties: bool, pairs: int) -> None:
    features, _, comparisons = linear_world(pairs=pairs)
    rng = np.random.default_rng(1)
    extra, offset = rng.normal(size=(pairs, 2)), rng.normal(size=pairs)
    outcomes = comparisons.outcomes * rng.uniform(0.2, 3, size=(pairs, 1))
    outcomes = outcomes if ties else halved(outcomes)
    precision = np.array([1.0, 0.5, 2.0, 0.1, 0.3])
    design = Design(features, comparisons.first, comparisons.second, extra, offset)
    found = fit(design, outcomes, precision, ties)
    expected, tau = by_torch(design.rows(), outcomes, precision, ties, offset)
    assert found.coefficients == pytest.approx(expected, abs=1e-6)
    assert found.log_tie == (pytest.approx(tau, abs=1e-6) if ties else -np.inf)


def test_gram_and_transpose_by_the_graph_are_those_of_the_rows() -> None:
    features, _, comparisons = linear_world()
    rng = np.random.default_rng(2)
    design = Design(features, comparisons.first, comparisons.second, rng.normal(size=(300, 2)))
    weights, rows = rng.uniform(size=300), design.rows()
    assert design.gram(weights) == pytest.approx(rows.T @ np.diag(weights) @ rows)
    assert design.transposed(weights) == pytest.approx(rows.T @ weights)


def test_by_rows_many_responses_need_no_table_of_all_by_all() -> None:
    rng = np.random.default_rng(3)
    count = 5000
    first = rng.integers(count, size=2 * count)
    second = (first + 1 + rng.integers(count - 1, size=2 * count)) % count
    design = Design(rng.normal(size=(count, 4)), first, second, by_rows=True)
    weights, rows = rng.uniform(size=2 * count), design.rows()
    tracemalloc.start()
    found = design.gram(weights)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(rows.T @ (weights[:, None] * rows))
    assert peak < 0.1 * 8 * count**2


def test_covariance_is_the_inverse_of_a_numerical_hessian() -> None:
    features, _, comparisons = linear_world()
    design = Design(features, comparisons.first, comparisons.second)
    precision = prior_precision(3, 2.0)
    found = fit(design, comparisons.outcomes, precision, ties=True)
    mode = np.append(found.coefficients, found.log_tie)

    def objective(values: Array) -> float:
        likelihood = log_likelihood(design.differences(values[:3]), comparisons.outcomes,
                                    values[3])
        return likelihood - float(precision @ values[:3]**2
                                  + TIE_PRECISION * values[3]**2) / 2

    h, hessian = 1e-3, np.zeros((4, 4))
    for i, j in itertools.product(range(4), range(4)):
        a, b = h * np.eye(4)[i], h * np.eye(4)[j]
        hessian[i, j] = (objective(mode + a + b) - objective(mode + a - b)
                         - objective(mode - a + b) + objective(mode - a - b)) / (4 * h * h)
    assert found.covariance == pytest.approx(np.linalg.inv(-hessian)[:3, :3], rel=1e-3, abs=1e-6)


def test_evidence_is_close_to_the_integral() -> None:
    features, _, comparisons = linear_world(width=1, pairs=60)
    treated = comparisons.treated("halve")
    design = Design(features, treated.first, treated.second)
    precision = np.array([0.7])
    grid = np.linspace(-6, 6, 4001)
    density = np.array([log_likelihood(design.differences(np.array([w])), treated.outcomes,
                                       -np.inf) - 0.7 * w * w / 2 for w in grid])
    integral = np.exp(density - density.max()).sum() * (grid[1] - grid[0])
    exact = np.log(integral) + density.max() + np.log(0.7 / (2 * np.pi)) / 2
    assert fit(design, treated.outcomes, precision, False).log_evidence == pytest.approx(
        exact, abs=0.02)
