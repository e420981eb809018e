"""Running one job: from its row in the database to its result, or to the line that says why not.

The same in the worker's child process and in a command that runs its job itself.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import NotFound, PrefloopError
from data.progress import Stopped
from loop.context import Handlers, JobContext, checkpoints_of, forget_checkpoints
from loop.kinds import resolve_job
from loop.output import note
from loop.settings import read_settings

if TYPE_CHECKING:
    from data.records import Job
    from data.store import Store

LONGEST_ERROR = 500
MOST_ATTEMPTS = 3
_WRITE_EVERY = 0.5  # seconds between two writes of a job's progress

Watcher = Callable[[float, str, float | None], None]
"""Shown a job's fraction, message and seconds left, as they are stored."""


class JobProgress:
    """A stage's progress, kept in the job's row; raises Stopped when the job should end.

    Args:
        interrupted: set by whoever ends this process in good order; stops the job as well.
        watch: is told each time progress is stored.
    """

    def __init__(self, store: Store, job_id: int, interrupted: threading.Event,
                 watch: Watcher | None = None) -> None:
        self._store = store
        self._job_id = job_id
        self._interrupted = interrupted
        self._watch = watch
        self._written = 0.0
        self._unwritten: tuple[float, str] | None = None
        self._first: tuple[float, float] | None = None

    def update(self, fraction: float, message: str) -> None:
        """Keep how far the work is (at most twice a second). Raises Stopped."""
        if self._interrupted.is_set():
            raise Stopped
        left = self._seconds_left(fraction)
        if time.monotonic() - self._written < _WRITE_EVERY:
            self._unwritten = fraction, message
            return
        self._written, self._unwritten = time.monotonic(), None
        stop = self._store.jobs.set_progress(self._job_id, fraction, message, left)
        if self._watch:
            self._watch(fraction, message, left)
        if stop:
            raise Stopped

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep one step's figures."""
        self._store.jobs.add_metrics(self._job_id, step, values)

    def flush(self) -> None:
        """Keep the last report, if it came too soon after the one before."""
        if self._unwritten:
            self._store.jobs.set_progress(self._job_id, *self._unwritten, None)

    def _seconds_left(self, fraction: float) -> float | None:
        """From the pace since the first report above 0: loading is over, and a resumed job does
        not count what an earlier run did."""
        if self._first is None:
            if fraction > 0:
                self._first = (time.monotonic(), fraction)
            return None
        since, start = self._first
        done = fraction - start
        if done <= 0:
            return None
        return round((time.monotonic() - since) / done * max(0.0, 1 - fraction), 1)


def run_job(store: Store, workspace: Path, job: Job, handlers: Handlers,
            interrupted: threading.Event, watch: Watcher | None = None) -> bool:
    """Run a claimed job to its end and store how it ended; the error of a failed one is one line.

    Returns whether this process can be trusted with another job: an error that nobody foresaw may
    have left it useless, as one of CUDA does, after which nothing works on the GPU any more.

    Where `interrupted` ended it, the job stays running: the caller knows whether it is to be
    queued again or stopped. What is no PrefloopError leaves its traceback on standard error.
    """
    try:
        resolved = resolve_job(job, read_settings(workspace))
        store.jobs.set_resolved(job.id, resolved.document)
        job = store.jobs.get(job.id)  # with what it resolved to: versions keep that
        if job.kind not in handlers:
            raise PrefloopError(f"this prefloop cannot run jobs of kind {job.kind!r}")
        progress = JobProgress(store, job.id, interrupted, watch)
        context = JobContext(store, workspace, job, resolved.seed, progress, resolved.settings,
                             resolved.options)
        result = handlers[job.kind](context)
        progress.flush()
        store.jobs.finish(job.id, result)
        forget_checkpoints(workspace, job)
    except Stopped:
        if not interrupted.is_set():
            store.jobs.stopped(job.id)
    except Exception as error:
        store.jobs.fail(job.id, one_line(error))
        if not isinstance(error, PrefloopError):
            note(traceback.format_exc().rstrip())
            return False
    return True


def one_line(error: BaseException) -> str:
    """An error as one line for people."""
    if isinstance(error, PrefloopError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR - 1] + "…"


def recover_orphans(store: Store) -> list[Job]:
    """Queue again every job whose process is gone; returns those queued.

    Only for the holder of the worker's lock: nobody else can be running a job then. A job that
    has died `MOST_ATTEMPTS` times is marked failed, or it would take the worker down for ever.
    """
    queued = []
    for job in store.jobs.all("running"):
        if job.attempts >= MOST_ATTEMPTS and not job.stop_requested:
            store.jobs.fail(job.id, f"the process that ran it ended {job.attempts} times "
                                    "without a result; once the cause is gone, go on with "
                                    f"`prefloop {job.kind} --resume {job.id}`")
        elif store.jobs.put_back(job.id, "interrupted; goes on from its last checkpoint",
                                 died=True):
            queued.append(job)
    return queued


def sweep_checkpoints(store: Store, workspace: Path) -> None:
    """Remove what jobs that are done would resume from, where a kill came before it was removed.

    Only for the holder of the worker's lock. What stopped and failed jobs go on from stays.
    """
    for folder in (workspace / "checkpoints").glob("job-*"):
        with suppress(NotFound, ValueError):  # another database's job, or no job's at all
            job = store.jobs.get(int(folder.name.split("-")[1]))
            if job.status == "done" and folder == checkpoints_of(workspace, job):
                forget_checkpoints(workspace, job)
