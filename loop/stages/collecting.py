"""The stages that labelers see: sampling opens a round, simulated labelers answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from data.errors import BadInput
from loop.context import JobContext

if TYPE_CHECKING:
    from backbone.model import Backbone
    from data.records import Round
    from policy.collecting import Plan
    from policy.samplers import Sampler
    from policy.served import Published


def sample(context: JobContext) -> dict[str, Any]:
    """Open the next round: responses of a policy version, and tasks for labelers.

    The round before goes on being labeled until there is all that it takes to sample this one.
    """
    from loop.models import policy_backbone
    from policy.collecting import collect

    config, seed = context.settings.sample, context.seed
    round_ = _round_to_sample(context)
    context.progress.update(0.0, "loading the policy")
    backbone = policy_backbone(context.settings.models)
    plan = _plan_of(context, backbone, round_)
    adapters = _adapters_of(context, round_)
    with _sampler(context, adapters) as sampler:
        round_ = _opened(context, round_, plan)
        collected = collect(context.store, sampler, plan, round_, config, seed, context.progress)
        figures = sampler.figures
    context.store.rounds.set_stage(round_.id, "labeling")
    kl = _kl_of_round(context, round_, adapters)
    return {"round": round_.number, "responses": collected.responses,
            "tasks": sum(task.purpose in ("train", "evaluate")  # labelers' repeats come meanwhile
                         for task in context.store.tasks.of_round(round_.id)),
            "identical": collected.identical, "cut_off": collected.cut_off,
            "too_long": len(plan.too_long), "refused": len(plan.refused), "kl": kl, **figures}


def simulate(context: JobContext) -> dict[str, Any]:
    """Let simulated labelers, recorded as such, answer the open tasks."""
    from annotate.simulated import answer_open_tasks, ensure_labelers

    config = context.settings.simulate
    noise = _noise(context)
    labelers = ensure_labelers(context.store, config.labelers, config.preference, noise)
    answered = answer_open_tasks(context.store, labelers, context.seed, context.progress)
    return {"answers": answered, "labelers": [labeler.name for labeler in labelers],
            "noise": noise, "preference": config.preference}


def _noise(context: JobContext) -> float:
    """The noise at which simulated labelers agree as often as wanted, from the open tasks.

    Found once a workspace and kept: a labeler who became more careful from round to round would
    look like a better policy.
    """
    from annotate.simulated import PREFERENCES, noise_for_agreement
    from data.startable import NO_OPEN_TASKS

    config = context.settings.simulate
    key = f"noise/{config.preference}/{config.agreement}"
    kept = context.store.setting(key)
    if kept is not None:
        return float(kept)
    value = PREFERENCES[config.preference]
    differences = [value(a) - value(b) for a, b in context.store.tasks.open_pairs()]
    if not differences:
        raise BadInput(NO_OPEN_TASKS)
    noise = noise_for_agreement(differences, config.agreement)
    context.store.put_setting(key, noise)
    return noise


def _round_to_sample(context: JobContext) -> Round:
    """The round this job works for: the one it has opened, or the next, which is not open yet.

    Raises:
        BadInput: the round that it has opened was closed since.
    """
    rounds, versions = context.store.rounds, context.versions
    if context.job.round_id is None:
        policy = versions.policy(context.options["policy"])
        context.keep_choices(policy=policy.name)
        return rounds.upcoming(policy.id, versions.reference.id)
    round_ = rounds.get(context.job.round_id)
    if round_.closed_at is not None:
        raise BadInput(f"round {round_.number} was closed before it was sampled to its end, and "
                       "nobody would be handed its tasks: `prefloop sample` opens the next round")
    return round_


def _plan_of(context: JobContext, backbone: Backbone, round_: Round) -> Plan:
    """What the round asks for: what it was opened for, where it has been opened."""
    from policy.collecting import kept_plan, plan_round

    kept = None
    if context.job.round_id is not None:
        kept = kept_plan(context.checkpoints, context.store, backbone)
    return kept or plan_round(context.store, backbone, round_, context.settings.sample,
                              context.seed)


def _opened(context: JobContext, round_: Round, plan: Plan) -> Round:
    """The round, opened if it is not yet, with its plan kept for a resumed run."""
    from policy.collecting import keep_plan

    if context.job.round_id is not None:
        return round_
    keep_plan(context.checkpoints, plan)
    with context.store.database.write():
        opened = context.store.rounds.open(round_.policy_version_id, round_.reference_id)
        context.store.jobs.set_round(context.job.id, opened.id)
    return opened


def _adapters_of(context: JobContext, round_: Round) -> dict[int, str | None]:
    """Put the round's policy and the reference on the backbone; which adapter each one is."""
    from loop.models import policy_backbone
    from policy.roles import POLICY, load_policy

    versions = context.versions
    current = context.store.versions.policy(round_.policy_version_id)
    reference = load_policy(
        policy_backbone(context.settings.models), context.settings.models,
        versions.folder(current), versions.folder(versions.reference), context.seed)
    if current.path is None or current.id == versions.reference.id:
        return {current.id: reference, versions.reference.id: reference}
    return {current.id: POLICY, versions.reference.id: reference}


@contextmanager
def _sampler(context: JobContext, adapters: Mapping[int, str | None]) -> Iterator[Sampler]:
    """Who samples the versions: this process, or the server that the settings name."""
    from loop.models import policy_backbone
    from policy.samplers import LocalSampler
    from policy.served import serving

    config, backbone = context.settings.sample, policy_backbone(context.settings.models)
    if not config.server:
        yield LocalSampler(backbone, adapters, config)
        return
    context.progress.update(0.0, "asking the server")
    with serving(config, backbone, {id_: _published(context, id_, adapter)
                                    for id_, adapter in adapters.items()}) as sampler:
        yield sampler


def _published(context: JobContext, version_id: int, adapter: str | None) -> Published:
    """A version as the server is told of it."""
    from policy.served import Published

    version = context.store.versions.policy(version_id)
    folder = context.versions.folder(version)
    root = context.settings.sample.server_workspace or str(context.workspace.resolve())
    return Published(version.name, adapter, folder,
                     "" if version.path is None else str(PurePosixPath(root, version.path)))


def _kl_of_round(context: JobContext, round_: Round,
                 adapters: dict[int, str | None]) -> dict[str, Any] | None:
    """KL of the round's policy to the reference, from its responses to held-out prompts; n counts
    prompts."""
    from backbone.text import prompt_ids
    from data.measures.statistics import mean_of_means
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
    found = mean_of_means(sampled_kl(
        backbone, adapters[round_.policy_version_id], adapters[round_.reference_id],
        [prompt_ids(backbone.tokenizer, prompts[r.prompt_id]) for r in responses],
        [r.token_ids for r in responses], context.settings.sample.temperature),
        [r.prompt_id for r in responses])
    return None if found is None else found.as_dict()
