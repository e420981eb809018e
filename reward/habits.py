"""Labelers' habits: estimated beside a linear reward, and then no part of what a model learns.

What labelers say follows from more than how good a response is: some answer at random, some prefer
the side that is shown first, some prefer what is longer. `reward.instant.crowd` estimates the terms
that are asked for together with a linear reward on features of the frozen backbone, chosen and
standardised as those of a linear head are (`reward.heads`). They are then held fixed, and every
training pair gets what they make of it: `Pair.offset`,

    h = β_side · s + β_length · (ℓ_chosen − ℓ_rejected),

s = ±1 for whether the chosen response was shown first (0 where nobody knows), ℓ the standardised
log(1 + words), and `Pair.flipped`, 1 − η of its labeler. `reward.losses.crowd_loss` has them in the
likelihood, so the reward need not explain them, and at scoring time there are none. Ties are half a
vote each way, as in that loss, so that β is in the scale of its Δ; margins and smoothing, which say
what to learn and not what labelers do, have no part in the estimate.

Two-step estimates are not joint ones: what the linear reward cannot see but a habit can stand for,
such as length where it is *right* to be long, goes to the habit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from backbone.model import Backbone
from reward.config import RewardConfig
from reward.examples import Example, Pair, PreferenceData
from reward.heads import linear_setup
from reward.instant.crowd import Terms, Votes, fit_crowd
from reward.instant.response_features import FeatureTable

Array = np.ndarray[Any, Any]
_BETTER, _TIE = 0, 1  # outcomes of a vote whose first response is the chosen one


@dataclass(frozen=True)
class Habits:
    """What was estimated, term by term; a term that is off has nothing to say."""

    side: float | None
    """What being shown first is worth, in logits."""
    length: float | None
    """What a standard deviation of log(1 + words) is worth, in logits."""
    length_deviation: float
    """That standard deviation, over the training responses."""
    reliability: Mapping[int, float] | None
    """Labeler id -> η, the probability that they judge by the reward."""
    side_error: float = math.nan
    """Standard error of `side`; nan where it is not known."""
    length_error: float = math.nan
    """Standard error of `length`, likewise."""

    def on(self, example: Example) -> Example:
        """A prompt whose pairs say what the habits make of them."""
        lengths = _log_lengths(example)
        return replace(example, pairs=tuple(
            replace(pair, offset=self._offset(pair, lengths),
                    flipped=0.0 if self.reliability is None
                    else 1 - self.reliability[pair.labeler_id])
            for pair in example.pairs))

    def _offset(self, pair: Pair, log_lengths: Mapping[int, float]) -> float:
        difference = log_lengths[pair.chosen_id] - log_lengths[pair.rejected_id]
        return ((self.side or 0.0) * _side(pair)
                + (self.length or 0.0) * difference / self.length_deviation)


def without_habits(backbone: Backbone, data: PreferenceData, config: RewardConfig,
                   known: FeatureTable | None = None,
                   on_batch: Callable[[float], None] | None = None) -> PreferenceData:
    """The data whose training pairs say what their labelers' habits make of them; `habits` says
    what was estimated. What is held out or kept back stays as it is.

    Features of responses that are `known` (by id) are not computed again; `on_batch` hears the
    share of the others that is done, and then now and then 1; it may raise to end it.

    Raises:
        BadInput: there is nothing to learn from.
    """
    if not config.corrects:
        return data
    setup = linear_setup(backbone, config.max_length, config.question, data.train, known,
                         on_batch)
    table, best = setup.table, setup.best
    # A spread is stated for all features, and the crowd's prior is over the directions kept of
    # them: with d features in k columns, the same coefficients' deviation is spread / √d.
    spread = best.spread * math.sqrt(table.shape[1] / len(best.features.standard.center))
    habits = estimate_habits(table, setup.rows, data.train, config.corrects, spread,
                             None if on_batch is None else partial(on_batch, 1.0))
    return replace(data, train=tuple(map(habits.on, data.train)),
                   habits=_document(habits, data.train, best.features.name, best.spread))


def estimate_habits(features: Array, rows: Mapping[int, int], examples: Sequence[Example],
                    corrects: Sequence[str], spread: float,
                    on_round: Callable[[], None] | None = None) -> Habits:
    """The habits named (`reliability`, `side`, `length`), the most probable with a linear reward.

    Args:
        features: [N, k] as coefficients read them.
        rows: response id -> row of the features, for every response of the examples.
        examples: prompts with their pairs, each of which counts as much as in training.
        corrects: what to estimate.
        spread: prior standard deviation of one response's reward, of standardised features.
        on_round: called now and then; may raise to end it.

    Raises:
        BadInput: there are no pairs.
    """
    pairs = [pair for example in examples for pair in example.pairs]
    labelers = sorted({pair.labeler_id for pair in pairs})
    number = {labeler: n for n, labeler in enumerate(labelers)}
    log_lengths = np.zeros(len(features))
    for example in examples:
        for i, value in _log_lengths(example).items():
            log_lengths[rows[i]] = value
    votes = Votes(np.array([rows[p.chosen_id] for p in pairs], int),
                  np.array([rows[p.rejected_id] for p in pairs], int),
                  np.array([_TIE if p.is_tie else _BETTER for p in pairs], int),
                  np.array([number[p.labeler_id] for p in pairs], int),
                  np.array([_side(p) for p in pairs], int), np.array([p.counts for p in pairs]))
    terms = Terms(ties=False, **dict.fromkeys(corrects, True))
    found = fit_crowd(features, votes, terms, spread=spread, log_lengths=log_lengths,
                      on_round=on_round)
    return Habits(found.side if terms.side else None, found.length if terms.length else None,
                  max(float(np.std(log_lengths)), 1e-12),
                  dict(zip(labelers, found.reliability.tolist(), strict=True))
                  if terms.reliability else None, found.side_error, found.length_error)


def _document(habits: Habits, examples: Sequence[Example], features: str,
              spread: float) -> dict[str, Any]:
    """As JSON can hold it: what was estimated, in logits, of how many pairs, beside what reward."""
    pairs = [pair for example in examples for pair in example.pairs]
    found: dict[str, Any] = {"features": features, "spread": spread, "pairs": len(pairs)}
    if habits.side is not None:
        found |= {"side": habits.side, **_interval("side", habits.side, habits.side_error),
                  "pairs_of_known_side": sum(p.shown_first is not None for p in pairs)}
    if habits.length is not None:
        found |= {"length": habits.length, "length_deviation": habits.length_deviation,
                  **_interval("length", habits.length, habits.length_error)}
    if habits.reliability is not None:
        answers = {labeler: len({p.comparison_id for p in pairs if p.labeler_id == labeler})
                   for labeler in habits.reliability}
        found |= {"reliability": {str(i): value for i, value in habits.reliability.items()},
                  "answers": {str(i): count for i, count in answers.items()}}
    return found


def _interval(name: str, value: float, error: float) -> dict[str, float]:
    """The ends of the 95 % interval, where the error is known."""
    return {} if math.isnan(error) else {f"{name}_low": value - 1.96 * error,
                                         f"{name}_high": value + 1.96 * error}


def _side(pair: Pair) -> int:
    """+1 where the chosen response was shown first, −1 where the other, 0 where nobody knows."""
    return 0 if pair.shown_first is None else 1 if pair.shown_first else -1


def _log_lengths(example: Example) -> dict[int, float]:
    """log(1 + words) of each response, by its id."""
    return {i: math.log1p(len(text.split())) for i, text in example.texts.items()}
