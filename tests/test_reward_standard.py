"""What linear rewards stand on: features of like scale, whole prompts, a mode from anywhere."""

import numpy as np
import pytest

from reward.instant.choosing import grouped_folds
from reward.instant.davidson import Design, fit
from reward.instant.standard import some_prompts, standardise


@pytest.mark.parametrize("groups", [None, np.arange(33) // 3], ids=["all", "by prompt"])
def test_a_feature_that_is_the_same_for_all_is_not_blown_up_to_the_others_size(
        groups: np.ndarray | None) -> None:
    """Its mean is off by a rounding error, which is no spread."""
    features = np.random.default_rng(0).normal(size=(33, 4))
    features[:, 1], features[:, 3] = 0.1, 1e3 / 3
    found = standardise(features, groups=groups)
    assert 0 < np.abs(features.mean(0) - features[0])[[1, 3]].max() < 1e-9, "or nothing is tested"
    table = found.of(features)
    assert np.abs(table[:, [1, 3]]).max() < 1e-6 and table[:, [0, 2]].std(0).min() > 0.5


@pytest.mark.parametrize("most", [10, 25, 60, 100])
def test_some_prompts_of_unlike_size_are_whole_and_fill_the_room(most: int) -> None:
    sizes = np.random.default_rng(1).integers(1, 9, 40)
    prompts = np.repeat(np.arange(40), sizes)
    found = some_prompts(prompts, most)
    assert most - max(sizes) < len(found) <= most
    for prompt in set(prompts[found].tolist()):
        assert (prompts[found] == prompt).sum() == sizes[prompt]


@pytest.mark.parametrize("ties", [True, False])
def test_the_mode_is_found_from_far_away(ties: bool) -> None:
    """Where the likelihood is flat a whole step of Newton's leads farther off still."""
    rng = np.random.default_rng(2)
    features, first = rng.normal(size=(20, 2)), rng.integers(20, size=60)
    design = Design(features, first, (first + 1) % 20)
    outcomes = np.eye(3)[rng.integers(3, size=60)] if ties else np.eye(3)[
        2 * rng.integers(2, size=60)]
    near = fit(design, outcomes, np.full(2, 1e-3), ties)
    far = fit(design, outcomes, np.full(2, 1e-3), ties, (np.array([40.0, -70.0]), 5.0))
    assert far.coefficients == pytest.approx(near.coefficients, abs=1e-5)
    assert far.log_evidence == pytest.approx(near.log_evidence)
    if ties:
        assert far.log_tie == pytest.approx(near.log_tie, abs=1e-5)


def test_a_power_leans_the_prior_by_the_directions_own_deviations() -> None:
    features = np.random.default_rng(3).normal(size=(200, 6)) @ np.diag([5.0, 1, 1, 1, 1, 1])
    features[:, 1:4] += features[:, :1]
    around = (features - features.mean(0)) / features.std(0)
    deviations = np.linalg.svd(around, compute_uv=False) / np.sqrt(200)
    for power in (1.5, 2.0):
        table = standardise(features, power=power).of(features)
        found = table.std(0) / deviations ** power
        assert found == pytest.approx(np.full(6, found[0]), rel=1e-6)
        assert (table**2).sum() == pytest.approx((around**2).sum()), "as much as it was"


def test_folds_are_dealt_anew_by_each_seed_and_of_like_size() -> None:
    groups = np.repeat(np.arange(22), 3)
    dealt = {seed: grouped_folds(groups, 4, seed) for seed in range(3)}
    assert len({tuple(folds.tolist()) for folds in dealt.values()}) == 3
    for folds in dealt.values():
        assert sorted(np.bincount(folds[::3]).tolist()) == [5, 5, 6, 6]
