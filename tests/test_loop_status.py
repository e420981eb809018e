"""What `prefloop status` says: where everything stands now, and what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_world import workspace

from data.errors import BadInput
from data.lineage import card
from data.records import NewResponse
from data.store import Store
from loop import cli
from loop.output import Bar

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


def test_the_next_step_can_be_given_to_a_shell(
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its workspace, a command would be done to another one."""
    monkeypatch.chdir(tmp_path)

    def said(*at: str) -> str:
        assert cli.run(["init", *at]) == cli.run(["status", *at]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert said() == "Next: sample the first round: `prefloop sample`"
    assert said("--workspace", "my runs").endswith(": `prefloop sample --workspace 'my runs'`")
    Store.of_workspace(Path("my runs")).jobs.add("ppo")
    assert said("--workspace", "my runs").endswith(
        "`prefloop up --workspace 'my runs'` or `prefloop worker --workspace 'my runs'`")


def test_versions_are_told_with_what_they_come_from_and_how_good_they_are(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    versions = Store.of_workspace(workspace).versions
    base = versions.policies()[0].name
    accuracy = {"value": 0.625, "n": 264, "low": 0.55, "high": 0.69}
    for name, figures in (("reward-1", {"held_out_accuracy": accuracy, "baselines": {
            "longer": {**accuracy, "value": 0.5}}}), ("reward-2", {})):
        model = versions.add_reward_model(name=name, base="x", path="p", metrics=figures,
                                          comparisons={})
    versions.add_policy(name="ppo-1", base="x", method="ppo", reward_model_id=model.id,
                        parent_id=versions.policies()[0].id)
    at = ["status", "--workspace", str(workspace)]
    assert cli.run([*at, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(v["parent"], v["reward_model"]) for v in shown["policies"]] == [
        (None, None), (base, "reward-2")]
    assert [(m["held_out_accuracy"], m["baselines"]) for m in shown["reward_models"]] == [
        (accuracy, "beaten"), (None, "not measured")]
    assert cli.run(at) == 0
    told = capsys.readouterr().out
    assert "62.5 % (55.0–69.0 %, n = 264)  beaten" in told and "–                  " in told


def test_what_is_not_done_is_at_99_percent_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    for fraction, said in ((0.984, "98%"), (0.996, "99%"), (1.0, "99%")):
        Bar("ppo").show(fraction, "step", None)
        assert capsys.readouterr().err == f"ppo: {said} step\n"


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
