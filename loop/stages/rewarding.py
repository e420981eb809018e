"""The stages of the reward model: training a version, reporting on one, scoring a file's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.progress import Part
from loop.context import JobContext
from loop.settings import Settings

if TYPE_CHECKING:
    from backbone.model import Backbone
    from data.progress import Progress
    from data.records import Message, RewardModel
    from data.store import Store
    from reward.examples import Example, PreferenceData
    from reward.scorer import Scorer
    from reward.train import TrainedReward

_BEFORE = "reward-before"  # the adapter of the version that a report compares with
#: Where on the progress bar of a training job each of its parts ends.
_TRAINED, _CHOSEN, _COMPARED = 0.8, 0.9, 0.95


def train_reward(context: JobContext) -> dict[str, Any]:
    """Train a reward model on all comparisons that stand, and report on held-out prompts."""
    from reward.examples import from_store, require_learnable

    made = context.store.versions.reward_model_of_job(context.job.id)
    if made is not None:  # killed after it was recorded, before the job was
        return {"reward_model": made.name, **made.metrics}
    models = context.settings.models
    data = from_store(context.store)
    if not context.checkpoints.exists():  # a resumed run keeps the labels that it began with
        require_learnable(data)  # before torch and the model, which take their time
    from loop.asking.instant import instant_beside
    from loop.models import reward_backbone

    context.progress.update(0.0, "loading the model")
    backbone = reward_backbone(models)
    context.enter_stage("training")
    trained = _trained(context, backbone, data, Part(context.progress, 0.0, _TRAINED))
    model, metrics = _in_its_best_form(context, trained,
                                       Part(context.progress, _TRAINED, _CHOSEN))
    metrics = _with_what_the_store_knows(
        context, metrics, trained.data.held_out,
        _version_before(context, len(context.store.versions.reward_models())),
        Part(context.progress, _CHOSEN, _COMPARED))
    metrics |= instant_beside(context, backbone, trained.data,
                              Part(context.progress, _COMPARED, 1.0),
                              only_known=metrics["selection"]["form"] in ("linear", "tuned"))
    name = context.versions.next_name("reward")
    path = f"adapters/{name}"
    model.save(context.workspace / path)
    comparisons = trained.data.comparisons
    version = context.store.versions.add_reward_model(
        name=name, base=models.reward_checkpoint, path=path, metrics=metrics,
        comparisons=comparisons, job_id=context.job.id, config=context.job.resolved,
        round_id=context.store.rounds.newest_of(
            id_ for id_, split in comparisons.items() if split == "train"))
    return {"reward_model": version.name, **version.metrics}


def _trained(context: JobContext, backbone: Backbone, data: PreferenceData,
             progress: Progress) -> TrainedReward:
    """The training proper, of what the settings ask for."""
    config, models = context.settings.reward, context.settings.models
    lora = backbone.new_lora_config(models.lora_rank, models.lora_alpha)
    from loop.asking.instant import read_features

    if config.form == "tuned":
        from reward.tuning import train_tuned

        # What it may begin from ends at two thirds of the depth, so what is not known by now is
        # not read for the instant model's sake, which reads all of it.
        known = read_features(context, backbone, data, lambda _: None, only_known=True)
        return train_tuned(backbone, data, config, lora, seed=context.seed, progress=progress,
                           known=known, checkpoint_folder=context.checkpoints)
    from reward.forms import keep_back, train_linear, unchosen
    from reward.train import train

    apart = keep_back(data, config, context.seed)
    if (unchosen(config)["form"] == "linear" and not apart.selection
            and not context.checkpoints.exists()):
        known = read_features(context, backbone, data, lambda share: progress.update(
            0.5 * share, "a linear head"))
        return train_linear(backbone, data, config, progress=Part(progress, 0.5, 1.0), known=known)
    known = None
    if config.corrects and not context.checkpoints.exists():  # else they are estimated already
        known = read_features(context, backbone, data, lambda _: progress.update(
            0.0, "labelers' habits"))
    return train(backbone, apart, config, lora, seed=context.seed, progress=progress,
                 checkpoint_folder=context.checkpoints, known=known)


def _in_its_best_form(context: JobContext, trained: TrainedReward,
                      progress: Progress) -> tuple[Scorer, dict[str, Any]]:
    """What the version is to be, with its report, which says under `selection` why it is that."""
    from loop.asking.instant import read_features
    from reward.evaluate import evaluate
    from reward.forms import choose_form, unchosen
    from reward.model import RewardModel as Single

    if not trained.data.selection or not isinstance(trained.model, Single):
        said = unchosen(context.settings.reward)
        if isinstance(trained.model, Single):  # also where an older prefloop began it
            said["form"] = "lora"
        return trained.model, {**trained.metrics, "selection": said}

    def hear(share: float) -> None:
        progress.update(0.5 * share, "a linear head, to choose the better")

    hear(0.0)
    known = read_features(context, trained.model.backbone, trained.data, hear)
    chosen = choose_form(trained.model, trained.data.train, trained.data.selection, context.seed,
                         known, hear, context.settings.reward.question)
    metrics = trained.metrics
    selection = {**chosen.document, "lora_scale": {
        "mean": metrics["score_mean"], "std": metrics["score_std"]}}
    if chosen.scorer is not trained.model:
        # what held-out pairs chose is the LoRA model's epoch, which a linear head knows nothing of
        flattered = {} if chosen.form == "linear" else _kept(metrics, "epoch_chosen")
        metrics = {**evaluate(chosen.scorer, trained.data, on_batch=lambda share:
                              progress.update(0.5 + 0.5 * share, "measuring")),
                   **flattered, "train": metrics["train"]}
    return chosen.scorer, {**metrics, "selection": selection}


def evaluate_reward(context: JobContext) -> dict[str, Any]:
    """Report on a reward model, over the workspace's held-out prompts or a file."""
    from data.exchange.file_pairs import read_pairs
    from reward.evaluate import evaluate
    from reward.examples import PreferenceData, from_files, from_store

    version = context.versions.reward_model(context.options["reward_model"])
    context.keep_choices(reward_model=version.name)
    file = context.options["data"]
    of_file: dict[str, Any] = {}
    if file:
        pairs, left_out = read_pairs(Path(file))
        data = PreferenceData((), tuple(from_files(pairs)))
        of_file = {"left_out": left_out, "file": {
            "prompts": len(data.held_out),
            "training_prompts": _training_prompts(context.store, data.held_out)}}
    else:
        data = from_store(context.store)
    context.progress.update(0.0, "loading the model")
    model = load_reward_model(context.settings, context.workspace, version)
    known = [v.name for v in context.store.versions.reward_models()]
    before = _version_before(context, known.index(version.name))
    scored = 0.5 if before else 1.0
    scoring = Part(context.progress, 0.0, scored)
    found = evaluate(model, data, on_batch=lambda share: scoring.update(share, "scoring"))
    kept = _kept(version.metrics, "selection", *(() if file else ("epoch_chosen",)))
    return {"reward_model": version.name, **kept, **of_file,
            **_with_what_the_store_knows(context, found, data.held_out, before,
                                         Part(context.progress, scored, 1.0), bool(file))}


def _kept(metrics: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the metrics that are there."""
    return {name: metrics[name] for name in names if name in metrics}


def _training_prompts(store: Store, examples: Sequence[Example]) -> int:
    """How many of the examples are on training prompts of the workspace."""
    return sum(store.prompts.split_of_known(e.messages) == "train" for e in examples)


def _version_before(context: JobContext, place: int) -> RewardModel | None:
    """The reward model on the same checkpoint that came last before this place in their order."""
    base = context.settings.models.reward_checkpoint
    earlier = [v for v in context.store.versions.reward_models()[:place] if v.base == base]
    return earlier[-1] if earlier else None


def _with_what_the_store_knows(context: JobContext, found: Mapping[str, Any],
                               held_out: Sequence[Example], before: RewardModel | None,
                               progress: Progress, from_file: bool = False) -> dict[str, Any]:
    """A report with its breakdowns by round, tag, labeler and policy, and the version before.

    A version whose files cannot be read any more is named with the reason (`previous_missing`),
    and a report on a file keeps the texts of its mistakes, which no store holds.
    """
    from data.errors import PrefloopError
    from reward.evaluate import score_responses
    from reward.members import forget
    from reward.report.figures import report
    from reward.report.groups import Facts

    kept = {key: value for key, value in found.items() if key != "held_out_scores"}
    previous, missing = None, None
    if before is not None and held_out:
        try:
            model = load_reward_model(context.settings, context.workspace, before, _BEFORE)
        except PrefloopError as error:
            missing = {"name": before.name, "why": str(error)}
        else:
            try:
                previous = (before.name, score_responses(
                    model, held_out, on_batch=lambda share: progress.update(
                        share, f"scoring with {before.name}, to compare")))
            finally:
                forget(model.backbone, _BEFORE)
    facts = None if from_file else Facts.from_store(context.store)
    return {**kept, **report(held_out, found["held_out_scores"], facts, previous, from_file),
            **({"previous_missing": missing} if missing else {})}


def score(store: Store, workspace: Path, settings: Settings,
          conversations: Sequence[Sequence[Message]], reward_model: str,
          progress: Progress) -> list[dict[str, float]]:
    """A reward model's `score` for each conversation; of an ensemble its members' mean, beside
    their `spread`, the standard deviation."""
    from loop.models import Versions
    from reward.ensemble import Ensemble

    version = Versions(store, workspace, settings.models).reward_model(reward_model)
    model = load_reward_model(settings, workspace, version)

    def heard(share: float) -> None:
        progress.update(share, "scoring")

    if isinstance(model, Ensemble):
        found = model.member_scores(conversations, heard)
        return [{"score": float(scores.mean()), "spread": float(scores.std())}
                for scores in found.T]
    return [{"score": value} for value in model.score(conversations, on_batch=heard)]


def load_reward_model(settings: Settings, workspace: Path, version: RewardModel,
                      adapter: str = "reward") -> Scorer:
    """A reward model version in memory, on the backbone that reward and value stand on."""
    from loop.models import reward_backbone
    from reward.scorer import load_scorer

    return load_scorer(reward_backbone(settings.models), workspace / version.path, adapter)
