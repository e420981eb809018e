"""The losses against numpy, and what margins, ties, smoothing and centering must do."""

import math

import numpy as np
import pytest
import torch

from reward.losses import bradley_terry_loss, centering_loss, crowd_loss

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


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_habits_stand_beside_the_reward_and_the_flip_turns_the_reward_alone(
        smoothing: float) -> None:
    rng = np.random.default_rng(0)
    differences, offsets = rng.normal(size=(2, 60)) * 2
    flipped, strengths = rng.uniform(size=60), rng.integers(0, 5, size=60)
    tensor = torch.tensor(differences, requires_grad=True)
    found = crowd_loss(tensor, torch.tensor(strengths).double(), torch.tensor(offsets),
                       torch.tensor(flipped), 0.3, smoothing)
    (gradient,) = torch.autograd.grad(found.sum(), tensor)

    def loss(d: float, h: float, q: float, s: int) -> float:
        gap = d - (0.3 * (s - 1) if s else 0.0)
        won = (1 - q) * sigmoid(gap + h) + q * sigmoid(-gap + h)
        right = 0.5 if s == 0 else 1 - smoothing
        return -right * math.log(won) - (1 - right) * math.log(1 - won)

    for n, (d, h, q, s) in enumerate(zip(differences, offsets, flipped, strengths, strict=True)):
        assert found[n].item() == pytest.approx(loss(d, h, q, s), rel=1e-9)
        slope = (loss(d + 1e-5, h, q, s) - loss(d - 1e-5, h, q, s)) / 2e-5
        assert gradient[n].item() == pytest.approx(slope, abs=1e-8)


def test_without_habits_the_crowd_is_bradley_and_terry() -> None:
    differences = torch.tensor(DIFFERENCES, requires_grad=True)
    strengths = torch.tensor([1, 2, 0, 4, 1, 0, 3])
    none = torch.zeros(len(DIFFERENCES))
    for smoothing in (0.0, 0.1):
        plain = bradley_terry_loss(differences, strengths, 0.5, smoothing)
        crowd = crowd_loss(differences, strengths, none, none, 0.5, smoothing)
        torch.testing.assert_close(crowd, plain)
        torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), differences)[0]
                                     for loss in (crowd, plain)))


def test_the_crowd_is_a_distribution_and_stays_finite() -> None:
    differences = torch.tensor([-1e4, -3.0, 0.0, 2.0, 1e4], dtype=torch.float64)
    one = torch.ones(5)
    for h, q in ((0.7, 0.2), (-2.0, 0.0), (0.5, 1.0), (0.0, 0.5)):
        tensor = differences.clone().requires_grad_()
        won = crowd_loss(tensor, one, h * one.double(), q * one.double())
        lost = crowd_loss(-differences, one, -h * one.double(), q * one.double())
        assert (torch.exp(-won) + torch.exp(-lost)).tolist() == pytest.approx([1.0] * 5)
        torch.autograd.backward(won.sum())
        assert tensor.grad is not None and tensor.grad.isfinite().all() and won.isfinite().all()
    # who judges at random teaches nothing, and who judges the wrong way round the opposite
    torch.testing.assert_close(crowd_loss(differences, one, 0 * one, 0.5 * one),
                               torch.full((5,), math.log(2), dtype=torch.float64))
    torch.testing.assert_close(crowd_loss(differences, one, 0 * one, one),
                               bradley_terry_loss(-differences, one))
