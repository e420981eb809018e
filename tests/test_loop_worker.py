"""The worker: one at a time, surviving what jobs do to it (those of `worker_child.py`)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_world import bare_workspace as workspace
from processes import PATIENCE, gone, starter, wait_for

from data.records import Job, Message, NewResponse
from data.store import Store
from loop.kinds import KINDS
from loop.lock import InUse, WorkerLock, is_locked

CHILD = str(Path(__file__).with_name("worker_child.py").resolve())
WORKER = f"""
import sys
from pathlib import Path
import loop.worker
workspace = Path(sys.argv[1])
if not (workspace / "held").exists():  # a job that is held has to come to its end in order
    loop.worker._PATIENCE = 1.0
worker = loop.worker.Worker(workspace, [sys.executable, {CHILD!r}, sys.argv[1]])
worker.run(once=len(sys.argv) > 2)
"""


assert workspace  # a fixture


@pytest.fixture
def store(workspace: Path) -> Store:
    return Store.of_workspace(workspace)


@pytest.fixture
def held(workspace: Path) -> Path:
    """While it is there, PPO comes to no second step."""
    (workspace / "held").touch()
    return workspace / "held"


@pytest.fixture
def start(workspace: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    with starter([sys.executable, "-c", WORKER, str(workspace)]) as start:
        yield start


def run_queue(workspace: Path) -> None:
    subprocess.run([sys.executable, "-c", WORKER, str(workspace), "once"], check=True,
                   timeout=PATIENCE)


def running(store: Store, job: Job) -> bool:
    now = store.jobs.get(job.id)
    return now.status == "running" and now.progress > 0


def test_jobs_run_in_order_in_one_child_with_their_resolved_config(
        workspace: Path, store: Store) -> None:
    first = store.jobs.add("ppo", {"steps": 3, "seed": 4, "policy": "base"})
    second = store.jobs.add("ppo", {"steps": 1})
    run_queue(workspace)
    done, then = store.jobs.get(first.id), store.jobs.get(second.id)
    assert done.status == then.status == "done" and done.progress == 1.0
    assert done.result and then.result and done.result["pid"] == then.result["pid"]
    assert (done.result["steps"], done.result["seed"], done.result["policy"]) == (3, 4, "base")
    assert done.result["resolved"] == 3
    assert done.resolved and done.resolved["steps"] == 3 and done.resolved["batch_size"] == 32
    assert [m["step"] for m in store.jobs.metrics(first.id)] == [1, 2, 3]
    assert store.setting("worker") is None
    assert [entry["kind"] for entry in store.setting("job_kinds")][:1] == ["sample"]
    assert store.setting("job_titles").keys() == KINDS.keys()


def test_a_job_that_kills_its_process_fails_with_the_reason_and_the_next_one_runs(
        workspace: Path, store: Store) -> None:
    bad, good = store.jobs.add("train-reward"), store.jobs.add("ppo", {"steps": 1})
    run_queue(workspace)
    assert store.jobs.get(bad.id).status == "failed"
    reason = store.jobs.get(bad.id).error or ""
    assert "SIGKILL" in reason and reason.endswith("allocating a lot") and "\n" not in reason
    assert store.jobs.get(good.id).status == "done"


def test_a_failed_job_says_why_in_one_line(workspace: Path, store: Store) -> None:
    expected = [
        ("eval-reward", {}, "RuntimeError: shape mismatch"),
        ("sample", {}, "there are no labels yet"),
        ("ppo", {"steps": 0}, "--steps: must be at least 1, not 0"),
        ("simulate", {}, "cannot run jobs of kind 'simulate'"),
        ("dream", {}, "knows no job of kind 'dream'")]
    jobs = [store.jobs.add(kind, config) for kind, config, _ in expected]
    run_queue(workspace)
    for job, (_, _, reason) in zip(jobs, expected, strict=True):
        ended = store.jobs.get(job.id)
        assert ended.status == "failed" and ended.error
        assert reason in ended.error and "\n" not in ended.error


def test_after_an_error_that_nobody_foresaw_the_next_job_gets_a_new_process(
        workspace: Path, store: Store) -> None:
    kinds = ("ppo", "sample", "ppo", "eval-reward", "ppo", "eval-reward")
    jobs = [store.jobs.add(kind, {"steps": 1} if kind == "ppo" else {}) for kind in kinds]
    run_queue(workspace)
    ended = [store.jobs.get(job.id) for job in jobs]
    assert [job.status for job in ended] == ["done", "failed", "done", "failed", "done", "failed"]
    first, second, third = ((job.result or {})["pid"] for job in ended if job.kind == "ppo")
    assert first == second != third, "after one that was foreseen it keeps its models"
    assert {job.error for job in ended if job.kind == "eval-reward"} == {
        "RuntimeError: shape mismatch"}


def test_a_mistake_in_the_settings_fails_the_job_not_the_worker(
        workspace: Path, store: Store, start: Callable[[], subprocess.Popen[str]]) -> None:
    worker = start()
    wait_for(lambda: store.setting("worker"))
    (workspace / "prefloop.toml").write_text("[ppo]\nstpes = 1\n")
    job = store.jobs.add("ppo")
    wait_for(lambda: store.jobs.get(job.id).status == "failed")
    assert "did you mean 'steps'" in (store.jobs.get(job.id).error or "")
    assert worker.poll() is None


def test_a_running_job_stops_on_request(store: Store, held: Path,
                                        start: Callable[[], subprocess.Popen[str]]) -> None:
    job = store.jobs.add("ppo", {"steps": 5})
    start()
    wait_for(lambda: running(store, job))
    store.jobs.request_stop(job.id)
    wait_for(lambda: store.jobs.get(job.id).status == "stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_worker_keeps_the_checkpoint_and_queues_the_job_again(
        number: signal.Signals, workspace: Path, store: Store, held: Path,
        start: Callable[[], subprocess.Popen[str]]) -> None:
    job = store.jobs.add("ppo", {"steps": 5})
    worker = start()
    wait_for(lambda: running(store, job))
    worker.send_signal(number)
    assert worker.wait(PATIENCE) == 0
    assert store.jobs.get(job.id).status == "queued"
    kept, = (workspace / "checkpoints").glob(f"job-{job.id}-*/step")
    assert int(kept.read_text()) == 1
    held.unlink()
    run_queue(workspace)
    assert (store.jobs.get(job.id).result or {})["steps"] == 5
    assert [m["step"] for m in store.jobs.metrics(job.id)] == list(range(1, 6))


def test_a_job_that_does_not_stop_is_killed_and_queued_again(
        workspace: Path, store: Store, start: Callable[[], subprocess.Popen[str]]) -> None:
    job = store.jobs.add("best-of-n")
    worker = start()
    wait_for((workspace / "stubborn").exists)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(PATIENCE) == 0
    assert store.jobs.get(job.id).status == "queued"


def test_a_job_that_was_asked_to_stop_is_not_queued_again_with_the_worker_stopped(
        workspace: Path, store: Store, start: Callable[[], subprocess.Popen[str]]) -> None:
    job = store.jobs.add("best-of-n")
    worker = start()
    wait_for((workspace / "stubborn").exists)
    store.jobs.request_stop(job.id)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0
    assert store.jobs.get(job.id).status == "stopped"


def test_a_killed_worker_takes_its_child_along_and_the_job_goes_on_later(
        workspace: Path, store: Store, held: Path,
        start: Callable[[], subprocess.Popen[str]]) -> None:
    job = store.jobs.add("ppo", {"steps": 3})
    worker = start()
    wait_for(lambda: running(store, job))
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    worker.kill()
    worker.wait()
    wait_for(lambda: all(gone(int(pid)) for pid in children))
    assert children and store.jobs.get(job.id).status == "running"
    held.unlink()
    run_queue(workspace)
    ended = store.jobs.get(job.id)
    assert ended.status == "done" and ended.attempts == 2


def test_a_job_that_ends_its_worker_again_and_again_is_given_up(
        workspace: Path, store: Store) -> None:
    job = store.jobs.add("ppo")
    for _ in range(3):
        assert store.jobs.claim(job.id)
        store.jobs.requeue(job.id, "", died=True)
    with store.database.write() as db:
        db.conn.execute("UPDATE jobs SET status = 'running'")
    run_queue(workspace)
    assert "3 times" in (store.jobs.get(job.id).error or "")


def test_one_worker_a_workspace(workspace: Path, store: Store,
                                start: Callable[[], subprocess.Popen[str]]) -> None:
    worker = start()
    wait_for(lambda: store.setting("worker"))
    assert store.setting("worker")["pid"] == worker.pid
    with pytest.raises(InUse, match=rf"in use by another worker \(pid {worker.pid}\)"):
        WorkerLock(workspace)
    assert is_locked(workspace)
    second = subprocess.run([sys.executable, "-m", "loop", "worker", "--workspace",
                             str(workspace)], capture_output=True, text=True, timeout=PATIENCE)
    assert second.returncode == 1 and "in use by another worker" in second.stderr
    worker.terminate()
    worker.wait(PATIENCE)
    WorkerLock(workspace).release()
    assert not is_locked(workspace)


def with_a_response(store: Store) -> None:
    """Something whose features may be read."""
    prompt, _ = store.prompts.add([Message(role="user", content="hello")], "test")
    store.responses.add([NewResponse(prompt, "a text")])


def test_reading_features_gives_way_to_a_job_and_goes_on_after_it(
        workspace: Path, store: Store, start: Callable[[], subprocess.Popen[str]]) -> None:
    with_a_response(store)
    start()
    reading = workspace / "reading"
    wait_for(reading.exists)
    jobs = [store.jobs.add("ppo", {"steps": 1}) for _ in range(2)]
    wait_for(lambda: all(store.jobs.get(job.id).status == "done" for job in jobs))
    first, second = (store.jobs.get(job.id).result or {} for job in jobs)
    assert first["pid"] == second["pid"], "nothing was lost by giving way"
    wait_for(reading.exists)


def test_reading_features_that_kills_the_child_fails_no_job_and_is_not_tried_again(
        workspace: Path, store: Store, start: Callable[[], subprocess.Popen[str]]) -> None:
    with_a_response(store)
    (workspace / "deadly").touch()
    worker = start()
    wait_for((workspace / "reading").exists)
    job = store.jobs.add("ppo", {"steps": 1})
    wait_for(lambda: store.jobs.get(job.id).status == "done")
    (workspace / "reading").unlink()
    time.sleep(3.0)  # longer than it takes to look again
    assert not (workspace / "reading").exists()
    worker.terminate()
    said = worker.communicate(timeout=PATIENCE)[1]
    assert said.count("reading features ended its process") == 1
    assert "SIGKILL" in said and "allocating a lot; labeling goes on" in said


def test_reading_features_that_goes_wrong_leaves_no_process_behind_that_runs_jobs(
        workspace: Path, store: Store, start: Callable[[], subprocess.Popen[str]]) -> None:
    before = store.jobs.add("ppo", {"steps": 1})
    worker = start()
    wait_for(lambda: store.jobs.get(before.id).status == "done")
    (workspace / "broken").touch()
    with_a_response(store)
    wait_for((workspace / "reading").exists)
    after = store.jobs.add("ppo", {"steps": 1})
    wait_for(lambda: store.jobs.get(after.id).status == "done")
    first, second = (store.jobs.get(job.id).result or {} for job in (before, after))
    assert first["pid"] != second["pid"]
    worker.terminate()
    said = worker.communicate(timeout=PATIENCE)[1]
    assert "RuntimeError: no features from this process; labeling goes on" in said
    assert "reading features ended its process (exit code 1)" in said


def test_switched_off_no_features_are_read(
        workspace: Path, store: Store, start: Callable[[], subprocess.Popen[str]]) -> None:
    with_a_response(store)
    (workspace / "prefloop.toml").write_text("[asking]\nenabled = false\n")
    start()
    wait_for(lambda: store.setting("worker"))
    time.sleep(3.0)  # longer than it takes to look
    assert not (workspace / "reading").exists()
