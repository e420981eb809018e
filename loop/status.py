"""Where every round and job stands, and what to do next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from data.heartbeat import heard
from loop.lock import holder, is_locked
from loop.output import counted, duration, print_table

if TYPE_CHECKING:
    from data.records import Job, PolicyVersion, RewardModel, Round
    from data.store import Store

_JOBS_SHOWN = 10


def status_of(store: Store) -> dict[str, Any]:
    """Everything that `prefloop status` shows, as one document."""
    jobs = store.jobs.all()
    return {
        "prompts": {split: store.prompts.count(split) for split in ("train", "held_out")},
        "imported": store.comparisons.imported(),
        "rounds": [_round(store, each) for each in store.rounds.all()],
        "jobs": [_job(job) for job in jobs],
        "policies": [_policy(store, version) for version in store.versions.policies()],
        "reward_models": [_reward_model(store, version)
                          for version in store.versions.reward_models()],
        "worker": worker_pid(store),
        "asking": store.setting("asking"),
        "learning_curve": store.setting("learning_curve"),
        "next": next_step(store, jobs),
    }


def worker_pid(store: Store) -> int | None:
    """The pid of the worker that lives now, if one does."""
    worker: dict[str, Any] | None = store.setting("worker")
    return int(worker["pid"]) if worker and heard(worker) else None


def next_step(store: Store, jobs: list[Job]) -> str:
    """The one thing that moves the loop on."""
    waiting = [job for job in jobs if job.status == "queued"]
    running = [job for job in jobs if job.status == "running"]
    if running and not is_locked(store.database.path.parent):  # whoever runs a job holds the lock
        job = running[-1]
        again = f"`prefloop {job.kind} --resume {job.id}`"
        if job.stop_requested:
            return f"job {job.id} ({job.kind}) was to stop, and was interrupted: go on with {again}"
        return (f"job {job.id} ({job.kind}) was interrupted: a worker goes on with it (`prefloop "
                f"up`), or {again}")
    if running:
        return "a job is running: wait for it, or watch it in the browser (`prefloop up`)"
    if waiting and worker_pid(store) is None:
        wait = "waits" if len(waiting) == 1 else "wait"
        if pid := holder(store.database.path.parent):  # a stopped one, say: no other can work
            return (f"{counted(len(waiting), 'job')} {wait} for process {pid}, which holds the "
                    f"workspace and is not heard of: continue it if it was stopped (`kill -CONT "
                    f"{pid}`), or end it")
        return (f"{counted(len(waiting), 'job')} {wait} for a worker: `prefloop up` or "
                "`prefloop worker`")
    if waiting:
        return "the worker is about to start the next job"
    if not store.prompts.count():
        return "bring prompts in: `prefloop import FILE`"
    current = store.rounds.current()
    if current is None:
        return _next_of_imports(store) or "sample the first round: `prefloop sample`"
    return _next_of_round(store, current)


def _next_of_imports(store: Store) -> str:
    """What imported answers are good for before there is any round; empty: nothing."""
    from data.reward_reports import verdict

    if not (imported := store.comparisons.imported()):
        return ""
    models = store.versions.reward_models()
    if not models:
        return (f"train on the {counted(imported, 'imported answer')}: `prefloop train-reward`; or "
                "sample the first round: `prefloop sample`")
    if any(v.reward_model_id == models[-1].id for v in store.versions.policies()) \
            or not verdict(store, models[-1]).offered:
        return ""
    return (f"improve the policy against {models[-1].name}: `prefloop ppo`; or sample the first "
            "round: `prefloop sample`")


def _next_of_round(store: Store, current: Round) -> str:
    models = [m for m in store.versions.reward_models() if m.round_id == current.id]
    improved = bool(models) and any(v.reward_model_id == models[-1].id
                                    for v in store.versions.policies())
    if store.rounds.stage_now(current) == "stopped" and not improved:
        sampling = next(job.id for job in store.jobs.all()
                        if job.kind == "sample" and job.round_id == current.id)
        return (f"not all responses of round {current.number} are written: go on with "
                f"`prefloop sample --resume {sampling}`")
    given, wanted = store.tasks.progress(current.id)
    if given < wanted and store.tasks.ask_anybody(current.id):
        return (f"{counted(wanted - given, 'label')} to go in round {current.number}: rank in the "
                "browser (`prefloop up`), or `prefloop simulate`")
    if not models:
        labeled = "is labeled" if given >= wanted else (
            f"has the labels that its people can give, {given} of {wanted} (`prefloop labeler add` "
            "brings more people in)")
        if not store.versions.answers_since(None, current.id):  # head to head alone, say
            return (f"round {current.number} {labeled}, and holds nothing to train on: open the "
                    "next one with `prefloop sample`")
        return (f"round {current.number} {labeled}: train on it with `prefloop train-reward`"
                + _or_train_on(store, current))
    if improved:
        return "put the new policy to the labelers: `prefloop sample`"
    return _next_of_reward_model(store, current, models[-1])


def _next_of_reward_model(store: Store, current: Round, model: RewardModel) -> str:
    """Of a round that is labeled, and of whose answers the model has learned."""
    from data.reward_reports import verdict

    found = verdict(store, model)
    or_improve_on = _or_go_on(store, ("ppo", "best-of-n"), lambda job: (job.resolved or {}).get(
        "reward_model") == model.name)
    if new := store.versions.answers_since(model.id, current.id):
        return (f"{model.name} has not learned from {counted(new, 'answer')} of round "
                f"{current.number}: train again with `prefloop train-reward`"
                + _or_train_on(store, current)
                + ("; or improve the policy against it as it is: `prefloop ppo`" + or_improve_on
                   if found.offered else ""))
    if not found.offered:
        return (f"{model.name}: {found.reason}; label more pairs (`prefloop sample` opens a round "
                "of them) and train again, or use it anyway with `prefloop ppo --force`"
                + or_improve_on)
    return f"improve the policy against {model.name}: `prefloop ppo`{or_improve_on}"


def _or_train_on(store: Store, current: Round) -> str:
    """The other way to train on a round's answers, where the last training on them was cut off."""
    return _or_go_on(store, ("train-reward",), lambda job: job.round_id == current.id)


def _or_go_on(store: Store, kinds: Collection[str], is_meant: Callable[[Job], bool]) -> str:
    """The other way on, where the last such job of some kinds ended before it was done."""
    last = next((job for job in store.jobs.all() if job.kind in kinds and is_meant(job)), None)
    if last is None or last.status not in ("stopped", "failed"):
        return ""
    how = "was stopped" if last.status == "stopped" else "failed"
    return (f"; or go on with job {last.id}, which {how} at {last.progress:.0%}: "
            f"`prefloop {last.kind} --resume {last.id}`")


def print_status(document: dict[str, Any]) -> None:
    """The document as tables."""
    prompts = document["prompts"]
    print(f"{prompts['train']} prompts to train on, {prompts['held_out']} held out")
    if document["imported"]:
        print(counted(document["imported"], "imported answer"))
    print_table("Rounds", ["round", "stage", "policy", "reference", "labels"],
                [[r["round"], r["stage"], r["policy"], r["reference"],
                  f"{r['labels_given']} of {r['labels_wanted']}"] for r in document["rounds"]])
    print_table("Policy versions", ["name", "method", "from", "reward model", "made", "base"],
                [[v["name"], v["method"], v["parent"], v["reward_model"], v["created_at"][:16],
                  v["base"]] for v in document["policies"]])
    print_table("Reward models", ["name", "held-out accuracy", "its baselines", "made", "base"],
                [[v["name"], _accuracy(v["held_out_accuracy"]), v["baselines"],
                  v["created_at"][:16], v["base"]] for v in document["reward_models"]])
    print_table(f"Jobs (last {_JOBS_SHOWN})", ["job", "kind", "status", "done", ""],
                [[j["job"], j["kind"], j["status"], f"{j['progress']:.0%}", _about(j)]
                 for j in document["jobs"][:_JOBS_SHOWN]])
    if said := _learning(document["learning_curve"]):
        print(f"\nInstant model: {said}")
    worker = f"pid {document['worker']}" if document["worker"] else "none"
    print(f"\nWorker: {worker}\nNext: {document['next']}")


def _round(store: Store, each: Round) -> dict[str, Any]:
    given, wanted = store.tasks.progress(each.id)
    return {"round": each.number, "id": each.id, "stage": store.rounds.stage_now(each),
            "policy": store.versions.policy(each.policy_version_id).name,
            "reference": store.versions.policy(each.reference_id).name,
            "labels_given": given, "labels_wanted": wanted,
            "created_at": each.created_at, "closed_at": each.closed_at}


def _policy(store: Store, version: PolicyVersion) -> dict[str, Any]:
    versions = store.versions
    return {**_without_config(version),
            "parent": versions.policy(version.parent_id).name if version.parent_id else None,
            "reward_model": versions.reward_model(version.reward_model_id).name
            if version.reward_model_id else None}


def _reward_model(store: Store, version: RewardModel) -> dict[str, Any]:
    """With what its newest report says."""
    from data.reward_reports import held_out_accuracy, judge, latest_report

    report = latest_report(store, version).metrics
    accuracy = held_out_accuracy(report)
    return {**_without_config(version), "baselines": judge(report).of_baselines,
            "held_out_accuracy": None if accuracy is None else accuracy.as_dict()}


def _accuracy(kept: dict[str, Any] | None) -> str | None:
    from annotate.engineers.reward_figures import accuracy_words
    from data.measures.statistics import Estimate

    return None if kept is None else accuracy_words(Estimate.from_dict(kept))


def _without_config(version: PolicyVersion | RewardModel) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(version).items() if k != "config"}


def _job(job: Job) -> dict[str, Any]:
    return {"job": job.id, "kind": job.kind, "status": job.status, "progress": job.progress,
            "message": job.message, "seconds_left": job.seconds_left, "attempts": job.attempts,
            "error": job.error, "created_at": job.created_at, "started_at": job.started_at,
            "finished_at": job.finished_at}


def _learning(curve: dict[str, Any] | None) -> str:
    """What the instant model has learned, in a line."""
    if not curve:
        return ""
    from data.measures.statistics import Estimate

    last = curve["points"][-1]
    said = f"right in {Estimate.from_dict(last['accuracy']).percent()} after " \
           f"{last['labels']:.0f} labels"
    if curve["forecast"]:
        gain = Estimate.from_dict(curve["forecast"]["gain"])
        said += (f"; {curve['further']} more would bring about {100 * gain.value:.1f} points "
                 f"({100 * gain.low:.1f} to {100 * gain.high:.1f})")
    return said


def _about(job: dict[str, Any]) -> str:
    if job["status"] == "failed":
        return str(job["error"])
    if job["status"] == "done":  # the last message is of what it did then
        return ""
    left = job["seconds_left"]
    time_left = f" ({duration(left)} left)" if job["status"] == "running" and left else ""
    return f"{job['message']}{time_left}"
