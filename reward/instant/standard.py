"""Features as columns of like scale, and the prior that is stated in the scale of rewards.

No label is looked at here, so texts that will be predicted may be standardised along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


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

    def difference(self, first: Array, second: Array) -> Array:
        """[..., k] of two responses' features ([..., d] each)."""
        return np.asarray((first - second) / self.scale @ self.basis)


def standardise(features: Array, components: int | None = None, power: float = 1.0,
                groups: Array | None = None) -> Standard:
    """Center and scale each feature over [N, d] responses, compared or not.

    With `groups` ([N], each response's prompt) scales and directions are those of how responses to
    one prompt differ: what prompts differ in no comparison can tell, and it would take the prior's
    variance all the same.

    A constant feature keeps the scale 1. With `components`, only so many leading principal
    directions are kept: the prior has the same strength along each of those, and nearly all of a
    reward's prior variance lies in the first hundred, at a fraction of the time. A `power` above 1
    leans the prior towards them: a direction's columns are scaled by its standard deviation to
    the power − 1, all together so that a reward's prior variance stays what it was.
    """
    values = np.asarray(features, np.float64)
    center = values.mean(axis=0)
    around = center if groups is None else _means(values, groups)
    scale = np.sqrt(((values - around)**2).mean(axis=0))
    scale = np.where(scale > 1e-8 * abs(values).max(), scale, 1.0)
    width = values.shape[1]
    if power == 1 and (components is None or components >= width):
        return Standard(center, scale, np.eye(width))
    variances, vectors = _principal((values - around) / scale)
    lean = (variances / max(variances[0], 1e-300)) ** ((power - 1) / 2)
    lean *= np.sqrt(variances.sum() / max((variances * lean**2).sum(), 1e-300))
    return Standard(center, scale, (vectors * lean)[:, :components].copy())


def some_prompts(prompts: Array, most: int) -> Array:
    """[n] rows of the responses to a random part of the prompts ([N], each response's), at most so
    many, or of all where there are no more: scales and directions need no more."""
    if len(prompts) <= most:
        return np.arange(len(prompts))
    known, counts = np.unique(prompts, return_counts=True)
    order = np.random.default_rng(0).permutation(len(known))
    fitting = max(1, int((counts[order].cumsum() <= most).sum()))
    return np.flatnonzero(np.isin(prompts, known[order[:fitting]]))[:most]


def _means(values: Array, groups: Array) -> Array:
    """[N, d] the mean of each response's group."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, place, values)
    return np.asarray((sums / counts[:, None])[place])


def _principal(standard: Array) -> tuple[Array, Array]:
    """Variances ([k], the greatest first) and directions ([d, k]), of no more than N or d."""
    count, width = standard.shape
    if width <= count:
        variances, vectors = np.linalg.eigh(standard.T @ standard / count)
    else:  # fewer responses than features: through their inner products
        variances, scores = np.linalg.eigh(standard @ standard.T / count)
        vectors = standard.T @ scores / np.sqrt(count * np.maximum(variances, 1e-12))
    return np.maximum(variances[::-1], 0), vectors[:, ::-1]


def prior_precision(columns: int, spread: float) -> Array:
    """[d] precision of each coefficient such that a reward has a standard deviation of `spread`.

    Of standardised features; along an orthonormal basis the precision is the same.
    """
    return np.full(columns, columns / spread**2)
