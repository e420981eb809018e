"""What is known of a reward model version today, and whether it may be used: its report, judged.

The report itself is made by `reward.report.figures`; here it is only looked up, so that pages and
commands say the same without loading a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from data.measures.statistics import Estimate, percent
from data.records import RewardModel
from data.store import Store

#: An interval of accuracy wider than this (about 43 independent pairs) rules out too little: not
#: even a model that is right in 65 % could be told from chance.
WIDEST = 0.3
CHANCE = 0.5
#: A share of fewer pairs than this is told in counts: "100 % of two" sounds like more than it is.
FEW = 10

Standing = Literal["beats", "fails", "too few", "unknown"]


@dataclass(frozen=True)
class Report:
    """The newest report on a version."""

    metrics: Mapping[str, Any]
    made_at: str
    job_id: int | None
    """The job that made it: the one that trained the version, or a later evaluation."""
    again: bool
    """Whether it was made after training, by an evaluation."""


@dataclass(frozen=True)
class Verdict:
    """Whether a version beats its baselines on held-out prompts, and one clause that says why."""

    standing: Standing
    reason: str

    @property
    def offered(self) -> bool:
        """Whether a policy may be improved against it without anybody insisting."""
        return self.standing in ("beats", "unknown")

    @property
    def of_baselines(self) -> str:
        """What became of its baselines, in a word or two."""
        return {"beats": "beaten", "fails": "not beaten", "too few": "too few pairs to tell",
                "unknown": "not measured"}[self.standing]


def latest_report(store: Store, version: RewardModel) -> Report:
    """The newest evaluation on the workspace's held-out prompts, else the report of training.

    That is the one that ended last: one that was stopped may have gone on after a later one.
    """
    row = store.database.row("""
        SELECT id, result, finished_at FROM jobs WHERE kind = 'eval-reward' AND status = 'done'
        AND json_extract(result, '$.reward_model') = ?
        AND coalesce(json_extract(resolved, '$.data'), '') = ''
        ORDER BY finished_at DESC, id DESC LIMIT 1""", [version.name])
    if row is None:
        return Report(version.metrics, version.created_at, version.job_id, False)
    return Report(json.loads(row["result"]), row["finished_at"], row["id"], True)


def held_out_accuracy(metrics: Mapping[str, Any]) -> Estimate | None:
    """A report's accuracy on held-out prompts, also of those of older versions."""
    return _estimate(metrics.get("held_out_accuracy")) or _estimate(metrics.get("accuracy"))


def verdict(store: Store, version: RewardModel) -> Verdict:
    """`judge` of a version's newest report."""
    return judge(latest_report(store, version).metrics)


def over_file(metrics: Mapping[str, Any]) -> bool:
    """Whether a report is over the pairs of a file, and not over the workspace's held-out ones.

    Its `file` then says how many `prompts` that has, and how many of these are `training_prompts`
    of the workspace.
    """
    return "file" in metrics


def judge(metrics: Mapping[str, Any]) -> Verdict:
    """Whether a report shows that its reward model beats its baselines.

    Two tests, of different strictness. *Chance* is beaten by the interval: the low end of held-out
    accuracy lies above ½, since half of all models that know nothing lie above ½ themselves. *The
    longer response wins* is beaten by the point estimate on the same pairs: to know the difference
    of two such rules for sure takes hundreds of pairs, and a model that is no better than length
    where length is half of the truth is not useless, only unproven. Who fails either with an
    interval wider than `WIDEST` has too few held-out pairs to tell. Reports from before there were
    such figures say nothing either way.
    """
    if "held_out_accuracy" not in metrics or "baselines" not in metrics:
        return Verdict("unknown", "its report holds no held-out accuracy beside baselines")
    pairs, prompts = (("pairs in the file", "the file") if over_file(metrics)
                      else ("held-out pairs", "held-out prompts"))
    few = f"too few {pairs} to tell whether it beats its baselines: "
    accuracy = _estimate(metrics["held_out_accuracy"])
    if accuracy is None:
        return Verdict("too few", f"{few}none has been decided")
    longer = _estimate(metrics["baselines"].get("longer"))
    figures = f"it is right in {_in_words(accuracy, accuracy.percent())}; chance is 50 %" + (
        "" if longer is None else ", the longer response wins in "
        + _in_words(longer, percent(longer.value, 1)))
    if accuracy.low > CHANCE and (longer is None or accuracy.value > longer.value):
        return Verdict("beats", figures)
    if accuracy.high - accuracy.low > WIDEST:
        return Verdict("too few", few + figures)
    return Verdict("fails", f"does not beat its baselines on {prompts}: {figures}")


def _in_words(share: Estimate, percent: str) -> str:
    return percent if share.n >= FEW else f"{round(share.value * share.n)} of {share.n}"


def _estimate(values: Any) -> Estimate | None:
    return Estimate.from_dict(values) if isinstance(values, Mapping) else None
