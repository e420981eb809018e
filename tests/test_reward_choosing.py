"""Choices that held-out prompts make: features, their leading directions, the temperature."""

import numpy as np
import pytest
from linear_world import fit_linear, linear_world, prepare

from data.errors import BadInput
from reward.instant.choosing import (
    _difference,
    choose_committee,
    choose_features,
    grouped_folds,
    held_out_odds,
    temperature,
)
from reward.instant.comparisons import Comparisons
from reward.instant.standard import standardise


def test_the_features_that_matter_are_chosen_by_held_out_prompts() -> None:
    features, _, comparisons = linear_world(pairs=600)
    noise = np.random.default_rng(5).normal(size=(40, 30))
    ranked = choose_features(prepare({"noise": noise, "true": features, "both": np.hstack(
        [features, noise])}), comparisons, spreads=(1.0, 4.0))
    assert ranked[0].features.name == "true"
    assert [c.cross_entropy for c in ranked] == sorted(c.cross_entropy for c in ranked)
    assert ranked[0].accuracy > 0.75
    assert len(ranked) == 6


def test_a_preferred_set_gives_way_only_to_what_is_better_by_a_standard_error() -> None:
    features, _, comparisons = linear_world(responses=80, pairs=800, width=4, seed=2)
    noise = np.random.default_rng(1).normal(size=(3, *features.shape))
    sets = prepare({"one": features + noise[0],
                    "other": features + noise[0] + 0.1 * noise[1],
                    "worse": features + 5 * noise[2]})
    ranked = choose_features(sets, comparisons, spreads=(0.5, 2.0))
    first, second = list(dict.fromkeys(c.features.name for c in ranked))[:2]
    assert {first, second} == {"one", "other"}
    for preferred, expected in ((None, first), ("worse", first), ("none", first),
                                (first, first), (second, second)):
        chosen = choose_features(sets, comparisons, spreads=(0.5, 2.0), preferred=preferred)
        assert chosen[0].features.name == expected
        assert chosen[0] == next(c for c in ranked if c.features.name == expected), "its best"
        assert {id(c.features) for c in chosen} == {id(s) for s in sets} and len(chosen) == 6
    # The error of a difference is that of groups drawn anew: comparisons of one group are not
    # independent.
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 30, 50)
    groups = np.repeat(np.arange(50), sizes)
    values = rng.normal(size=50)[groups] + 0.1 * rng.normal(size=len(groups))
    decided = rng.integers(0, 3, (len(groups), 2)).astype(float)
    mean, error = _difference(values * decided.sum(1), decided, groups)
    drawn = [np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(0, 50, 50)])
             for _ in range(400)]
    means = [np.average(values[d], weights=decided[d].sum(1)) for d in drawn]
    assert mean == pytest.approx(np.average(values, weights=decided.sum(1)))
    assert error == pytest.approx(np.std(means), rel=0.2)


def test_a_committee_of_views_does_better_than_each() -> None:
    features, _, comparisons = linear_world(responses=80, pairs=1500, width=4, seed=2)
    noise = np.random.default_rng(1).normal(size=(3, *features.shape)) * 1.5
    views = prepare({str(n): features + noise[n] for n in range(3)})
    ranked = choose_features(views, comparisons, spreads=(0.5, 2.0))
    committee = choose_committee(views, comparisons, spreads=(0.5, 2.0))
    assert {m.features.name for m in committee.members} == {"0", "1", "2"}
    for member in committee.members:  # each with its own best spread
        same = [c for c in ranked if c.features.name == member.features.name]
        assert member == same[0]
    assert committee.cross_entropy < ranked[0].cross_entropy - 0.01
    assert committee.accuracy > ranked[0].accuracy
    [alone] = choose_committee(views[:1], comparisons, spreads=(0.5,)).members
    assert choose_committee(views[:1], comparisons, spreads=(0.5,)).temperature == (
        alone.temperature)


def test_what_prompts_differ_in_is_left_out() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 4)
    features = rng.normal(size=(40, 6))
    moved = features + 50 * rng.normal(size=(10, 6))[groups]
    for components, power in ((None, 1.0), (3, 1.25)):
        still = standardise(features, components, power, groups)
        after = standardise(moved, components, power, groups)
        first, second = np.arange(0, 40, 4), np.arange(1, 40, 4)
        assert np.abs(after.difference(moved[first], moved[second])) == pytest.approx(
            np.abs(still.difference(features[first], features[second])))
    plain = standardise(moved)
    assert np.abs(plain.difference(moved[0], moved[1])).max() < 1


def test_leading_directions_are_those_of_the_features() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 12)) * 5 + 0.01 * rng.normal(
        size=(40, 12)) + 7
    few, all_ = standardise(features, 3), standardise(features)
    assert few.of(features).shape == (40, 3)
    lost = all_.of(features) - few.of(features) @ few.basis.T
    assert (lost**2).sum() < 1e-3 * (all_.of(features)**2).sum()
    _, _, comparisons = linear_world(pairs=200)
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


def test_candidates_are_judged_at_the_temperature_that_suits_them_best() -> None:
    """Against a grid: a prior that makes the model unsure of itself is no fault of the features."""
    features, _, comparisons = linear_world(pairs=300)
    prepared = prepare({"true": features})
    split = grouped_folds(comparisons.groups, 4)
    decided = comparisons.outcomes[:, [0, 2]]
    for found in choose_features(prepared, comparisons, spreads=(0.05, 2.0)):
        odds = held_out_odds(prepared[0], comparisons, found.spread, "model", split)
        grid = np.geomspace(0.1, 10, 2001)
        losses = [(decided * np.logaddexp(0, scale * odds[:, None] * np.array([-1, 1]))).sum()
                  for scale in grid]
        assert found.cross_entropy == pytest.approx(min(losses) / decided.sum(), abs=1e-5)
        assert found.temperature == pytest.approx(grid[int(np.argmin(losses))], rel=0.01)
        assert (found.temperature > 2) == (found.spread < 1)


def test_only_what_is_judged_counts() -> None:
    features, _, comparisons = linear_world(pairs=400)
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
