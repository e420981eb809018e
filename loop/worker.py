"""`prefloop worker`: takes queued jobs from the database and runs them one at a time.

The worker itself stays small. Jobs run in a child process that holds torch and the loaded models
from one job to the next; a job that takes the child down with it (a segmentation fault, the
kernel's out-of-memory killer) is marked failed with the reason, and the next job gets a new child.
Between jobs the child reads features for the instant model, which gives way to a job at once; what
orders open tasks by it is a process of its own (`loop.asking.live`), which no job holds up.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from data.database import now
from data.errors import PrefloopError
from data.records import Job
from data.store import Store
from loop.asking.process import AskingProcess
from loop.child import FEATURES
from loop.jobs import recover_orphans, sweep_checkpoints
from loop.kinds import announce
from loop.lock import WorkerLock
from loop.output import note
from loop.processes import dies_with_parent, end, how_it_ended, open_log, when_asked_to_end
from loop.settings import read_settings

CHILD_LOG = "jobs.log"
HEARTBEAT_EVERY = 3.0  # seconds
_POLL = 0.5  # seconds between two looks into the queue
_PATIENCE = 20.0  # seconds that a job gets to reach its next step and keep a checkpoint
_TAIL = 4000  # bytes of the child's log that are searched for the reason of a crash


class Worker:
    """The one process that runs a workspace's jobs.

    Args:
        child: the command of the child process; only tests have reason to give another.

    Raises:
        InUse: the workspace has a worker.
    """

    def __init__(self, workspace: Path, child: Sequence[str] | None = None) -> None:
        self.store = Store.of_workspace(workspace)
        self.workspace = workspace
        self._command = child or [sys.executable, "-m", "loop.child", str(workspace)]
        self._child: subprocess.Popen[bytes] | None = None
        self._asking = AskingProcess(self.store, workspace)
        self._reading = False  # whether the child was told to read features, and has not answered
        self._unread = b""
        self._stopping = False
        self._seen = 0.0
        self._lock = WorkerLock(workspace)

    def run(self, once: bool = False) -> None:
        """Work until asked to end by a signal, or (`once`) until the queue is empty."""
        when_asked_to_end(self._ask_to_stop)
        try:
            sweep_checkpoints(self.store, self.workspace)
            announce(self.store, read_settings(self.workspace))
            while not self._stopping:
                try:
                    if not self._work() and once:
                        break
                except PrefloopError as error:  # a full disk or a locked database may pass
                    _log(str(error))
                    time.sleep(_POLL * 4)
        finally:
            self._close()

    def _work(self) -> bool:
        """Run the next job, if there is one."""
        self._heartbeat()
        for orphan in recover_orphans(self.store):
            _log(f"job {orphan.id} ({orphan.kind}) was interrupted; it goes on")
        if self._child is None:  # started before there is work: the first job waits for less
            self._live_child()
        job = self.store.jobs.claim()
        if job is None:
            self._let_features_be_read()
            return False
        _log(f"job {job.id} ({job.kind}) starts")
        self._run(job)
        _log(f"job {job.id} ({job.kind}): {self.store.jobs.get(job.id).status}")
        return True

    def _run(self, job: Job) -> None:
        child = self._live_child()
        self._tell(child, str(job.id))
        while not self._stopping:
            assert child.stdout  # it is a pipe
            if self._answered(child.stdout, _POLL):
                return
            if child.poll() is not None and self._reading:  # it had not come to the job yet
                child = self._live_child()
                self._tell(child, str(job.id))
            elif child.poll() is not None:
                self._blame(child, job)
                return
            with suppress(PrefloopError):
                self._heartbeat()
        end(child, _PATIENCE)
        self.store.jobs.put_back(job.id, "the worker was stopped; goes on from its checkpoint")

    def _let_features_be_read(self) -> None:
        """Wait for a job; meanwhile the child may read features."""
        self._give_up_reading()
        child = self._child
        if child is None or child.poll() is not None:
            time.sleep(_POLL)
            return
        assert child.stdout  # it is a pipe
        if not self._reading and self._asking.features_due():
            self._reading = True
            self._asking.features_ordered()
            self._tell(child, FEATURES)
        self._answered(child.stdout, _POLL)

    def _give_up_reading(self) -> None:
        """If the child died of reading features: until others come they are not asked for again."""
        if not self._reading or self._child is None or self._child.poll() is None:
            return
        self._reading = False
        self._asking.features_read()
        _log("reading features ended its process "
             f"({how_it_ended(self._child.returncode)}){self._last_words()}; labeling goes on")

    @staticmethod
    def _tell(child: subprocess.Popen[bytes], order: str) -> None:
        assert child.stdin  # it is a pipe
        with suppress(BrokenPipeError):  # it has died since; whoever waits sees that
            child.stdin.write(f"{order}\n".encode())
            child.stdin.flush()

    def _answered(self, pipe: IO[bytes], timeout: float) -> bool:
        """Whether the child said within the timeout that its job has ended."""
        readable, _, _ = select.select([pipe], [], [], timeout)
        if not readable:
            return False
        found = os.read(pipe.fileno(), 4096)
        if not found:
            time.sleep(timeout)  # end of file: it dies; do not spin until it has
            return False
        *lines, self._unread = (self._unread + found).split(b"\n")
        ended = False
        for line in lines:
            said = line.decode("utf-8", "replace")
            if said.startswith(FEATURES):
                self._hear_of_features(said.removeprefix(FEATURES).strip())
            else:
                ended = True
        return ended

    def _hear_of_features(self, said: str) -> None:
        self._reading = False
        if said == "later":  # a job came; they are due again after it
            return
        self._asking.features_read()
        if said != "done":
            _log(f"features for the instant model: {said}; labeling goes on")

    def _blame(self, child: subprocess.Popen[bytes], job: Job) -> None:
        """Mark the job failed that the child died of."""
        assert child.returncode is not None
        self._child = None
        if self.store.jobs.get(job.id).status != "running":
            return  # it died after the job had ended
        self.store.jobs.fail(job.id, f"its process ended before the job did "
                                     f"({how_it_ended(child.returncode)}){self._last_words()}")

    def _live_child(self) -> subprocess.Popen[bytes]:
        self._give_up_reading()
        if self._child is None or self._child.poll() is not None:
            self._reading, self._unread = False, b""
            log = self.workspace / "logs" / CHILD_LOG
            with open_log(log) as file:
                self._log_start = file.tell()
                self._child = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                    preexec_fn=dies_with_parent(signal.SIGKILL), start_new_session=True)
        return self._child

    def _last_words(self) -> str:
        """The last line that the child left in its log, which often says why it died."""
        with (self.workspace / "logs" / CHILD_LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
        spoken = [line.strip() for line in lines if line.strip()]
        return f": {spoken[-1][:300]}" if spoken else ""

    def _heartbeat(self) -> None:
        if line := self._asking.keep():
            _log(line)
        if time.monotonic() - self._seen > HEARTBEAT_EVERY:
            self._seen = time.monotonic()
            self.store.put_setting("worker", {"pid": os.getpid(), "seen": now()})

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    def _close(self) -> None:
        if self._child is not None:
            end(self._child, _PATIENCE)
        self._asking.close()
        with suppress(PrefloopError):
            self.store.put_setting("worker", None)
        self._lock.release()


def _log(line: str) -> None:
    note(f"{now()[:19]} {line}")
