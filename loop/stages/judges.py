"""The further reward models that PPO asks and does not obey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loop.context import JobContext

if TYPE_CHECKING:
    from data.records import RewardModel
    from policy.rollout import Judge


@contextmanager
def judges_of(context: JobContext, obeyed: RewardModel, count: int) -> Iterator[list[Judge]]:
    """The newest other reward models on the same checkpoint, each an adapter beside the obeyed
    one's, while PPO runs.

    Those that were there when the job was queued: a resumed run asks the same ones.

    Raises:
        BadInput: a version's adapter cannot be read.
    """
    from loop.models import reward_backbone
    from loop.stages.rewarding import load_reward_model
    from policy.rollout import Judge

    backbone = reward_backbone(context.settings.models)
    found = []
    try:
        for number, version in enumerate(_others(context, obeyed)[:count]):
            model = load_reward_model(context.settings, context.workspace, version, _name(number))
            found.append(Judge(model.score, *scale_of(version)))
        yield found
    finally:
        for number in range(count):
            backbone.drop_adapter(_name(number))


def scale_of(version: RewardModel) -> tuple[float, float]:
    """Mean and spread of the reward model's scores over sampled responses, for centring."""
    mean, spread = version.metrics.get("score_mean"), version.metrics.get("score_std")
    return (0.0 if mean is None else mean), (spread or 1.0)


def _others(context: JobContext, obeyed: RewardModel) -> list[RewardModel]:
    return [version for version in reversed(context.store.versions.reward_models())
            if version.id != obeyed.id and version.base == obeyed.base
            and version.created_at <= context.job.created_at]


def _name(number: int) -> str:
    return f"judge-{number}"
