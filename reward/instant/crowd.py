"""One likelihood of what several labelers said, with terms that can be switched on.

A labeler l compared two responses. With z = ±1 for whether they judged by the reward or against
it, the difference they acted on is

    Δ = z · (r_first − r_second) + β_side · s + β_length · (ℓ_first − ℓ_second),

and P(first, tie, second | Δ) is Davidson's (`reward.instant.davidson`). The terms, each with its
source:

- the reward r = Φ w: Bradley & Terry (1952); free rewards with Φ = 1, features otherwise;
- `reliability`: P(z = +1) = η_l with a Beta prior, one η a labeler: Chen et al. (2013), "Pairwise
  ranking aggregation in a crowdsourced setting" (Crowd-BT). Ours keeps habits out of the flip;
- `side`: s = +1 where the first was shown first, −1 where second: Davidson & Beaver (1977), "On
  extending the Bradley–Terry model to incorporate within-pair order effects";
- `length`: ℓ is the standardised log length, β_length what labelers give for length alone:
  Dubois et al. (2024), "Length-controlled AlpacaEval" put it into a logistic model likewise;
- `ties`: Davidson (1970).

Habits are estimated and *removed*: `CrowdFit.rewards` holds Φ w alone. The estimate is the mode of
the posterior (MAP), by expectation–maximisation over z: its M-step is the concave fit of
`reward.instant.davidson`, so the posterior density never falls. With reliabilities the posterior
may have several modes (turn every labeler and every reward round); it starts from reliable
labelers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.errors import BadInput
from reward.instant.crowd_errors import Readings, mixture_covariance
from reward.instant.davidson import TIE_PRECISION, Design, Fit, fit, halved, probabilities
from reward.instant.standard import prior_precision

Array = np.ndarray[Any, Any]
#: Precision of the normal priors on the habits' coefficients, weak: one unit is e in odds.
HABIT_PRECISION = 0.1
_ROUNDS = 500
#: Expectation–maximisation ends where a round gains less of the log posterior, relatively.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Votes:
    """M answers, each by one labeler on one pair."""

    first: Array
    """[M] row of the one response in the feature table."""
    second: Array
    """[M] row of the other."""
    outcome: Array
    """[M] 0 the first is better, 1 a tie, 2 the second is better."""
    labeler: Array
    """[M] number of the labeler, from 0."""
    shown: Array
    """[M] +1 where the first was shown first (left), −1 where second, 0 where nobody knows."""
    weight: Array | None = None
    """[M] how much each counts; None: one vote each."""

    def take(self, chosen: Array) -> Votes:
        """Some of them, by index or mask; labelers keep their numbers."""
        return Votes(self.first[chosen], self.second[chosen], self.outcome[chosen],
                     self.labeler[chosen], self.shown[chosen],
                     None if self.weight is None else self.weight[chosen])


@dataclass(frozen=True)
class Terms:
    """Which terms the likelihood has beside the reward difference."""

    reliability: bool = False
    side: bool = False
    length: bool = False
    ties: bool = True
    """Without: a tie is half a vote for either side."""


@dataclass(frozen=True)
class CrowdFit:
    """The most probable parameters."""

    coefficients: Array
    """[d] of the reward."""
    side: float
    """What being shown first is worth, in logits; 0 where it is not estimated."""
    length: float
    """What a standard deviation of log length is worth beside the reward, in logits."""
    log_tie: float
    """log ν; minus infinity where ties are not modelled."""
    reliability: Array
    """[L] probability that a labeler judges by the reward, 1 where it is not estimated."""
    log_posterior: float
    """log likelihood and log priors at the mode, up to constants."""
    side_error: float
    """Standard error of `side`; nan where it is not estimated, or the curvature is no mode's."""
    length_error: float
    """Standard error of `length`, likewise."""

    def rewards(self, features: Array) -> Array:
        """[N] rewards without labelers' habits; only differences mean something."""
        return np.asarray(features @ self.coefficients)


def fit_crowd(features: Array, votes: Votes, terms: Terms, *, spread: float = 2.0,
              log_lengths: Array | None = None,
              reliability_prior: tuple[float, float] = (10.0, 2.0),
              tolerance: float = TOLERANCE) -> CrowdFit:
    """The mode of the posterior.

    Args:
        features: [N, d], standardised; the identity gives every response a reward of its own.
        votes: whose rows are the features'.
        terms: what to estimate.
        spread: prior standard deviation of one response's reward.
        log_lengths: [N] log length of each response; needed by the length term.
        reliability_prior: a and b of the Beta prior on each labeler's η, both at least 1.
        tolerance: relative gain of the log posterior below which a round of
            expectation–maximisation is the last.

    Raises:
        BadInput: no votes, a term without what it needs, or a prior without a mode.
    """
    if not len(votes.first):
        raise BadInput("there are no votes to learn from")
    if terms.length and log_lengths is None:
        raise BadInput("length: the term needs the responses' lengths")
    if min(reliability_prior) < 1:
        raise BadInput("reliability: both parameters of the Beta prior must be at least 1")
    extra = _habits(votes, terms, log_lengths)
    width = features.shape[1]
    precision = np.concatenate([prior_precision(width, spread),
                                np.full(terms.side + terms.length, HABIT_PRECISION)])
    outcomes = np.eye(3)[votes.outcome]
    if votes.weight is not None:
        outcomes = outcomes * votes.weight[:, None]
    if not terms.ties:
        outcomes = halved(outcomes)
    with_ties = terms.ties and bool((votes.outcome == 1).any())
    labelers = int(votes.labeler.max()) + 1
    if not terms.reliability:
        design = Design(features, votes.first, votes.second, extra,
                        by_rows=_rows_are_fewer(features, len(votes.first)))
        found = fit(design, outcomes, precision, with_ties)
        value = _log_posterior(design, None, outcomes, found, precision, np.ones(labelers),
                               votes.labeler, reliability_prior)
        return _result(found, terms, width, np.ones(labelers), value, found.covariance)
    return _expectation_maximisation(features, votes, terms, extra, outcomes, precision,
                                     with_ties, labelers, reliability_prior, tolerance)


def _expectation_maximisation(features: Array, votes: Votes, terms: Terms, extra: Array | None,
                              outcomes: Array, precision: Array, with_ties: bool, labelers: int,
                              prior: tuple[float, float], tolerance: float) -> CrowdFit:
    straight = Design(features, votes.first, votes.second, extra)
    flipped = replace(straight, first=votes.second, second=votes.first)  # habits do not turn
    both = Design(features, np.concatenate([votes.first, votes.second]),
                  np.concatenate([votes.second, votes.first]),
                  None if extra is None else np.vstack([extra, extra]),
                  by_rows=_rows_are_fewer(features, 2 * len(votes.first)))
    a, b = prior
    total = np.bincount(votes.labeler, votes.weight, labelers) + a + b - 2
    share = np.full((len(votes.first), 3), a / (a + b))
    found, reached, start = None, -np.inf, None
    for _ in range(_ROUNDS):
        # M: a weighted fit over both readings of every answer, and the mode of each η
        found = fit(both, np.vstack([outcomes * share, outcomes * (1 - share)]), precision,
                    with_ties, start)
        start = found.coefficients, found.log_tie
        by_reward = np.bincount(votes.labeler, (outcomes * share).sum(axis=1), labelers) + a - 1
        reliability = np.where(total > 0, by_reward / np.maximum(total, 1e-12), a / (a + b))
        value = _log_posterior(straight, flipped, outcomes, found, precision, reliability,
                               votes.labeler, prior)
        if value - reached < tolerance * max(1.0, abs(value)):
            break
        reached = value
        # E: [M, 3] how likely each answer is to have been by the reward, for each side of a tie
        eta = reliability[votes.labeler][:, None]
        by = eta * probabilities(straight.differences(found.coefficients), found.log_tie)
        against = (1 - eta) * probabilities(flipped.differences(found.coefficients),
                                            found.log_tie)
        share = by / np.maximum(by + against, 1e-300)
    assert found is not None
    inside = np.clip(reliability, 1e-9, 1 - 1e-9)  # a flat prior's mode may lie on the edge
    covariance = mixture_covariance(Readings(straight, flipped, votes.labeler, inside, prior),
                                    outcomes, found, precision)
    return _result(found, terms, features.shape[1], reliability, value, covariance)


def _rows_are_fewer(features: Array, comparisons: int) -> bool:
    """Whether the comparisons' rows hold fewer numbers than a table of all responses by all."""
    responses, columns = features.shape
    return bool(comparisons * columns < responses**2)


def _habits(votes: Votes, terms: Terms, log_lengths: Array | None) -> Array | None:
    """[M, k] the columns of the terms that are on, None where none is."""
    columns = []
    if terms.side:
        columns.append(votes.shown.astype(float))
    if terms.length:
        assert log_lengths is not None
        standard = log_lengths / max(float(np.std(log_lengths)), 1e-12)
        columns.append(standard[votes.first] - standard[votes.second])
    return np.stack(columns, 1) if columns else None


def _log_posterior(straight: Design, flipped: Design | None, outcomes: Array, found: Fit,
                   precision: Array, reliability: Array, labeler: Array,
                   prior: tuple[float, float]) -> float:
    """log Σ_z P(z) P(answer | z), and the priors."""
    likelihood = probabilities(straight.differences(found.coefficients), found.log_tie)
    value = -float(precision @ found.coefficients**2) / 2
    if np.isfinite(found.log_tie):
        value -= TIE_PRECISION * found.log_tie**2 / 2
    if flipped is not None:
        eta = reliability[labeler][:, None]
        likelihood = eta * likelihood + (1 - eta) * probabilities(
            flipped.differences(found.coefficients), found.log_tie)
        (a, b), tiny = prior, 1e-300
        value += float(((a - 1) * np.log(np.maximum(reliability, tiny))
                        + (b - 1) * np.log(np.maximum(1 - reliability, tiny))).sum())
    used = outcomes > 0
    return value + float((outcomes[used] * np.log(np.maximum(likelihood[used], 1e-300))).sum())


def _result(found: Fit, terms: Terms, width: int, reliability: Array, value: float,
            covariance: Array) -> CrowdFit:
    """`covariance`: of the coefficients, and of whatever else is estimated behind them."""
    habits = list(zip(found.coefficients[width:], np.sqrt(np.diag(covariance))[width:],
                      strict=False))
    side, side_error = habits.pop(0) if terms.side else (0.0, np.nan)
    length, length_error = habits.pop(0) if terms.length else (0.0, np.nan)
    return CrowdFit(found.coefficients[:width], float(side), float(length), found.log_tie,
                    reliability, value, float(side_error), float(length_error))
