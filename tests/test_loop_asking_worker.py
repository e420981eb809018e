"""The worker has features computed, keeps the order of asking, and outlives what is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking_world import workspace
from models import one_thread
from processes import PATIENCE, gone, starter, wait_for

from data.records import Answer, NewResponse
from data.store import Store
from loop.asking.process import AskingProcess

assert one_thread and workspace  # fixtures


def test_a_response_that_comes_while_features_are_read_is_due_after_them(
        workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loop.asking.process._LOOK_EVERY", 0.0)
    monkeypatch.setattr(AskingProcess, "_start", lambda self: None)
    store = Store.of_workspace(workspace)
    asking = AskingProcess(store, workspace)
    asking.keep()
    assert asking.features_due()
    asking.features_ordered()
    store.responses.add([NewResponse(1, "imported meanwhile", source="import")])
    asking.keep()
    asking.features_read()
    asking.keep()
    assert asking.features_due()
    asking.features_ordered()
    asking.features_read()
    asking.keep()
    assert not asking.features_due()


@pytest.fixture
def start(workspace: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    with starter([sys.executable, "-m", "loop", "worker", "--workspace", str(workspace)]) as start:
        yield start


def children_of(pid: int) -> list[int]:
    return [int(i) for i in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_worker_orders_tasks_survives_kills_and_takes_all_along(
        workspace: Path, start: Callable[[], subprocess.Popen[str]]) -> None:
    store = Store.of_workspace(workspace)
    worker = start()
    wait_for(lambda: store.setting("asking"))
    assert all(t.chosen_by for t in store.asking.tasks())
    asker, = (pid for pid in children_of(worker.pid)
              if b"loop.asking.live" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(asker, signal.SIGKILL)
    me = store.people.add("Ann")
    given = store.assignments.next_for(me.id)
    assert given is not None, "labeling goes on without it"
    everyone = children_of(worker.pid)
    worker.kill()
    worker.wait()
    wait_for(lambda: all(gone(pid) for pid in everyone))
    shown = given.task.response_ids
    store.comparisons.submit(me.id, given.task, Answer(((shown[0],), (shown[1],))), "k")
    before = store.setting("asking")["at"]
    again = start()
    wait_for(lambda: store.setting("asking")["at"] > before)
    assert store.setting("asking")["answers"] == sum(
        not pair.held_out for pair in store.asking.pairs())
    again.terminate()
    assert again.wait(PATIENCE) == 0


def test_a_checkpoint_that_cannot_be_read_is_one_line_of_the_workers_log(
        workspace: Path, start: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    for file in (tmp_path / "tiny").glob("*.safetensors"):
        file.write_bytes(b"nothing")
    store = Store.of_workspace(workspace)
    worker = start()
    lines: list[str] = []
    assert worker.stderr is not None
    for line in worker.stderr:
        lines.append(line)
        if "features" in line:
            break
    assert "labeling goes on" in lines[-1] and "failed" in lines[-1]
    me = store.people.add("Ann")
    assert store.assignments.next_for(me.id) is not None
    job = store.jobs.add("dream")
    wait_for(lambda: store.jobs.get(job.id).status == "failed"), "jobs go on too"
