"""Whether a reward model's probabilities can be believed: calibration error, reliability diagram.

σ(Δ) is the probability that the model gives to a response. Of the pairs to which it gives 70 %,
labelers should take the response in about 70 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data.measures.statistics import CONFIDENCE, Estimate, bootstrap
from reward.report.votes import Array, Votes

BINS = 10
_DRAWS = 1000


def calibration(votes: Votes) -> dict[str, Any] | None:
    """Expected calibration error (Guo et al. 2017), and the bins of a reliability diagram.

    Predicted is the probability max(σ(Δ), 1 − σ(Δ)) of the response that scores higher, in bins of
    equal width from ½ to 1; observed is how often labelers did choose it. ECE = Σ_b n_b / n
    |observed_b − predicted_b|. Decided pairs only; None without any.

    The error is never below zero, so chance alone makes some: `if_calibrated` is what a model that
    is right about every probability would show on as many pairs (its mean, and the value that it
    stays below in 97.5 % of draws; Bröcker & Smith 2007, "consistency resampling"). The interval
    of `error` is a bootstrap over clusters, which is off to the high side for the same reason: it
    is drawn out to the error itself where it would begin above it.
    """
    if not votes.pairs:
        return None
    predicted = 1 / (1 + np.exp(-np.abs(votes.differences)))
    edges = np.linspace(0.5, 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, BINS - 1)
    # Row: cluster, column: bin. Σ (right − predicted) in a bin is n_b (observed_b − predicted_b).
    gaps = np.zeros((votes.cluster_count, BINS))
    np.add.at(gaps, (votes.clusters, place), votes.right - predicted)
    counts = np.bincount(votes.clusters, minlength=votes.cluster_count)

    def error(drawn: Array) -> float:
        return float(np.abs(drawn @ gaps).sum() / (drawn @ counts))

    low, high = bootstrap(error, votes.cluster_count)
    value = error(np.ones(votes.cluster_count))
    return {"error": Estimate(value, len(predicted), min(low, value), high).as_dict(),
            "if_calibrated": _by_chance(predicted, place),
            "bins": [_bin(votes, predicted, place == number, edges[number], edges[number + 1])
                     for number in range(BINS)]}


def _by_chance(predicted: Array, place: Array) -> dict[str, float]:
    """The error where every outcome is drawn with the very probability predicted for it."""
    rng = np.random.default_rng(0)
    errors = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        gaps = np.bincount(place, (rng.random(len(predicted)) < predicted) - predicted, BINS)
        errors[draw] = np.abs(gaps).sum() / len(predicted)
    return {"mean": float(errors.mean()),
            "high": float(np.quantile(errors, 1 - (1 - CONFIDENCE) / 2))}


def _bin(votes: Votes, predicted: Array, inside: Array, low: float, high: float) -> dict[str, Any]:
    observed = votes.accuracy(inside)
    found: dict[str, Any] = {"low": float(low), "high": float(high), "n": int(inside.sum()),
                             "predicted": None, "observed": None}
    if observed is not None:
        found |= {"predicted": float(predicted[inside].mean()), "observed": observed.as_dict()}
    return found
