"""One round is sampled at a time: a second one would close the first before anybody labels it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_world import workspace

from annotate import actions
from data.errors import BadInput
from data.records import NewResponse
from data.store import Store
from loop import cli
from loop.commands.stages import Sample
from loop.kinds import catalogue
from loop.lock import WorkerLock
from loop.settings import Settings

assert workspace  # a fixture


def test_a_second_press_of_the_button_is_refused(workspace: Path) -> None:
    """Another engineer's, or a double one."""
    store = Store.of_workspace(workspace)
    store.put_setting("job_kinds", catalogue(Settings()))
    token = store.people.redeem(store.people.create_code(store.people.add("Eve", "engineer").id))
    first = actions.start_job(store, token, "sample")
    for status in ("queued", "running"):
        with pytest.raises(BadInput, match=f"go on with job {first.id}, by "):
            actions.start_job(store, token, "sample")
        assert [job.status for job in store.jobs.all()] == [status]
        store.jobs.claim(first.id)
    actions.start_job(store, token, "train-reward")
    store.jobs.finish(first.id, {})
    assert actions.start_job(store, token, "sample").id != first.id


def test_one_that_failed_is_not_taken_up_beside_another(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the browser, and from a terminal: it would close the round that is sampled meanwhile."""
    store = Store.of_workspace(workspace)
    token = store.people.redeem(store.people.create_code(store.people.add("Eve", "engineer").id))
    failed = store.jobs.add("sample")
    store.jobs.fail(failed.id, "no answer")
    other = store.jobs.add("sample")
    again = ["sample", "--workspace", str(workspace), "--resume", str(failed.id)]
    for _ in ("queued", "running"):
        with pytest.raises(BadInput, match=f"go on with job {other.id}, by `prefloop sample"):
            actions.resume_job(store, token, failed.id)
        assert cli.run(again) == 2
        assert f"go on with job {other.id}, by" in capsys.readouterr().err
        assert store.jobs.get(failed.id).status == "failed"
        store.jobs.claim(other.id)
    assert store.jobs.resume(other.id).status == "running"
    store.jobs.stopped(other.id)
    actions.resume_job(store, token, failed.id)
    assert store.jobs.get(failed.id).status == "queued"


def test_one_that_has_its_round_goes_on_with_that_one(workspace: Path) -> None:
    """It opens no other, so that it closes none."""
    store = Store.of_workspace(workspace)
    job = store.jobs.add("sample")
    store.jobs.set_round(job.id, store.rounds.open(1, 1).id)
    store.jobs.stopped(job.id)
    store.jobs.add("sample")
    assert store.jobs.resume(job.id).status == "queued"


@pytest.mark.parametrize("killed", [False, True])
def test_one_that_nobody_is_about_to_do_makes_way(
        workspace: Path, capsys: pytest.CaptureFixture[str], killed: bool) -> None:
    """Such as that which `prefloop up` queues first; it has opened no round that could be lost."""
    store = Store.of_workspace(workspace)
    job, command = store.jobs.add("sample"), Sample(workspace=workspace)
    if killed:
        store.jobs.claim(job.id)
    with WorkerLock(workspace):
        command.check(store)
        assert store.jobs.unfinished("sample")
    command.check(store)
    assert store.jobs.get(job.id).status == "stopped"
    said = capsys.readouterr().err
    assert f"job {job.id} was to sample a round" in said and f"--resume {job.id}" in said
    assert store.jobs.add("sample").id != job.id


def test_a_round_that_was_begun_is_sampled_to_its_end_or_stopped(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else it would be closed unlabeled."""
    store = Store.of_workspace(workspace)
    job = store.jobs.claim(store.jobs.add("sample").id)
    assert job is not None
    store.jobs.set_round(job.id, store.rounds.open(1, 1).id)
    assert cli.run(["sample", "--workspace", str(workspace)]) == 2
    assert f"go on with job {job.id}, by `prefloop sample --resume {job.id} --workspace " \
        in capsys.readouterr().err
    assert [each.status for each in store.jobs.all()] == ["running"]
    store.jobs.request_stop(job.id)  # on the Jobs page, where its process is gone
    Sample(workspace=workspace).check(store)
    assert store.jobs.get(job.id).status == "stopped"


def test_a_job_is_stopped_from_the_command_line(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, at = Store.of_workspace(workspace), ["--workspace", str(workspace)]
    waiting, running, killed = (store.jobs.add(kind) for kind in ("sample", "ppo", "best-of-n"))
    for job in (running, killed):
        store.jobs.claim(job.id)
    assert cli.run(["stop", str(waiting.id), *at]) == 0
    assert f"job {waiting.id} is stopped; go on with it by `prefloop sample --resume" \
        in capsys.readouterr().out
    with WorkerLock(workspace):
        assert cli.run(["stop", str(running.id), *at, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"job": running.id, "status": "running"}
        assert store.jobs.get(running.id).stop_requested
    assert cli.run(["stop", str(killed.id), *at]) == 0
    assert [store.jobs.get(job.id).status for job in (waiting, running, killed)] == [
        "stopped", "running", "stopped"]
    assert cli.run(["stop", str(killed.id), *at]) == cli.run(["stop", "99", *at]) == 2
    said = capsys.readouterr().err
    assert f"job {killed.id} has ended: it is stopped" in said and "there is no job 99" in said
    assert [entry.action for entry in store.audit.entries()] == ["stop job"] * 3


def test_labels_that_the_next_round_leaves_out_are_said_in_the_terminal_too(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.of_workspace(workspace)
    turn, prompt = store.rounds.open(1, 1), store.prompts.all()[0]
    command = Sample(workspace=workspace)
    command.check(store)
    assert not capsys.readouterr().err
    pair = store.responses.add(NewResponse(prompt.id, text, 1, turn.id, sample_index=i)
                               for i, text in enumerate(("yes", "no")))
    store.tasks.add(prompt.id, pair, round_id=turn.id, wanted=2)
    command.check(store)
    assert "Round 0 still waits for 2 of 2 labels. Opening the next round closes it" \
        in capsys.readouterr().err
