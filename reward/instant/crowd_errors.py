"""How sure the crowd's estimates are: the log posterior's curvature at its mode (Laplace's way).

With reliabilities every answer is a mixture of two readings, by the reward and against it. The
curvature is then what it would be if one knew which answers were which, less what is not known of
that: Louis (1982), "Finding the observed information matrix when using the EM algorithm".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reward.instant.davidson import (
    TIE_PRECISION,
    Design,
    Fit,
    derivatives,
    probabilities,
)

Array = np.ndarray[Any, Any]
#: What an outcome (first, tie, second) is in the exponent of its probability.
_LEAN = np.array([0.5, 0.0, -0.5])


@dataclass(frozen=True)
class Readings:
    """M answers read by the reward and against it."""

    straight: Design
    flipped: Design
    """The same with the reward's difference turned round, and all else as it is."""
    labeler: Array
    """[M] number of the labeler, from 0."""
    reliability: Array
    """[L] probability that a labeler judges by the reward, strictly between 0 and 1."""
    prior: tuple[float, float]
    """a and b of the Beta prior on each of them."""


def mixture_covariance(readings: Readings, outcomes: Array, found: Fit,
                       precision: Array) -> Array:
    """[p + L, p + L] covariance of a fit's p coefficients and of the logits of the reliabilities,
    log ν integrated out; nan where the curvature is not that of a mode.

    Args:
        readings: at the mode.
        outcomes: [M, 3] weights of first, tie, second.
        found: the mode.
        precision: [p] of the priors on its coefficients.
    """
    information = _complete(readings, outcomes, found, precision) - _missing(
        readings, outcomes, found)
    width = len(information)
    kept = np.delete(np.arange(width), [len(found.coefficients)]) \
        if np.isfinite(found.log_tie) else np.arange(width)
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        return np.full((len(kept), len(kept)), np.nan)
    return np.asarray(np.linalg.inv(information)[np.ix_(kept, kept)])


def _complete(readings: Readings, outcomes: Array, found: Fit, precision: Array) -> Array:
    """The curvature if one knew which answers are by the reward."""
    ties = bool(np.isfinite(found.log_tie))
    priors = np.append(precision, TIE_PRECISION) if ties else precision
    values = np.append(found.coefficients, found.log_tie) if ties else found.coefficients
    by = _shares(readings, found)
    # Both readings curve alike whatever was answered, so each counts by what falls to it.
    parts = [derivatives(design, outcomes * share, priors / 2, values, ties)[1]
             for design, share in ((readings.straight, by), (readings.flipped, 1 - by))]
    eta, size = readings.reliability, len(values)
    answers = np.bincount(readings.labeler, outcomes.sum(axis=1), len(eta))
    curvature = np.zeros((size + len(eta),) * 2)
    curvature[:size, :size] = parts[0] + parts[1]
    curvature[size:, size:] = np.diag((answers + sum(readings.prior) - 2) * eta * (1 - eta))
    return curvature


def _missing(readings: Readings, outcomes: Array, found: Fit) -> Array:
    """What of it is lost since one does not know: Σ ρ (1 − ρ) d dᵀ, d the difference between the
    gradients of the two readings' log probabilities, ρ how likely the first of them is."""
    width, labelers = readings.straight.features.shape[1], len(readings.reliability)
    by, rows = _shares(readings, found), readings.straight.rows()
    p, q = (probabilities(design.differences(found.coefficients), found.log_tie)
            for design in (readings.straight, readings.flipped))
    pull, against = (_LEAN - ((each[:, 0] - each[:, 2]) / 2)[:, None] for each in (p, q))
    whose = np.eye(labelers)[readings.labeler]
    lost: Any = 0.0
    for outcome in range(3):
        weight = outcomes[:, outcome] * by[:, outcome] * (1 - by[:, outcome])
        if not weight.any():
            continue
        # Turned round, a reward's row changes its sign; habits' rows do not.
        sums, differences = (pull[:, outcome] + against[:, outcome],
                             pull[:, outcome] - against[:, outcome])
        columns = [rows[:, :width] * sums[:, None], rows[:, width:] * differences[:, None]]
        if np.isfinite(found.log_tie):
            columns.append((q[:, 1] - p[:, 1])[:, None])
        d = np.hstack([*columns, whose])
        lost = lost + d.T @ (weight[:, None] * d)
    return np.asarray(lost)


def _shares(readings: Readings, found: Fit) -> Array:
    """[M, 3] how likely each outcome is to have been by the reward."""
    eta = readings.reliability[readings.labeler][:, None]
    by, against = (share * probabilities(design.differences(found.coefficients), found.log_tie)
                   for design, share in ((readings.straight, eta), (readings.flipped, 1 - eta)))
    return np.asarray(by / np.maximum(by + against, 1e-300))
