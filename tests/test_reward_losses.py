"""The loss against numpy, and what a margin and a tie must do."""

import math

import numpy as np
import torch

from reward.losses import bradley_terry_loss

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
