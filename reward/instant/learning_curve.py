"""How well the instant model predicts, by the number of labels; and what more labels would bring.

The curve: the model is fitted to the first 10, 14, 20, … answers and tested on prompts that the
fit has not seen: on held-out prompts, and by cross-validation on the training prompts. Tested on
are only pairs that chance chose to be asked, since what a rule likes is no sample of the whole;
the same pairs at every point, so that points can be compared. Prompts that begin alike are one to
folds and intervals.

The extrapolation: an inverse power law of the error, ε(m) = floor + scale · m^−exponent, fitted by
weighted least squares (Cortes et al. 1993, "Learning curves: asymptotic values and rate of
convergence"; Figueroa et al. 2012, "Predicting sample size required for classification
performance"; Hestness et al. 2017 for its form). Its interval is a bootstrap over the tested
prompts and, with random weights (Rubin 1981, "The Bayesian bootstrap"), over the points of the
curve, which scatter as other labels might have come first. It does not hold that the law might be
wrong. So there is a check beside it: what the same fit would have said a hundred labels ago,
against what came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.asking import BLIND
from data.measures.statistics import Estimate, bootstrap, clustered_mean
from reward.instant.comparisons import TIE
from reward.instant.davidson import Fit
from reward.instant.model import InstantModel, Learned, fit_rows

Array = np.ndarray[Any, Any]
FIRST_POINT, GROWTH, MOST_POINTS = 10, 2**0.5, 12
FOLDS = 5
#: What is extrapolated to, and how many tested pairs, points and answers it takes.
FURTHER = 100
ENOUGH_TESTED, ENOUGH_POINTS, ENOUGH_ANSWERS = 30, 5, 40
_EXPONENTS = np.geomspace(0.05, 2.0, 40)


@dataclass(frozen=True)
class Curve:
    """Accuracy by labels. Figures are of decided pairs; a pair without a favourite counts half."""

    labels: Array
    """[P] answers that the tested fits learned from, on average."""
    right: Array
    """[P, T] 1 where the model orders a tested pair as its labeler did, else 0 (½: neither)."""
    clusters: Array
    """[T] the prompt of each tested pair, the same for prompts that begin alike."""
    held_out: Array
    """[T] whether it is never trained on."""
    prompts: int = 0
    """How many prompts the tested pairs are of, each by itself."""

    def accuracy(self, point: int, among: Array | None = None) -> Estimate | None:
        """The accuracy at a point (among some of the tested pairs), over prompts."""
        chosen = slice(None) if among is None else among
        return clustered_mean(self.right[point, chosen].tolist(), self.clusters[chosen].tolist())


@dataclass(frozen=True)
class PowerLaw:
    """ε(m) = floor + scale · m^−exponent."""

    floor: float
    scale: float
    exponent: float

    def error(self, labels: float) -> float:
        """The share of wrong predictions after so many labels."""
        return float(self.floor + self.scale * labels**-self.exponent)


@dataclass(frozen=True)
class Forecast:
    """What a further hundred labels would bring, if the law holds."""

    now: float
    """Accuracy at the last point, by the law."""
    gain: Estimate
    """How much accuracy more; never below 0, as the law knows no worsening."""
    law: PowerLaw
    check: tuple[float, float] | None
    """Accuracy that the same fit would have foreseen for the last point a hundred labels before it,
    and what it was; None where there are not labels enough."""


def learning_curve(model: InstantModel, pairs: Learned) -> Curve | None:
    """The curve of these answers, held-out ones among them, in the order in which they came.

    Features and prior are the model's: what they are was chosen by all training prompts. None
    where nothing can be tested yet.
    """
    data, table = pairs.comparisons, model.table
    rows = table[data.first] - table[data.second]
    held_out = np.array([p.held_out for p in pairs.pairs], bool)
    tested = np.array([p.chosen_by in BLIND for p in pairs.pairs], bool) & (
        data.outcomes[:, TIE] == 0)
    _, place = np.unique(pairs.answers[~held_out], return_inverse=True)
    if not len(place) or not tested.any():
        return None
    order = np.full(len(rows), len(rows))
    order[~held_out] = place  # the how manieth answer of a training prompt a pair is of
    answers = int(place.max()) + 1
    folds = _folds(data.groups)
    labels, right = [], []
    for count in _points(answers):
        verdicts, learned = np.zeros(len(rows)), np.zeros(len(rows))
        start: Fit | None = None
        for fold in range(-1, FOLDS):  # −1: held-out prompts, tested by the fit to all
            here = tested & (held_out if fold < 0 else ~held_out & (folds == fold))
            if fold >= 0 and not here.any():
                continue
            train = (order < count) & (folds != fold if fold >= 0 else True)
            start = fit_rows(rows[train], data.outcomes[train], model.precision,
                             None if start is None else (start.coefficients, start.log_tie))
            verdicts[here] = (np.sign(rows[here] @ start.coefficients) + 1) / 2
            learned[here] = len(np.unique(order[train]))
        labels.append(float(learned[tested].mean()))
        right.append(verdicts[tested])
    prompts = {p.prompt_id for p, is_tested in zip(pairs.pairs, tested, strict=True) if is_tested}
    return Curve(np.array(labels), np.array(right), data.groups[tested], held_out[tested],
                 len(prompts))


def forecast(curve: Curve, further: int = FURTHER) -> Forecast | None:
    """The law of a curve, extended; None where there is too little to see one."""
    last = float(curve.labels[-1])
    if (curve.right.shape[1] < ENOUGH_TESTED or len(curve.labels) < ENOUGH_POINTS
            or last < ENOUGH_ANSWERS):
        return None
    clusters, place = np.unique(curve.clusters, return_inverse=True)
    if len(clusters) < 2:
        return None
    wrong = np.stack([np.bincount(place, 1 - right) for right in curve.right])  # [P, clusters]
    size = np.bincount(place).astype(float)

    rng = np.random.default_rng(0)

    def gain(law: PowerLaw) -> float:
        return law.error(last) - law.error(last + further)

    def drawn_gain(drawn: Array) -> float:
        return gain(fit_power_law(curve.labels, wrong @ drawn / (size @ drawn),
                                  rng.exponential(size=len(curve.labels))))

    found = fit_power_law(curve.labels, wrong.sum(axis=1) / size.sum())
    low, high = bootstrap(drawn_gain, len(clusters))
    value = gain(found)
    return Forecast(1 - found.error(last),
                    Estimate(value, curve.right.shape[1], min(low, value), max(high, value)),
                    found, _check(curve.labels, wrong.sum(axis=1) / size.sum(), further))


def fit_power_law(labels: Array, errors: Array, counts: Array | None = None) -> PowerLaw:
    """Least squares with floor and scale ≥ 0, over a grid of exponents.

    Each point weighs by its number of labels: it is the tail that is extended, and the first points
    depend most on which few answers came first. `counts` weighs points besides.
    """
    weights = labels if counts is None else labels * counts
    weights = weights / weights.sum()
    power = labels[None, :]**-_EXPONENTS[:, None]  # [E, P]
    mean, mean_power = float(weights @ errors), power @ weights
    spread = (power - mean_power[:, None])**2 @ weights
    slope = (power - mean_power[:, None]) @ (weights * (errors - mean)) / spread
    within = (power @ (weights * errors)) / (power**2 @ weights)  # the scale with floor 0
    best, least = PowerLaw(mean, 0.0, 1.0), float(weights @ (errors - mean)**2)
    for floors, scales in ((mean - slope * mean_power, slope),
                           (np.zeros_like(within), np.maximum(within, 0.0))):
        lost = (floors[:, None] + scales[:, None] * power - errors)**2 @ weights
        lost = np.where((floors >= 0) & (scales >= 0), lost, np.inf)
        place = int(lost.argmin())
        if lost[place] < least - 1e-15:
            best = PowerLaw(float(floors[place]), float(scales[place]), float(_EXPONENTS[place]))
            least = float(lost[place])
    return best


def _check(labels: Array, errors: Array, further: int) -> tuple[float, float] | None:
    known = labels <= labels[-1] - further
    if known.sum() < ENOUGH_POINTS or labels[known][-1] < ENOUGH_ANSWERS:
        return None
    return (1 - fit_power_law(labels[known], errors[known]).error(float(labels[-1])),
            1 - float(errors[-1]))


def _points(answers: int) -> list[int]:
    """Numbers of answers to fit to: a geometric series that ends with all of them."""
    found = [answers]
    while len(found) < MOST_POINTS and found[-1] / GROWTH >= FIRST_POINT:
        found.append(int(found[-1] / GROWTH))
    return found[::-1]


def _folds(groups: Array) -> Array:
    """[M] a fold for each pair, all of a group in one; drawn once a group."""
    return np.array([np.random.default_rng([7, int(g)]).integers(FOLDS) for g in groups.tolist()])
