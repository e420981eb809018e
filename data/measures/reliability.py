"""How far each labeler can be relied upon, by an annotator model rather than by a count.

Plain agreement blames a labeler for the others' mistakes. The model asks instead how often each
one names the response that is truly better, where the truth is what all of them together make
likely: Dawid & Skene (1979), "Maximum likelihood estimation of observer error-rates using the EM
algorithm", with one accuracy a labeler, as Chen et al. (2013), "Pairwise ranking aggregation in a
crowdsourced setting" (Crowd-BT), have it for pairs. It is symmetric in the two responses: either
is as likely to be the better one beforehand, whatever their ids.

Ties say nothing of who is better, and are left out. The model cannot tell a crew from its mirror
image: it takes labelers to be right more often than wrong on the whole. Habits such as a
preferred side are not modelled here; see `data.measures.quality`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.measures.statistics import Estimate, Z
from data.measures.votes import Gold, votes_of
from data.records import Comparison

#: As if everybody had been right this often and wrong this often before the first answer. Weak:
#: alone it bounds a labeler between .15 and .96.
PRIOR_RIGHT, PRIOR_WRONG = 2.0, 1.0

_ITERATIONS = 1000
_TOLERANCE = 1e-7
_KNOWN = 50.0  # the log-odds of a truth that a lead has set
_OPEN = 0.25  # information of a standard deviation of 2 in log-odds: .02 to .98

Array = np.ndarray[Any, Any]


def reliability(comparisons: Iterable[Comparison],
                gold: Iterable[Gold] = ()) -> dict[int, Estimate | None]:
    """How often each labeler names the truly better response where they name one, by labeler id.

    `gold` holds answers, each with the right answer: there the truth is known. n counts the
    labeler's decided pairs that somebody else decided too or whose truth is known; None where
    there are none, since one labeler's word cannot be held against itself. Two labelers alone get
    wide intervals: the model sees that somebody errs, but hardly who. A K-way ranking weighs as
    its K − 1 independent decisions.
    """
    answered = {c.id: c for c in comparisons}
    known = list(gold)
    answered.update((c.id, c) for c, _ in known)
    # In order of their ids, so that the same answers give the same digits in any order.
    votes = _Votes.of([answered[i] for i in sorted(answered)], known)
    found: dict[int, Estimate | None] = {c.labeler_id: None for c in answered.values()}
    if not len(votes.said):
        return found
    accuracies = _most_likely(votes)
    log_odds = _log_odds(accuracies)
    deviations = np.sqrt(np.max([np.diag(c) for c in _covariances(votes, accuracies)], axis=0))
    ends = _share(log_odds - Z * deviations), _share(log_odds + Z * deviations)
    n = np.bincount(votes.labeler)
    for i, labeler_id in enumerate(votes.labelers):
        found[labeler_id] = Estimate(float(accuracies[i]), int(n[i]),
                                     float(ends[0][i]), float(ends[1][i]))
    return found


@dataclass(frozen=True)
class _Votes:
    """Decided votes on pairs whose truth somebody else's vote, or a lead, tells something of."""

    labelers: list[int]
    """The id of each labeler, by number."""
    labeler: Array
    """The number of the labeler of each vote, shape [votes]."""
    pair: Array
    """The number of the pair of responses, shape [votes]."""
    task: Array
    """The id of the task, shape [votes]."""
    said: Array
    """1 where the first response won, −1 where the second did, shape [votes]."""
    weight: Array
    """How many independent decisions the vote is worth, shape [votes]."""
    truth: Array
    """The log-odds that a lead gives to the first response being better, 0 unknown, [pairs]."""

    @classmethod
    def of(cls, comparisons: Iterable[Comparison],
           known: Iterable[Gold]) -> _Votes:
        truths = {(v.task_id, v.first, v.second): _KNOWN * _sign(v.winner == v.first)
                  for comparison, answer in known
                  for v in votes_of(replace(comparison, answer=answer)) if v.winner is not None}
        rows = []
        for comparison in comparisons:
            # K(K − 1)/2 pairs of K responses hold K − 1 decisions that do not follow from others.
            weight = 2 / sum(len(group) for group in comparison.answer.ranking)
            rows += [((v.task_id, v.first, v.second), v.labeler_id, _sign(v.winner == v.first),
                      weight) for v in votes_of(comparison) if v.winner is not None]
        times = Counter(pair for pair, *_ in rows)
        rows = [row for row in rows if times[row[0]] > 1 or row[0] in truths]
        pairs = {pair: i for i, pair in enumerate(dict.fromkeys(row[0] for row in rows))}
        numbers = {labeler: i for i, labeler in enumerate(dict.fromkeys(row[1] for row in rows))}
        return cls(list(numbers), np.array([numbers[row[1]] for row in rows], dtype=int),
                   np.array([pairs[row[0]] for row in rows], dtype=int),
                   np.array([row[0][0] for row in rows], dtype=int),
                   np.array([row[2] for row in rows], dtype=float),
                   np.array([row[3] for row in rows], dtype=float),
                   np.array([truths.get(pair, 0.0) for pair in pairs], dtype=float))


def _most_likely(votes: _Votes) -> Array:
    """Each labeler's accuracy at the maximum of the posterior, by EM from the majority's word."""
    weights = np.bincount(votes.labeler, votes.weight)
    accuracies = np.full(len(votes.labelers), PRIOR_RIGHT / (PRIOR_RIGHT + PRIOR_WRONG))
    for _ in range(_ITERATIONS):
        right = np.bincount(votes.labeler, votes.weight * _chance_right(votes, accuracies))
        updated = (PRIOR_RIGHT + right) / (PRIOR_RIGHT + PRIOR_WRONG + weights)
        converged = np.abs(updated - accuracies).max() < _TOLERANCE
        accuracies = updated
        if converged:
            break
    return accuracies


def _covariances(votes: _Votes, accuracies: Array) -> tuple[Array, Array]:
    """Of the accuracies' log-odds, shape [labelers, labelers] each: the model's, the robust one.

    The first is the inverse of the observed information. The second, its cluster-robust
    (sandwich) form, allows for pairs of one task that have more in common than the model knows.
    """
    chance = _chance_right(votes, accuracies)
    # −∂²/∂θ_j∂θ_k of the log posterior in log-odds θ, with m the chance that the first is better:
    # [j = k] (w_j + α + β) a_j(1 − a_j) − Σ_pairs w s_j s_k m(1 − m)
    weights = np.bincount(votes.labeler, votes.weight)
    curvature = (weights + PRIOR_RIGHT + PRIOR_WRONG) * accuracies * (1 - accuracies)
    doubt = votes.said * np.sqrt(votes.weight * chance * (1 - chance))
    model = _inverse(np.diag(curvature) - _products(doubt, votes.labeler, votes.pair))
    # ∂/∂θ_j of one vote's part of the log likelihood: w (its chance to be right − a_j)
    scores = votes.weight * (chance - accuracies[votes.labeler])
    return model, model @ _products(scores, votes.labeler, votes.task) @ model


def _inverse(information: Array) -> Array:
    """Its inverse, with every direction that the votes leave open bounded by `_OPEN` instead.

    Where two labelers alone contradict each other more often than not, say, one of them must be
    wrong and nothing tells who: the posterior has two peaks, and EM stops on the ridge between.
    """
    values, vectors = np.linalg.eigh(information)
    return np.asarray((vectors / np.maximum(values, _OPEN)) @ vectors.T)


def _chance_right(votes: _Votes, accuracies: Array) -> Array:
    """The E step: how likely each vote is right, given every vote on its pair; shape [votes]."""
    evidence = votes.said * _log_odds(accuracies)[votes.labeler]
    first_is_better = votes.truth + np.bincount(votes.pair, evidence)
    return _share(votes.said * first_is_better[votes.pair])


def _products(values: Array, labeler: Array, group: Array) -> Array:
    """Σ_groups v_j v_k over every two votes of one group, shape [labelers, labelers]."""
    order = np.argsort(group, kind="stable")
    values, labeler, group = values[order], labeler[order], group[order]
    size = int(labeler.max()) + 1
    total = np.zeros(size * size)
    for apart in range(1, int(np.bincount(np.unique(group, return_inverse=True)[1]).max())):
        one = np.flatnonzero(group[apart:] == group[:-apart])
        other = one + apart
        total += np.bincount(labeler[one] * size + labeler[other], values[one] * values[other],
                             minlength=size * size)
    products = total.reshape(size, size)
    return np.asarray(products + products.T + np.diag(np.bincount(labeler, values**2)))


def _sign(is_first: bool) -> float:
    return 1.0 if is_first else -1.0


def _log_odds(share: Array) -> Array:
    return np.asarray(np.log(share) - np.log1p(-share))


def _share(log_odds: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -log_odds)))
