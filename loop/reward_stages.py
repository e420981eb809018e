"""The stages of the reward model: training a version, reporting on one, scoring a file's rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loop.context import JobContext
from loop.settings import Settings

if TYPE_CHECKING:
    from data.progress import Progress
    from data.records import Message, RewardModel
    from data.store import Store
    from reward.model import RewardModel as LoadedReward


def train_reward(context: JobContext) -> dict[str, Any]:
    """Train a reward model on all comparisons that stand, and report on held-out prompts."""
    from loop.models import reward_backbone
    from reward.examples import from_store
    from reward.train import train

    made = context.store.versions.reward_model_of_job(context.job.id)
    if made is not None:  # killed after it was recorded, before the job was
        return {"reward_model": made.name, **made.metrics}
    models = context.settings.models
    data = from_store(context.store)
    context.progress.update(0.0, "loading the model")
    backbone = reward_backbone(models)
    context.enter_stage("training")
    trained = train(backbone, data, context.settings.reward,
                    backbone.new_lora_config(models.lora_rank, models.lora_alpha),
                    seed=context.seed, progress=context.progress,
                    checkpoint_folder=context.checkpoints)
    name = context.versions.next_name("reward")
    path = f"adapters/{name}"
    trained.model.save(context.workspace / path)
    version = context.store.versions.add_reward_model(
        name=name, base=models.reward_checkpoint, path=path, metrics=trained.metrics,
        comparisons=trained.data.comparisons, round_id=context.round_id, job_id=context.job.id,
        config=context.job.resolved)
    context.forget_checkpoints()
    return {"reward_model": version.name, **trained.metrics}


def evaluate_reward(context: JobContext) -> dict[str, Any]:
    """Report on a reward model, over the workspace's held-out prompts or a file."""
    from data.exchange.importing import read_pairs
    from reward.evaluate import evaluate
    from reward.examples import PreferenceData, from_files, from_store

    version = context.versions.reward_model(context.options["reward_model"])
    if context.options["data"]:
        pairs, _ = read_pairs(Path(context.options["data"]))
        data = PreferenceData((), tuple(from_files(pairs)))
    else:
        data = from_store(context.store)
    context.progress.update(0.0, "loading the model")
    model = load_reward_model(context.settings, context.workspace, version)
    return {"reward_model": version.name, **evaluate(
        model, data, on_batch=lambda share: context.progress.update(share, "scoring"))}


def score(store: Store, workspace: Path, settings: Settings,
          conversations: Sequence[Sequence[Message]], reward_model: str,
          progress: Progress) -> list[float]:
    """A reward model's score for each conversation."""
    from loop.models import Versions

    version = Versions(store, workspace, settings.models).reward_model(reward_model)
    model = load_reward_model(settings, workspace, version)
    return model.score(conversations,
                       on_batch=lambda share: progress.update(share, "scoring"))


def load_reward_model(settings: Settings, workspace: Path, version: RewardModel) -> LoadedReward:
    """A reward model version in memory, on the backbone that reward and value stand on."""
    from loop.models import reward_backbone
    from reward.model import RewardModel as Model

    return Model.load(reward_backbone(settings.models), workspace / version.path)
