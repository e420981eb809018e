"""A stage's command: runs its job itself, or follows the worker's; the same result either way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE
from reward_world import Recorder
from runs_world import PROGRAM, ppo, stages, workspace

from data.database import now
from data.errors import PrefloopError
from data.progress import Part, Stopped
from data.store import Store
from loop import cli
from loop.context import JobContext
from loop.jobs import JobProgress
from loop.lock import WorkerLock
from loop.runs import run_or_follow

assert stages and workspace  # fixtures


def test_without_a_worker_the_command_runs_its_job(
        workspace: Path, stages: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def handler(context: JobContext) -> dict[str, Any]:
        context.progress.update(0.5, "half")
        return {"steps": context.settings.ppo.steps, "seed": context.seed}

    stages(handler)
    assert ppo(workspace, "--steps", "4", "--seed", "9") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"job": 1, "status": "done", "steps": 4, "seed": 9}
    assert "half" in shown.err
    job = Store.of_workspace(workspace).jobs.get(1)
    assert job.config == {"steps": 4, "seed": 9} and job.result == {"steps": 4, "seed": 9}
    WorkerLock(workspace).release()


def test_a_failing_job_is_its_error_line_and_1(
        workspace: Path, stages: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def handler(context: JobContext) -> dict[str, Any]:
        raise PrefloopError("the handler gave up")

    stages(handler)
    assert ppo(workspace) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "prefloop: the handler gave up\n" in shown.err


def test_bad_config_is_2_and_queues_nothing(
        workspace: Path, stages: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    stages(lambda context: {})
    assert ppo(workspace, "--steps", "0") == 2
    (workspace / "prefloop.toml").write_text("[ppo]\nstpes = 1\n")
    assert ppo(workspace) == 2
    assert "did you mean 'steps'" in capsys.readouterr().err
    assert cli.run(["ppo", "--workspace", str(workspace), "--help"]) == 0
    assert Store.of_workspace(workspace).jobs.all() == []


def test_with_a_worker_the_command_follows(
        workspace: Path, stages: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    stages(lambda context: pytest.fail("the worker's job must not run here"))
    store = Store.of_workspace(workspace)

    def work() -> None:
        mine = Store.of_workspace(workspace)
        while not (job := mine.jobs.claim()):
            time.sleep(0.05)
        mine.jobs.set_progress(job.id, 0.4, "by the worker")
        time.sleep(0.8)
        mine.jobs.finish(job.id, {"steps": 7})

    with WorkerLock(workspace):
        worker = threading.Thread(target=work)
        worker.start()
        assert ppo(workspace) == 0
        worker.join()
    assert json.loads(capsys.readouterr().out) == {"job": 1, "status": "done", "steps": 7}
    assert store.jobs.get(1).attempts == 1


@pytest.mark.parametrize("seen", [timedelta(days=-300), timedelta(hours=1)])
def test_a_follower_takes_over_when_the_worker_is_gone(seen: timedelta, workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    store.put_setting("worker", {"pid": 1, "seen": now(seen)})  # or the clock was set back since
    job = run_or_follow(store, workspace, store.jobs.add("ppo"), {"ppo": lambda context: {"a": 1}})
    assert (job.status, job.result) == ("done", {"a": 1})


@pytest.mark.parametrize(("ending", "status", "code"), [
    ("return {}", "done", 0), ("raise ValueError('no shape')", "failed", 1)])
def test_where_nobody_reads_its_progress_a_job_ends_as_ever(
        ending: str, status: str, code: int, workspace: Path) -> None:
    program = PROGRAM.replace("range(4000)", "range(4)").replace("return {}", ending).replace(
        "main()", "import loop.output; loop.output._LINE_EVERY = 0; main()")
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-c", program, "ppo", "--workspace", str(workspace)],
                           stdout=subprocess.DEVNULL, stderr=writer, timeout=PATIENCE)
    os.close(writer)
    assert ended.returncode == code
    assert Store.of_workspace(workspace).jobs.get(1).status == status


def test_progress_is_thinned_out_and_says_how_long(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.of_workspace(workspace)
    job = store.jobs.add("ppo")
    store.jobs.claim(job.id)
    clock = [100.0]
    monkeypatch.setattr("loop.jobs.time.monotonic", lambda: clock[0])
    seen: list[tuple[float, str, float | None]] = []
    progress = JobProgress(store, job.id, threading.Event(), lambda *a: seen.append(a))
    for step in range(17):  # 0.25 s a step of 2.5 %, resumed at 20 %
        progress.update(0.2 + step / 40, f"step {step}")
        clock[0] += 0.25
    assert [message for _, message, _ in seen] == [f"step {step}" for step in range(0, 17, 2)]
    assert [left for _, _, left in seen] == [None, *(pytest.approx(8 - s / 2) for s in range(1, 9))]
    stored = store.jobs.get(job.id)
    assert (stored.message, stored.seconds_left) == (seen[-1][1], seen[-1][2])
    store.jobs.request_stop(job.id)
    clock[0] += 1
    with pytest.raises(Stopped):
        progress.update(0.9, "")


def test_a_part_of_a_work_has_its_own_way_on_the_bar() -> None:
    heard = Recorder()
    part = Part(Part(heard, 0.0, 0.8), 0.5, 1.0)
    for share in (0.0, 0.5, 1.0):
        part.update(share, "half way through four fifths")
    part.metrics(3, {"loss": 0.5})
    assert heard.fractions == pytest.approx([0.4, 0.6, 0.8]) and heard.steps == {3: {"loss": 0.5}}
