"""What an ensemble's report says besides: how far its members differ, and its careful scores.

Of an ensemble the other figures of a report are those of its members' mean. Here are the same of
each rule that makes one score of several (`reward.ensemble`), on the same held-out votes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data.measures.statistics import Estimate
from reward.ensemble import RULES, combined
from reward.examples import Example
from reward.report.figures import cross_entropy, held_out_accuracy
from reward.report.votes import Array, Votes, as_dict, clusters_of, ratio

#: λ of the variance-penalised score that is reported.
PENALTY = 1.0


def ensemble_report(examples: Sequence[Example], members: Mapping[int, Array]) -> dict[str, Any]:
    """The figures as JSON can hold them; what cannot be said for want of data is None.

    `members`: how many; `spread`: standard deviation of their scores of a held-out response, on
    average; `spread_right` and `spread_wrong`: that of their score *differences*, over votes which
    the mean gets right and wrong (an ensemble that knows what it does not know differs more where
    it is wrong); `rules`: each rule's mean `score`, `accuracy` and `cross_entropy`; `penalty`: λ of
    the variance-penalised one; `each`: every member's accuracy.

    Args:
        examples: held-out prompts with what was said of their responses.
        members: response id -> [M] centred scores.
    """
    ids = list(members)
    table = np.stack([members[i] for i in ids], axis=1) if ids else np.zeros((0, 0))
    found: dict[str, Any] = {
        "members": len(table), "penalty": PENALTY,
        "spread": _over_prompts(examples, lambda i: float(members[i].std())),
        "each": [as_dict(held_out_accuracy(examples, dict(zip(ids, row.tolist(), strict=True))))
                 for row in table],
        "rules": {}, **_spreads(examples, members)}
    for rule in RULES if ids else ():
        scores = dict(zip(ids, combined(table, rule, PENALTY).tolist(), strict=True))
        found["rules"][rule] = {
            "score": _over_prompts(examples, scores.__getitem__),
            "accuracy": as_dict(held_out_accuracy(examples, scores)),
            "cross_entropy": as_dict(cross_entropy(examples, scores))}
    return found


def score_scale(table: Array) -> dict[str, float] | None:
    """What mean and spread of any rule's scores follow from; [M, n] centred scores.

    With the members' mean m and variance v of a response, m − λ v has the mean E m − λ E v and the
    variance Var m − 2 λ Cov(m, v) + λ² Var v, for every λ. None for fewer than two responses.
    """
    if table.shape[1] < 2:
        return None
    variances = table.var(axis=0)
    covariance = np.cov(table.mean(axis=0), variances)
    worst = table.min(axis=0).tolist()
    return {"worst_mean": statistics.fmean(worst), "worst_std": statistics.stdev(worst),
            "mean_mean": float(table.mean()), "mean_variance": float(covariance[0, 0]),
            "variance_mean": float(variances.mean()), "variance_variance": float(covariance[1, 1]),
            "covariance": float(covariance[0, 1])}


def scale_by(scale: Mapping[str, float], rule: str, penalty: float) -> tuple[float, float]:
    """Mean and standard deviation of the scores of a rule, from what `score_scale` kept."""
    if rule == "worst":
        return scale["worst_mean"], scale["worst_std"]
    penalty = penalty if rule == "variance-penalised" else 0.0
    variance = (scale["mean_variance"] - 2 * penalty * scale["covariance"]
                + penalty**2 * scale["variance_variance"])
    return scale["mean_mean"] - penalty * scale["variance_mean"], max(variance, 0.0) ** 0.5


def _spreads(examples: Sequence[Example], members: Mapping[int, Array]) -> dict[str, Any]:
    """The spread of score differences, over votes that the mean gets right and wrong."""
    votes = Votes.of(examples, {i: float(scores.mean()) for i, scores in members.items()})
    spreads = np.array([(members[p.chosen_id] - members[p.rejected_id]).std()
                        for p in votes.pairs], dtype=float)
    return {f"spread_{name}": as_dict(_mean(spreads, votes, inside)) for name, inside in (
        ("right", votes.differences > 0), ("wrong", votes.differences < 0))}


def _mean(values: Array, votes: Votes, inside: Array) -> Estimate | None:
    if not inside.any():
        return None
    return ratio(values[inside], np.ones(inside.sum()), votes.clusters[inside])


def _over_prompts(examples: Sequence[Example],
                  value: Callable[[int], float]) -> dict[str, Any] | None:
    """The mean over responses, with an interval that knows which are of one cluster."""
    if not examples:
        return None
    return as_dict(ratio(np.array([sum(value(i) for i in e.texts) for e in examples]),
                         np.array([float(len(e.texts)) for e in examples]),
                         clusters_of(examples)))
