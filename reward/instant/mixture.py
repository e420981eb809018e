"""The crowd's likelihood where labelers differ: every answer is read by the reward or against it.

With η the reliability of an answer's labeler and Δ₊, Δ₋ the difference with the reward as it is and
turned round, P(answer) = η P(answer | Δ₊) + (1 − η) P(answer | Δ₋). The mode of the posterior is
found by expectation–maximisation (Dempster et al. 1977), whose steps are safe and get ever shorter,
and where that has come to where the posterior is concave, by Newton's method. The curvature is what
it would be if one knew which answers were by the reward, less what is not known of that: Louis
(1982), "Finding the observed information matrix when using the EM algorithm".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reward.instant.davidson import (
    TIE_PRECISION,
    Design,
    derivatives,
    fit,
    probabilities,
    rows_are_fewer,
)

Array = np.ndarray[Any, Any]
#: Rounds of expectation–maximisation before, and between, tries of Newton's method; the most tries.
_ROUNDS, _TRIES = 5, 100
_STEPS, _HALVINGS = 50, 30
#: What an outcome (first, tie, second) is in the exponent of its probability.
_LEAN = np.array([0.5, 0.0, -0.5])
#: A flat prior's mode may lie at 0 or 1, where a logit has no end.
_EDGE = 1e-9


@dataclass(frozen=True)
class Point:
    """Values of all that is estimated."""

    coefficients: Array
    """[p] of the reward, then of habits."""
    log_tie: float
    """log ν; minus infinity where ties are not modelled."""
    reliability: Array
    """[L] strictly between 0 and 1."""


@dataclass(frozen=True)
class Mixture:
    """M answers of L labelers, and the priors."""

    straight: Design
    labeler: Array
    """[M] number of the labeler, from 0."""
    outcomes: Array
    """[M, 3] weights of first, tie, second."""
    precision: Array
    """[p] of the normal priors on the coefficients."""
    prior: tuple[float, float]
    """a and b of the Beta prior on each reliability, both at least 1."""
    ties: bool

    @property
    def flipped(self) -> Design:
        """With the reward's difference turned round; habits do not turn."""
        mine = self.straight
        return Design(mine.features, mine.second, mine.first, mine.extra, by_rows=mine.by_rows)

    def mode(self, on_round: Callable[[], None] | None = None) -> tuple[Point, Array]:
        """The most probable values near which all labelers are reliable, and the [p + L, p + L]
        covariance there of the coefficients and the reliabilities' logits, log ν integrated out
        (nan where the curvature is not that of a mode).

        `on_round` is called now and then, and may raise to end it.
        """
        a, b = self.prior
        at, share = None, np.full((len(self.labeler), 3), a / (a + b))
        for _ in range(_TRIES):
            for _ in range(_ROUNDS):
                if on_round is not None:
                    on_round()
                at = self.maximised(share, at)
                share = self.shares(at)
            assert at is not None
            at, arrived = self._climbed(at)
            if arrived:
                break
            share = self.shares(at)
        assert at is not None
        return at, self._covariance(at)

    def value(self, at: Point) -> float:
        """The log posterior density, up to constants."""
        eta = at.reliability[self.labeler][:, None]
        likelihood = (eta * probabilities(self.straight.differences(at.coefficients), at.log_tie)
                      + (1 - eta) * probabilities(self.flipped.differences(at.coefficients),
                                                  at.log_tie))
        a, b = self.prior
        used = self.outcomes > 0
        return float(
            (self.outcomes[used] * np.log(np.maximum(likelihood[used], 1e-300))).sum()
            - self.precision @ at.coefficients**2 / 2
            - (TIE_PRECISION * at.log_tie**2 / 2 if self.ties else 0.0)
            + ((a - 1) * np.log(at.reliability) + (b - 1) * np.log1p(-at.reliability)).sum())

    def shares(self, at: Point) -> Array:
        """[M, 3] how likely each outcome is to have been by the reward."""
        eta = at.reliability[self.labeler][:, None]
        by, against = (part * probabilities(design.differences(at.coefficients), at.log_tie)
                       for design, part in ((self.straight, eta), (self.flipped, 1 - eta)))
        return np.asarray(by / np.maximum(by + against, 1e-300))

    def derivatives(self, at: Point) -> tuple[Array, Array]:
        """Gradient and negative Hessian of `value` by coefficients, log ν (with ties) and the
        reliabilities' logits."""
        priors = np.append(self.precision, TIE_PRECISION) if self.ties else self.precision
        values = np.append(at.coefficients, at.log_tie) if self.ties else at.coefficients
        by, eta, size = self.shares(at), at.reliability, len(values)
        # Each reading counts by what falls to it, and brings half of the priors.
        parts = [derivatives(design, self.outcomes * share, priors / 2, values, self.ties)
                 for design, share in ((self.straight, by), (self.flipped, 1 - by))]
        a, b = self.prior
        answers = np.bincount(self.labeler, self.outcomes.sum(axis=1), len(eta)) + a + b - 2
        believed = np.bincount(self.labeler, (self.outcomes * by).sum(axis=1), len(eta)) + a - 1
        information = np.zeros((size + len(eta),) * 2)
        information[:size, :size] = parts[0][1] + parts[1][1]
        information[size:, size:] = np.diag(answers * eta * (1 - eta))
        return (np.concatenate([parts[0][0] + parts[1][0], believed - answers * eta]),
                information - self._missing(at, by))

    def _missing(self, at: Point, by: Array) -> Array:
        """Σ ρ (1 − ρ) d dᵀ, d the difference between the gradients of the two readings' log
        probabilities, ρ how likely the first of them is."""
        width, rows = self.straight.features.shape[1], self.straight.rows()
        p, q = (probabilities(design.differences(at.coefficients), at.log_tie)
                for design in (self.straight, self.flipped))
        pull, against = (_LEAN - ((each[:, 0] - each[:, 2]) / 2)[:, None] for each in (p, q))
        whose = np.eye(len(at.reliability))[self.labeler]
        lost: Any = 0.0
        for outcome in range(3):
            weight = self.outcomes[:, outcome] * by[:, outcome] * (1 - by[:, outcome])
            if not weight.any():
                continue
            # Turned round, a reward's row changes its sign; habits' rows do not.
            columns = [rows[:, :width] * (pull + against)[:, outcome, None],
                       rows[:, width:] * (pull - against)[:, outcome, None]]
            if self.ties:
                columns.append((q[:, 1] - p[:, 1])[:, None])
            d = np.hstack([*columns, whose])
            lost = lost + d.T @ (weight[:, None] * d)
        return np.asarray(lost)

    def maximised(self, share: Array, start: Point | None) -> Point:
        """The M-step: a weighted fit over both readings of every answer, and the mode of each η."""
        one, other = self.straight, self.flipped
        both = Design(one.features, np.concatenate([one.first, other.first]),
                      np.concatenate([one.second, other.second]),
                      None if one.extra is None else np.vstack([one.extra, one.extra]),
                      by_rows=rows_are_fewer(one.features, 2 * len(one.first)))
        found = fit(both, np.vstack([self.outcomes * share, self.outcomes * (1 - share)]),
                    self.precision, self.ties,
                    None if start is None else (start.coefficients, start.log_tie))
        (a, b), labelers = self.prior, int(self.labeler.max()) + 1
        total = np.bincount(self.labeler, self.outcomes.sum(axis=1), labelers) + a + b - 2
        by = np.bincount(self.labeler, (self.outcomes * share).sum(axis=1), labelers) + a - 1
        eta = np.where(total > 0, by / np.maximum(total, 1e-12), a / (a + b))
        return Point(found.coefficients, found.log_tie, np.clip(eta, _EDGE, 1 - _EDGE))

    def _climbed(self, at: Point) -> tuple[Point, bool]:
        """Where Newton's method leads, and whether it came to a mode."""
        reached = self.value(at)
        for _ in range(_STEPS):
            gradient, information = self.derivatives(at)
            if not _is_positive(information):
                return at, False
            step = np.linalg.solve(information, gradient)
            if float(gradient @ step) < 1e-10:
                return at, True
            for _ in range(_HALVINGS):
                tried = self._moved(at, step)
                if (value := self.value(tried)) > reached:
                    break
                step = step / 2
            else:
                return at, True  # to rounding
            at, reached = tried, value
        return at, False

    def _moved(self, at: Point, step: Array) -> Point:
        width = len(at.coefficients)
        moved, rest = step[:width], step[width:]
        tie = at.log_tie + rest[0] if self.ties else at.log_tie
        logits = np.log(at.reliability) - np.log1p(-at.reliability) + rest[int(self.ties):]
        return Point(at.coefficients + moved, float(tie),
                     np.clip(1 / (1 + np.exp(-logits)), _EDGE, 1 - _EDGE))

    def _covariance(self, at: Point) -> Array:
        information = self.derivatives(at)[1]
        kept = np.arange(len(information))
        if self.ties:
            kept = np.delete(kept, len(at.coefficients))
        if not _is_positive(information):
            return np.full((len(kept), len(kept)), np.nan)
        return np.asarray(np.linalg.inv(information)[np.ix_(kept, kept)])


def _is_positive(matrix: Array) -> bool:
    """Whether it is positive definite, as minus the Hessian is at a mode."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
