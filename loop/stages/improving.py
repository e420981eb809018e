"""The stages that improve the policy: PPO, and best-of-n as the simple alternative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loop.context import JobContext
from loop.stages import gate
from loop.stages.judges import Obeyed, judges_of

if TYPE_CHECKING:
    from backbone.heads import ScalarHead
    from backbone.model import Backbone
    from data.records import PolicyVersion, RewardModel
    from policy.config import BestOfNConfig, PPOConfig
    from policy.rollout import PromptItem
    from policy.sharing import Share


@dataclass(frozen=True)
class Improvement:
    """What an improvement works with: the policy, on its backbone, and the reward model."""

    backbone: Backbone
    """Carries the policy's adapter, which starts as the parent's."""
    reference_adapter: str | None
    reward_model: RewardModel
    obeyed: Obeyed
    """The reward model, in memory."""
    prompts: list[PromptItem]


def improve_with_ppo(context: JobContext, share: Share | None = None) -> dict[str, Any]:
    """Improve a policy version against a reward model with PPO.

    Of several processes each calls it with its share, and the first one records what came of it.
    """
    config = context.settings.ppo

    def learn(given: Improvement) -> dict[str, Any]:
        from policy.ppo import train
        from policy.roles import Roles
        from policy.rollout import Reward
        from policy.sharing import ALONE

        obeyed = given.obeyed
        reward = Reward(obeyed.score, *obeyed.scale(given.reward_model),
                        spread=obeyed.spread if obeyed.is_ensemble else None,
                        credit=obeyed.credit if config.credit == "tokens" else None)
        value, head, said = _value_model(context, given)
        roles = Roles(given.backbone, value, head, given.reference_adapter,
                      config.value_training == "adapter")
        with judges_of(context, given.reward_model, config.judges) as (judges, missing):
            figures = train(roles, given.prompts, reward, config, context.seed, context.progress,
                            context.checkpoints, judges, share or ALONE)
        return {**figures, **said, **missing}

    return _improve(context, "ppo", config, learn, share is None or share.is_first)


def _value_model(context: JobContext,
                 given: Improvement) -> tuple[Backbone, ScalarHead, dict[str, str]]:
    """The value model, on its backbone: the reward model's, from which it starts, unless the tokens
    that the policy writes have other ids there. Then it begins anew on the policy's, which is
    said."""
    from loop.models import reward_backbone
    from policy.roles import load_value

    models, reward_model = context.settings.models, given.reward_model
    theirs = reward_backbone(models)
    written, known = (each.tokenizer.get_vocab().items() for each in (given.backbone, theirs))
    if written <= known:
        start = given.obeyed.value_start(reward_model, context.workspace / reward_model.path)
        return theirs, load_value(theirs, models, *start, context.seed), {}
    return given.backbone, load_value(given.backbone, models, None, seed=context.seed), {
        "value_model": "began anew on the policy's checkpoint: the tokenizer of "
                       f"{models.reward_checkpoint} has other ids"}


def improve_with_best_of_n(context: JobContext) -> dict[str, Any]:
    """Fine-tune a policy version on the reward model's best of n of its own responses."""
    config = context.settings.best_of_n

    def learn(given: Improvement) -> dict[str, Any]:
        from policy.best_of_n import train

        return train(given.backbone, given.prompts, given.obeyed.score, config, context.seed,
                     context.progress, context.checkpoints)

    return _improve(context, "best-of-n", config, learn)


def _improve(context: JobContext, method: str, config: PPOConfig | BestOfNConfig,
             learn: Callable[[Improvement], dict[str, Any]],
             records: bool = True) -> dict[str, Any]:
    """Load the parent and the reward model, let the policy learn, keep what it became.

    `records` is off in processes that only help.
    """
    from loop.models import policy_backbone
    from loop.stages.rewarding import load_reward_model
    from policy.roles import load_policy

    if (made := context.store.versions.policy_of_job(context.job.id)) is not None:
        return _policy_result(context, made)  # killed after it was recorded, before the job was
    versions, models = context.versions, context.settings.models
    parent = versions.policy(context.options["policy"])
    reward_model = versions.reward_model(context.options["reward_model"])
    said = _word_of_the_gate(context, reward_model)
    if records:
        context.keep_choices(policy=parent.name, reward_model=reward_model.name, gate=said)
    context.progress.update(0.0, "loading the models")
    backbone = policy_backbone(models)
    reference = load_policy(backbone, models, versions.folder(parent),
                            versions.folder(versions.reference), context.seed)
    model = load_reward_model(context.settings, context.workspace, reward_model)
    if records:
        context.enter_stage("improving")
    prompts, left_out = _training_prompts(context, backbone, config.max_new_tokens)
    figures = {**learn(Improvement(backbone, reference, reward_model, Obeyed(model, config),
                                   prompts)), **left_out}
    if not records:
        return figures
    return _keep_policy(context, method, parent.id, reward_model,
                        {"gate": said, **figures} if said else figures)


def _word_of_the_gate(context: JobContext, reward_model: RewardModel) -> str:
    """What is said of the reward model; who has begun goes on, whatever was measured meanwhile.

    Raises:
        BadInput: it is not let through.
    """
    kept: str | None = context.resolved.get("gate")
    if kept is not None:
        return kept
    begun = context.checkpoints.exists()  # by a prefloop that did not keep what the gate said
    return gate.check(context.store, reward_model, bool(context.options["force"]) or begun)


def _training_prompts(context: JobContext, backbone: Backbone,
                      room: int) -> tuple[list[PromptItem], dict[str, int]]:
    """Training prompts as PPO takes them, and how many were left out, if any: those that do not
    leave `room` tokens for a response in the context, and those that the chat template refuses."""
    from policy.fitting import those_that_fit
    from policy.rollout import PromptItem

    prompts = context.store.prompts.all(split="train")
    found = those_that_fit(backbone, prompts, room)
    left_out = {"prompts_too_long": len(found.too_long), "prompts_refused": len(found.refused)}
    return ([PromptItem(p.id, p.messages, found.tokens[p.id]) for p in prompts
             if p.id in found.tokens], {name: n for name, n in left_out.items() if n})


def _keep_policy(context: JobContext, method: str, parent_id: int, reward_model: RewardModel,
                 figures: dict[str, Any]) -> dict[str, Any]:
    """Save the policy's adapter and record the version; its place in the lineage is its parent,
    the reward model and the round whose labels taught that one, which need not be the open one."""
    from backbone.storage import save_adapter
    from loop.models import policy_backbone
    from policy.offering import copy_kept
    from policy.roles import POLICY

    name = context.versions.next_name(method)
    path = f"adapters/{name}"
    save_adapter(policy_backbone(context.settings.models), POLICY, context.workspace / path)
    copy_kept(context.checkpoints, context.workspace / path)
    version = context.store.versions.add_policy(
        name=name, base=context.settings.models.checkpoint, method=method, path=path,
        parent_id=parent_id, reward_model_id=reward_model.id, round_id=reward_model.round_id,
        job_id=context.job.id, config=context.resolved, metrics=figures)
    return _policy_result(context, version)


def _policy_result(context: JobContext, made: PolicyVersion) -> dict[str, Any]:
    reward_model = context.store.versions.reward_model(made.reward_model_id or 0)
    return {"policy": made.name, "reward_model": reward_model.name, **made.metrics}
