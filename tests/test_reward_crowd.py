"""The crowd's likelihood: planted habits come back, and another optimizer finds the same mode."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from vote_world import ALL, World, density, world

from data.errors import BadInput
from reward.instant.crowd import CrowdFit, Terms, Votes, fit_crowd

Array = np.ndarray[Any, Any]


def log_posterior(found: CrowdFit, w: World, terms: Terms, prior: tuple[float, float]) -> Tensor:
    """What is maximised, written down on its own, as a function of a fit's values."""
    start = torch.tensor(np.concatenate([found.coefficients, [found.side, found.length,
                                                              found.log_tie], found.reliability]))
    return density(start, w, terms, prior)


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
        value = -density(values(), w, terms, prior)
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
    assert ours == pytest.approx(float(density(torch.tensor(expected), w, terms, prior)),
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
