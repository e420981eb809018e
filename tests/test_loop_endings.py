"""What ends a command before its job is done, and how the job goes on then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import BufferedWriter, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, heeds_its_terminal
from runs_world import PROGRAM, ppo, stages, workspace

from data.database import now
from data.errors import PrefloopError
from data.store import DATABASE_NAME, Store
from loop import cli
from loop.context import JobContext, checkpoints_of
from loop.lock import WorkerLock
from loop.worker import Worker

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
    out, err = process.communicate(timeout=PATIENCE)
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
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == f"stopped; go on with `prefloop ppo --resume 1 --workspace {workspace}`\n"
    assert Store.of_workspace(workspace).jobs.get(1).status == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_asked_twice_by_anything_but_ctrl_c_it_finishes_its_step(
        number: signal.Signals, workspace: Path) -> None:
    """As when a terminal is closed: its shell tells the process, and the kernel does."""
    program = PROGRAM.replace(
        "time.sleep(0.05)",
        "while not (context.workspace / 'go').exists(): time.sleep(0.05)\n"
        "        (context.workspace / 'stepped').touch()")
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
    (workspace / "go").touch()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and (workspace / "stepped").exists()
    assert err.endswith(f"stopped; go on with `prefloop ppo --resume 1 --workspace {workspace}`\n")


class Reader(RawIOBase):
    """Who reads progress, and asks the process to end while a line of it is written."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if b"step 0" in bytes(data):
            signal.raise_signal(signal.SIGTERM)
        return len(data)


def test_asked_to_end_in_the_middle_of_a_line_it_stops_at_the_next_step(
        workspace: Path, stages: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(context: JobContext) -> dict[str, Any]:
        for step in range(2):
            context.progress.update(step / 2, f"step {step}")
        return {}

    stages(handler)
    monkeypatch.setattr(sys, "stderr", TextIOWrapper(BufferedWriter(Reader())))
    assert ppo(workspace) == 130
    assert Store.of_workspace(workspace).jobs.get(1).status == "stopped"


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
    old = mine.rename(mine.with_name("job-2"))
    written = old.stat().st_mtime
    os.utime(old, (written, written - 3600))
    assert ppo(workspace, "--resume", "2") == 1, "it was there before the job"
    shutil.rmtree(mine)
    os.utime(old, (written, written + 1))
    assert ppo(workspace, "--resume", "2") == 0
    assert [*(workspace / "checkpoints").iterdir()] == [others]
    assert "stopped in the middle" in capsys.readouterr().err


def test_what_a_job_goes_on_from_is_kept_until_it_is_done(
        workspace: Path, stages: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise PrefloopError("the disk is full")

    stages(lambda context: context.checkpoints.mkdir(exist_ok=True) or {})
    with monkeypatch.context() as patch:
        patch.setattr("data.jobs.Jobs.finish", full)
        assert ppo(workspace) == 1
    assert len([*(workspace / "checkpoints").iterdir()]) == 1
    assert ppo(workspace, "--resume", "1") == 0
    assert not [*(workspace / "checkpoints").iterdir()]


@pytest.mark.parametrize("by_worker", [False, True])
def test_folders_of_jobs_that_are_done_go_when_the_next_one_comes_to_work(
        by_worker: bool, workspace: Path, stages: Callable[..., None]) -> None:
    store = Store.of_workspace(workspace)
    for end in (lambda id_: store.jobs.finish(id_, {}), lambda id_: store.jobs.fail(id_, "no"),
                store.jobs.stopped):
        for old in (True, False):
            job = store.jobs.add("ppo")
            folder = checkpoints_of(workspace, job)
            folder = folder.with_name(f"job-{job.id}") if old else folder
            folder.mkdir()
            os.utime(folder, (time.time() + 1, time.time() + 1))
            end(job.id)
    of_others = workspace / "checkpoints" / "job-2-20200101000000000000"
    of_others.mkdir()
    before = {path.name for path in (workspace / "checkpoints").iterdir()}
    if by_worker:
        Worker(workspace, [sys.executable, "-c", "input()"]).run(once=True)
    else:
        stages(lambda context: {})
        assert ppo(workspace) == 0
    left = {path.name for path in (workspace / "checkpoints").iterdir()}
    assert {name.split("-")[1] for name in before - left} == {"1", "2"}
    assert len(left) == 5 and of_others.name in left


def test_what_is_closed_before_it_starts_is_not_written_to(workspace: Path) -> None:
    """As `>&-` of a shell has it: else what is for standard error would go to standard output."""
    def prefloop(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", f'"$0" -m loop {line} --workspace "$1"', sys.executable,
                               str(workspace)], capture_output=True, text=True, check=False)

    silent, wrong = prefloop("status >&-"), prefloop("ppo --steps 0 2>&-")
    assert (silent.returncode, silent.stderr) == (0, "")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_command_that_is_named_can_be_given_to_a_shell_as_it_stands(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = workspace.rename(workspace.with_name("my runs"))
    Store.of_workspace(folder).jobs.add("ppo")
    assert cli.run(["stop", "1", "--workspace", str(folder)]) == 0
    assert capsys.readouterr().out.endswith(f"`prefloop ppo --resume 1 --workspace '{folder}'`\n")
    assert cli.run(["status", "--workspace", "none there"]) == 2
    assert "`prefloop init --workspace 'none there'`" in capsys.readouterr().err


def test_a_number_that_no_flag_names_is_refused_in_plain_words(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stop", "seven"]) == 2
    assert capsys.readouterr().err == "prefloop: wanted a whole number, not 'seven'\n"
