"""The linear reward model: its likelihood, its posterior and its choices, against other ways."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reward_world import example
from torch import Tensor

from data.errors import BadInput
from reward.choosing import choose_features, grouped_folds, prepare, temperature
from reward.comparisons import FIRST, SECOND, TIE, Comparisons, comparisons_of
from reward.davidson import (
    TIE_PRECISION,
    Design,
    fit,
    halved,
    information,
    log_likelihood,
    probabilities,
)
from reward.linear import LinearReward, fit_linear
from reward.standard import Standard, prior_precision, standardise

Array = np.ndarray[Any, Any]


def world(responses: int = 40, pairs: int = 300, width: int = 3, log_tie: float = -0.5,
          seed: int = 0) -> tuple[Array, Array, Comparisons]:
    """Features, the true coefficients, and answers drawn from Davidson's model."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(responses, width))
    true = rng.normal(size=width) * 1.5
    first = rng.integers(responses, size=pairs)
    second = (first + rng.integers(1, responses, size=pairs)) % responses
    p = probabilities((features[first] - features[second]) @ true, log_tie)
    drawn = (rng.random((pairs, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return features, true, Comparisons(first, second, np.eye(3)[drawn], first // 4)


def by_torch(rows: Array, outcomes: Array, precision: Array, ties: bool,
             offset: Array | None = None) -> tuple[Array, float]:
    """The same mode by L-BFGS on a likelihood written down on its own, in plain ratios."""
    x, y, prior = (torch.tensor(v, dtype=torch.float64) for v in (rows, outcomes, precision))
    shift = torch.zeros(len(x), dtype=torch.float64) if offset is None else torch.tensor(offset)
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    tau = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w, tau], max_iter=500, tolerance_grad=1e-10,
                                  tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        up, down = torch.exp((x @ w + shift) / 2), torch.exp(-(x @ w + shift) / 2)
        nu = torch.exp(tau) if ties else torch.zeros(())
        total = up + down + nu
        value = -(y[:, 0] * (up / total).log() + y[:, 2] * (down / total).log()).sum()
        if ties:
            value = value - (y[:, 1] * (nu / total).log()).sum() + TIE_PRECISION * tau**2 / 2
        value = value + (prior * w**2).sum() / 2
        torch.autograd.backward(value)
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return w.detach().numpy(), float(tau.detach())


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
    features, _, comparisons = world(pairs=pairs)
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
    features, _, comparisons = world()
    rng = np.random.default_rng(2)
    design = Design(features, comparisons.first, comparisons.second, rng.normal(size=(300, 2)))
    weights, rows = rng.uniform(size=300), design.rows()
    assert design.gram(weights) == pytest.approx(rows.T @ np.diag(weights) @ rows)
    assert design.transposed(weights) == pytest.approx(rows.T @ weights)


def test_covariance_is_the_inverse_of_a_numerical_hessian() -> None:
    features, _, comparisons = world()
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
    features, _, comparisons = world(width=1, pairs=60)
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


def test_planted_coefficients_and_ties_come_back() -> None:
    features, true, comparisons = world(pairs=6000, log_tie=-0.5)
    standard = Standard(np.zeros(3), np.ones(3), np.eye(3))
    model = fit_linear(features, comparisons, spread=8, standard=standard)
    deviations = np.sqrt(np.diag(model.posterior.covariance))
    assert (np.abs(model.posterior.coefficients - true) < 4 * deviations).all()
    assert deviations.max() < 0.1
    assert model.posterior.log_tie == pytest.approx(-0.5, abs=0.1)


def test_evidence_prefers_a_spread_near_the_truth() -> None:
    rng = np.random.default_rng(3)
    for true, accepted in ((0.5, (0.25, 0.5, 0.7)), (4.0, (2.0, 4.0))):
        features = rng.normal(size=(60, 20))
        coefficients = rng.normal(size=20) * true / np.sqrt(20)
        first, second = rng.integers(60, size=(2, 800))
        second = np.where(first == second, (first + 1) % 60, second)
        p = probabilities((features[first] - features[second]) @ coefficients, -np.inf)
        drawn = np.where(rng.random(800) < p[:, 0], FIRST, SECOND)
        model = fit_linear(features, Comparisons(first, second, np.eye(3)[drawn], first))
        assert model.spread in accepted


def test_updates_one_by_one_end_near_the_fit_and_a_single_one_is_exact() -> None:
    features, _, comparisons = world(pairs=150)
    standard = Standard(np.zeros(3), np.ones(3), np.eye(3))
    some = comparisons.take(np.arange(149))
    before = fit_linear(features, some, spread=2, standard=standard, ties="halve")
    whole = fit_linear(features, comparisons, spread=2, standard=standard, ties="halve")
    last = comparisons.first[149], comparisons.second[149]
    outcome = int(comparisons.outcomes[149].argmax())
    after = before.updated(features[last[0]], features[last[1]], outcome)
    moved = np.abs(whole.posterior.coefficients - before.posterior.coefficients).max()
    assert np.abs(after.posterior.coefficients - whole.posterior.coefficients).max() < moved / 5
    assert np.trace(after.posterior.covariance) < np.trace(before.posterior.covariance)
    # From the prior alone the update is the exact mode: the prior is normal.
    fresh = LinearReward(standard, 2.0, before.posterior.__class__(
        np.zeros(3), -np.inf, np.eye(3) * 4 / 3, 0.0))
    for side in (FIRST, SECOND, TIE):
        one = Comparisons(np.array([0]), np.array([1]), np.eye(3)[[side]], np.array([0]))
        exact = fit_linear(features, one, spread=2, standard=standard, ties="halve")
        quick = fresh.updated(features[0], features[1], side)
        assert quick.posterior.coefficients == pytest.approx(exact.posterior.coefficients)
        assert quick.posterior.covariance == pytest.approx(exact.posterior.covariance)


def test_update_with_ties_modelled_is_the_mode_too() -> None:
    features, _, comparisons = world(pairs=200)
    model = fit_linear(features, comparisons, spread=2)
    first, second = features[0], features[1]
    row = (first - second) / model.standard.scale
    variance = row @ model.posterior.covariance @ row
    for side in (FIRST, TIE, SECOND):
        after = model.updated(first, second, side)
        moved = row @ after.posterior.coefficients
        before = row @ model.posterior.coefficients
        grid = np.linspace(before - 3, before + 3, 60001)
        density = (np.log(probabilities(grid, model.posterior.log_tie)[:, side])
                   - (grid - before) ** 2 / (2 * variance))
        assert moved == pytest.approx(grid[density.argmax()], abs=2e-4)


def test_predictions_average_over_the_posterior() -> None:
    features, _, comparisons = world(pairs=40)
    model = fit_linear(features, comparisons, spread=2, ties="halve")
    first, second = features[:5], features[5:10]
    drawn = np.random.default_rng(0).multivariate_normal(
        model.posterior.coefficients, model.posterior.covariance, size=200_000)
    sampled = (1 / (1 + np.exp(-((first - second) / model.standard.scale) @ drawn.T))).mean(axis=1)
    assert model.predictions(first, second)[:, FIRST] == pytest.approx(sampled, abs=0.02)
    mean, variance = model.differences(first, second)
    assert mean == pytest.approx(model.scores(first) - model.scores(second))
    rows = model.standard.difference(first, second)
    assert variance == pytest.approx((rows @ drawn.T).var(axis=1), rel=0.02)


def test_margins_widen_the_gap_and_match_another_optimizer() -> None:
    features, _, plain = world(pairs=200)
    decided = plain.treated("drop")
    margins = np.random.default_rng(0).uniform(0, 2, size=len(decided.first))
    with_margins = Comparisons(decided.first, decided.second, decided.outcomes, decided.groups,
                               margins)
    standard = Standard(np.zeros(3), np.ones(3), np.eye(3))
    model = fit_linear(features, with_margins, spread=2, standard=standard, ties="halve")
    # A winner on the first side needs Δ − m; turning every pair to face its winner says the same.
    won = decided.outcomes[:, FIRST] > 0
    rows = np.where(won, 1, -1)[:, None] * (features[decided.first] - features[decided.second])
    outcomes = np.tile([1.0, 0.0, 0.0], (len(rows), 1))
    expected, _ = by_torch(rows, outcomes, prior_precision(3, 2.0), False, -margins)
    assert model.posterior.coefficients == pytest.approx(expected, abs=1e-6)


def test_the_features_that_matter_are_chosen_by_held_out_prompts() -> None:
    features, _, comparisons = world(pairs=600)
    noise = np.random.default_rng(5).normal(size=(40, 30))
    ranked = choose_features(prepare({"noise": noise, "true": features, "both": np.hstack(
        [features, noise])}), comparisons, spreads=(1.0, 4.0))
    assert ranked[0].features.name == "true"
    assert [c.cross_entropy for c in ranked] == sorted(c.cross_entropy for c in ranked)
    assert ranked[0].accuracy > 0.75
    assert len(ranked) == 6


def test_leading_directions_are_those_of_the_features() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 12)) * 5 + 0.01 * rng.normal(
        size=(40, 12)) + 7
    few, all_ = standardise(features, 3), standardise(features)
    assert few.of(features).shape == (40, 3)
    lost = all_.of(features) - few.of(features) @ few.basis.T
    assert (lost**2).sum() < 1e-3 * (all_.of(features)**2).sum()
    _, _, comparisons = world(pairs=200)
    whole = fit_linear(features, comparisons, spread=2)
    small = fit_linear(features, comparisons, spread=2, standard=few)
    assert small.posterior.coefficients.shape == (3,)
    assert small.scores(features) == pytest.approx(whole.scores(features), abs=0.05)
    wide = np.hstack([features] * 5)  # more features than responses: the same directions
    assert wide.shape[1] > len(wide)
    table = standardise(wide, 3).of(wide) / np.sqrt(5)
    assert np.abs(table) == pytest.approx(np.abs(few.of(features)), abs=1e-6)
    leaning = standardise(features, power=1.5).of(features)
    assert (leaning**2).sum() == pytest.approx((all_.of(features)**2).sum())
    share = (leaning**2).mean(axis=0) / (leaning**2).mean()
    assert share[0] > (standardise(features, 12, 1.0001).of(features)**2).mean(axis=0)[0]


def test_temperature_undoes_a_wrong_scale() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000) * 2
    won = rng.random(20_000) < 1 / (1 + np.exp(-true))
    decided = np.stack([won, ~won], 1).astype(float)
    for wrong in (0.4, 1.0, 3.0):
        assert temperature(true * wrong, decided) == pytest.approx(1 / wrong, rel=0.05)


def test_only_what_is_judged_counts() -> None:
    features, _, comparisons = world(pairs=400)
    turned = Comparisons(comparisons.first, comparisons.second, comparisons.outcomes.copy(),
                         comparisons.groups)
    judged = np.arange(400) % 4 > 0
    turned.outcomes[~judged] = turned.outcomes[~judged][:, ::-1]
    prepared = prepare({"true": features})
    of_judged = choose_features(prepared, turned, spreads=(2.0,), judged=judged)[0]
    of_all = choose_features(prepared, turned, spreads=(2.0,))[0]
    assert of_judged.accuracy > of_all.accuracy + 0.1


def test_groups_are_never_split() -> None:
    groups = np.random.default_rng(0).integers(11, size=200)
    split = grouped_folds(groups, 4)
    assert all(len(set(split[groups == g])) == 1 for g in set(groups))
    assert set(split) == {0, 1, 2, 3}
    with pytest.raises(BadInput, match="one prompt"):
        grouped_folds(np.zeros(5, int), 4)


def test_examples_become_comparisons() -> None:
    examples = [example(1, ["a", "b", "c"], [(0, 1, 3), (1, 2, 0)]), example(2, ["d", "e"],
                                                                           [(1, 0, 1)])]
    rows = {100: 0, 101: 1, 102: 2, 200: 3, 201: 4}
    found = comparisons_of(examples, rows, {1: 0.5}, margin_per_strength=0.25)
    assert found.first.tolist() == [0, 1, 4]
    assert found.second.tolist() == [1, 2, 3]
    assert found.outcomes.tolist() == [[1, 0, 0], [0, 1, 0], [0.5, 0, 0]]
    assert found.groups.tolist() == [1, 1, 2]
    assert found.margins is not None
    assert found.margins.tolist() == [0.5, 0, 0]


def test_saved_is_loaded(tmp_path: Path) -> None:
    features, _, comparisons = world()
    for ties in ("model", "halve"):
        model = fit_linear(features, comparisons, ties=ties)
        model.save(tmp_path / "head.safetensors", {"kind": "layer20.mean"})
        loaded, about = LinearReward.load(tmp_path / "head.safetensors")
        assert about == {"kind": "layer20.mean"}
        assert (loaded.scores(features) == model.scores(features)).all()
        assert loaded.posterior.log_tie == model.posterior.log_tie
        assert (loaded.predictions(features[:3], features[3:6])
                == model.predictions(features[:3], features[3:6])).all()
    assert [p.name for p in tmp_path.iterdir()] == ["head.safetensors"]
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    for name in ("bad.safetensors", "none.safetensors"):
        with pytest.raises(BadInput, match=name):
            LinearReward.load(tmp_path / name)


def test_nothing_to_learn_from_is_said() -> None:
    features, _, comparisons = world(pairs=5)
    ties = Comparisons(comparisons.first, comparisons.second, np.eye(3)[[TIE] * 5],
                       comparisons.groups)
    with pytest.raises(BadInput, match="no decided"):
        fit_linear(features, ties, ties="drop")
    with pytest.raises(ValueError, match="ties"):
        fit(Design(features, ties.first, ties.second), ties.outcomes, np.ones(3), ties=False)
