"""`prefloop up`: both processes come up, are supervised, and leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from command_world import bare_workspace as workspace
from processes import PATIENCE, free_port, gone, heeds_its_terminal, wait_for

from annotate.launch import PUBLIC_URL_VARIABLE
from data.errors import BadInput, PrefloopError
from data.store import Store
from loop import up
from loop.commands.labelers import link_for
from loop.lock import InUse, WorkerLock
from loop.workspace import Plan, make_workspace

Start = Callable[..., "subprocess.Popen[str]"]


assert workspace  # a fixture


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(workspace: Path, port: int) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*under: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(
            [*under, sys.executable, "-m", "loop", "up", "--workspace", str(workspace), "--port",
             str(port), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=heeds_its_terminal))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def link_of(process: subprocess.Popen[str]) -> str:
    """Waits for the JSON document, which ends with a line of one brace."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.rstrip() == "}":
            return str(json.loads("".join(lines))["link"])
    raise AssertionError(process.stderr.read() if process.stderr else "")


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # threads come and go
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def test_it_starts_continues_and_stops_without_leaving_anything(
        workspace: Path, port: int, start: Start) -> None:
    store = Store.of_workspace(workspace)
    process = start()
    link = link_of(process)
    assert link.startswith(f"http://127.0.0.1:{port}/")
    with urllib.request.urlopen(link, timeout=PATIENCE) as page:
        assert page.status == 200
    wait_for(lambda: store.setting("worker"))
    assert [(p.name, p.role) for p in store.people.all()] == [("lead", "lead")]
    children = descendants(process.pid)
    assert len(children) >= 2

    busy = start()
    assert busy.wait(PATIENCE) == 1 and busy.stderr
    said = busy.stderr.read()
    assert "in use by another worker" in said and len(said.splitlines()) == 1
    assert said.rstrip().endswith(f"; its app is at http://127.0.0.1:{port}")

    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert all(map(gone, children)) and store.setting("worker") is None
    assert {"app.log", "worker.log"} <= set(os.listdir(workspace / "logs"))

    again = start()
    assert link_of(again) != link and len(store.people.all()) == 1
    again.terminate()
    assert again.wait(PATIENCE) == 0


def test_a_dead_worker_is_started_again_and_a_killed_up_takes_all_along(
        workspace: Path, start: Start) -> None:
    store = Store.of_workspace(workspace)
    process = start()
    link_of(process)
    wait_for(lambda: store.setting("worker"))
    first = store.setting("worker")["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: (store.setting("worker") or {}).get("pid") not in (None, first))
    everybody = descendants(process.pid)
    process.kill()
    wait_for(lambda: all(map(gone, everybody)))


def test_it_ends_with_its_terminal_unless_started_under_nohup(start: Start) -> None:
    under_nohup = start("nohup")
    link_of(under_nohup)
    under_nohup.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        under_nohup.wait(2)
    under_nohup.terminate()
    assert under_nohup.wait(PATIENCE) == 0
    alone = start()
    link_of(alone)
    alone.send_signal(signal.SIGHUP)
    assert alone.wait(PATIENCE) == 0


def test_a_taken_port_is_one_line_that_names_the_flag(
        workspace: Path, port: int, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        process = start()
        assert process.wait(PATIENCE) == 1 and process.stderr
        said = process.stderr.read()
        assert str(port) in said and len(said.splitlines()) == 1
        assert re.search(rf"as in `prefloop up --port \d+ --workspace '{workspace}'`\n", said)


def test_where_the_workspace_is_makes_own_a_taken_port_is_one_for_make_too(
        port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_workspace(default := Path("runs/default"), Plan(starter_prompts=False))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(PrefloopError,
                           match=r'`prefloop up --port (\d+)` or `make up ARGS="--port \1"`'):
            up.make_ready(Store.of_workspace(default), default, "127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_what_is_no_port_is_refused_at_once(port: int, workspace: Path) -> None:
    with pytest.raises(BadInput, match=f"--port: wanted 1 to 65535, not {port}"):
        up.make_ready(Store.of_workspace(workspace), workspace, "127.0.0.1", port)


def test_a_worker_alone_is_not_said_to_have_an_app(workspace: Path, port: int) -> None:
    store = Store.of_workspace(workspace)
    with WorkerLock(workspace), pytest.raises(InUse) as without:
        up.make_ready(store, workspace, "127.0.0.1", port)
    assert "its app" not in str(without.value)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    store.put_setting("address", {"host": "127.0.0.1", "port": port, "pid": ended.pid})
    with WorkerLock(workspace), pytest.raises(InUse) as stale:
        up.make_ready(store, workspace, "127.0.0.1", port)
    assert str(stale.value) == str(without.value)


def test_links_lead_where_up_was_started_for_whatever_the_shell_says(
        workspace: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.of_workspace(workspace)
    ann = store.people.add("Ann")
    assert link_for(store, ann).startswith("http://127.0.0.1:8501/signin?code=")
    monkeypatch.setenv(PUBLIC_URL_VARIABLE, "https://label.example.org/")
    up.make_ready(store, workspace, "0.0.0.0", port)
    monkeypatch.delenv(PUBLIC_URL_VARIABLE)
    assert link_for(store, ann).startswith("https://label.example.org/signin?code=")
    with WorkerLock(workspace), pytest.raises(InUse, match=r"app is at https://label\.example\.org"):
        up.make_ready(store, workspace, "0.0.0.0", port)
    up.make_ready(store, workspace, "0.0.0.0", port)
    monkeypatch.setenv(PUBLIC_URL_VARIABLE, "https://elsewhere.example.org")
    assert link_for(store, ann).startswith(f"http://127.0.0.1:{port}/signin?code=")
    monkeypatch.setenv(PUBLIC_URL_VARIABLE, "elsewhere")
    with pytest.raises(BadInput, match="elsewhere"):
        up.make_ready(store, workspace, "0.0.0.0", port)


def test_a_lead_is_not_named_like_somebody_in_other_letters(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    store.people.add("Lead")
    up.sign_in_link(store, "127.0.0.1", 8501)
    assert [p.name for p in store.people.all()] == ["Lead", "lead 2"]
    assert [(e.action, e.subject) for e in store.audit.entries()] == [
        ("make sign-in link", "lead 2"), ("add person", "lead 2")]
    up.sign_in_link(store, "127.0.0.1", 8501)
    assert len(store.audit.entries()) == 3  # they are there already


def test_a_new_workspace_gets_its_first_samples_queued_once(tmp_path: Path, port: int) -> None:
    make_workspace(tmp_path / "w", Plan())
    store = Store.of_workspace(tmp_path / "w")
    up.make_ready(store, tmp_path / "w", "127.0.0.1", port)
    up.make_ready(store, tmp_path / "w", "127.0.0.1", port)
    assert [job.kind for job in store.jobs.all()] == ["sample"]
    assert store.setting("job_kinds")[0]["kind"] == "sample"
    store.jobs.request_stop(1)
    store.rounds.open(1, 1)
    up.make_ready(store, tmp_path / "w", "127.0.0.1", port)
    assert len(store.jobs.all()) == 1


def test_a_link_is_for_a_lead_who_can_sign_in(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    store.people.add("lead")  # a labeler of that name
    code = up.sign_in_link(store, "0.0.0.0", 8501).partition("code=")[2]
    token = store.people.redeem(code)
    assert token
    me = store.people.of_session(token)
    assert me and (me.name, me.role) == ("lead 2", "lead")
    store.people.set_disabled(me.id, True)
    up.sign_in_link(store, "0.0.0.0", 8501)
    assert [p.name for p in store.people.all()] == ["lead", "lead 2", "lead 3"]
