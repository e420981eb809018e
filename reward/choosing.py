"""Which features and which prior: judged by prompts that a fit has not seen, never by hand."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from data.errors import BadInput
from reward.comparisons import FIRST, SECOND, Comparisons, Ties
from reward.davidson import Fit
from reward.linear import SPREADS, fit_table
from reward.standard import Standard, standardise

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Prepared:
    """A feature set, standardised once for all the fits that choose among several."""

    name: str
    power: float
    standard: Standard
    table: Array
    """[N, k] as coefficients read them."""


def prepare(features: Mapping[str, Array], powers: Sequence[float] = (1.0,),
            components: int | None = None) -> list[Prepared]:
    """Every feature set with every lean of the prior; no label is looked at."""
    found = []
    for (name, values), power in product(features.items(), powers):
        standard = standardise(values, components, power)
        found.append(Prepared(name, power, standard, standard.of(values)))
    return found


@dataclass(frozen=True)
class Candidate:
    """One way to set up the linear model, and how it does on prompts that it has not seen."""

    features: Prepared
    spread: float
    cross_entropy: float
    """Mean over held-out decided comparisons, in nats."""
    accuracy: float


def choose_features(prepared: Sequence[Prepared], comparisons: Comparisons, *,
                    spreads: Sequence[float] = SPREADS, ties: Ties = "model", folds: int = 4,
                    seed: int = 0) -> list[Candidate]:
    """Every feature set with every spread under cross-validation by group, the best first.

    Judged by cross-entropy among decided comparisons: unlike accuracy it has no ties and changes
    smoothly, so fewer labels are enough to tell candidates apart.
    """
    split = grouped_folds(comparisons.groups, folds, seed)
    found = []
    for features, spread in product(prepared, spreads):
        sums = np.zeros(3)
        for fold in range(max(split) + 1):
            train = comparisons.take(split != fold).treated(ties)
            _, fitted = fit_table(features.table, len(features.standard.center), train, (spread,),
                                  ties == "model")
            sums += _held_out(fitted, features.table, comparisons.take(split == fold))
        if sums[2]:
            found.append(Candidate(features, spread, *(sums[:2] / sums[2]).tolist()))
    return sorted(found, key=lambda candidate: candidate.cross_entropy)


def grouped_folds(groups: Array, folds: int, seed: int = 0) -> Array:
    """[M] a fold for each comparison, all of a group in one; groups are dealt out at random.

    Raises:
        BadInput: fewer than two groups.
    """
    names: list[Hashable] = sorted(set(groups.tolist()))
    if len(names) < 2:
        raise BadInput("comparisons on one prompt alone cannot be split into folds")
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {names[place]: number % folds for number, place in enumerate(order)}
    return np.array([fold[group] for group in groups.tolist()])


def _held_out(fitted: Fit, table: Array, held_out: Comparisons) -> tuple[float, float, float]:
    """Sums of cross-entropy, of right guesses and of weights, over decided comparisons."""
    p = fitted.predictions(table[held_out.first] - table[held_out.second])
    decided = held_out.outcomes[:, [FIRST, SECOND]]
    first = p[:, FIRST] / (p[:, FIRST] + p[:, SECOND])
    first = np.clip(first, 1e-12, 1 - 1e-12)
    loss = -(decided[:, 0] * np.log(first) + decided[:, 1] * np.log1p(-first)).sum()
    right = (decided[:, 0] * (first > 0.5) + decided[:, 1] * (first < 0.5)
             + decided.sum(axis=1) * (first == 0.5) / 2).sum()
    return float(loss), float(right), float(decided.sum())
