"""The reward model that an improvement obeys, and the further ones that PPO only asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loop.context import JobContext

if TYPE_CHECKING:
    from data.records import Message, RewardModel
    from policy.config import BestOfNConfig, PPOConfig
    from policy.rollout import Reward
    from reward.ensemble import Array
    from reward.scorer import Scorer


class Obeyed:
    """A reward model as a policy is trained against it: of an ensemble, by the rule of the config.

    How far an ensemble's members differ on a batch is known once it has been scored, so whoever
    asks for the spread of the same conversations next waits for no model.
    """

    def __init__(self, model: Scorer, config: PPOConfig | BestOfNConfig) -> None:
        from reward.ensemble import Ensemble

        self.model = model
        self._ensemble = model if isinstance(model, Ensemble) else None
        self._rule, self._penalty = config.ensemble_score, config.variance_penalty
        self._last: tuple[list[Sequence[Message]], Array] | None = None

    @property
    def is_ensemble(self) -> bool:
        """Whether it has members that can differ."""
        return self._ensemble is not None

    def score(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """One score for each conversation."""
        from reward.ensemble import combined

        if self._ensemble is None:
            return self.model.score(conversations)
        found: list[float] = combined(self._members(conversations), self._rule,
                                      self._penalty).tolist()
        return found

    @property
    def credit(self) -> Callable[[Sequence[Sequence[Message]]], list[list[float]]] | None:
        """What each token of a response brings to its score, where the model can tell."""
        from reward.combined import CombinedReward
        from reward.tuned import TunedReward

        model = self.model
        if isinstance(model, TunedReward) or (
                isinstance(model, CombinedReward) and model.has_credit):
            return model.credit
        return None

    def spread(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """Standard deviation of the members' scores, of each conversation; 0 without members."""
        if self._ensemble is None:
            return [0.0] * len(conversations)
        found: list[float] = self._members(conversations).std(axis=0).tolist()
        return found

    def scale(self, version: RewardModel) -> tuple[float, float]:
        """Mean and spread of the scores that are obeyed, over sampled responses."""
        from reward.report.ensemble import scale_by

        kept = (version.metrics.get("ensemble") or {}).get("scale")
        if self._ensemble is None or not kept:
            return scale_of(version)
        mean, spread = scale_by(kept, self._rule, self._penalty)
        return mean, spread or 1.0

    def value_start(self, version: RewardModel, folder: Path
                    ) -> tuple[Path | None, float, float]:
        """What a value model starts from: an adapter with a head, and what of its scores is to
        become 0 and 1. Of an ensemble that is its first member, whose scores are not centred; where
        a linear head has a part in the reward, the LoRA part in its own scale. A linear head alone
        and a tuned reward have no head that reads what a value model reads: None, a value model
        begins anew."""
        from reward.combined import CombinedReward
        from reward.ensemble import member_folder
        from reward.tuned import TunedReward

        mean, spread = self.scale(version)
        if self._ensemble is not None:
            return member_folder(folder, 0), mean + self._ensemble.centers[0], spread
        if isinstance(self.model, TunedReward) or (
                isinstance(self.model, CombinedReward) and self.model.lora is None):
            return None, 0.0, 1.0
        if isinstance(self.model, CombinedReward):
            kept = version.metrics["selection"]["lora_scale"]
            return folder, kept["mean"], kept["std"] or 1.0
        return folder, mean, spread

    def _members(self, conversations: Sequence[Sequence[Message]]) -> Array:
        """[M, n] the members' scores; of the conversations of the last call, as they were."""
        assert self._ensemble is not None
        asked = list(conversations)
        if self._last is None or self._last[0] != asked:
            self._last = asked, self._ensemble.member_scores(asked)
        return self._last[1]


@contextmanager
def judges_of(context: JobContext, obeyed: RewardModel,
              count: int) -> Iterator[tuple[list[Reward], dict[str, str]]]:
    """The newest other reward models on the same checkpoint, each an adapter beside the obeyed
    one's, while PPO runs; and what is to be said of those that cannot be read, which nobody obeys.

    Those that were there when the job was queued: a resumed run asks the same ones.
    """
    from data.errors import PrefloopError
    from loop.models import reward_backbone
    from loop.stages.rewarding import load_reward_model
    from policy.rollout import Reward
    from reward.members import forget

    backbone = reward_backbone(context.settings.models)
    found, missing = [], []
    try:
        for number, version in enumerate(_others(context, obeyed)[:count]):
            try:
                model = load_reward_model(context.settings, context.workspace, version,
                                          _name(number))
            except PrefloopError as error:
                missing.append(f"{version.name}: {error}")
            else:
                found.append(Reward(model.score, *scale_of(version)))
        yield found, {"judges_missing": "; ".join(missing)} if missing else {}
    finally:
        for number in range(count):
            forget(backbone, _name(number))


def scale_of(version: RewardModel) -> tuple[float, float]:
    """Mean and spread of the reward model's scores over sampled responses, for centring; of an
    ensemble those of its members' mean."""
    mean, spread = version.metrics.get("score_mean"), version.metrics.get("score_std")
    return (0.0 if mean is None else mean), (spread or 1.0)


def _others(context: JobContext, obeyed: RewardModel) -> list[RewardModel]:
    return [version for version in reversed(context.store.versions.reward_models())
            if version.id != obeyed.id and version.base == obeyed.base
            and version.created_at <= context.job.created_at]


def _name(number: int) -> str:
    return f"judge-{number}"
