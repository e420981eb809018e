"""The instant model takes in answers as an exact fit would; its curve and law recover the known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.asking import ARRIVAL, RANDOM, AskedPair
from reward.instant.comparisons import Comparisons
from reward.instant.learning_curve import Curve, fit_power_law, forecast, learning_curve
from reward.instant.linear import fit_table
from reward.instant.model import CHOOSE_FROM, InstantModel, Setup, learnable
from reward.instant.response_features import FeatureTable
from reward.kinds import FeatureKind, feature_sets, kinds_of

WIDTH = 6
MEAN = FeatureKind(1)


def features(responses: int, seed: int = 0) -> FeatureTable:
    values = np.random.default_rng(seed).normal(size=(responses, WIDTH))
    return FeatureTable({i: i for i in range(responses)},
                        {MEAN: values, FeatureKind(1, "last"): values[:, ::-1].copy()},
                        np.arange(responses) // 2, np.arange(responses) // 2)


def answers(table: FeatureTable, count: int, seed: int = 1, held_out: float = 0.0,
            chosen_by: str | None = RANDOM) -> list[AskedPair]:
    """Two responses a prompt, judged by a planted reward with logistic noise."""
    rng = np.random.default_rng(seed)
    reward = table.kinds[MEAN] @ np.linspace(2, -2, WIDTH)
    found = []
    for n in range(count):
        a, b = 2 * n, 2 * n + 1
        first = reward[a] - reward[b] + rng.logistic() > 0
        found.append(AskedPair(n + 1, n, a if first else b, b if first else a, n % 10 == 9,
                               bool(rng.random() < held_out), chosen_by))
    return found


def test_the_fit_is_that_of_the_whole_table() -> None:
    """Each answer as a row of its own gives what rows of responses give."""
    table = features(80)
    model = InstantModel(table)
    model.learn(answers(table, 40))
    found = learnable(answers(table, 40), table).comparisons
    expected = fit_table(model.table, 2 * WIDTH, found, model.setup.spread, True)
    assert np.allclose(model.posterior.coefficients, expected.coefficients, atol=1e-6)
    assert np.allclose(model.posterior.covariance, expected.covariance, atol=1e-6)
    assert model.posterior.log_tie == pytest.approx(expected.log_tie, abs=1e-5)


def test_quick_updates_stay_near_the_exact_fit() -> None:
    table = features(122)
    pairs = answers(table, 61)
    live, exact = InstantModel(table), InstantModel(table)
    live.learn(pairs[:56])
    taken = [live.learn(pairs[:n]) for n in range(57, 62)]
    assert taken == [1] * 5
    exact.learn(pairs)
    one, other = (m.table @ m.posterior.coefficients for m in (live, exact))
    assert np.corrcoef(one, other)[0, 1] > 0.995
    assert np.allclose(live.posterior.covariance, exact.posterior.covariance, rtol=0.1, atol=2e-3)


def test_an_answer_taken_back_leaves_no_trace() -> None:
    table = features(40)
    pairs = answers(table, 20)
    model, other = InstantModel(table), InstantModel(table)
    model.learn(pairs)
    model.learn(pairs[:-1])
    other.learn(pairs[:-1])
    assert np.allclose(model.posterior.coefficients, other.posterior.coefficients, atol=1e-6)
    changed = replace(pairs[3], chosen_id=pairs[3].rejected_id, rejected_id=pairs[3].chosen_id)
    model.learn([*pairs[:3], changed, *pairs[4:-1]])
    assert not np.allclose(model.posterior.coefficients, other.posterior.coefficients, atol=1e-3)


def test_held_out_prompts_are_never_learned_from() -> None:
    table = features(60)
    pairs = answers(table, 30, held_out=0.5)
    model, other = InstantModel(table), InstantModel(table)
    model.learn(pairs)
    other.learn([p for p in pairs if not p.held_out])
    assert any(p.held_out for p in pairs) and model.learned.keys() == other.learned.keys()
    assert np.array_equal(model.posterior.coefficients, other.posterior.coefficients)


def test_features_and_prior_are_chosen_once_there_are_labels() -> None:
    table = features(400)
    model = InstantModel(table)
    pairs = answers(table, 200)
    model.learn(pairs[:CHOOSE_FROM - 1])
    assert model.setup == Setup()
    model.learn(pairs)
    assert model.setup.chosen_at == 200
    reward = table.kinds[MEAN] @ np.linspace(2, -2, WIDTH)
    assert np.corrcoef(model.table @ model.posterior.coefficients, reward)[0, 1] > 0.9


def test_kinds_of_deep_and_shallow_backbones() -> None:
    kinds = kinds_of(30, "")
    assert list(map(str, kinds)) == [
        "layer20.mean", "layer20.last", "layer16.mean", "layer24.mean", "layer16.last",
        "layer30.last", "layer2.mean", "layer10.mean", "layer12.mean"]
    sets = {"basic": (FeatureKind(20), FeatureKind(20, "last")),
            "early": (FeatureKind(2), FeatureKind(10)), "middle": (FeatureKind(12),)}
    assert feature_sets(kinds) == {**sets, "all": tuple(sorted(kinds))}
    asked = kinds_of(30, "is it: so?")
    question = FeatureKind(16, "asked", "is it: so?")
    assert set(asked) - set(kinds) == {question}
    assert feature_sets(asked) == {**sets, "all": tuple(sorted(asked)),
                                   "asked": (*sets["basic"], question)}
    assert FeatureKind(1) in kinds_of(1, "") and len(set(kinds_of(2, ""))) == len(kinds_of(2, ""))


def test_a_ranking_weighs_as_much_as_one_answer() -> None:
    pairs = [AskedPair(1, 0, a, b, False, False, None) for a, b in ((0, 1), (0, 2), (1, 2))]
    found = learnable(pairs, features(3)).comparisons
    assert isinstance(found, Comparisons) and found.outcomes.sum() == pytest.approx(1)


def test_the_curve_rises_to_what_the_noise_allows_and_tests_what_chance_chose() -> None:
    table = features(800)
    pairs = answers(table, 400, held_out=0.2)
    liked = [replace(p, chosen_by="d-optimal") if n % 3 == 0 else
             replace(p, chosen_by=ARRIVAL) if n % 3 == 1 else p for n, p in enumerate(pairs)]
    model = InstantModel(table)
    model.learn(liked)
    curve = learning_curve(model, learnable(liked, table))
    assert curve is not None
    decided = [p for p in liked if p.chosen_by != "d-optimal" and not p.tie]
    assert curve.right.shape[1] == len(decided)
    assert set(curve.clusters.tolist()) == {p.prompt_id for p in decided}
    assert curve.prompts == len({p.prompt_id for p in decided})
    assert curve.held_out.sum() == sum(p.held_out for p in decided)
    assert (np.diff(curve.labels) > 0).all()
    accuracies = curve.right.mean(axis=1)
    reward = table.kinds[MEAN] @ np.linspace(2, -2, WIDTH)
    ceiling = np.mean([reward[p.chosen_id] > reward[p.rejected_id] for p in decided])
    assert accuracies[-1] > accuracies[0] and abs(accuracies[-1] - ceiling) < 0.05


def test_no_curve_without_answers_that_chance_chose() -> None:
    table = features(40)
    pairs = answers(table, 20, chosen_by="d-optimal")
    model = InstantModel(table)
    model.learn(pairs)
    assert learning_curve(model, learnable(pairs, table)) is None


@pytest.mark.parametrize("lengths", [1, 2])
def test_the_tested_dialogue_is_not_learned_from_at_any_length(lengths: int) -> None:
    """Each tells of a direction of its own: nothing can be known of it from the others."""
    count = 40
    eye = np.repeat(np.eye(count // lengths), 2, axis=0) * np.tile(
        [1.0, -1.0], count // lengths)[:, None]
    prompts = np.arange(2 * count) // 2
    table = FeatureTable({i: i for i in range(2 * count)}, {MEAN: np.tile(eye, (lengths, 1))},
                         prompts, prompts % (count // lengths))
    pairs = [AskedPair(n + 1, n, 2 * n, 2 * n + 1, False, False, RANDOM) for n in range(count)]
    model = InstantModel(table)
    model.learn(pairs)
    assert (model.table @ model.posterior.coefficients)[::2].min() > 0, "known once learned from"
    curve = learning_curve(model, learnable(pairs, table))
    assert curve is not None and curve.prompts == count
    assert 0.2 <= curve.right[-1].mean() <= 0.8


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.15, 0.6, 0.5), (0.0, 0.5, 0.2)])
def test_a_planted_law_comes_back(floor: float, scale: float, exponent: float) -> None:
    labels = np.geomspace(10, 1000, 12)
    law = fit_power_law(labels, floor + scale * labels**-exponent)
    for ahead in (1100.0, 2000.0):
        assert law.error(ahead) == pytest.approx(floor + scale * ahead**-exponent, abs=2e-3)


def test_a_flat_curve_promises_nothing() -> None:
    law = fit_power_law(np.geomspace(10, 300, 8), np.full(8, 0.3))
    assert law.error(300) - law.error(400) == pytest.approx(0, abs=1e-9)
    rising = fit_power_law(np.geomspace(10, 300, 8), np.linspace(0.2, 0.3, 8))
    assert rising.error(300) - rising.error(400) == pytest.approx(0, abs=1e-9)


def test_the_forecast_covers_what_comes() -> None:
    """Curves with planted accuracies: in most draws the true gain lies within the interval."""
    labels = np.geomspace(10, 120, 8)
    error = 0.2 + 0.9 * labels**-0.5
    truth = 0.9 * (120**-0.5 - 220**-0.5)
    inside, values = 0, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        # A prompt is hard or easy throughout, so its points go together.
        hardness = rng.random(200)
        right = (hardness[None, :] > error[:, None]).astype(float)
        found = forecast(Curve(labels, right, np.arange(200), np.zeros(200, bool)))
        assert found is not None and found.gain.low <= found.gain.value <= found.gain.high
        inside += found.gain.low <= truth <= found.gain.high
        values.append(found.gain.value)
    assert inside >= 16 and np.mean(values) == pytest.approx(truth, abs=0.015)


def test_too_little_is_said_to_be_too_little() -> None:
    labels, right = np.geomspace(10, 120, 8), np.ones((8, 20))
    assert forecast(Curve(labels, right, np.arange(20), np.zeros(20, bool))) is None
    assert forecast(Curve(labels[:4], np.ones((4, 50)), np.arange(50), np.zeros(50, bool))) is None
