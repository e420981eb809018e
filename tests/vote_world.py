"""Simulated labelers whose habits are known, and the crowd's log posterior written down again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reward.instant.crowd import HABIT_PRECISION, Terms, Votes
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


def density(values: Tensor, w: World, terms: Terms, prior: tuple[float, float]) -> Tensor:
    """What is maximised, written down on its own: of reward coefficients, side, length, log ν, and
    reliabilities."""
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
