"""Sampling for labelers: responses go into the store, and their tasks with them, as they come.

The plan of a round is kept while it is sampled, so sampling that was killed goes on where it was,
also where prompts have been imported meanwhile. Some tasks set the round's policy against the
reference, on held-out prompts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backbone.model import Backbone
from backbone.resume import beginning, keep_beginning
from backbone.text import prompt_ids
from data.errors import BadInput
from data.progress import Progress
from data.records import NewResponse, Prompt, Response, Round
from data.startable import NO_PROMPTS
from data.store import Store
from policy.config import SampleConfig
from policy.fitting import those_that_fit
from policy.samplers import Sampler, Wanted
from policy.sampling import Sample


@dataclass(frozen=True)
class PlannedTask:
    """A prompt and the responses it wants: (policy version id, sample index) each."""

    prompt: Prompt
    ids: list[int]
    """The prompt's token ids."""
    wanted: tuple[tuple[int, int], ...]
    purpose: str


@dataclass(frozen=True)
class Plan:
    """What a round asks for."""

    tasks: list[PlannedTask]
    too_long: list[int] = field(default_factory=list)
    """Ids of prompts that do not fit the checkpoint's context."""
    refused: list[int] = field(default_factory=list)
    """Ids of prompts that the checkpoint's chat template refuses."""


@dataclass
class Collected:
    """What came of it."""

    responses: int = 0
    tasks: int = 0
    identical: int = 0
    """Prompts whose responses all came out the same: there is nothing to compare."""
    cut_off: int = 0
    """Responses that ended at the length limit, and not by themselves."""


def plan_round(store: Store, backbone: Backbone, round_: Round, config: SampleConfig,
               seed: int) -> Plan:
    """Choose prompts and purposes: those asked least often so far first, in random order.

    Raises:
        BadInput: the workspace has no prompts, or none that the checkpoint can be asked.
    """
    prompts = _least_used(store, round_, seed)
    if not prompts:
        raise BadInput(NO_PROMPTS)
    found = those_that_fit(backbone, prompts, config.max_new_tokens)
    tokens = found.tokens
    fitting = [p for p in prompts if p.id in tokens]
    chosen = fitting[:config.prompts or None]
    evaluated = _evaluated(fitting, len(chosen), round_, config)
    tasks = [_head_to_head(p, tokens[p.id], round_, seed) for p in evaluated]
    rest = [p for p in chosen if p not in evaluated][:len(chosen) - len(evaluated)]
    samples = tuple((round_.policy_version_id, i) for i in range(config.responses))
    tasks += [PlannedTask(p, tokens[p.id], samples, "train") for p in rest]
    random.Random(f"{seed}/{round_.number}").shuffle(tasks)
    return Plan(tasks, found.too_long, found.refused)


def keep_plan(folder: Path, plan: Plan) -> None:
    """Keep a plan among what a run resumes from."""
    keep_beginning(folder, {
        "tasks": [[task.prompt.id, task.wanted, task.purpose] for task in plan.tasks],
        "too_long": plan.too_long, "refused": plan.refused})


def kept_plan(folder: Path, store: Store, backbone: Backbone) -> Plan | None:
    """The plan that was kept there, if one was.

    Raises:
        PrefloopError: it cannot be read.
    """
    kept = beginning(folder)
    if kept is None:
        return None
    tasks = []
    for prompt_id, wanted, purpose in kept["tasks"]:
        prompt = store.prompts.get(prompt_id)
        tasks.append(PlannedTask(prompt, prompt_ids(backbone.tokenizer, prompt.messages),
                                 tuple((version, index) for version, index in wanted), purpose))
    return Plan(tasks, kept["too_long"], kept.get("refused", []))


def collect(store: Store, sampler: Sampler, plan: Plan, round_: Round, config: SampleConfig,
            seed: int, progress: Progress) -> Collected:
    """Sample what the plan wants and is not stored yet; add each task once it is whole."""
    have = {(r.prompt_id, r.policy_version_id, r.sample_index): r
            for r in store.responses.of_round(round_.id)}
    done = {t.prompt_id for t in store.tasks.of_round(round_.id)}
    result = Collected(len(have))
    total = sum(len(task.wanted) for task in plan.tasks)

    def alive() -> None:
        progress.update(len(have) / total, f"sampling responses: {len(have)} of {total}")

    for task in plan.tasks:  # whole before a kill, but not made a task yet
        _add_if_whole(store, task, have, done, round_, config, result)
    for version, asked in _missing(plan, have).items():
        wanted = [Wanted(task.ids, (seed, round_.number, task.prompt.id, version, index))
                  for task, index in asked]
        for part in sampler(version, wanted, alive):
            with store.database.write():
                new = store.responses.add(
                    _new_response(*asked[place], version, sample, round_, config, seed)
                    for place, sample in part)
                for (place, _), response in zip(part, store.responses.get(new), strict=True):
                    task, index = asked[place]
                    have[task.prompt.id, version, index] = response
                    _add_if_whole(store, task, have, done, round_, config, result)
            result.responses = len(have)
    result.cut_off = sum(response.is_cut for response in have.values())
    return result


def _least_used(store: Store, round_: Round, seed: int) -> list[Prompt]:
    """All prompts, those of the fewest earlier rounds first."""
    prompts = store.prompts.all()
    random.Random(f"{seed}/{round_.number}/prompts").shuffle(prompts)
    uses = store.tasks.uses_of_prompts(before_round=round_.id)
    return sorted(prompts, key=lambda prompt: uses.get(prompt.id, 0))


def _evaluated(prompts: Sequence[Prompt], tasks: int, round_: Round,
               config: SampleConfig) -> list[Prompt]:
    """The held-out prompts on which the round's policy meets the reference."""
    if round_.policy_version_id == round_.reference_id:
        return []
    held_out = [p for p in prompts if p.split == "held_out"]
    return held_out[:round(tasks * config.evaluate_share)]


def _head_to_head(prompt: Prompt, ids: list[int], round_: Round, seed: int) -> PlannedTask:
    """In a drawn order: a fixed one would tell whoever reads the stored tasks who wrote what."""
    wanted = [(round_.policy_version_id, 0), (round_.reference_id, 0)]
    random.Random(f"{seed}/{round_.number}/{prompt.id}").shuffle(wanted)
    return PlannedTask(prompt, ids, tuple(wanted), "evaluate")


def _missing(plan: Plan, have: Mapping[tuple[int, int | None, int], Response]
             ) -> dict[int, list[tuple[PlannedTask, int]]]:
    """What is still to be sampled of each policy version, in the order of the tasks."""
    missing: dict[int, list[tuple[PlannedTask, int]]] = {}
    for task in plan.tasks:
        for version, index in task.wanted:
            if (task.prompt.id, version, index) not in have:
                missing.setdefault(version, []).append((task, index))
    return missing


def _new_response(task: PlannedTask, index: int, version: int, sample: Sample, round_: Round,
                  config: SampleConfig, seed: int) -> NewResponse:
    sampling = {"temperature": config.temperature, "max_new_tokens": config.max_new_tokens,
                "stop": config.stop}
    if config.server:
        sampling["sampler"] = "server"
    return NewResponse(task.prompt.id, sample.text, version, round_.id, sample.ids, sampling, seed,
                       index, sample.finish_reason, sum(sample.logprobs))


def _add_if_whole(store: Store, task: PlannedTask,
                  have: Mapping[tuple[int, int | None, int], Response], done: set[int],
                  round_: Round, config: SampleConfig, result: Collected) -> None:
    found = [have.get((task.prompt.id, version, index)) for version, index in task.wanted]
    responses = [response for response in found if response is not None]
    if len(responses) < len(found) or task.prompt.id in done:
        return
    done.add(task.prompt.id)
    # Head to head, identical texts are a tie that counts; for training they say nothing.
    if task.purpose == "train" and len({response.text for response in responses}) == 1:
        result.identical += 1
        return
    result.tasks += 1
    store.tasks.add(task.prompt.id, [response.id for response in responses],
                    round_id=round_.id, purpose=task.purpose, wanted=config.wanted)
