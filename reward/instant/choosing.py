"""Which features and which prior: judged by prompts that a fit has not seen, never by hand."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from data.errors import BadInput
from reward.instant.comparisons import FIRST, SECOND, Comparisons, Ties
from reward.instant.linear import fit_table
from reward.instant.response_features import FeatureTable
from reward.instant.standard import Standard, some_prompts, standardise
from reward.kinds import FeatureKind

Array = np.ndarray[Any, Any]
#: Scales and directions are taken from so many responses at the most, and so many are tabled at a
#: time: memory does not grow with the width of what is read of every response.
_MOST_TEXTS, _AT_ONCE = 4000, 1000


@dataclass(frozen=True)
class Prepared:
    """A feature set, standardised once for all the fits that choose among several."""

    name: str
    standard: Standard
    table: Array
    """[N, k] as coefficients read them."""


def prepare_compared(features: FeatureTable, sets: Mapping[str, Sequence[FeatureKind]],
                     comparisons: Comparisons, components: int
                     ) -> tuple[list[Prepared], Comparisons]:
    """Every feature set, of the responses that are compared and no others, with the comparisons
    as rows of its table; no label is looked at.

    Raises:
        BadInput: there are no comparisons.
    """
    if not len(comparisons.first):
        raise BadInput("there are no comparisons to choose features by")
    used, place = np.unique(np.concatenate([comparisons.first, comparisons.second]),
                            return_inverse=True)
    first, second = place.reshape(2, -1)
    part = used[some_prompts(features.prompts[used], _MOST_TEXTS)]
    found = []
    for name, kinds in sets.items():
        standard = standardise(features.side_by_side(kinds, part), components,
                               groups=features.prompts[part])
        found.append(Prepared(name, standard, tabled(features, kinds, standard, used)))
    return found, replace(comparisons, first=first, second=second)


def tabled(features: FeatureTable, kinds: Sequence[FeatureKind], standard: Standard,
           rows: Array) -> Array:
    """[n, k] some rows of several kinds, side by side, as coefficients read them."""
    found = np.zeros((len(rows), standard.basis.shape[1]))
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        found[part] = standard.of(features.side_by_side(kinds, rows[part]))
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


@dataclass(frozen=True)
class Committee:
    """Linear models of several feature sets, whose log odds are averaged."""

    members: tuple[Candidate, ...]
    """The best candidate of each feature set."""
    temperature: float
    cross_entropy: float
    accuracy: float


def choose_features(prepared: Sequence[Prepared], comparisons: Comparisons, *,
                    spreads: Sequence[float], ties: Ties = "model", folds: int = 4,
                    seed: int = 0, judged: Array | None = None,
                    preferred: str | None = None) -> list[Candidate]:
    """Every feature set with every spread under cross-validation by group, the best first.

    Judged by cross-entropy among decided comparisons: unlike accuracy it has no ties and changes
    smoothly, so fewer labels are enough to tell candidates apart. `judged` ([M], a mask) names
    those that count; all are learned from. The best of the `preferred` feature set comes first
    unless another is better by more than one standard error of their difference over groups (the
    rule of Breiman et al. 1984).
    """
    found = _candidates(prepared, comparisons, spreads, ties, folds, seed, judged)
    decided = _judged(comparisons, judged)
    for place, (candidate, odds) in enumerate(found):
        if candidate.features.name == preferred:
            best, odds_of_best = found[0]
            gain, error = _difference(
                _losses(odds, decided, candidate.temperature)
                - _losses(odds_of_best, decided, best.temperature), decided, comparisons.groups)
            if gain <= error:
                found.insert(0, found.pop(place))
            break
    return [candidate for candidate, _ in found]


def choose_committee(prepared: Sequence[Prepared], comparisons: Comparisons, *,
                     spreads: Sequence[float], ties: Ties = "model", folds: int = 4,
                     seed: int = 0, judged: Array | None = None) -> Committee:
    """The best candidate of each feature set, and how their mean does; see `choose_features`."""
    best: dict[str, tuple[Candidate, Array]] = {}
    for candidate, odds in _candidates(prepared, comparisons, spreads, ties, folds, seed, judged):
        best.setdefault(candidate.features.name, (candidate, odds))
    decided = _judged(comparisons, judged)
    mean = np.mean([odds for _, odds in best.values()], axis=0)
    return Committee(tuple(candidate for candidate, _ in best.values()), *_how_good(mean, decided))


def _candidates(prepared: Sequence[Prepared], comparisons: Comparisons, spreads: Sequence[float],
                ties: Ties, folds: int, seed: int,
                judged: Array | None) -> list[tuple[Candidate, Array]]:
    """Each with its [M] held-out log odds, the best first."""
    split = grouped_folds(comparisons.groups, folds, seed)
    decided = _judged(comparisons, judged)
    found = []
    for features, spread in product(prepared, spreads):
        odds = held_out_odds(features, comparisons, spread, ties, split)
        found.append((Candidate(features, spread, *_how_good(odds, decided)), odds))
    return sorted(found, key=lambda pair: pair[0].cross_entropy)


def _judged(comparisons: Comparisons, judged: Array | None) -> Array:
    """[M, 2] weight on either side of the comparisons that count."""
    decided = comparisons.outcomes[:, [FIRST, SECOND]]
    return np.asarray(decided if judged is None else decided * judged[:, None])


def _how_good(odds: Array, decided: Array) -> tuple[float, float, float]:
    """Temperature, and at it cross-entropy and accuracy."""
    scale = temperature(odds, decided)
    losses = _losses(odds, decided, scale).sum()
    right = (decided * (np.sign(odds)[:, None] * np.array([1, -1]) + 1) / 2).sum()
    return scale, float(losses / decided.sum()), float(right / decided.sum())


def _losses(odds: Array, decided: Array, scale: float) -> Array:
    """[M] weighted cross-entropy of each comparison, nats."""
    found: Array = (decided * np.logaddexp(0, scale * odds[:, None] * np.array([-1, 1]))).sum(1)
    return found


def _difference(values: Array, decided: Array, groups: Array) -> tuple[float, float]:
    """Mean of weighted values ([M]) over the comparisons' weight, and its standard error over
    groups."""
    _, group = np.unique(groups, return_inverse=True)
    weight = np.bincount(group, decided.sum(1))
    mean = float(values.sum() / weight.sum())
    residuals = np.bincount(group, values) - mean * weight
    return mean, float(np.sqrt((residuals**2).sum()) / weight.sum())


def held_out_odds(features: Prepared, comparisons: Comparisons, spread: float, ties: Ties,
                  split: Array) -> Array:
    """[M] log odds of the first response, each comparison's from a fit without its fold."""
    odds = np.zeros(len(split))
    for fold in range(max(split) + 1):
        train, test = comparisons.take(split != fold).treated(ties), split == fold
        fitted = fit_table(features.table, len(features.standard.center), train, spread,
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
        raise BadInput("comparisons on one prompt alone, or on prompts that all begin alike, "
                       "cannot be split into folds")
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {names[place]: number % folds for number, place in enumerate(order)}
    return np.array([fold[group] for group in groups.tolist()])
