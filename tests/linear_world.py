"""Comparisons drawn from a linear reward, and its most probable coefficients found another way."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reward.instant.choosing import Prepared
from reward.instant.comparisons import Comparisons, Ties
from reward.instant.davidson import TIE_PRECISION, probabilities
from reward.instant.linear import LinearReward
from reward.instant.standard import Standard, standardise

Array = np.ndarray[Any, Any]


def linear_world(responses: int = 40, pairs: int = 300, width: int = 3, log_tie: float = -0.5,
          seed: int = 0) -> tuple[Array, Array, Comparisons]:
    """Features, the true coefficients, and answers drawn from Davidson's model."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(responses, width))
    true = rng.normal(size=width) * 1.5
    first = rng.integers(responses, size=pairs)
    second = (first + rng.integers(1, responses, size=pairs)) % responses
    p = probabilities((features[first] - features[second]) @ true, log_tie)
    drawn = (rng.random((pairs, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return features, true, Comparisons(first, second, np.eye(3)[drawn], first // 4)


def fit_linear(features: Array, comparisons: Comparisons, *, spread: float = 1.0,
               ties: Ties = "model", standard: Standard | None = None) -> LinearReward:
    """The linear reward of some comparisons, from one table of all responses' features, which are
    standardised over all of them where nothing else is given."""
    standard = standard or standardise(features)
    return LinearReward.fitted(standard, standard.of(features), comparisons, spread, ties)


def prepare(features: Mapping[str, Array], components: int | None = None,
            groups: Array | None = None) -> list[Prepared]:
    """Feature sets of all responses, each from one table."""
    standards = {name: standardise(values, components, groups=groups)
                 for name, values in features.items()}
    return [Prepared(name, standards[name], standards[name].of(values))
            for name, values in features.items()]


def by_torch(rows: Array, outcomes: Array, precision: Array, ties: bool,
             offset: Array | None = None) -> tuple[Array, float]:
    """The same mode by L-BFGS on a likelihood written down on its own, in plain ratios."""
    x, y, prior = (torch.tensor(v, dtype=torch.float64) for v in (rows, outcomes, precision))
    shift = torch.zeros(len(x), dtype=torch.float64) if offset is None else torch.tensor(offset)
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    tau = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w, tau], max_iter=500, tolerance_grad=1e-10,
                                  tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        up, down = torch.exp((x @ w + shift) / 2), torch.exp(-(x @ w + shift) / 2)
        nu = torch.exp(tau) if ties else torch.zeros(())
        total = up + down + nu
        value = -(y[:, 0] * (up / total).log() + y[:, 2] * (down / total).log()).sum()
        if ties:
            value = value - (y[:, 1] * (nu / total).log()).sum() + TIE_PRECISION * tau**2 / 2
        value = value + (prior * w**2).sum() / 2
        torch.autograd.backward(value)
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return w.detach().numpy(), float(tau.detach())
