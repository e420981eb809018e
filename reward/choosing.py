"""Which features and which prior: judged by prompts that a fit has not seen, never by hand."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from data.errors import BadInput
from reward.comparisons import FIRST, SECOND, Comparisons, Ties
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
    temperature: float
    """What held-out log odds are to be multiplied by (Guo et al. 2017): below 1 where the model is
    too sure, above 1 where it is surer to be right than it says."""
    cross_entropy: float
    """Mean over judged decided comparisons, in nats, at that temperature."""
    accuracy: float


def choose_features(prepared: Sequence[Prepared], comparisons: Comparisons, *,
                    spreads: Sequence[float] = SPREADS, ties: Ties = "model", folds: int = 4,
                    seed: int = 0, judged: Array | None = None) -> list[Candidate]:
    """Every feature set with every spread under cross-validation by group, the best first.

    Judged by cross-entropy among decided comparisons: unlike accuracy it has no ties and changes
    smoothly, so fewer labels are enough to tell candidates apart. `judged` ([M], a mask) names
    those that count; all are learned from.
    """
    split = grouped_folds(comparisons.groups, folds, seed)
    decided = comparisons.outcomes[:, [FIRST, SECOND]]
    if judged is not None:
        decided = decided * judged[:, None]
    found = []
    for features, spread in product(prepared, spreads):
        odds = held_out_odds(features, comparisons, spread, ties, split)
        scale = temperature(odds, decided)
        losses = (decided * np.logaddexp(0, scale * odds[:, None] * np.array([-1, 1]))).sum()
        right = (decided * (np.sign(odds)[:, None] * np.array([1, -1]) + 1) / 2).sum()
        found.append(Candidate(features, spread, scale, float(losses / decided.sum()),
                               float(right / decided.sum())))
    return sorted(found, key=lambda candidate: candidate.cross_entropy)


def held_out_odds(features: Prepared, comparisons: Comparisons, spread: float, ties: Ties,
                  split: Array) -> Array:
    """[M] log odds of the first response, each comparison's from a fit without its fold."""
    odds = np.zeros(len(split))
    for fold in range(max(split) + 1):
        train, test = comparisons.take(split != fold).treated(ties), split == fold
        _, fitted = fit_table(features.table, len(features.standard.center), train, (spread,),
                              ties == "model")
        rows = (features.table[comparisons.first[test]]
                - features.table[comparisons.second[test]])
        p = fitted.predictions(rows)
        odds[test] = np.log(p[:, FIRST]) - np.log(p[:, SECOND])
    return odds


def temperature(odds: Array, decided: Array) -> float:
    """The factor on log odds ([M]) with the least cross-entropy for [M, 2] weights on either side.

    The loss is convex in it; bisection on its derivative, within a tenth and ten.
    """
    low, high = 0.1, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        p = 1 / (1 + np.exp(-np.clip(middle * odds, -700, 700)))
        if (odds * (decided[:, 0] * (1 - p) - decided[:, 1] * p)).sum() > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


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
