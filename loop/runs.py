"""A command's job: run here when no worker has the workspace, else followed where it runs.

Both ways it is the same row in the database, the same handler and the same result.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import PrefloopError, workspace_flag
from data.heartbeat import heard
from loop.context import Handlers
from loop.jobs import recover_orphans, run_job, sweep_checkpoints
from loop.lock import InUse, WorkerLock
from loop.output import Bar, note
from loop.processes import when_asked_to_end

if TYPE_CHECKING:
    from data.records import Job
    from data.store import Store

_POLL = 0.5
ENDED = ("done", "failed", "stopped")


class Interrupted(Exception):
    """The person pressed Ctrl-C; the message is the line that says what became of the work."""


def run_or_follow(store: Store, workspace: Path, job: Job, handlers: Handlers) -> Job:
    """See a queued job through to its end; returns it as it ended.

    Raises:
        Interrupted: Ctrl-C.
    """
    with Bar(job.kind) as bar:
        try:
            while job.status not in ENDED:
                lock = _lock_if_free(store, workspace)
                if lock is None:
                    job = _follow(store, job, bar)
                    continue
                with lock:
                    job = _run_here(store, workspace, job, handlers, bar)
        except KeyboardInterrupt:
            raise Interrupted(_left_alone(store, workspace, job)) from None
    return job


def _left_alone(store: Store, workspace: Path, job: Job) -> str:
    """What becomes of a job that is no longer followed."""
    if store.jobs.get(job.id).status == "queued" and not heard(store.setting("worker")):
        return f"job {job.id} waits in the queue; go on with {again(workspace, job)}"
    return f"the worker goes on with job {job.id}; `prefloop status` shows how far it is"


def again(workspace: Path, job: Job) -> str:
    """The command that goes on with a job, as a shell takes it."""
    return f"`prefloop {job.kind} --resume {job.id} {workspace_flag(workspace)}`"


def _lock_if_free(store: Store, workspace: Path) -> WorkerLock | None:
    """The worker's lock, or None while a worker lives (or is about to be started again)."""
    if heard(store.setting("worker")):
        return None
    try:
        return WorkerLock(workspace)
    except InUse:
        return None


def make_way(store: Store, workspace: Path) -> None:
    """Stop the sampling of a round that nobody is about to do and that has opened none yet, and one
    that was to stop as its process ended: another one that is asked for need not wait for it."""
    lock = _lock_if_free(store, workspace)
    if lock is None:
        return
    with lock:  # so that one that is marked running has no process any more
        for job in store.jobs.unfinished("sample"):
            if job.round_id is None or job.stop_requested:
                store.jobs.stopped(job.id)
                note(f"job {job.id} was to sample a round, and nobody was about to: it is stopped; "
                     f"instead of a new one, go on with {again(workspace, job)}")


def left(store: Store, workspace: Path, kind: str) -> list[Job]:
    """Jobs of a kind that have not ended, and that no process works on."""
    lock = _lock_if_free(store, workspace)
    if lock is None:
        return []
    with lock:
        return store.jobs.unfinished(kind)


def put_down(store: Store, workspace: Path, job: Job) -> None:
    """Stop a job that was asked to at once, where no process works on it any more."""
    lock = _lock_if_free(store, workspace)
    if lock is not None:
        with lock:
            store.jobs.put_back(job.id, "")


def _run_here(store: Store, workspace: Path, job: Job, handlers: Handlers, bar: Bar) -> Job:
    for orphan in recover_orphans(store):
        if orphan.id != job.id:
            note(f"job {orphan.id} ({orphan.kind}) was interrupted; go on with "
                 f"{again(workspace, orphan)}")
    sweep_checkpoints(store, workspace)
    claimed = store.jobs.claim(job.id)
    if claimed is None:  # stopped meanwhile, from the browser
        return store.jobs.get(job.id)
    with _interruptible() as interrupted, suppress(KeyboardInterrupt):
        run_job(store, workspace, claimed, handlers, interrupted, bar.show)
    ended = store.jobs.get(job.id)
    if ended.status == "running":
        store.jobs.stopped(job.id)
        raise Interrupted(f"stopped; go on with {again(workspace, job)}")
    return ended


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that the first request to end sets; a Ctrl-C after it ends at once. No other signal
    does: of a terminal that is closed, the shell and the kernel both tell."""
    event = threading.Event()

    def interrupt(number: int, _: object) -> None:
        if event.is_set():
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        event.set()
        with suppress(RuntimeError):  # in the middle of another line Python lets nothing be said
            note("stopping at the next step; press Ctrl-C again to stop at once")

    before = when_asked_to_end(interrupt)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow(store: Store, job: Job, bar: Bar) -> Job:
    """Show the job that a worker runs (or will run), once; returns its state."""
    waits = "waits for the worker" if job.status == "queued" else ""
    bar.show(job.progress, waits or job.message, job.seconds_left)
    time.sleep(_POLL)
    return store.jobs.get(job.id)


def result_of(job: Job) -> dict[str, Any]:
    """The result of a job that is done.

    Raises:
        PrefloopError: it failed, or somebody stopped it.
    """
    if job.status == "failed":
        raise PrefloopError(job.error or "the job failed and left no reason")
    if job.status != "done":
        raise PrefloopError(f"job {job.id} was stopped")
    return {"job": job.id, "status": job.status, **(job.result or {})}
