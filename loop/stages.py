"""What each kind of job does: the one place where labels, reward and policy meet.

A handler reads from the store, calls one stage's package, and records what came of it with its
lineage. Everything heavy is imported inside, so that naming a handler costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import BadInput
from loop.context import Handler, JobContext
from loop.settings import Settings

if TYPE_CHECKING:
    from data.progress import Progress
    from data.records import Message, PolicyVersion, RewardModel, Round
    from data.store import Store
    from reward.model import RewardModel as LoadedReward


def sample(context: JobContext) -> dict[str, Any]:
    """Open the next round: responses of a policy version, and tasks for labelers."""
    from loop.models import Versions, policy_backbone
    from policy.collecting import collect, plan_round

    versions = Versions(context.store, context.workspace, context.settings.models)
    config, seed = context.settings.sample, context.seed
    current = versions.policy(context.options["policy"])
    context.progress.update(0.0, "loading the policy")
    backbone = policy_backbone(context.settings.models)
    round_ = _round_to_sample(context, current.id)
    plan = plan_round(context.store, backbone, round_, config, seed)
    adapters = _adapters_of(context, round_)
    collected = collect(context.store, backbone, adapters, plan, round_, config, seed,
                        context.progress)
    context.store.rounds.set_stage(round_.id, "labeling")
    return {"round": round_.number, "responses": collected.responses,
            "tasks": len(context.store.tasks.of_round(round_.id)),
            "identical": collected.identical, "too_long": len(plan.too_long),
            "kl": _kl_of_round(context, round_, adapters)}


def train_reward(context: JobContext) -> dict[str, Any]:
    """Train a reward model on all comparisons that stand, and report on held-out prompts."""
    from loop.models import Versions, reward_backbone
    from reward.examples import from_store
    from reward.train import train

    made = context.store.versions.reward_model_of_job(context.job.id)
    if made is not None:  # killed after it was recorded, before the job was
        return {"reward_model": made.name, **made.metrics}
    models = context.settings.models
    data = from_store(context.store)
    context.progress.update(0.0, "loading the model")
    backbone = reward_backbone(models)
    _set_stage(context, "training")
    trained = train(backbone, data, context.settings.reward,
                    backbone.new_lora_config(models.lora_rank, models.lora_alpha),
                    seed=context.seed, progress=context.progress,
                    checkpoint_folder=context.checkpoints)
    name = Versions(context.store, context.workspace, context.settings.models).next_name("reward")
    path = f"adapters/{name}"
    trained.model.save(context.workspace / path)
    version = context.store.versions.add_reward_model(
        name=name, base=models.reward_checkpoint, path=path, metrics=trained.metrics,
        comparisons=trained.data.comparisons, round_id=_round_id(context), job_id=context.job.id,
        config=context.job.resolved)
    _forget_checkpoints(context)
    return {"reward_model": version.name, **trained.metrics}


def evaluate_reward(context: JobContext) -> dict[str, Any]:
    """Report on a reward model, over the workspace's held-out prompts or a file."""
    from data.importing import read_pairs
    from loop.models import Versions
    from reward.evaluate import evaluate
    from reward.examples import PreferenceData, from_files, from_store

    version = Versions(context.store, context.workspace, context.settings.models).reward_model(
        context.options["reward_model"])
    if context.options["data"]:
        pairs, _ = read_pairs(Path(context.options["data"]))
        data = PreferenceData((), tuple(from_files(pairs)))
    else:
        data = from_store(context.store)
    context.progress.update(0.0, "loading the model")
    model = _reward_model(context.settings, context.workspace, version)
    return {"reward_model": version.name, **evaluate(
        model, data, on_batch=lambda share: context.progress.update(share, "scoring"))}


def improve_with_ppo(context: JobContext) -> dict[str, Any]:
    """Improve a policy version against a reward model with PPO."""
    from loop.models import Versions, policy_backbone, reward_backbone
    from policy.ppo import train
    from policy.roles import Roles, load_policy, load_value

    versions = Versions(context.store, context.workspace, context.settings.models)
    if (made := context.store.versions.policy_of_job(context.job.id)) is not None:
        return _policy_result(context, made)
    parent = versions.policy(context.options["policy"])
    judge = versions.reward_model(context.options["reward_model"])
    models, config = context.settings.models, context.settings.ppo
    context.progress.update(0.0, "loading the models")
    policy, value = policy_backbone(models), reward_backbone(models)
    mean, spread = _scale(judge)
    reference = load_policy(policy, models, versions.folder(parent),
                            versions.folder(versions.reference), context.seed)
    head = load_value(value, models, versions.folder(judge), mean, spread, context.seed)
    roles = Roles(policy, value, head, reference, config.value_training == "adapter")
    model = _reward_model(context.settings, context.workspace, judge)
    _set_stage(context, "improving")
    figures = train(roles, _training_prompts(context, config.max_new_tokens), model.score, config,
                    context.seed, context.progress, context.checkpoints, mean, spread)
    return _keep_policy(context, "ppo", parent.id, judge, figures)


def improve_with_best_of_n(context: JobContext) -> dict[str, Any]:
    """Fine-tune a policy version on the reward model's best of n of its own responses."""
    from loop.models import Versions, policy_backbone
    from policy.best_of_n import train
    from policy.roles import load_policy

    versions = Versions(context.store, context.workspace, context.settings.models)
    if (made := context.store.versions.policy_of_job(context.job.id)) is not None:
        return _policy_result(context, made)
    parent = versions.policy(context.options["policy"])
    judge = versions.reward_model(context.options["reward_model"])
    models, config = context.settings.models, context.settings.best_of_n
    context.progress.update(0.0, "loading the models")
    backbone = policy_backbone(models)
    load_policy(backbone, models, versions.folder(parent), versions.folder(versions.reference),
                context.seed)
    model = _reward_model(context.settings, context.workspace, judge)
    _set_stage(context, "improving")
    prompts = _training_prompts(context, config.max_new_tokens)[:config.prompts or None]
    figures = train(backbone, prompts, model.score, config, context.seed, context.progress,
                    context.checkpoints)
    return _keep_policy(context, "best-of-n", parent.id, judge, figures)


def simulate(context: JobContext) -> dict[str, Any]:
    """Let simulated labelers, recorded as such, answer the open tasks."""
    from annotate.simulated import answer_open_tasks, ensure_labelers

    config = context.settings.simulate
    noise = _noise(context)
    labelers = ensure_labelers(context.store, config.labelers, config.preference, noise)
    answered = answer_open_tasks(context.store, labelers, context.seed,
                                 progress=context.progress)
    return {"answers": answered, "labelers": [labeler.name for labeler in labelers],
            "noise": noise, "preference": config.preference}


#: Kind of job to what runs it.
HANDLERS: dict[str, Handler] = {
    "sample": sample, "train-reward": train_reward, "eval-reward": evaluate_reward,
    "ppo": improve_with_ppo, "best-of-n": improve_with_best_of_n, "simulate": simulate}


def score(store: Store, workspace: Path, settings: Settings,
          conversations: Sequence[Sequence[Message]], reward_model: str,
          progress: Progress) -> list[float]:
    """A reward model's score for each conversation."""
    from loop.models import Versions

    model = _reward_model(settings, workspace,
                          Versions(store, workspace, settings.models).reward_model(reward_model))
    return model.score(conversations,
                       on_batch=lambda share: progress.update(share, "scoring"))


def _noise(context: JobContext) -> float:
    """The noise at which simulated labelers agree as often as wanted, from the open tasks.

    Found once a workspace and kept: a labeler who became more careful from round to round would
    look like a better policy.
    """
    from annotate.simulated import PREFERENCES, noise_for_agreement

    config = context.settings.simulate
    key = f"noise/{config.preference}/{config.agreement}"
    kept = context.store.setting(key)
    if kept is not None:
        return float(kept)
    value = PREFERENCES[config.preference]
    differences = [value(a) - value(b) for a, b in context.store.tasks.open_pairs()]
    if not differences:
        raise BadInput("there are no open tasks to answer: `prefloop sample` opens a round")
    noise = noise_for_agreement(differences, config.agreement)
    context.store.put_setting(key, noise)
    return noise


def _round_to_sample(context: JobContext, policy_version_id: int) -> Round:
    """The round this job works for; opened on its first run."""
    from loop.models import Versions

    if context.job.round_id is not None:
        return context.store.rounds.get(context.job.round_id)
    reference = Versions(context.store, context.workspace, context.settings.models).reference
    with context.store.database.write():
        round_ = context.store.rounds.open(policy_version_id, reference.id)
        context.store.jobs.set_round(context.job.id, round_.id)
    return round_


def _adapters_of(context: JobContext, round_: Round) -> dict[int, str | None]:
    """Put the round's policy and the reference on the backbone; which adapter each one is."""
    from loop.models import Versions, policy_backbone
    from policy.roles import POLICY, load_policy

    versions = Versions(context.store, context.workspace, context.settings.models)
    current = context.store.versions.policy(round_.policy_version_id)
    reference = load_policy(
        policy_backbone(context.settings.models), context.settings.models,
        versions.folder(current), versions.folder(versions.reference), context.seed)
    if current.path is None or current.id == versions.reference.id:
        return {current.id: reference, versions.reference.id: reference}
    return {current.id: POLICY, versions.reference.id: reference}


def _kl_of_round(context: JobContext, round_: Round,
                 adapters: dict[int, str | None]) -> dict[str, Any] | None:
    """KL of the round's policy to the reference, from its responses to held-out prompts."""
    from backbone.text import prompt_ids
    from data.statistics import mean
    from loop.models import policy_backbone
    from policy.divergence import sampled_kl

    if round_.policy_version_id == round_.reference_id:
        return None
    prompts = {p.id: p.messages for p in context.store.prompts.all(split="held_out")}
    responses = [r for r in context.store.responses.of_round(round_.id, round_.policy_version_id)
                 if r.prompt_id in prompts]
    if not responses:
        return None
    context.progress.update(0.99, "measuring the KL to the reference")
    backbone = policy_backbone(context.settings.models)
    found = mean(sampled_kl(
        backbone, adapters[round_.policy_version_id], adapters[round_.reference_id],
        [prompt_ids(backbone.tokenizer, prompts[r.prompt_id]) for r in responses],
        [r.token_ids for r in responses], context.settings.sample.temperature))
    return None if found is None else found.as_dict()


def _reward_model(settings: Settings, workspace: Path, version: RewardModel) -> LoadedReward:
    from loop.models import reward_backbone
    from reward.model import RewardModel as Model

    return Model.load(reward_backbone(settings.models), workspace / version.path)


def _scale(judge: RewardModel) -> tuple[float, float]:
    """Mean and spread of the reward model's scores over sampled responses, for centring."""
    mean, spread = judge.metrics.get("score_mean"), judge.metrics.get("score_std")
    return (0.0 if mean is None else mean), (spread or 1.0)


def _training_prompts(context: JobContext, room: int) -> list[Any]:
    """Training prompts as PPO takes them; those that do not fit the context are left out."""
    from backbone.text import prompt_ids
    from loop.models import policy_backbone
    from policy.rollout import PromptItem

    backbone = policy_backbone(context.settings.models)
    items = [PromptItem(p.id, p.messages, prompt_ids(backbone.tokenizer, p.messages))
             for p in context.store.prompts.all(split="train")]
    return [item for item in items if len(item.ids) + room <= backbone.context_length]


def _keep_policy(context: JobContext, method: str, parent_id: int, judge: RewardModel,
                 figures: dict[str, Any]) -> dict[str, Any]:
    """Save the policy's adapter and record the version; its place in the lineage is its parent,
    the reward model and the round whose labels taught it."""
    from backbone.storage import save_adapter
    from loop.models import Versions, policy_backbone
    from policy.roles import POLICY

    name = Versions(context.store, context.workspace, context.settings.models).next_name(method)
    path = f"adapters/{name}"
    save_adapter(policy_backbone(context.settings.models), POLICY, context.workspace / path)
    version = context.store.versions.add_policy(
        name=name, base=context.settings.models.checkpoint, method=method, path=path,
        parent_id=parent_id, reward_model_id=judge.id, round_id=_round_id(context),
        job_id=context.job.id, config=context.job.resolved, metrics=figures)
    _forget_checkpoints(context)
    return _policy_result(context, version)


def _policy_result(context: JobContext, made: PolicyVersion) -> dict[str, Any]:
    judge = context.store.versions.reward_model(made.reward_model_id or 0)
    return {"policy": made.name, "reward_model": judge.name, **made.metrics}


def _round_id(context: JobContext) -> int | None:
    current = context.store.rounds.current()
    return None if current is None else current.id


def _set_stage(context: JobContext, stage: str) -> None:
    round_id = _round_id(context)
    if round_id is not None:
        context.store.rounds.set_stage(round_id, stage)
        context.store.jobs.set_round(context.job.id, round_id)


def _forget_checkpoints(context: JobContext) -> None:
    """What a finished job resumed from; its result is stored by now."""
    import shutil

    shutil.rmtree(context.checkpoints, ignore_errors=True)
