"""Processes: what asks one to end, the logs of its children, and that they never outlive it."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from data.errors import PrefloopError

_PR_SET_PDEATHSIG = 1
_LARGEST_LOG = 5_000_000  # bytes; then the next process starts a new one and keeps one old one


def when_asked_to_end(handler: Any) -> dict[int, Any]:
    """Have Ctrl-C, SIGTERM and the end of the terminal handled so; returns how each was before.

    Where SIGHUP is ignored it stays so: under `nohup` a process is to outlive its terminal.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return {number: signal.signal(number, handler) for number in numbers}


def dies_with_parent(signal_number: int) -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel send the signal when the parent's thread ends.

    Linux only; None elsewhere. Start such a process from the main thread.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # before the fork: the child must not import or load anything

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal_number)

    return set_death_signal


def end(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Ask a process to end, and kill it after `patience` seconds; whether it ended by itself."""
    if process.poll() is not None:
        return True
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def how_it_ended(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = "; out of memory?" if -code == signal.SIGKILL else ""
    return f"killed by {name}{hint}"


def open_log(path: Path) -> IO[bytes]:
    """A log to append to; the folder is made. Raises PrefloopError."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.exists() and path.stat().st_size > _LARGEST_LOG:
            path.replace(path.with_suffix(".old.log"))
        return path.open("ab")
    except OSError as error:
        raise PrefloopError(f"{path}: {error.strerror}") from error
