"""The whole loop without hands: two rounds of collecting and training, then a head-to-head.

The labelers are simulated and recorded so: they want positive sentiment (VADER's compound score,
the task of Ziegler et al. 2019) and answer with noise. Every step is an ordinary job of the
workspace, so a killed demonstration goes on where it was, and `prefloop up` opens what it leaves.
"""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.config import ModelConfig
from data.errors import BadInput
from loop.output import note, print_json

if TYPE_CHECKING:
    from data.store import Store

LABELERS = 4  # each answers every task
#: Setting: which job runs which step, what was asked for, and whether it was broken off and gone
#: on with in the middle of a job.
_PROGRESS = "demo"


@dataclass(frozen=True)
class Step:
    """One job of the demonstration."""

    kind: str
    title: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much of everything, in the two labeled rounds."""

    prompts: tuple[int, int] = (160, 80)
    responses: int = 4
    """To a prompt, for labelers and in PPO."""
    max_new_tokens: int = 32
    reward_epochs: int = 3
    ppo_steps: int = 6
    ppo_batch: int = 32
    ppo_minibatch: int = 16
    learning_rates: tuple[float, float] = (5e-4, 3e-4)
    """Of policy and value: the second round takes smaller steps, near the KL where it ends."""
    kl_stop: tuple[float, float] = (4.0, 12.0)
    """KL at which PPO ends, nats: the second round goes on from where the first one ended. The
    update of the step that notices comes on top."""
    kl_budget: float = 15.0
    """KL of the policy that is offered, at the most: what came on top may have gone too far."""
    keep_every: int = 1


TINY = Sizes((40, 32), max_new_tokens=10, reward_epochs=1, ppo_steps=3, ppo_batch=8,
             ppo_minibatch=4)


def run(workspace: Path, *, tiny: bool, seed: int, json: bool) -> None:
    """Run what is left of the demonstration, then report.

    Raises:
        BadInput: the folder holds a workspace that is no demonstration's, or another one's.
        PrefloopError: a job failed.
    """
    from loop.reports.demonstration import build_report, print_report, write_html

    store = _workspace(workspace, tiny, seed)
    if tiny:
        note("A tiny random model: this shows that the code runs, and claims nothing else.")
    steps = _steps(TINY if tiny else Sizes(), store.prompts.count("held_out"), seed)
    for number, step in enumerate(steps, 1):
        _run_step(store, workspace, number, len(steps), step)
    kept = store.setting(_PROGRESS)
    jobs = [store.jobs.get(job_id) for job_id in sorted(kept["jobs"].values())]
    report = build_report(
        store, jobs, tiny=tiny, seed=seed,
        paused=kept.get("paused", False) or any(job.attempts > 1 for job in jobs))
    (workspace / "report.json").write_text(json_format.dumps(report, indent=2), "utf-8")
    write_html(report, store, workspace / "report.html")
    if json:
        print_json(report)
    else:
        print_report(report, workspace)


def _steps(sizes: Sizes, held_out: int, seed: int) -> list[Step]:
    sample = {"max_new_tokens": sizes.max_new_tokens, "wanted": LABELERS, "batch_size": 128,
              "responses": sizes.responses, "seed": seed}
    reward = {"form": "tuned", "tuned_features": "middle", "tuned_blocks": 4,
              "epochs": sizes.reward_epochs, "learning_rate": 1e-3, "responses_per_step": 48,
              "seed": seed}
    ppo = {"steps": sizes.ppo_steps, "batch_size": sizes.ppo_batch, "responses": sizes.responses,
           "minibatch_size": sizes.ppo_minibatch, "epochs": 1, "value_training": "head",
           "max_new_tokens": sizes.max_new_tokens, "seed": seed,
           "force": True}  # without hands there is nobody to ask; the report says where it mattered
    steps = []
    for number, prompts in enumerate(sizes.prompts):
        steps += [
            Step("sample", f"round {number}: sample responses", {**sample, "prompts": prompts}),
            Step("simulate", f"round {number}: simulated labelers rank them",
                 {"labelers": LABELERS, "seed": seed}),
            Step("train-reward", f"round {number}: train the reward model", reward),
            Step("ppo", f"round {number}: improve the policy (PPO)",
                 {**ppo, "kl_stop": sizes.kl_stop[number],
                  "kl_budget": sizes.kl_budget, "keep_every": sizes.keep_every,
                  "learning_rate": sizes.learning_rates[number],
                  "value_learning_rate": sizes.learning_rates[number]})]
    return [*steps,
            Step("sample", "final head-to-head on held-out prompts",
                 {**sample, "prompts": held_out, "evaluate_share": 1.0}),
            Step("simulate", "simulated labelers judge it", {"labelers": LABELERS, "seed": seed})]


def _workspace(workspace: Path, tiny: bool, seed: int) -> Store:
    """The demonstration's workspace, made anew or as a killed run left it."""
    from data.store import Store
    from loop.workspace import Plan, exists, make_workspace

    asked = {"tiny": tiny, "seed": seed}
    if exists(workspace):
        store = Store.of_workspace(workspace)
        kept = store.setting(_PROGRESS)
        if kept is None:
            raise BadInput(f"{workspace} is a workspace of its own, not a demonstration's: give "
                           "--workspace a new folder")
        if kept["asked"] != asked:
            raise BadInput(f"{workspace} holds a demonstration with other flags ({kept['asked']}):"
                           " give --workspace a new folder")
        return store
    models = ModelConfig(checkpoint=str(_tiny_checkpoint())) if tiny else ModelConfig()
    make_workspace(workspace, Plan(models=models, seed=seed))
    store = Store.of_workspace(workspace)
    store.put_setting(_PROGRESS, {"asked": asked, "jobs": {}})
    return store


def _tiny_checkpoint() -> Path:
    from importlib.resources import files

    from backbone.checkpoint import cache_folder
    from backbone.tiny import make_tiny_checkpoint

    lines = (files("data") / "starter_prompts.jsonl").read_text("utf-8").splitlines()
    texts = [json_format.loads(line)["messages"][-1]["content"] for line in lines]
    return make_tiny_checkpoint(cache_folder() / "tiny-random-llama", texts)


def _run_step(store: Store, workspace: Path, number: int, count: int, step: Step) -> None:
    from loop.runs import result_of, run_or_follow
    from loop.stages.handlers import HANDLERS

    kept = store.setting(_PROGRESS)
    job_id = kept["jobs"].get(str(number))
    if job_id is None:
        with store.database.write():
            job_id = store.jobs.add(step.kind, step.config).id
            store.put_setting(_PROGRESS, {**kept, "jobs": {**kept["jobs"], str(number): job_id}})
    job = store.jobs.get(job_id)
    if job.status == "done":
        return
    note(f"[{number}/{count}] {step.title}")
    if job.started_at is not None:
        store.put_setting(_PROGRESS, {**store.setting(_PROGRESS), "paused": True})
    if job.status in ("failed", "stopped"):
        job = store.jobs.resume(job.id)
    result_of(run_or_follow(store, workspace, job, HANDLERS))
