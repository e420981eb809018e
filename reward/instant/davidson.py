"""One likelihood of a comparison with ties, and its exact Laplace fit. Numpy, float64.

Davidson (1970), "On extending the Bradley–Terry model to accommodate ties": with the difference Δ
of two rewards and a propensity ν to call a tie,

    P(first) = e^{Δ/2} / Z,   P(tie) = ν / Z,   P(second) = e^{−Δ/2} / Z,
    Z = e^{Δ/2} + ν + e^{−Δ/2}.

It is an exponential family in (Δ, log ν), so the log-likelihood is concave in both, and among
decided comparisons it is Bradley–Terry: P(first | no tie) = σ(Δ). With ν = 0 it is Bradley–Terry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: Precision of the normal prior on log ν, so weak that ten comparisons outweigh it.
TIE_PRECISION = 0.1
_ITERATIONS = 100


@dataclass(frozen=True)
class Design:
    """Which differences are compared: Δ = (Φ[first] − Φ[second]) w + extra v + offset."""

    features: Array
    """[N, d] a row for each response."""
    first: Array
    """[M] row of the one response of each comparison."""
    second: Array
    """[M] row of the other."""
    extra: Array | None = None
    """[M, k] what else the difference depends on, with coefficients of its own."""
    offset: Array | None = None
    """[M] a known part of the difference."""
    by_rows: bool = False
    """Whether never to make a table of all responses by all, which many of them make too large."""

    @property
    def columns(self) -> int:
        """Number of coefficients, d + k."""
        return int(self.features.shape[1] + (0 if self.extra is None else self.extra.shape[1]))

    def differences(self, coefficients: Array) -> Array:
        """[M] Δ of every comparison."""
        width = self.features.shape[1]
        scores = self.features @ coefficients[:width]
        found = scores[self.first] - scores[self.second]
        if self.extra is not None:
            found = found + self.extra @ coefficients[width:]
        return np.asarray(found if self.offset is None else found + self.offset)

    def rows(self) -> Array:
        """[M, d + k] each comparison's own row."""
        found = self.features[self.first] - self.features[self.second]
        return found if self.extra is None else np.hstack([found, self.extra])

    def transposed(self, values: Array) -> Array:
        """[d + k] the rows' sum, each times a value ([M])."""
        found = self.features.T @ self._scatter(values)
        return found if self.extra is None else np.concatenate([found, self.extra.T @ values])

    def gram(self, weights: Array) -> Array:
        """[d + k, d + k] the rows' weighted sum of outer products.

        Where comparisons outnumber responses it goes through the weighted Laplacian L of the graph
        that comparisons draw on responses, Φᵀ L Φ.
        """
        if self.by_rows or len(self.first) < len(self.features):
            rows = self.rows()
            return np.asarray(rows.T @ (weights[:, None] * rows))
        size = len(self.features)
        between = np.bincount(self.first * size + self.second, weights, size * size)
        between = between.reshape(size, size)
        laplacian = np.diag(self._scatter(weights, absolute=True)) - between - between.T
        found = self.features.T @ (laplacian @ self.features)
        if self.extra is None:
            return np.asarray(found)
        weighted = weights[:, None] * self.extra
        across = np.stack([self.features.T @ self._scatter(column) for column in weighted.T], 1)
        return np.block([[found, across], [across.T, self.extra.T @ weighted]])

    def _scatter(self, values: Array, absolute: bool = False) -> Array:
        size = len(self.features)
        second = np.bincount(self.second, values, size)
        first = np.bincount(self.first, values, size)
        return np.asarray(first + second if absolute else first - second)


@dataclass(frozen=True)
class Fit:
    """The posterior's mode, and its normal approximation there (Laplace's)."""

    coefficients: Array
    """[p] at the mode."""
    log_tie: float
    """log ν at the mode; minus infinity where ties are not modelled."""
    covariance: Array
    """[p, p] inverse of the negative Hessian, with log ν integrated out."""
    log_evidence: float
    """log of the marginal likelihood, by Laplace (MacKay 1992, "The evidence framework")."""

    def differences(self, rows: Array) -> tuple[Array, Array]:
        """[M] mean and variance of each Δ, from [M, p] rows of a design."""
        return rows @ self.coefficients, np.einsum("mp,mp->m", rows @ self.covariance, rows)

    def predictions(self, rows: Array) -> Array:
        """[M, 3] probability of first, tie, second, the posterior averaged over.

        MacKay (1992), "The evidence framework applied to classification networks", eq. 24:
        ∫ σ(Δ) N(Δ; μ, v) dΔ ≈ σ(κ μ) with κ = 1 / √(1 + π v / 8).
        """
        mean, variance = self.differences(rows)
        return probabilities(mean / np.sqrt(1 + np.pi * variance / 8), self.log_tie)


def rows_are_fewer(features: Array, comparisons: int) -> bool:
    """Whether the comparisons' rows hold fewer numbers than a table of all responses by all."""
    responses, columns = features.shape
    return bool(comparisons * columns < responses**2)


def probabilities(differences: Array, log_tie: float) -> Array:
    """[M, 3] of first, tie, second."""
    half = differences / 2
    logits = np.stack([half, np.full_like(half, log_tie), -half], axis=-1)
    logits -= logits.max(axis=-1, keepdims=True)
    found = np.exp(logits)
    return np.asarray(found / found.sum(axis=-1, keepdims=True))


def log_likelihood(differences: Array, outcomes: Array, log_tie: float) -> float:
    """Σ over comparisons and outcomes of weight × log probability; `outcomes` is [M, 3] weights."""
    half = differences / 2
    logits = np.stack([half, np.full_like(half, log_tie), -half], axis=-1)
    top = logits.max(axis=-1)
    normal = top + np.log(np.exp(logits - top[..., None]).sum(axis=-1))
    used = np.where(outcomes > 0, logits, 0.0)  # a tie's −∞ counts only where ties are
    return float((outcomes * used).sum() - (outcomes.sum(axis=-1) * normal).sum())


def information(differences: Array, log_tie: float = -np.inf) -> Array:
    """[M] what one comparison tells of its Δ (Fisher information): the variance of ±½, 0 for a tie.

    σ(Δ) σ(−Δ) without ties.
    """
    p = probabilities(differences, log_tie)
    return np.asarray((p[:, 0] + p[:, 2]) / 4 - ((p[:, 0] - p[:, 2]) / 2) ** 2)


def fit(design: Design, outcomes: Array, precision: Array, ties: bool,
        start: tuple[Array, float] | None = None) -> Fit:
    """The most probable coefficients under independent normal priors, by Newton's method.

    The objective is strictly concave, so the mode is unique. Outcome weights ([M, 3]: first, tie,
    second) may be any numbers ≥ 0: counts of votes, shares, strengths.

    Raises:
        ValueError: weights on ties without `ties`, or a prior precision that is not positive.
    """
    if not ties and outcomes[:, 1].any():
        raise ValueError("there are ties: model them, or halve them first")
    if not (precision > 0).all():
        raise ValueError("a prior precision must be positive")
    priors = np.append(precision, TIE_PRECISION) if ties else np.asarray(precision, float)
    values = np.zeros(len(priors))
    if start is not None:
        values[:design.columns] = start[0]
        if ties:
            values[-1] = start[1]
    reached = _objective(design, outcomes, priors, values, ties)
    for _ in range(_ITERATIONS):
        gradient, hessian = derivatives(design, outcomes, priors, values, ties)
        step = np.linalg.solve(hessian, gradient)
        gain = float(gradient @ step)
        while True:  # halve a step that overshoots
            tried = _objective(design, outcomes, priors, values + step, ties)
            if tried >= reached - 1e-12 * abs(reached) or abs(step).max() < 1e-12:
                break
            step = step / 2
        values, reached = values + step, tried
        if gain < 1e-10:
            break
    _, hessian = derivatives(design, outcomes, priors, values, ties)
    columns = design.columns
    # log ∫ e^f ≈ f(mode) + p/2 log 2π − ½ log |−∇²f|, and the priors' own normalisers
    _, log_determinant = np.linalg.slogdet(hessian)
    evidence = reached + float(np.log(priors).sum()) / 2 - float(log_determinant) / 2
    return Fit(values[:columns], float(values[-1]) if ties else -np.inf,
               np.linalg.inv(hessian)[:columns, :columns], evidence)


def halved(outcomes: Array) -> Array:
    """Ties as half a vote for either side, for a likelihood without ties."""
    tie = outcomes[:, 1] / 2
    return np.stack([outcomes[:, 0] + tie, np.zeros_like(tie), outcomes[:, 2] + tie], axis=1)


def _objective(design: Design, outcomes: Array, priors: Array, values: Array, ties: bool) -> float:
    log_tie = float(values[-1]) if ties else -np.inf
    return (log_likelihood(design.differences(values[:design.columns]), outcomes, log_tie)
            - float(priors @ values**2) / 2)


def derivatives(design: Design, outcomes: Array, priors: Array, values: Array,
                 ties: bool) -> tuple[Array, Array]:
    """[p (+ 1)] gradient and [p (+ 1), p (+ 1)] negative Hessian of the log posterior by the
    coefficients (with `ties` log ν is the last value), at any values."""
    log_tie = float(values[-1]) if ties else -np.inf
    p = probabilities(design.differences(values[:design.columns]), log_tie)
    total = outcomes.sum(axis=1)
    lean = (p[:, 0] - p[:, 2]) / 2  # expected ±½
    gradient = design.transposed((outcomes[:, 0] - outcomes[:, 2]) / 2 - total * lean)
    hessian = design.gram(total * ((p[:, 0] + p[:, 2]) / 4 - lean**2))
    if ties:
        gradient = np.append(gradient, (outcomes[:, 1] - total * p[:, 1]).sum())
        across = design.transposed(-total * lean * p[:, 1])
        own = (total * p[:, 1] * (1 - p[:, 1])).sum()
        hessian = np.block([[hessian, across[:, None]], [across[None, :], own]])
    return gradient - priors * values, hessian + np.diag(priors)
