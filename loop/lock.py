"""One worker a workspace: an exclusive lock on `worker.lock`, which holds the worker's pid.

The kernel drops the lock with the process, however it ends, so a stale file locks nobody out.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from data.errors import PrefloopError

LOCK_NAME = "worker.lock"
_PATIENCE = 0.5  # seconds; a glance of `is_locked` holds the lock for an instant


class InUse(PrefloopError):
    """Another worker (or a command that runs a job itself) holds the workspace."""


class WorkerLock:
    """The right to run this workspace's jobs, held until `release` or the end of the process.

    Raises:
        InUse: another process holds it.
        PrefloopError: the folder cannot be written.
    """

    def __init__(self, workspace: Path, patience: float = _PATIENCE) -> None:
        self._file = _open(workspace)
        deadline = time.monotonic() + patience
        while not _try_lock(self._file):
            if time.monotonic() >= deadline:
                pid = _pid_in(self._file)
                os.close(self._file)
                raise InUse(f"{workspace} is in use by another worker (pid {pid}); end that one, "
                            "or let it do the work")
            time.sleep(0.05)
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others have it."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def __enter__(self) -> WorkerLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_locked(workspace: Path) -> bool:
    """Whether some process holds the lock now."""
    return holder(workspace) is not None


def holder(workspace: Path) -> str | None:
    """The pid of the process that holds the lock now ("unknown" if it has not said so yet)."""
    try:
        file = os.open(workspace / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _try_lock(file) else _pid_in(file)
    finally:
        os.close(file)


def _pid_in(file: int) -> str:
    return os.read(file, 32).decode("ascii", "replace").strip() or "unknown"


def _open(workspace: Path) -> int:
    try:
        return os.open(workspace / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PrefloopError(f"{workspace / LOCK_NAME}: {error.strerror}") from error


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
