"""The linear reward model: its posterior, its updates and its predictions, against other ways."""

import tracemalloc
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from linear_world import fit_linear, linear_world
from reward_world import example

from data.errors import BadInput
from data.prompts import cluster_of
from data.records import Message
from reward.instant.comparisons import FIRST, SECOND, TIE, Comparisons, comparisons_of
from reward.instant.davidson import Design, fit, probabilities
from reward.instant.linear import LinearReward
from reward.instant.standard import Standard


def test_planted_coefficients_and_ties_come_back() -> None:
    features, true, comparisons = linear_world(pairs=6000, log_tie=-0.5)
    standard = Standard(np.zeros(3), np.ones(3), np.eye(3))
    model = fit_linear(features, comparisons, spread=8, standard=standard)
    deviations = np.sqrt(np.diag(model.posterior.covariance))
    assert (np.abs(model.posterior.coefficients - true) < 4 * deviations).all()
    assert deviations.max() < 0.1
    assert model.posterior.log_tie == pytest.approx(-0.5, abs=0.1)


def test_updates_one_by_one_end_near_the_fit_and_a_single_one_is_exact() -> None:
    features, _, comparisons = linear_world(pairs=150)
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
    features, _, comparisons = linear_world(pairs=200)
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
    features, _, comparisons = linear_world(pairs=40)
    model = fit_linear(features, comparisons, spread=2, ties="halve")
    first, second = features[:5], features[5:10]
    drawn = np.random.default_rng(0).multivariate_normal(
        model.posterior.coefficients, model.posterior.covariance, size=200_000)
    sampled = (1 / (1 + np.exp(-((first - second) / model.standard.scale) @ drawn.T))).mean(axis=1)
    rows = model.standard.difference(first, second)
    assert model.posterior.predictions(rows)[:, FIRST] == pytest.approx(sampled, abs=0.02)
    mean, variance = model.posterior.differences(rows)
    assert mean == pytest.approx(model.scores(first) - model.scores(second))
    assert variance == pytest.approx((rows @ drawn.T).var(axis=1), rel=0.02)


def test_a_fit_to_many_responses_makes_no_table_of_all_by_all() -> None:
    prompts, rng = 500, np.random.default_rng(4)
    ranked = np.array(list(combinations(range(4), 2)))  # all pairs of four responses a prompt
    rows = (4 * np.arange(prompts)[:, None, None] + ranked).reshape(-1, 2)
    comparisons = Comparisons(rows[:, 0], rows[:, 1], np.tile([1.0, 0.0, 0.0], (len(rows), 1)),
                              rows[:, 0] // 4)
    features = rng.normal(size=(4 * prompts, 20))
    tracemalloc.start()
    fit_linear(features, comparisons, spread=1.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.3 * 8 * len(features)**2


def test_examples_become_comparisons() -> None:
    examples = [example(1, ["a", "b", "c"], [(0, 1, 3), (1, 2, 0)]), example(2, ["d", "e"],
                                                                           [(1, 0, 1)])]
    further: list[Message] = [{"role": "assistant", "content": "and?"},
                              {"role": "user", "content": "more"}]
    longer = example(3, ["f", "g"], [(0, 1, 2)])
    examples.append(replace(longer, messages=[*examples[0].messages, *further]))
    rows = {100: 0, 101: 1, 102: 2, 200: 3, 201: 4, 300: 5, 301: 6}
    found = comparisons_of(examples, rows)
    assert found.first.tolist() == [0, 1, 4, 5]
    assert found.second.tolist() == [1, 2, 3, 6]
    assert found.outcomes.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]
    one, two = (cluster_of(e.messages) for e in examples[:2])
    assert found.groups.tolist() == [one, one, two, one], "begins as the first one does"


def test_saved_is_loaded(tmp_path: Path) -> None:
    features, _, comparisons = linear_world()
    for ties in ("model", "halve"):
        model = fit_linear(features, comparisons, ties=ties)
        model.save(tmp_path / "head.safetensors", {"kind": "layer20.mean"})
        loaded, about = LinearReward.load(tmp_path / "head.safetensors")
        assert about == {"kind": "layer20.mean"}
        assert (loaded.scores(features) == model.scores(features)).all()
        assert loaded.posterior.log_tie == model.posterior.log_tie
        rows = model.standard.difference(features[:3], features[3:6])
        assert (loaded.standard.difference(features[:3], features[3:6]) == rows).all()
        assert (loaded.posterior.predictions(rows) == model.posterior.predictions(rows)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["head.safetensors"]
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    for name in ("bad.safetensors", "none.safetensors"):
        with pytest.raises(BadInput, match=name):
            LinearReward.load(tmp_path / name)


def test_nothing_to_learn_from_is_said() -> None:
    features, _, comparisons = linear_world(pairs=5)
    ties = Comparisons(comparisons.first, comparisons.second, np.eye(3)[[TIE] * 5],
                       comparisons.groups)
    with pytest.raises(BadInput, match="no decided"):
        fit_linear(features, ties, ties="drop")
    with pytest.raises(ValueError, match="ties"):
        fit(Design(features, ties.first, ties.second), ties.outcomes, np.ones(3), ties=False)
