"""The crowd's likelihood: planted habits come back, and another optimizer finds the same mode."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data.errors import BadInput
from reward.instant.crowd import HABIT_PRECISION, CrowdFit, Terms, Votes, fit_crowd
from reward.instant.davidson import TIE_PRECISION, probabilities
from reward.instant.standard import prior_precision

Array = np.ndarray[Any, Any]
ALL = Terms(reliability=True, side=True, length=True, ties=True)


@dataclass(frozen=True)
class World:
    """Simulated labelers whose habits are known."""

    features: Array
    rewards: Array
    log_lengths: Array
    reliability: Array
    votes: Votes


def world(votes: int, *, labelers: int = 12, side: float = 0.8, length: float = 0.6,
          log_tie: float = -0.7, bad: int = 0, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(30, 3))
    rewards = features @ np.array([1.5, -1.0, 0.5])
    log_lengths = rng.normal(size=30)
    log_lengths /= log_lengths.std()
    reliability = np.where(np.arange(labelers) < bad, 0.15, 0.95)
    first = rng.integers(30, size=votes)
    second = (first + rng.integers(1, 30, size=votes)) % 30
    labeler = rng.integers(labelers, size=votes)
    shown = rng.choice([-1, 1], size=votes)
    z = np.where(rng.random(votes) < reliability[labeler], 1, -1)
    p = probabilities(z * (rewards[first] - rewards[second]) + side * shown
                      + length * (log_lengths[first] - log_lengths[second]), log_tie)
    drawn = (rng.random((votes, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return World(features, rewards, log_lengths, reliability,
                 Votes(first, second, drawn, labeler, shown))


def log_posterior(found: CrowdFit, w: World, terms: Terms, prior: tuple[float, float]) -> Tensor:
    """What is maximised, written down on its own, as a function of a fit's values."""
    start = torch.tensor(np.concatenate([found.coefficients, [found.side, found.length,
                                                              found.log_tie], found.reliability]))
    return _density(start, w, terms, prior)


def _density(values: Tensor, w: World, terms: Terms, prior: tuple[float, float]) -> Tensor:
    coefficients, (side, length, tau), eta = values[:3], values[3:6], values[6:]
    v = w.votes
    rewards = torch.tensor(w.features) @ coefficients
    habits = (side * torch.tensor(v.shown) if terms.side else 0) + (
        length * torch.tensor(w.log_lengths[v.first] - w.log_lengths[v.second])
        if terms.length else 0)
    likelihood: Tensor = torch.zeros(len(v.first), dtype=torch.float64)
    for z in (1, -1) if terms.reliability else (1,):
        delta = z * (rewards[v.first] - rewards[v.second]) + habits
        up, down, nu = torch.exp(delta / 2), torch.exp(-delta / 2), torch.exp(tau)
        sides = torch.stack([up, nu.expand_as(up), down], 1) / (up + down + nu)[:, None]
        weight = (eta if z == 1 else 1 - eta)[v.labeler] if terms.reliability else 1.0
        likelihood = likelihood + weight * sides[torch.arange(len(up)), v.outcome]
    value = likelihood.log().sum() - TIE_PRECISION * tau**2 / 2
    value = value - (torch.tensor(prior_precision(3, 2.0)) * coefficients**2).sum() / 2
    value = value - HABIT_PRECISION * ((side**2 if terms.side else 0)
                                       + (length**2 if terms.length else 0)) / 2
    if terms.reliability:
        value = value + ((prior[0] - 1) * eta.log() + (prior[1] - 1) * (1 - eta).log()).sum()
    return torch.as_tensor(value)


@pytest.mark.parametrize("terms", [ALL, Terms(reliability=True), Terms(side=True),
                                   Terms(length=True), Terms()],
                         ids=["all", "reliability", "side", "length", "ties"])
def test_the_mode_is_what_another_optimizer_finds(terms: Terms) -> None:
    w, prior = world(400, bad=3), (6.0, 2.0)
    found = fit_crowd(w.features, w.votes, terms, spread=2.0, log_lengths=w.log_lengths,
                      reliability_prior=prior)
    # η through a logistic function, so that the optimizer needs no bounds
    free = torch.zeros(6 + 12, dtype=torch.float64)
    free[6:] = 1.1
    free.requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=2000, tolerance_grad=1e-9,
                                  tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def values() -> Tensor:
        return torch.cat([free[:6], torch.sigmoid(free[6:])])

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -_density(values(), w, terms, prior)
        torch.autograd.backward(value)
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    expected = values().detach().numpy()
    assert found.coefficients == pytest.approx(expected[:3], abs=2e-3)
    assert found.log_tie == pytest.approx(expected[5], abs=2e-3)
    if terms.side:
        assert found.side == pytest.approx(expected[3], abs=2e-3)
    if terms.length:
        assert found.length == pytest.approx(expected[4], abs=2e-3)
    if terms.reliability:
        assert found.reliability == pytest.approx(expected[6:], abs=5e-3)
    ours = float(log_posterior(found, w, terms, prior))
    assert ours == pytest.approx(float(_density(torch.tensor(expected), w, terms, prior)),
                                 abs=1e-3)
    assert found.log_posterior == pytest.approx(ours, abs=1e-6)


def test_planted_habits_come_back() -> None:
    w = world(20_000, bad=3)
    found = fit_crowd(w.features, w.votes, ALL, spread=4.0, log_lengths=w.log_lengths)
    assert found.side == pytest.approx(0.8, abs=0.08)
    assert found.length == pytest.approx(0.6, abs=0.08)
    assert found.log_tie == pytest.approx(-0.7, abs=0.08)
    assert found.coefficients == pytest.approx([1.5, -1.0, 0.5], abs=0.12)
    assert found.reliability == pytest.approx(w.reliability, abs=0.06)


def test_a_habit_of_length_is_removed_from_the_reward() -> None:
    """Labelers who love length, and a reward that must not learn it from them."""
    w = world(6_000, length=2.0, side=0.0)
    features = np.column_stack([w.features, w.log_lengths])  # length can be learned as reward

    def lean(found: CrowdFit) -> float:
        return float(np.corrcoef(found.rewards(features) - w.rewards, w.log_lengths)[0, 1])

    learned = fit_crowd(features, w.votes, Terms(), log_lengths=w.log_lengths)
    removed = fit_crowd(features, w.votes, Terms(length=True), log_lengths=w.log_lengths,
                        spread=0.5)
    assert lean(learned) > 0.9
    # Length belongs to the habit or to the reward: the less free prior has it.
    assert removed.length > 1.0
    assert abs(removed.coefficients[3]) < abs(learned.coefficients[3]) / 2


def test_reliability_helps_where_labelers_differ() -> None:
    w = world(700, labelers=10, bad=4, side=0.0, length=0.0, seed=3)

    def right(terms: Terms) -> float:
        found = fit_crowd(np.eye(30), w.votes, terms, reliability_prior=(6.0, 3.0))
        i, j = np.triu_indices(30, 1)
        rewards = found.rewards(np.eye(30))
        return float(((rewards[i] > rewards[j]) == (w.rewards[i] > w.rewards[j])).mean())

    assert right(Terms(reliability=True)) > right(Terms()) + 0.05


def test_the_posterior_never_falls_and_turned_pairs_say_the_same() -> None:
    w = world(500, bad=2)
    found = fit_crowd(w.features, w.votes, ALL, log_lengths=w.log_lengths)
    v = w.votes
    turned = Votes(v.second, v.first, 2 - v.outcome, v.labeler, -v.shown)
    again = fit_crowd(w.features, turned, ALL, log_lengths=w.log_lengths)
    assert again.coefficients == pytest.approx(found.coefficients, abs=1e-6)
    assert again.side == pytest.approx(found.side, abs=1e-6)
    assert again.reliability == pytest.approx(found.reliability, abs=1e-6)
    without = fit_crowd(w.features, w.votes, Terms(side=True, length=True),
                        log_lengths=w.log_lengths)
    assert without.side != 0


def test_a_vote_of_weight_two_is_two_votes() -> None:
    w = world(300, bad=2)
    twice = np.arange(300) % 3 == 0
    weighted = replace(w.votes, weight=np.where(twice, 2.0, 1.0))
    repeated = w.votes.take(np.concatenate([np.arange(300), np.flatnonzero(twice)]))
    one, other = (fit_crowd(w.features, votes, ALL, log_lengths=w.log_lengths)
                  for votes in (weighted, repeated))
    assert one.coefficients == pytest.approx(other.coefficients, abs=1e-6)
    assert (one.side, one.length) == pytest.approx((other.side, other.length), abs=1e-6)
    assert one.reliability == pytest.approx(other.reliability, abs=1e-6)
    assert one.log_posterior == pytest.approx(other.log_posterior)
    # a weight is not an answer more: half votes leave more to the prior
    half = fit_crowd(w.features, replace(w.votes, weight=np.full(300, 0.5)), ALL,
                     log_lengths=w.log_lengths)
    assert abs(half.side) < abs(one.side)
    taken = weighted.take(twice).weight
    assert taken is not None and (taken == 2).all()


def test_what_a_term_needs_is_asked_for() -> None:
    w = world(50)
    with pytest.raises(BadInput, match="lengths"):
        fit_crowd(w.features, w.votes, Terms(length=True))
    with pytest.raises(BadInput, match="no votes"):
        fit_crowd(w.features, w.votes.take(np.zeros(0, int)), Terms())
    with pytest.raises(BadInput, match="at least 1"):
        fit_crowd(w.features, w.votes, Terms(reliability=True), reliability_prior=(0.5, 1))
