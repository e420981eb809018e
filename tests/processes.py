"""Processes that a test starts, ports for them, and waiting for what they do."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Seconds. What takes longer hangs: a busy machine loads torch in a minute.
PATIENCE = 300.0
#: Below what the kernel gives to whoever asks for any port, or connects. No process of pytest-xdist
#: is given another one's: between the asking and the listening it may import torch.
_FIRST, _EACH = 20_000, 1_500
_offsets = random.Random()  # of its own: seeds of tests must not make two runs meet


def wait_for(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Until it is so. Fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def heeds_its_terminal() -> None:
    """A `preexec_fn`: SIGHUP ends the process, also where the tests themselves run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def starter(command: Sequence[str]) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts the command as often as it is called; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=heeds_its_terminal))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return True


def free_port() -> int:
    """A port that nobody listens on right now, and that no other test is likely to be given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0) % 8
    while True:
        port = _FIRST + worker * _EACH + _offsets.randrange(_EACH)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
