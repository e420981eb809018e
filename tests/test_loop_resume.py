"""A job that is taken up again is the job that was begun, whatever has changed meanwhile."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import saved_adapter, saved_reward_model

from backbone.config import ModelConfig
from data.progress import Stopped
from data.records import Message
from data.store import Store
from loop import cli, models
from loop.jobs import JobProgress
from loop.lock import WorkerLock
from loop.workspace import Plan, make_workspace
from policy import endpoint


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few prompts, two reward models without figures, and a policy besides the reference."""
    monkeypatch.setattr(models, "_loaded", {})
    backbone = tiny_backbone(tmp_path)
    base = str(tmp_path / "tiny")
    made = tmp_path / "w"
    make_workspace(made, Plan(ModelConfig(checkpoint=base, lora_rank=4, lora_alpha=8,
                                          precision="fp32", device="cpu"), starter_prompts=False))
    store = Store.of_workspace(made)
    for number in range(6):
        add_prompt(store, number)
    saved_adapter(made / "adapters" / "ppo-1", backbone, seed=5)
    store.versions.add_policy(name="ppo-1", base=base, method="ppo", path="adapters/ppo-1",
                              parent_id=1)
    saved_reward_model(made / "adapters" / "reward-1", backbone)
    add_reward_model(store, "reward-1")
    return made


def add_prompt(store: Store, number: int) -> int:
    """A prompt like no other; every third is held out."""
    words = [Message(role="user", content=f"tell me about the {'one ' * number}")]
    return store.prompts.add(words, "test", split="train" if number % 3 else "held_out")[0]


def add_reward_model(store: Store, name: str) -> None:
    """The same files under another name."""
    store.versions.add_reward_model(name=name, base=store.versions.policies()[0].base,
                                    path="adapters/reward-1", comparisons={},
                                    metrics={"score_mean": 0.1, "score_std": 1.5})


def stopped_at(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Jobs stop as soon as they report a message that begins as the pattern says."""
    update = JobProgress.update

    def stop(self: JobProgress, fraction: float, said: str) -> None:
        if re.match(pattern, said):
            raise Stopped
        update(self, fraction, said)

    monkeypatch.setattr(JobProgress, "update", stop)


PPO = ("--batch-size", "4", "--minibatch-size", "4", "--max-new-tokens", "4", "--steps", "2",
       "--judges", "0", "--probe-every", "0", "--keep-every", "0")


def test_ppo_goes_on_with_the_settings_versions_and_round_that_it_began_with(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at, store = ["--workspace", str(workspace)], Store.of_workspace(workspace)
    taught, opened = store.rounds.open(1, 1), store.rounds.open(1, 1)
    with store.database.write() as db:
        db.conn.execute("UPDATE reward_models SET round_id = ?", [taught.id])
    with monkeypatch.context() as patch:
        stopped_at(patch, "step 2 of")
        assert cli.run(["ppo", *at, *PPO]) == 1
    job = store.jobs.get(1)
    assert job.status == "stopped" and job.resolved
    assert (job.resolved["policy"], job.resolved["reward_model"]) == ("ppo-1", "reward-1")
    store.versions.add_policy(name="ppo-0", base=store.versions.policies()[0].base, method="ppo",
                              path="adapters/ppo-1", parent_id=1)
    add_reward_model(store, "reward-2")
    store.rounds.open(1, 1)
    (workspace / "prefloop.toml").write_text(
        "[workspace]\nseed = 7\n[ppo]\nsteps = 9\nkl_coefficient = 0.5\nepochs = 1\n"
        f"[models]\nlora_rank = 2\ncheckpoint = '{job.resolved['models']['checkpoint']}'\n")
    assert cli.run(["ppo", *at, "--resume", "1"]) == 0
    made = store.versions.policies()[-1]
    assert made.parent_id == store.versions.policy_named("ppo-1").id
    assert made.reward_model_id == store.versions.reward_model_named("reward-1").id
    assert store.jobs.get(1).round_id == opened.id and store.rounds.get(opened.id).stage == "done"
    assert made.round_id == taught.id  # whose labels the reward model has learned from
    assert made.config == job.resolved and len(store.jobs.metrics(1)) == 2
    assert made.metrics["kl_coefficient"] == 0.05


def test_what_bounds_memory_may_be_given_anew(
        workspace: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever was killed for want of it goes on with less of it at a time."""
    at, store = ["--workspace", str(workspace)], Store.of_workspace(workspace)
    with monkeypatch.context() as patch:
        stopped_at(patch, "step 2 of")
        assert cli.run(["ppo", *at, *PPO]) == 1
    again = ["ppo", *at, "--resume", "1", "--microbatch-size", "2"]
    assert cli.run([*again, "--steps", "3"]) == 2
    assert "leave --steps out" in capsys.readouterr().err
    with store.database.write() as db:
        db.conn.execute("UPDATE jobs SET status = 'running'")
    with WorkerLock(workspace):
        assert cli.run(again) == 2
    assert "job 1 is at work, and would not hear of microbatch_size" in capsys.readouterr().err
    assert cli.run(again) == 0
    made = store.versions.policies()[-1]
    assert made.config["microbatch_size"] == 2 and len(store.jobs.metrics(1)) == 2


def test_a_round_whose_sampling_was_killed_goes_on_where_the_same_is_asked_for(
        workspace: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    at, store = ["--workspace", str(workspace)], Store.of_workspace(workspace)
    same = ["sample", *at, "--max-new-tokens", "4"]
    with monkeypatch.context() as patch:
        stopped_at(patch, r"sampling responses: [1-9]")
        assert cli.run([*same, "--batch-size", "4"]) == 1
    with store.database.write() as db:  # as a kill leaves it
        db.conn.execute("UPDATE jobs SET status = 'running'")
    capsys.readouterr()
    assert cli.run([*same, "--wanted", "2"]) == 2
    assert (f"`prefloop sample --resume 1 --workspace {workspace}`, or stop it first, by "
            f"`prefloop stop 1 --workspace {workspace}`") in capsys.readouterr().err
    with WorkerLock(workspace):  # somebody is at it
        assert cli.run([*same, "--batch-size", "1"]) == 2
    assert cli.run([*same, "--batch-size", "1"]) == 0
    assert "its process has ended: it goes on" in capsys.readouterr().err
    job, = store.jobs.all()
    assert job.status == "done" and job.resolved and job.resolved["batch_size"] == 1
    assert [turn.number for turn in store.rounds.all()] == [0]


def test_the_gate_is_asked_once_and_what_it_said_is_kept(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at, store = ["--workspace", str(workspace)], Store.of_workspace(workspace)
    with monkeypatch.context() as patch:
        stopped_at(patch, "step 1 of")
        assert cli.run(["ppo", *at, *PPO]) == 1
    folder, = (workspace / "checkpoints").iterdir()
    for kept in folder.glob("*/*"):  # as if it had been killed before its first checkpoint
        kept.unlink()
    monkeypatch.setattr("loop.stages.gate.check", lambda *_: pytest.fail("asked again"))
    assert cli.run(["ppo", *at, "--resume", "1"]) == 0
    assert "let through unseen" in store.versions.policies()[-1].metrics["gate"]


def test_who_was_refused_by_the_gate_is_asked_again(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data.errors import BadInput

    def refuse(*_: object) -> str:
        raise BadInput("reward-1: no better than chance")

    store = Store.of_workspace(workspace)
    job = store.jobs.add("best-of-n", {"n": 2, "prompts": 2, "max_new_tokens": 4, "epochs": 1})
    at = ["best-of-n", "--workspace", str(workspace), "--resume", str(job.id)]
    with monkeypatch.context() as patch:
        patch.setattr("loop.stages.gate.check", refuse)
        assert cli.run(at) == 1 and cli.run(at) == 1
    assert "no better than chance" in (store.jobs.get(job.id).error or "")
    add_reward_model(store, "reward-2")
    assert cli.run(at) == 0
    assert store.versions.policies()[-1].reward_model_id == 2, "the newest by now"


def test_what_a_job_that_is_done_leaves_when_it_is_killed_goes_with_the_next(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """Stands for a process that ends without another word."""

    def kill(*_: object) -> None:
        raise Killed

    at, store = ["--workspace", str(workspace)], Store.of_workspace(workspace)
    with monkeypatch.context() as patch:
        patch.setattr("loop.jobs.forget_checkpoints", kill)
        with pytest.raises(Killed):
            cli.run(["ppo", *at, *PPO])
    assert store.jobs.get(1).status == "done" and list((workspace / "checkpoints").iterdir())
    assert cli.run(["ppo", *at, *PPO]) == 0
    assert not list((workspace / "checkpoints").iterdir())


SAMPLE = {"prompts": 4, "max_new_tokens": 4, "batch_size": 2, "responses": 3}


def sampled(workspace: Path) -> list[tuple[int, int | None, int, str]]:
    """What a workspace's first round holds, as far as it follows from seed and prompts."""
    return sorted((r.prompt_id, r.policy_version_id, r.sample_index, r.text)
                  for r in Store.of_workspace(workspace).responses.of_round(1))


def test_sampling_goes_on_with_the_prompts_it_began_with(
        workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(workspace, tmp_path / "whole")
    found = []
    for folder, stop in ((tmp_path / "whole", False), (workspace, True)):
        store = Store.of_workspace(folder)
        job = store.jobs.add("sample", SAMPLE)
        at = ["sample", "--workspace", str(folder), "--resume", str(job.id)]
        if stop:
            with monkeypatch.context() as patch:
                stopped_at(patch, "sampling responses: [3-6] of")
                assert cli.run(at) == 1
            assert 0 < len(sampled(folder)) < 11
            for number in range(6, 30):
                add_prompt(store, number)
        assert cli.run(at) == 0
        assert not list((folder / "checkpoints").iterdir())
        found.append((sampled(folder), {(t.prompt_id, t.purpose)
                                        for t in store.tasks.of_round(1)}))
    assert found[0] == found[1]


def test_repeats_that_come_meanwhile_are_no_tasks_of_the_sampling(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.of_workspace(workspace)
    job = store.jobs.add("sample", SAMPLE)
    at = ["sample", "--workspace", str(workspace), "--resume", str(job.id)]
    with monkeypatch.context() as patch:
        stopped_at(patch, "sampling responses: [3-6] of")
        assert cli.run(at) == 1
    task, ann = store.tasks.of_round(1)[0], store.people.add("Ann")
    store.tasks.add(task.prompt_id, task.response_ids, round_id=1, purpose="repeat",
                    repeat_of=task.id, only_for=ann.id)
    assert cli.run(at) == 0
    result = store.jobs.get(job.id).result
    assert result is not None and result["tasks"] == len(store.tasks.of_round(1)) - 1 > 1


@pytest.mark.parametrize(("change", "said"), [
    ({"max_new_tokens": 9000}, "--max-new-tokens: none of the"),
    ({"server": "http://127.0.0.1:1/v1"}, "server http://127.0.0.1:1"),
    ({"policy": "ppo-1"}, "adapter_config.json")])
def test_a_round_is_labeled_until_the_next_can_be_sampled(
        workspace: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any],
        said: str) -> None:
    monkeypatch.setattr(endpoint, "WAITS", ())
    shutil.rmtree(workspace / "adapters" / "ppo-1")
    store = Store.of_workspace(workspace)
    turn = store.rounds.open(1, 1)
    store.rounds.set_stage(turn.id, "labeling")
    job = store.jobs.add("sample", {**SAMPLE, "policy": "base", **change})
    assert cli.run(["sample", "--workspace", str(workspace), "--resume", str(job.id)]) == 1
    assert said in (store.jobs.get(job.id).error or "")
    assert [each.id for each in store.rounds.all()] == [turn.id]
    assert store.rounds.current() == store.rounds.get(turn.id) and turn.closed_at is None


def test_a_round_that_was_closed_meanwhile_is_not_filled(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.of_workspace(workspace)
    job = store.jobs.add("sample", SAMPLE)
    at = ["sample", "--workspace", str(workspace), "--resume", str(job.id)]
    with monkeypatch.context() as patch:
        stopped_at(patch, "sampling responses: [3-6] of")
        assert cli.run(at) == 1
    before = sampled(workspace)
    store.rounds.open(1, 1)
    assert cli.run(at) == 1
    assert "round 0 was closed" in (store.jobs.get(job.id).error or "")
    assert sampled(workspace) == before and store.rounds.get(1).stage == "done"


def test_the_upcoming_round_is_the_one_that_opens(workspace: Path) -> None:
    rounds = Store.of_workspace(workspace).rounds
    for _ in range(2):
        planned, opened = rounds.upcoming(2, 1), rounds.open(2, 1)
        assert replace(planned, created_at=opened.created_at) == opened


@pytest.mark.parametrize("flags", [
    ("--batch-size", "1", "--minibatch-size", "1"), ("--kl-coefficient", "0", "--gae-lambda", "1")])
def test_a_run_whose_last_figures_are_no_numbers_is_recorded(
        workspace: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]) -> None:
    from reward.model import RewardModel

    monkeypatch.setattr(RewardModel, "score", lambda self, asked, **_: [1.0] * len(asked))
    assert cli.run(["ppo", "--workspace", str(workspace), *PPO, *flags]) == 0
    made = Store.of_workspace(workspace).versions.policies()[-1]
    assert made.method == "ppo" and None in (made.metrics["explained_variance"],
                                             made.metrics["reward_std"])
