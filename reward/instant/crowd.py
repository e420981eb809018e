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
the posterior (MAP): of `reward.instant.davidson`'s concave one, or with reliabilities that of
`reward.instant.mixture`, which may have several modes (turn every labeler and every reward round)
and is climbed from reliable labelers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.errors import BadInput
from reward.instant.davidson import (
    TIE_PRECISION,
    Design,
    fit,
    halved,
    log_likelihood,
    rows_are_fewer,
)
from reward.instant.mixture import Mixture
from reward.instant.standard import prior_precision

Array = np.ndarray[Any, Any]
#: Precision of the normal priors on the habits' coefficients, weak: one unit is e in odds.
HABIT_PRECISION = 0.1


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
              on_round: Callable[[], None] | None = None) -> CrowdFit:
    """The mode of the posterior.

    Args:
        features: [N, d], standardised; the identity gives every response a reward of its own.
        votes: whose rows are the features'.
        terms: what to estimate.
        spread: prior standard deviation of one response's reward.
        log_lengths: [N] log length of each response; needed by the length term.
        reliability_prior: a and b of the Beta prior on each labeler's η, both at least 1.
        on_round: called now and then where reliabilities are estimated, which takes seconds with
            thousands of votes; may raise to end it.

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
    design = Design(features, votes.first, votes.second, extra,
                    by_rows=rows_are_fewer(features, len(votes.first)))
    if terms.reliability:
        mixture = Mixture(design, votes.labeler, outcomes, precision, reliability_prior, with_ties)
        at, covariance = mixture.mode(on_round)
        return _result(at.coefficients, at.log_tie, at.reliability, mixture.value(at), covariance,
                       terms, width)
    found = fit(design, outcomes, precision, with_ties)
    value = (log_likelihood(design.differences(found.coefficients), outcomes, found.log_tie)
             - float(precision @ found.coefficients**2) / 2
             - (TIE_PRECISION * found.log_tie**2 / 2 if with_ties else 0.0))
    return _result(found.coefficients, found.log_tie, np.ones(int(votes.labeler.max()) + 1), value,
                   found.covariance, terms, width)


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


def _result(coefficients: Array, log_tie: float, reliability: Array, value: float,
            covariance: Array, terms: Terms, width: int) -> CrowdFit:
    """`covariance`: of the coefficients, and of whatever else is estimated behind them."""
    habits = list(zip(coefficients[width:], np.sqrt(np.diag(covariance))[width:], strict=False))
    side, side_error = habits.pop(0) if terms.side else (0.0, np.nan)
    length, length_error = habits.pop(0) if terms.length else (0.0, np.nan)
    return CrowdFit(coefficients[:width], float(side), float(length), log_tie, reliability, value,
                    float(side_error), float(length_error))
