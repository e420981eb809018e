"""What ends a command before its job is done, and how the job goes on then."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import heeds_its_terminal
from runs_world import PROGRAM, ppo, stages, workspace

from data.database import now
from data.errors import PrefloopError
from data.store import DATABASE_NAME, Store
from loop import cli
from loop.context import JobContext
from loop.lock import WorkerLock

assert stages and workspace  # fixtures


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_end_it_stops_at_the_next_step_and_the_job_can_be_resumed(
        number: signal.Signals, workspace: Path, stages: Callable[..., None],
        capsys: pytest.CaptureFixture[str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "ppo", "--workspace",
                                str(workspace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, preexec_fn=heeds_its_terminal)
    while not (workspace / "started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == "" and "Traceback" not in err
    assert "prefloop ppo --resume 1" in err
    assert Store.of_workspace(workspace).jobs.get(1).status == "stopped"
    stages(lambda context: {"resumed": context.checkpoints.name})
    assert ppo(workspace, "--resume", "1") == 0
    assert json.loads(capsys.readouterr().out)["resumed"].startswith("job-1-")
    assert ppo(workspace, "--resume", "1") == 2
    assert cli.run(["sample", "--workspace", str(workspace), "--resume", "1"]) == 2
    assert "prefloop ppo --resume 1" in capsys.readouterr().err


def test_a_second_ctrl_c_ends_at_once_and_says_how_to_go_on(workspace: Path) -> None:
    endless = PROGRAM.replace("time.sleep(0.05)", "time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", endless, "ppo", "--workspace",
                                str(workspace)], stderr=subprocess.PIPE, text=True)
    while not (workspace / "started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    assert process.stderr
    process.send_signal(signal.SIGINT)
    while "press Ctrl-C again" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == f"stopped; go on with `prefloop ppo --resume 1 --workspace {workspace}`\n"
    assert Store.of_workspace(workspace).jobs.get(1).status == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_asked_twice_by_anything_but_ctrl_c_it_finishes_its_step(
        number: signal.Signals, workspace: Path) -> None:
    """As when a terminal is closed: its shell tells the process, and the kernel does."""
    program = PROGRAM.replace(
        "time.sleep(0.05)", "time.sleep(2); (context.workspace / 'stepped').touch()")
    process = subprocess.Popen([sys.executable, "-c", program, "ppo", "--workspace",
                                str(workspace)], stderr=subprocess.PIPE, text=True,
                               preexec_fn=heeds_its_terminal)
    while not (workspace / "started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    assert process.stderr
    process.send_signal(number)
    while "press Ctrl-C again" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and (workspace / "stepped").exists()
    assert err == f"stopped; go on with `prefloop ppo --resume 1 --workspace {workspace}`\n"


@pytest.mark.parametrize(("has_worker", "said"), [
    (True, "the worker goes on with job 1; `prefloop status` shows how far it is"),
    (False, "job 1 waits in the queue; go on with `prefloop ppo --resume 1 --workspace {}`")])
def test_a_follower_says_what_becomes_of_the_job(
        has_worker: bool, said: str, workspace: Path, stages: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(seconds: float) -> None:
        store.put_setting("worker", {"pid": 1, "seen": now()} if has_worker else None)
        raise KeyboardInterrupt

    stages(lambda context: pytest.fail("another process has the workspace"))
    store = Store.of_workspace(workspace)
    with WorkerLock(workspace):
        monkeypatch.setattr("loop.runs.time.sleep", interrupt)
        assert ppo(workspace) == 130
    assert capsys.readouterr().err.splitlines()[-1] == said.format(workspace)
    assert store.jobs.get(1).status == "queued"


def test_a_killed_commands_job_is_named_by_the_next(
        workspace: Path, stages: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "ppo", "--workspace",
                                str(workspace)], stderr=subprocess.DEVNULL)
    while not (workspace / "started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    stages(lambda context: {})
    assert ppo(workspace) == 0
    assert "prefloop ppo --resume 1" in capsys.readouterr().err
    assert ppo(workspace, "--resume", "1") == 0
    assert Store.of_workspace(workspace).jobs.get(1).status == "done"


def test_a_job_that_was_to_stop_and_was_killed_can_be_gone_on_with(
        workspace: Path, stages: Callable[..., None]) -> None:
    stages(lambda context: {})
    jobs = Store.of_workspace(workspace).jobs
    job = jobs.add("ppo")
    jobs.claim(job.id)
    jobs.request_stop(job.id)  # and its process is killed before the next step
    assert ppo(workspace, "--resume", str(job.id)) == 0
    assert jobs.get(job.id).status == "done"


def test_a_restored_databases_job_does_not_go_on_with_another_ones_checkpoint(
        workspace: Path, stages: Callable[..., None], tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    def handler(context: JobContext) -> dict[str, Any]:
        begun = context.checkpoints.exists()
        context.checkpoints.mkdir(exist_ok=True)
        if not begun:
            raise PrefloopError("stopped in the middle")
        return {}

    stages(handler)
    Store.of_workspace(workspace).database.backup(tmp_path / "backup.db")
    assert ppo(workspace) == 1
    others, = (workspace / "checkpoints").glob("job-1-*")
    for file in workspace.glob(f"{DATABASE_NAME}*"):
        file.unlink()
    (tmp_path / "backup.db").rename(workspace / DATABASE_NAME)
    assert ppo(workspace) == 1, "it has the same id, and its own beginning"
    assert ppo(workspace, "--resume", "1") == 0
    assert [*(workspace / "checkpoints").iterdir()] == [others]
    # of before the name said whose it is
    assert ppo(workspace) == 1
    mine, = (workspace / "checkpoints").glob("job-2-*")
    mine.rename(mine.with_name("job-2"))
    assert ppo(workspace, "--resume", "2") == 0
    assert [*(workspace / "checkpoints").iterdir()] == [others]
    assert "stopped in the middle" in capsys.readouterr().err
