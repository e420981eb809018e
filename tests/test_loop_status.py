"""What `prefloop status` says: where everything stands now, and what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_world import workspace

from data.errors import BadInput
from data.lineage import card
from data.progress import Silent
from data.records import Answer, NewResponse
from data.store import Store
from loop import cli
from loop.context import JobContext
from loop.lock import WorkerLock
from loop.settings import Settings
from loop.status import next_step

assert workspace  # a fixture


def test_status_says_what_to_do_next(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said() -> str:
        assert cli.run(["status", "--workspace", str(workspace), "--json"]) == 0
        return str(json.loads(capsys.readouterr().out)["next"])

    assert "prefloop sample" in said()
    store = Store.of_workspace(workspace)
    current = store.rounds.open(1, 1)
    prompt = store.prompts.all()[0]
    pair = store.responses.add(NewResponse(prompt.id, text, 1, current.id, sample_index=i)
                               for i, text in enumerate(("yes", "no")))
    store.tasks.add(prompt.id, pair, round_id=current.id)
    assert said().startswith("1 label to go in round 0")
    store.jobs.add("ppo")
    assert "prefloop up" in said()
    assert cli.run(["status", "--workspace", str(workspace)]) == 0
    shown = capsys.readouterr().out
    assert "0 of 1" in shown and "queued" in shown and "Next:" in shown


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
    with WorkerLock(workspace):
        assert next_step(store, store.jobs.all()).startswith("a job is running")


def test_a_stage_that_is_over_is_not_said_to_go_on(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    turn = store.rounds.open(1, 1)
    for stage, kind in (("training", "train-reward"), ("improving", "ppo")):
        job = store.jobs.add(kind)
        store.jobs.set_round(job.id, turn.id)
        store.rounds.set_stage(turn.id, stage)
        assert store.rounds.stage_now(store.rounds.get(turn.id)) == stage
        store.jobs.finish(job.id, {})
        assert store.rounds.stage_now(store.rounds.get(turn.id)) == "labeling"
        assert ("Stage", "labeling") in card(store, "round", turn.id, viewer=1).facts
        with pytest.raises(BadInput, match=f"job {job.id} is done"):
            store.jobs.resume(job.id)
