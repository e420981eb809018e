"""Processes that a test starts, ports for them, and waiting for what they do."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
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


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
