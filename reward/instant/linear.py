"""The instant reward model: a Bayesian linear Bradley–Terry head on features of the backbone.

A response's reward is a linear function of its standardised features, with a normal prior and
Laplace's normal posterior (`reward.instant.davidson`). So every reward difference has a variance, a
label is taken in by a rank-one update in milliseconds. Which features (layer, pooling) to read, and
the strength of the prior, are chosen by cross-validation over prompts (`reward.instant.choosing`)
rather than by hand. What is deliberately left out:
terms for labelers and their habits (`reward.instant.crowd`), and which pair to ask next
(`reward.instant.selection`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data.durable import put_in_place
from data.errors import BadInput
from reward.instant.comparisons import FIRST, SECOND, TIE, Comparisons, Ties
from reward.instant.davidson import Fit, fit, information, probabilities
from reward.instant.standard import Standard, prior_precision

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LinearReward:
    """A posterior over linear rewards."""

    standard: Standard
    """How features become what the coefficients read."""
    spread: float
    """Prior standard deviation of one response's reward, in logits."""
    posterior: Fit

    @classmethod
    def fitted(cls, standard: Standard, table: Array, comparisons: Comparisons, spread: float,
               ties: Ties = "model") -> LinearReward:
        """The linear reward of some comparisons, whose rows are those of `table` ([N, k], features
        as `standard` makes them); ties are modelled (Davidson's), halved, or dropped.

        Raises:
            BadInput: there is nothing to learn from.
        """
        return cls(standard, spread, fit_table(table, len(standard.center),
                                               comparisons.treated(ties), spread, ties == "model"))

    def scores(self, features: Array) -> Array:
        """[N] mean reward of each response; only differences mean something."""
        return np.asarray(self.standard.of(features) @ self.posterior.coefficients)

    def slope_and_offset(self) -> tuple[Array, float]:
        """[d] and the score where all features are 0: scores are features · slope + offset."""
        slope = self.standard.basis @ self.posterior.coefficients / self.standard.scale
        return slope, -float(self.standard.center @ slope)

    def updated(self, first: Array, second: Array, outcome: int, weight: float = 1.0
                ) -> LinearReward:
        """Having taken in one more comparison of two responses ([d] features each).

        The exact mode along the one direction that the comparison sees, then the rank-one update
        of the covariance with the curvature there. ν stays. O(k²): a millisecond or so.
        """
        row = self.standard.difference(first, second)
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
        save_file({"center": self.standard.center, "scale": self.standard.scale,
                   "basis": np.ascontiguousarray(self.standard.basis),
                   "coefficients": self.posterior.coefficients,
                   "covariance": np.ascontiguousarray(self.posterior.covariance)}, partial,
                  metadata={"scalars": json.dumps({k: repr(v) for k, v in scalars.items()}),
                            "about": json.dumps(dict(about or {}))})
        put_in_place(partial, path)

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
            standard = Standard(values["center"], values["scale"], values["basis"])
            found = cls(standard, scalars["spread"], Fit(
                values["coefficients"], scalars["log_tie"], values["covariance"],
                scalars["log_evidence"]))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}: no linear reward model can be read there: {error}") from error
        return found, about


def fit_table(table: Array, width: int, comparisons: Comparisons, spread: float,
              ties: bool) -> Fit:
    """The posterior of the coefficients; `table` is [N, k], of `width` features.

    Raises:
        BadInput: there is nothing to learn from.
    """
    if not len(comparisons.first):
        raise BadInput("there are no decided comparisons to learn from")
    design, outcomes = comparisons.design(table)
    return fit(design, outcomes, prior_precision(width, spread)[:design.columns],
               ties and bool(outcomes[:, TIE].any()))


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
