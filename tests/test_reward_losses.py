"""The losses against numpy, and what margins, ties, smoothing and centering must do."""

import math

import numpy as np
import pytest
import torch

from reward.losses import bradley_terry_loss, centering_loss

DIFFERENCES = [-30.0, -2.0, -0.1, 0.0, 0.3, 1.7, 30.0]


def test_decided_pairs_match_an_independent_bradley_terry() -> None:
    strengths = torch.tensor([1, 2, 3, 4, 1, 2, 3])
    found = bradley_terry_loss(torch.tensor(DIFFERENCES, dtype=torch.float64), strengths, 0.5)
    for loss, d, s in zip(found.tolist(), DIFFERENCES, strengths.tolist(), strict=True):
        # the likelihood itself: P(win) = e^(a) / (e^(a) + e^(b)) at a gap of d − m (s − 1)
        gap = d - 0.5 * (s - 1)
        assert loss == np.float64(-np.log(np.exp(gap) / (np.exp(gap) + 1))) or math.isclose(
            loss, float(np.logaddexp(0, -gap)), rel_tol=1e-12)


def test_a_tie_is_a_label_of_one_half_either_way() -> None:
    differences = torch.tensor(DIFFERENCES, dtype=torch.float64)
    zero = torch.zeros(len(DIFFERENCES), dtype=torch.long)
    found = bradley_terry_loss(differences, zero, margin_per_strength=2.0)
    expected = 0.5 * (np.logaddexp(0, -np.array(DIFFERENCES)) + np.logaddexp(0, DIFFERENCES))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    torch.testing.assert_close(found, bradley_terry_loss(-differences, zero))
    assert found.argmin() == DIFFERENCES.index(0.0)


def test_the_margin_asks_stronger_preferences_for_a_wider_gap() -> None:
    differences = torch.ones(4, requires_grad=True)
    strengths = torch.tensor([1, 2, 3, 4])
    plain = bradley_terry_loss(differences, strengths)
    wide = bradley_terry_loss(differences, strengths, 0.5)
    assert wide[0] == plain[0] and (wide.diff() > 0).all() and len(set(plain.tolist())) == 1
    (gradient,) = torch.autograd.grad(wide.sum(), differences)
    assert (gradient.diff() < 0).all(), "the pull grows with strength"


def test_extreme_differences_stay_finite() -> None:
    for strength in (0, 1):
        difference = torch.tensor([1e4, -1e4], requires_grad=True)
        bradley_terry_loss(difference, torch.tensor([strength] * 2)).sum().backward()
        assert difference.grad is not None and difference.grad.isfinite().all()


@pytest.mark.parametrize("smoothing", [0.01, 0.2, 0.49])
def test_smoothed_labels_are_wrong_with_their_probability(smoothing: float) -> None:
    differences = torch.tensor(DIFFERENCES, dtype=torch.float64)
    strengths = torch.tensor([1, 2, 0, 4, 1, 0, 3])
    found = bradley_terry_loss(differences, strengths, 0.5, smoothing)
    for loss, d, s in zip(found.tolist(), DIFFERENCES, strengths.tolist(), strict=True):
        # two labels, each judged by one probability of the same two that add up to 1
        labels = np.array([0.5, 0.5] if s == 0 else [1 - smoothing, smoothing])
        gap = d if s == 0 else d - 0.5 * (s - 1)
        log_wins = np.array([-np.logaddexp(0, -gap), -np.logaddexp(0, gap)])
        assert np.exp(log_wins).sum() == pytest.approx(1)
        assert loss == pytest.approx(-(labels @ log_wins), rel=1e-12)


def test_without_smoothing_it_is_the_plain_loss_to_the_bit() -> None:
    differences, strengths = torch.tensor(DIFFERENCES), torch.tensor([1, 2, 0, 4, 1, 0, 3])
    assert torch.equal(bradley_terry_loss(differences, strengths, 0.5, 0.0),
                       bradley_terry_loss(differences, strengths, 0.5))


def test_the_best_gap_of_smoothed_labels_is_finite_and_wider_by_the_margin() -> None:
    grid = torch.linspace(-5, 15, 20_001, dtype=torch.float64)
    for strength, margin in ((1, 0.0), (3, 0.0), (3, 0.7)):
        losses = bradley_terry_loss(grid, torch.full((len(grid),), strength), margin, 0.1)
        best = float(grid[losses.argmin()])
        assert best == pytest.approx(math.log(0.9 / 0.1) + margin * (strength - 1), abs=2e-3)


def test_centering_is_the_squared_sum_and_leaves_the_difference_alone() -> None:
    chosen = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    rejected = torch.tensor([3.0, 2.0, -1.0], requires_grad=True)
    losses = centering_loss(chosen, rejected)
    assert losses.tolist() == [16.0, 0.0, 0.25]
    of_chosen, of_rejected = torch.autograd.grad(losses.sum(), [chosen, rejected])
    assert torch.equal(of_chosen, of_rejected), "the difference is pulled nowhere"
    assert of_chosen.tolist() == [8.0, 0.0, -1.0]
