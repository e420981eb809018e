"""The report on a reward model: all figures that follow from the scores of held-out responses.

Every figure has its n and a 95 % interval that knows that pairs of one prompt belong together.
Accuracy is over decided pairs, each labeler's vote by itself; ties are counted, and enter
cross-entropy with a label of ½. What cannot be said for want of data is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from data.measures.statistics import Estimate, bootstrap
from reward.examples import Example, Pair
from reward.losses import bradley_terry_loss
from reward.report.baselines import baselines
from reward.report.calibration import calibration
from reward.report.groups import Facts, drift, groups, votes_by_kind
from reward.report.mistakes import worst_mistakes
from reward.report.votes import Array, Scores, Votes, as_dict, clusters_of, ratio


def report(examples: Sequence[Example], scores: Scores, facts: Facts | None = None,
           previous: tuple[str, Scores] | None = None,
           keep_texts: bool = False) -> dict[str, Any]:
    """The report as JSON can hold it.

    Keys: `held_out_accuracy`, `cross_entropy`, `baselines` (`reward.report.baselines`),
    `calibration` (`reward.report.calibration`), `length_correlation` (`pearson`, `spearman`),
    `groups`, `drift` and `votes_by`, kind of labeler to votes (`reward.report.groups`), `mistakes`
    (`reward.report.mistakes`), and the counts `prompts`, `pairs`, `ties`, `comparisons`.

    Args:
        examples: held-out prompts with what was said of their responses.
        scores: of all their responses, by id.
        facts: what the store knows of them; without it there is no breakdown that needs it, and
            no other labeler to compare with.
        previous: name and scores of the version before.
        keep_texts: whether mistakes bring their texts along.
    """
    facts = facts or Facts()
    votes = Votes.of(examples, scores)
    pairs = [pair for example in examples for pair in example.pairs]
    return {
        "held_out_accuracy": as_dict(votes.accuracy()),
        "cross_entropy": as_dict(cross_entropy(examples, scores)),
        "baselines": baselines(votes, examples, facts.said, previous),
        "calibration": calibration(votes),
        "length_correlation": length_correlation(examples, scores),
        "groups": groups(votes, facts),
        "drift": drift(votes, facts),
        "votes_by": votes_by_kind(votes, facts),
        "mistakes": worst_mistakes(examples, scores, keep_texts),
        "prompts": len(examples), "pairs": len(pairs), "ties": len(pairs) - len(votes.pairs),
        "comparisons": len({pair.comparison_id for pair in pairs})}


def held_out_accuracy(examples: Sequence[Example], scores: Scores) -> Estimate | None:
    """How often the chosen response scores higher; equal scores count half."""
    return Votes.of(examples, scores).accuracy()


def cross_entropy(examples: Sequence[Example], scores: Scores) -> Estimate | None:
    """Mean −log likelihood of the pairs in nats, ties at ½; ln 2 = 0.693 is knowing nothing.

    The interval is a bootstrap over clusters of prompts.
    """
    asked = [e for e in examples if e.pairs]
    if not asked:
        return None
    return ratio(np.array([_losses(e.pairs, scores).sum() for e in asked]),
                 np.array([len(e.pairs) for e in asked]), clusters_of(asked))


def length_correlation(examples: Sequence[Example],
                       scores: Scores) -> dict[str, dict[str, Any] | None]:
    """Pearson's and Spearman's correlation of score and length in characters, over responses."""
    rows = [(cluster, scores[i], float(len(text)))
            for cluster, e in zip(clusters_of(examples), examples, strict=True)
            for i, text in e.texts.items()]
    if len(rows) < 3:
        return {"pearson": None, "spearman": None}
    cluster = np.array([row[0] for row in rows])
    score, length = (np.array([row[k] for row in rows]) for k in (1, 2))
    return {"pearson": as_dict(_correlation(score, length, cluster)),
            "spearman": as_dict(_correlation(_ranks(score), _ranks(length), cluster))}


def _losses(pairs: Sequence[Pair], scores: Scores) -> Array:
    differences = torch.tensor([scores[p.chosen_id] - scores[p.rejected_id] for p in pairs],
                               dtype=torch.float64)
    strengths = torch.tensor([p.strength for p in pairs])
    return np.asarray(bradley_terry_loss(differences, strengths))


def _correlation(x: Array, y: Array, cluster: Array) -> Estimate | None:
    """Pearson's r, its interval over clusters; None where one of the two is constant."""
    def weighted(drawn: Array) -> float:
        weights = drawn[cluster] / max(drawn[cluster].sum(), 1)
        dx, dy = x - weights @ x, y - weights @ y
        spread = float(np.sqrt((weights @ dx**2) * (weights @ dy**2)))
        if spread <= 1e-9 * np.abs(x).max() * np.abs(y).max():  # rounding, no spread
            return float("nan")
        return float(weights @ (dx * dy)) / spread

    units = int(cluster.max()) + 1
    value = weighted(np.ones(units))
    if np.isnan(value):
        return None
    low, high = bootstrap(weighted, units)
    return Estimate(value, len(x), low, high)


def _ranks(values: Array) -> Array:
    """Ranks from 0, ties sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return np.asarray(((ends - counts + ends - 1) / 2)[place])
