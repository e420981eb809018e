"""What `prefloop status` says to do next, wherever the loop stands."""

from __future__ import annotations

import json
import os
from itertools import count, islice
from pathlib import Path

import pytest
from command_world import workspace
from data_world import World

from data.progress import Silent
from data.prompts import split_of
from data.records import Answer, Message
from data.store import Store
from loop import cli
from loop.context import JobContext
from loop.lock import WorkerLock
from loop.settings import Settings
from loop.status import next_step

assert workspace  # a fixture


def test_status_speaks_of_imported_answers_before_there_is_a_round(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"prompt": "Why is the sky blue?", "chosen": "Air.", "rejected": "No."}\n')
    assert cli.run(["import", str(file), "--workspace", str(workspace)]) == 0
    capsys.readouterr()
    assert cli.run(["status", "--workspace", str(workspace)]) == 0
    shown = capsys.readouterr().out
    assert "1 imported answer\n" in shown and "Next: train on the 1 imported answer: " in shown
    store = Store.of_workspace(workspace)
    # Known answers are of no round either, and came from no file.
    ann, task = store.people.add("Ann"), store.tasks.get(1)
    answer = Answer(tuple((i,) for i in task.response_ids))
    gold = store.tasks.get(store.known.add(task.prompt_id, task.response_ids, answer))
    store.assignments.assign(gold.id, ann.id)
    store.comparisons.submit(ann.id, gold, answer, "gold")
    assert store.comparisons.imported() == 1
    model = store.versions.add_reward_model(name="reward-1", base="x", path="p", metrics={},
                                            comparisons={})
    assert "`prefloop ppo`; or sample the first round" in next_step(store, [])
    store.versions.add_policy(name="ppo-1", base="x", method="ppo", reward_model_id=model.id)
    assert next_step(store, []) == "sample the first round: `prefloop sample`"


def test_a_round_that_was_not_sampled_to_its_end_is_said_and_how_to_go_on(
        workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    turn, job = store.rounds.open(1, 1), store.jobs.add("sample")
    store.jobs.set_round(job.id, turn.id)
    assert store.rounds.stage_now(turn) == "sampling"
    store.jobs.stopped(job.id)
    assert store.rounds.stage_now(turn) == "stopped"
    assert next_step(store, []) == ("not all responses of round 0 are written: go on with "
                                    f"`prefloop sample --resume {job.id}`")
    assert store.jobs.resume(job.id).status == "queued"
    assert store.rounds.stage_now(turn) == "sampling"


def test_a_model_of_a_round_that_was_not_sampled_to_its_end_is_no_dead_end(
        workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    turn, sampling = store.rounds.open(1, 1), store.jobs.add("sample")
    store.jobs.set_round(sampling.id, turn.id)
    store.jobs.stopped(sampling.id)
    training = store.jobs.add("train-reward")
    JobContext(store, workspace, training, 0, Silent(), Settings(), {}).enter_stage("training")
    store.jobs.finish(training.id, {})
    model = store.versions.add_reward_model(name="reward-1", base="x", path="p", metrics={},
                                            comparisons={}, round_id=turn.id)
    assert store.rounds.stage_now(store.rounds.get(turn.id)) == "stopped"
    assert next_step(store, []) == ("not all responses of round 0 are written: go on with "
                                    f"`prefloop sample --resume {sampling.id}`")
    store.versions.add_policy(name="ppo-1", base="x", method="ppo", reward_model_id=model.id)
    assert next_step(store, []) == "put the new policy to the labelers: `prefloop sample`"


def test_a_round_of_head_to_head_alone_is_not_said_to_train_on(labeled: World) -> None:
    store = labeled.store
    labeled.round = store.rounds.open(labeled.policy, labeled.reference)
    task = labeled.task(purpose="evaluate", prompt=prompt_of("held_out", 0))
    assert next_step(store, []).startswith("1 label to go in round 1")
    labeled.choose(store.people.all()[0], task, 1)
    assert store.comparisons.preferences("held_out")
    assert next_step(store, []) == ("round 1 is labeled, and holds nothing to train on: open the "
                                    "next one with `prefloop sample`")


@pytest.fixture
def labeled(tmp_path: Path) -> World:
    """A round of which all is labeled, on training prompts, and a reward model of it."""
    world = World.make(tmp_path / "prefloop.db")
    ada, = world.people(1)
    for number in range(2):
        world.choose(ada, world.task(prompt=prompt_of("train", number)), 0)
    stands = world.store.comparisons.current()
    world.store.versions.add_reward_model(
        name="reward-1", base="x", path="p", metrics={}, round_id=world.round.id,
        comparisons={c.id: "train" for c in stands})
    return world


def prompt_of(split: str, number: int) -> str:
    """One of the prompts whose text puts them there."""
    prompts = (f"question {n}?" for n in count())
    return next(islice((p for p in prompts if split_of([Message(role="user", content=p)])
                        == split), number, None))


def test_answers_that_came_after_the_reward_model_are_said(labeled: World) -> None:
    store, improve = labeled.store, "improve the policy against reward-1: `prefloop ppo`"
    assert next_step(store, []) == improve
    lead, (ada, *_) = store.people.add("Lead", "lead"), store.people.all()
    late = labeled.task(prompt=prompt_of("train", 2))
    labeled.choose(ada, late, 0)
    said = ("reward-1 has not learned from 1 answer of round 0: train again with `prefloop "
            "train-reward`; or improve the policy against it as it is: `prefloop ppo`")
    assert next_step(store, []) == said
    decided, *_ = store.comparisons.current()
    first, second = store.tasks.get(decided.task_id).response_ids
    store.decisions.decide(lead.id, decided.task_id, Answer(((second,), (first,))), "decision")
    assert next_step(store, []) == said.replace("1 answer ", "2 answers ")
    store.people.set_aside(ada.id, True)  # the tasks want their labels of somebody else
    assert next_step(store, []).startswith("3 labels to go")
    store.people.set_aside(ada.id, False)
    model = store.versions.add_reward_model(
        name="reward-2", base="x", path="p", metrics={}, round_id=labeled.round.id,
        comparisons={p.comparison_id: "train" for p in store.comparisons.preferences()})
    assert next_step(store, []) == improve.replace("reward-1", model.name)


def test_what_no_reward_model_learns_from_asks_for_no_training(labeled: World) -> None:
    """Held-out prompts, and two responses that say the same."""
    labeled.choose(labeled.people(1)[0], labeled.task(("same", "same"),
                                                      prompt=prompt_of("train", 2)), None)
    with labeled.store.database.write() as db:
        db.conn.execute("UPDATE prompts SET split = 'held_out' WHERE id = 1")
        db.conn.execute("DELETE FROM reward_model_comparisons WHERE comparison_id = 1")
    assert labeled.store.comparisons.preferences("held_out")
    assert next_step(labeled.store, []).startswith("improve the policy against reward-1")


def test_a_job_that_was_stopped_is_named_beside_a_new_one(labeled: World) -> None:
    store = labeled.store
    jobs = [store.jobs.add(kind) for kind in ("ppo", "train-reward", "best-of-n")]
    for job in jobs[:2]:
        store.jobs.set_resolved(job.id, {"reward_model": "reward-1"})
        store.jobs.set_progress(job.id, 0.4, "step 4 of 10")
        store.jobs.stopped(job.id)
    store.jobs.fail(jobs[2].id, "the disk is full")  # before it came to a reward model
    assert next_step(store, []) == (
        f"improve the policy against reward-1: `prefloop ppo`; or go on with job {jobs[0].id}, "
        f"which was stopped at 40%: `prefloop ppo --resume {jobs[0].id}`")
    store.jobs.set_resolved(jobs[2].id, {"reward_model": "reward-1"})
    assert next_step(store, []).endswith(
        f"or go on with job {jobs[2].id}, which failed at 0%: `prefloop best-of-n --resume "
        f"{jobs[2].id}`")
    labeled.round = store.rounds.open(labeled.policy, labeled.reference)
    labeled.choose(store.people.all()[0], labeled.task(prompt=prompt_of("train", 2)), 0)
    assert next_step(store, []) == "round 1 is labeled: train on it with `prefloop train-reward`"
    store.jobs.set_round(jobs[1].id, labeled.round.id)
    assert next_step(store, []).endswith(
        f"; or go on with job {jobs[1].id}, which was stopped at 40%: `prefloop train-reward "
        f"--resume {jobs[1].id}`")


def test_training_again_that_was_stopped_is_named_before_what_was_improved_meanwhile(
        labeled: World) -> None:
    store = labeled.store
    training, improving = store.jobs.add("train-reward"), store.jobs.add("ppo")
    store.jobs.set_round(training.id, labeled.round.id)
    store.jobs.set_resolved(improving.id, {"reward_model": "reward-1"})
    for job in (training, improving):
        store.jobs.set_progress(job.id, 0.9, "step 9 of 10")
        store.jobs.stopped(job.id)
    labeled.choose(labeled.people(1)[0], labeled.task(prompt=prompt_of("train", 2)), 0)
    ways = [f"or go on with job {job.id}, which was stopped at 90%: `prefloop {job.kind} --resume "
            f"{job.id}`" for job in (training, improving)]
    assert next_step(store, []).split("; ") == [
        "reward-1 has not learned from 1 answer of round 0: train again with `prefloop "
        "train-reward`", ways[0],
        "or improve the policy against it as it is: `prefloop ppo`", ways[1]]
    refused = json.dumps({"held_out_accuracy": None, "baselines": {}})
    with store.database.write() as db:
        db.conn.execute("UPDATE reward_models SET metrics = ?", [refused])
    assert next_step(store, []).endswith(f"`prefloop train-reward`; {ways[0]}")


def test_a_reward_model_that_the_gate_refuses_asks_for_pairs_that_there_are_not_yet(
        labeled: World) -> None:
    store = labeled.store
    metrics = {"held_out_accuracy": None, "baselines": {}}
    store.versions.add_reward_model(
        name="reward-2", base="x", path="p", metrics=metrics, round_id=labeled.round.id,
        comparisons={c.id: "train" for c in store.comparisons.current()})
    assert "label more pairs (`prefloop sample` opens a round of them)" in next_step(store, [])


def test_labels_that_nobody_can_give_are_not_waited_for(tmp_path: Path) -> None:
    """One person, and two labels wanted of each task."""
    world = World.make(tmp_path / "prefloop.db")
    store, tasks = world.store, [world.task(wanted=2) for _ in range(2)]
    waits = "labels to go in round 0: rank in the browser"
    assert waits in next_step(store, [])  # whoever calls `up` comes in as the first lead
    ada, = world.people(1)
    world.choose(ada, tasks[0], 0)
    assert waits.replace("labels", "3 labels") in next_step(store, [])
    store.assignments.assign(tasks[1].id, ada.id)
    store.assignments.skip(tasks[1].id, ada.id, "cannot judge")
    said = ("round 0 has the labels that its people can give, 1 of 4 (`prefloop labeler add` "
            "brings more people in): train on it with `prefloop train-reward`")
    assert next_step(store, []) == said
    ben, = world.people(1)
    assert waits in next_step(store, [])
    store.people.set_disabled(ben.id, True)
    assert next_step(store, []) == said


def test_jobs_that_wait_for_a_process_that_is_not_heard_of_are_sent_to_no_other_worker(
        workspace: Path) -> None:
    """One that was stopped, by Ctrl-Z say, keeps the lock: another worker would be refused."""
    store = Store.of_workspace(workspace)
    store.jobs.add("ppo")
    with WorkerLock(workspace):
        said = next_step(store, store.jobs.all())
    assert said.startswith(f"1 job waits for process {os.getpid()}, which holds the workspace")
    assert f"kill -CONT {os.getpid()}" in said and "prefloop" not in said
    assert next_step(store, store.jobs.all()).startswith("1 job waits for a worker: ")


def test_a_job_whose_process_is_gone_is_said_and_how_to_go_on(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    job = store.jobs.add("ppo")
    assert next_step(store, store.jobs.all()).startswith("1 job waits for a worker: ")
    store.jobs.add("sample")
    assert next_step(store, store.jobs.all()).startswith("2 jobs wait for a worker: ")
    store.jobs.claim(job.id)
    said = next_step(store, store.jobs.all())
    assert said.startswith(f"job {job.id} (ppo) was interrupted: a worker goes on with it")
    assert f"`prefloop ppo --resume {job.id}`" in said
    store.jobs.request_stop(job.id)  # no worker would go on with it
    said = next_step(store, store.jobs.all())
    assert "prefloop up" not in said
    assert said.endswith(f"go on with `prefloop ppo --resume {job.id}`")
    with WorkerLock(workspace):
        assert next_step(store, store.jobs.all()).startswith("a job is running")
