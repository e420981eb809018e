"""`prefloop up`: the app and the worker as two processes over one workspace, until Ctrl-C.

Both start at once, so that the first samples are made while the page comes up. A worker that dies
is started again, more and more slowly; an app that dies ends everything. Neither outlives `up`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from annotate import launch
from data.errors import BadInput, PrefloopError
from data.people import alike
from data.records import Labeler
from data.store import Store
from loop.kinds import announce
from loop.lock import InUse, WorkerLock
from loop.options import Common
from loop.output import note
from loop.processes import dies_with_parent, end, how_it_ended, open_log, when_asked_to_end
from loop.settings import read_settings

LEAD = "lead"
_START_WITHIN = 90.0  # seconds for the app to answer
_APP_PATIENCE = 5.0
_WORKER_PATIENCE = 25.0  # more than the worker gives its job to keep a checkpoint
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds before a dead worker is started again
_STEADY = 300.0  # a worker that lived this long is started again at once


def make_ready(store: Store, workspace: Path, host: str, port: int) -> None:
    """What has to be so before anything starts.

    Raises:
        InUse: another worker has the workspace; it names the app that runs beside it, if one does.
        BadInput: the address cannot be listened on, or the public one is none.
    """
    try:
        WorkerLock(workspace).release()
    except InUse as error:
        raise InUse(f"{error}{_where_it_runs(store)}") from None
    _check_port(host, port, workspace)
    store.put_setting("address", {**launch.address_of(host, port), "pid": os.getpid()})
    announce(store, read_settings(workspace))
    _queue_first_samples(store)


def sign_in_link(store: Store, host: str, port: int) -> str:
    """A one-time link for the first lead, who is made if there is none."""
    leads = [p for p in store.people.all("human") if p.role == "lead" and not p.disabled]
    with store.database.write():
        lead = leads[0] if leads else _new_lead(store)
        store.audit.record(None, "make sign-in link", lead.name)
        return launch.signin_url(host, port, store.people.create_code(lead.id))


def _new_lead(store: Store) -> Labeler:
    lead = store.people.add(_free_name(store), "lead")
    store.audit.record(None, "add person", lead.name, role=lead.role)
    return lead


class Machine:
    """The two processes, with their logs in the workspace."""

    def __init__(self, workspace: Path, host: str, port: int) -> None:
        self._workspace = workspace
        self._host, self._port = host, port
        self._stopping = False
        self._app: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None

    def run(self, started: Callable[[str], None]) -> None:
        """Start both, tell the sign-in link once the app answers, supervise until a signal.

        Raises:
            PrefloopError: the app did not come up, or died.
        """
        when_asked_to_end(self._ask_to_stop)
        try:
            self._start_worker()
            argv, environment = launch.command(self._workspace, self._host, self._port)
            self._app = self._start("app", argv, environment)
            self._wait_for(self._app)
            if not self._stopping:
                store = Store.of_workspace(self._workspace)
                started(sign_in_link(store, self._host, self._port))
            self._supervise(self._app)
        finally:
            self._end()

    def _supervise(self, app: subprocess.Popen[bytes]) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping:
            time.sleep(0.2)
            if app.poll() is not None:
                raise PrefloopError(f"the app has ended ({how_it_ended(app.returncode)}); "
                                    f"see {self._log('app')}")
            assert self._worker is not None  # run started it
            if self._worker.poll() is not None:
                if time.monotonic() - self._worker_since > _STEADY:
                    pause = _FIRST_PAUSE
                note(f"the worker has ended ({how_it_ended(self._worker.returncode)}); started "
                     f"again in {pause:.0f} s; see {self._log('worker')}")
                self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                if not self._stopping:
                    self._start_worker()

    def _start_worker(self) -> None:
        self._worker_since = time.monotonic()
        self._worker = self._start("worker", [
            sys.executable, "-m", "loop", "worker",
            "--workspace", str(self._workspace.resolve())], {})

    def _start(self, name: str, argv: list[str],
               environment: dict[str, str]) -> subprocess.Popen[bytes]:
        # A session of its own: a Ctrl-C in the terminal reaches `up` alone, which ends the rest
        # in order.
        with open_log(self._log(name)) as log:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **environment}, preexec_fn=dies_with_parent(signal.SIGTERM))

    def _log(self, name: str) -> Path:
        return self._workspace / "logs" / f"{name}.log"

    def _wait_for(self, app: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while not self._stopping:
            if app.poll() is not None:
                raise PrefloopError(f"the app did not start ({how_it_ended(app.returncode)}); "
                                    f"see {self._log('app')}")
            if _answers(launch.health_url(self._host, self._port)):
                return
            if time.monotonic() > deadline:
                raise PrefloopError(f"the app did not answer within {_START_WITHIN:.0f} s; "
                                    f"see {self._log('app')}")
            time.sleep(0.1)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(0.1)

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def _end(self) -> None:
        when_asked_to_end(signal.SIG_IGN)  # it is ending already
        both = [(self._app, _APP_PATIENCE), (self._worker, _WORKER_PATIENCE)]
        for process, _ in both:  # asked at once, then waited for
            if process is not None and process.poll() is None:
                process.terminate()
        for process, patience in both:
            if process is not None:
                end(process, patience)
        note("stopped")


def _where_it_runs(store: Store) -> str:
    """The address of the `up` that was last started, if that one is still there."""
    address = store.setting("address") or {}
    if "pid" not in address:
        return ""
    try:
        os.kill(int(address["pid"]), 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # somebody else's, and there
    return f"; its app is at {launch.url_of(address)}"


def _check_port(host: str, port: int, workspace: Path) -> None:
    if not 1 <= port <= 65_535:  # 0 would be any port, and nobody would know which
        raise BadInput(f"--port: wanted 1 to 65535, not {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise BadInput(f"--host: {host}: {error.strerror}") from None
        except OSError as error:
            other = port + 99 if port <= 65_000 else 8600
            made = (f' or `make up ARGS="--port {other}"`' if workspace == Common.workspace
                    else "")
            raise PrefloopError(
                f"port {port} of {host} is taken or not allowed ({error.strerror}): give another, "
                f"as in `prefloop up --port {other}`{made}") from None


def _queue_first_samples(store: Store) -> None:
    if not store.rounds.all() and store.prompts.count() and \
            not store.jobs.unfinished("sample"):
        store.jobs.add("sample")


def _free_name(store: Store) -> str:
    taken = {alike(person.name) for person in store.people.all()}
    names = (LEAD, *(f"{LEAD} {number}" for number in range(2, 10_000)))
    return next(name for name in names if alike(name) not in taken)


def _answers(url: str) -> bool:
    # No proxy: the address is this machine's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
