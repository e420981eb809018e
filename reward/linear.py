"""The instant reward model: a Bayesian linear Bradley–Terry head on features of the backbone.

A response's reward is a linear function of its standardised features, with a normal prior and
Laplace's normal posterior (`reward.davidson`). So every reward difference has a variance, a label
is taken in by a rank-one update in milliseconds, and the strength of the prior is chosen by the
evidence or by held-out prompts rather than by hand. Which features (layer, pooling) to read is
chosen by cross-validation over prompts. What is deliberately left out: terms for labelers and
their habits (`reward.crowd`), and which pair to ask next (`reward.selection`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data.errors import BadInput
from reward.davidson import Design, Fit, fit, halved, information, probabilities
from reward.examples import Example

Array = np.ndarray[Any, Any]
Ties = Literal["model", "halve", "drop"]
#: Prior standard deviations of one response's reward that are tried, in logits.
SPREADS = (0.25, 0.5, 0.7, 1.0, 2.0, 4.0)
FIRST, TIE, SECOND = range(3)


@dataclass(frozen=True)
class Comparisons:
    """M answers about pairs of responses, which are rows of a feature table."""

    first: Array
    """[M] row of the one response."""
    second: Array
    """[M] row of the other."""
    outcomes: Array
    """[M, 3] weight on first better, tie, second better: one answer, or shares of several."""
    groups: Array
    """[M] what must not be split between training and testing: the prompt."""
    margins: Array | None = None
    """[M] how much wider than 0 the gap of a decided comparison should be (Touvron et al. 2023,
    Llama 2, eq. 2); None for none."""

    def take(self, chosen: Array) -> Comparisons:
        """Some of them, by index or mask."""
        return Comparisons(self.first[chosen], self.second[chosen], self.outcomes[chosen],
                           self.groups[chosen],
                           None if self.margins is None else self.margins[chosen])

    def treated(self, ties: Ties) -> Comparisons:
        """With ties modelled (as they are), halved between both sides, or dropped."""
        if ties == "model":
            return self
        if ties == "halve":
            return replace(self, outcomes=halved(self.outcomes))
        decided = self.outcomes * np.array([1.0, 0.0, 1.0])
        return replace(self, outcomes=decided).take(decided.sum(axis=1) > 0)

    def design(self, features: Array) -> tuple[Design, Array]:
        """Design and outcomes for `reward.davidson.fit`; margins become offsets of each side."""
        if self.margins is None:
            return Design(features, self.first, self.second), self.outcomes
        # A first response that is better by a margin m has log σ(Δ − m), a second log σ(−Δ − m).
        sides = [(FIRST, -self.margins), (TIE, np.zeros_like(self.margins)),
                 (SECOND, self.margins)]
        first, second, offsets, outcomes = [], [], [], []
        for side, offset in sides:
            used = self.outcomes[:, side] > 0
            first.append(self.first[used])
            second.append(self.second[used])
            offsets.append(offset[used])
            weights = np.zeros((int(used.sum()), 3))
            weights[:, side] = self.outcomes[used, side]
            outcomes.append(weights)
        return (Design(features, np.concatenate(first), np.concatenate(second),
                       offset=np.concatenate(offsets)), np.concatenate(outcomes))


def comparisons_of(examples: Sequence[Example], rows: Mapping[int, int],
                   strength_weights: Mapping[int, float] | None = None,
                   margin_per_strength: float = 0.0) -> Comparisons:
    """What labelers said, as the linear model reads it.

    Args:
        examples: prompts with their pairs.
        rows: response id -> row of the feature table.
        strength_weights: how much a preference of a strength counts (1 where it is not named).
        margin_per_strength: margin for each level of strength above 1.
    """
    pairs = [pair for example in examples for pair in example.pairs]
    outcomes = np.zeros((len(pairs), 3))
    for number, pair in enumerate(pairs):
        weight = pair.weight * (strength_weights or {}).get(pair.strength, 1.0)
        outcomes[number, TIE if pair.is_tie else FIRST] = weight
    margins = None
    if margin_per_strength > 0:
        margins = margin_per_strength * np.array([max(p.strength - 1, 0) for p in pairs], float)
    return Comparisons(np.array([rows[p.chosen_id] for p in pairs], int),
                       np.array([rows[p.rejected_id] for p in pairs], int), outcomes,
                       np.array([p.prompt_id for p in pairs], int), margins)


@dataclass(frozen=True)
class LinearReward:
    """A posterior over linear rewards."""

    center: Array
    """[d] mean of each feature over the responses it was standardised with."""
    scale: Array
    """[d] their standard deviation."""
    basis: Array
    """[d, k] the directions that the coefficients are of (see `standardise`)."""
    spread: float
    """Prior standard deviation of one response's reward."""
    posterior: Fit

    def standard(self, features: Array) -> Array:
        """[N, k] features as the coefficients read them."""
        return np.asarray((features - self.center) / self.scale @ self.basis)

    def scores(self, features: Array) -> Array:
        """[N] mean reward of each response; only differences mean something."""
        return np.asarray(self.standard(features) @ self.posterior.coefficients)

    def differences(self, first: Array, second: Array) -> tuple[Array, Array]:
        """[M] mean and variance of the reward difference, from [M, d] features of either side."""
        return self.posterior.differences((first - second) / self.scale @ self.basis)

    def predictions(self, first: Array, second: Array) -> Array:
        """[M, 3] probability of first better, tie, second better (see `Fit.predictions`)."""
        return self.posterior.predictions((first - second) / self.scale @ self.basis)

    def updated(self, first: Array, second: Array, outcome: int, weight: float = 1.0
                ) -> LinearReward:
        """Having taken in one more comparison of two responses ([d] features each).

        The exact mode along the one direction that the comparison sees, then the rank-one update
        of the covariance with the curvature there. ν stays. O(k²): a millisecond or so.
        """
        row = (first - second) / self.scale @ self.basis
        spread_row = self.posterior.covariance @ row
        variance, before = float(row @ spread_row), float(row @ self.posterior.coefficients)
        if outcome == TIE and self.posterior.log_tie == -np.inf:
            sides = [(FIRST, weight / 2), (SECOND, weight / 2)]
        else:
            sides = [(outcome, weight)]
        step, after = _line_mode(before, variance, sides, self.posterior.log_tie)
        curvature = weight * float(information(np.array([after]), self.posterior.log_tie)[0])
        covariance = self.posterior.covariance - np.outer(spread_row, spread_row) * (
            curvature / (1 + curvature * variance))
        return replace(self, posterior=replace(
            self.posterior, coefficients=self.posterior.coefficients + step * spread_row,
            covariance=covariance))

    def save(self, path: Path, about: Mapping[str, Any] | None = None) -> None:
        """Write as safetensors (whole, then renamed), with what the features are in `about`."""
        scalars = {"spread": self.spread, "log_tie": self.posterior.log_tie,
                   "log_evidence": self.posterior.log_evidence}
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"center": self.center, "scale": self.scale,
                   "basis": np.ascontiguousarray(self.basis),
                   "coefficients": self.posterior.coefficients,
                   "covariance": np.ascontiguousarray(self.posterior.covariance)}, partial,
                  metadata={"scalars": json.dumps({k: repr(v) for k, v in scalars.items()}),
                            "about": json.dumps(dict(about or {}))})
        partial.rename(path)

    @classmethod
    def load(cls, path: Path) -> tuple[LinearReward, dict[str, Any]]:
        """What `save` wrote, and `about`.

        Raises:
            BadInput: there is no such file, or it holds something else.
        """
        try:
            with safe_open(path, "np") as file:
                metadata = file.metadata()
                scalars = {k: float(v) for k, v in json.loads(metadata["scalars"]).items()}
                values = {name: np.asarray(file.get_tensor(name), np.float64)
                          for name in ("center", "scale", "basis", "coefficients", "covariance")}
                about = dict(json.loads(metadata["about"]))
            found = cls(values["center"], values["scale"], values["basis"], scalars["spread"], Fit(
                values["coefficients"], scalars["log_tie"], values["covariance"],
                scalars["log_evidence"]))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}: no linear reward model can be read there: {error}") from error
        return found, about


@dataclass(frozen=True)
class Standard:
    """How features become columns of like scale; made without looking at a label."""

    center: Array
    """[d]"""
    scale: Array
    """[d]"""
    basis: Array
    """[d, k]"""

    def of(self, features: Array) -> Array:
        """[N, k] features as coefficients read them."""
        return np.asarray((features - self.center) / self.scale @ self.basis)


def standardise(features: Array, components: int | None = None, power: float = 1.0) -> Standard:
    """Center and scale each feature over [N, d] responses, compared or not.

    A constant feature keeps the scale 1. With `components`, only so many leading principal
    directions are kept: the prior has the same strength along each of those, and nearly all of a
    reward's prior variance lies in the first hundred, at a fraction of the time. A `power` above 1
    leans the prior towards them: a direction's columns are scaled by its standard deviation to
    the power − 1, all together so that a reward's prior variance stays what it was.
    """
    values = np.asarray(features, np.float64)
    center, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 1e-8 * abs(values).max(), scale, 1.0)
    width = values.shape[1]
    if power == 1 and (components is None or components >= width):
        return Standard(center, scale, np.eye(width))
    variances, vectors = _principal((values - center) / scale)
    lean = (variances / max(variances[0], 1e-300)) ** ((power - 1) / 2)
    lean *= np.sqrt(variances.sum() / max((variances * lean**2).sum(), 1e-300))
    return Standard(center, scale, (vectors * lean)[:, :components].copy())


def _principal(standard: Array) -> tuple[Array, Array]:
    """Variances ([k], the greatest first) and directions ([d, k]), of no more than N or d."""
    count, width = standard.shape
    if width <= count:
        variances, vectors = np.linalg.eigh(standard.T @ standard / count)
    else:  # fewer responses than features: through their inner products
        variances, scores = np.linalg.eigh(standard @ standard.T / count)
        vectors = standard.T @ scores / np.sqrt(count * np.maximum(variances, 1e-12))
    return np.maximum(variances[::-1], 0), vectors[:, ::-1]


def fit_linear(features: Array, comparisons: Comparisons, *, spread: float | None = None,
               ties: Ties = "model", standard: Standard | None = None) -> LinearReward:
    """The linear reward model of some comparisons.

    Args:
        features: [N, d]; standardised over all N, compared or not (no label is looked at).
        comparisons: whose rows are the features'.
        spread: prior standard deviation of one response's reward; None takes the one of `SPREADS`
            with the greatest evidence.
        ties: `model` (Davidson's), `halve` (half a vote for either side) or `drop`.
        standard: how to standardise, where not by the features' own means and deviations.

    Raises:
        BadInput: there is nothing to learn from.
    """
    standard = standard or standardise(features)
    spreads = SPREADS if spread is None else (spread,)
    best = _fit(standard.of(features), features.shape[1], comparisons.treated(ties), spreads,
                ties == "model")
    return LinearReward(standard.center, standard.scale, standard.basis, *best)


def _fit(table: Array, width: int, comparisons: Comparisons, spreads: Sequence[float],
         ties: bool) -> tuple[float, Fit]:
    """The fit with the greatest evidence, and its spread; `table` is [N, k], of `width` features.

    Raises:
        BadInput: there is nothing to learn from.
    """
    if not len(comparisons.first):
        raise BadInput("there are no decided comparisons to learn from")
    design, outcomes = comparisons.design(table)
    with_ties = ties and bool(outcomes[:, TIE].any())
    best: tuple[float, Fit] | None = None
    for spread in spreads:
        start = None if best is None else (best[1].coefficients, best[1].log_tie)
        precision = prior_precision(width, spread)[:design.columns]
        found = fit(design, outcomes, precision, with_ties, start)
        if best is None or found.log_evidence > best[1].log_evidence:
            best = spread, found
    assert best is not None
    return best


def prior_precision(columns: int, spread: float) -> Array:
    """[d] precision of each coefficient such that a reward has a standard deviation of `spread`.

    Of standardised features; along an orthonormal basis the precision is the same.
    """
    return np.full(columns, columns / spread**2)


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
            _, fitted = _fit(features.table, len(features.standard.center), train, (spread,),
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


def _line_mode(before: float, variance: float, sides: Sequence[tuple[int, float]],
               log_tie: float) -> tuple[float, float]:
    """Where the posterior of one Δ ~ N(before, variance) peaks after an answer.

    Returns the gradient there, which is how far the coefficients move along S x, and Δ itself:
    at the mode Δ = before + variance × gradient(Δ). Bisection on a monotone function.
    """
    def gradient(delta: float) -> float:
        p = probabilities(np.array([delta]), log_tie)[0]
        lean = (p[FIRST] - p[SECOND]) / 2
        return float(sum(w * ((side == FIRST) / 2 - (side == SECOND) / 2 - lean)
                         for side, w in sides))

    total = sum(weight for _, weight in sides)
    low, high = before - variance * total, before + variance * total
    for _ in range(60):
        middle = (low + high) / 2
        if before + variance * gradient(middle) > middle:
            low = middle
        else:
            high = middle
    after = (low + high) / 2
    return gradient(after), after
