"""The mixture of readings: its mode is one, autograd finds its curvature, and intervals cover."""

import numpy as np
import pytest
import torch
from vote_world import ALL, density, world

from data.progress import Stopped
from reward.instant.crowd import CrowdFit, Terms, fit_crowd
from reward.instant.davidson import Design
from reward.instant.mixture import Mixture, Point


@pytest.mark.parametrize("terms", [
    ALL, Terms(reliability=True, side=True, ties=False), Terms(side=True, length=True),
    Terms(reliability=True, length=True)], ids=["all", "no ties", "reliable", "length"])
def test_errors_are_those_of_the_curvature_that_autograd_finds(terms: Terms) -> None:
    w, prior = world(600, bad=3), (6.0, 2.0)
    votes = w.votes if terms.ties else w.votes.take(w.votes.outcome != 1)
    made = type(w)(w.features, w.rewards, w.log_lengths, w.reliability, votes)
    found = fit_crowd(w.features, votes, terms, spread=2.0, log_lengths=w.log_lengths,
                      reliability_prior=prior)
    inside = np.clip(found.reliability, 1e-6, 1 - 1e-6)
    mode = np.concatenate([found.coefficients, [
        found.side, found.length, found.log_tie if terms.ties else -40.0],
        np.log(inside / (1 - inside))])

    def value(free: torch.Tensor) -> torch.Tensor:
        return -density(torch.cat([free[:6], torch.sigmoid(free[6:])]), made, terms, prior)

    hessian = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        value, torch.tensor(mode)).numpy()
    used = [0, 1, 2, *[3] * terms.side, *[4] * terms.length, *[5] * terms.ties,
            *(range(6, len(mode)) if terms.reliability else ())]
    errors = dict(zip(used, np.sqrt(np.diag(np.linalg.inv(hessian[np.ix_(used, used)]))),
                      strict=True))
    assert found.side_error == pytest.approx(errors.get(3, np.nan), rel=1e-3, nan_ok=True)
    assert found.length_error == pytest.approx(errors.get(4, np.nan), rel=1e-3, nan_ok=True)


def test_intervals_hold_what_was_planted_as_often_as_they_say() -> None:
    runs = 60
    held = np.zeros(2)
    for seed in range(runs):
        w = world(500, bad=3, seed=seed)
        found = fit_crowd(w.features, w.votes, ALL, log_lengths=w.log_lengths)
        held += [_holds(found, 0.8, "side"), _holds(found, 0.6, "length")]
    # 95 % of 60 are 57; 50 and fewer have a chance of less than 1 in 1,000
    assert (held > 50).all(), held


def _holds(found: CrowdFit, planted: float, name: str) -> bool:
    return bool(abs(getattr(found, name) - planted) < 1.96 * getattr(found, f"{name}_error"))


def test_where_the_posterior_is_not_concave_there_is_no_error() -> None:
    """Everybody a coin, and rewards of nothing: a saddle, from which either way leads up."""
    rng = np.random.default_rng(0)
    features, first = rng.normal(size=(20, 1)), rng.integers(20, size=400)
    mixture = Mixture(Design(features, first, (first + 1) % 20), np.zeros(400, int),
                      np.tile([0.7, 0.0, 0.3], (400, 1)), np.ones(1), (1.5, 1.5), ties=False)

    def curvature(reliability: float) -> float:
        at = Point(np.zeros(1), -np.inf, np.array([reliability]))
        return float(np.linalg.eigvalsh(mixture.derivatives(at)[1]).min())

    assert curvature(0.5) < 0 < curvature(0.999)


def test_an_estimate_that_takes_long_can_be_ended() -> None:
    def enough() -> None:
        raise Stopped("enough")

    w = world(200)
    with pytest.raises(Stopped):
        fit_crowd(w.features, w.votes, ALL, log_lengths=w.log_lengths, on_round=enough)


@pytest.mark.parametrize("seed", range(5))
def test_the_mode_is_a_mode_and_no_lower_than_where_small_safe_steps_lead(seed: int) -> None:
    """Few votes on free rewards of many responses, by labelers who are mostly wrong."""
    w = world(150, bad=7, seed=seed)
    mixture = Mixture(Design(np.eye(30), w.votes.first, w.votes.second), w.votes.labeler,
                      np.eye(3)[w.votes.outcome], np.ones(30), (3.0, 2.0), ties=True)
    at, covariance = mixture.mode()
    gradient, information = mixture.derivatives(at)
    assert abs(gradient).max() < 1e-4 and np.linalg.eigvalsh(information).min() > 0
    assert (np.diag(covariance) > 0).all() and covariance.shape == (30 + 12,) * 2
    share, slow = np.full((150, 3), 0.6), None
    for _ in range(300):
        slow = mixture.maximised(share, slow)
        share = mixture.shares(slow)
    assert slow is not None and mixture.value(at) >= mixture.value(slow) - 1e-6
