"""The app's server as a process of its own: started as prefloop starts it, measured, killed."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotate.launch import command, health_url

HOST = "127.0.0.1"
START_SECONDS = 60.0
_LOG = "server.log"


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class AppServer:
    """The server over one workspace, at one port, through any number of starts and ends."""

    def __init__(self, workspace: Path, port: int | None = None,
                 argv: list[str] | None = None) -> None:
        self.workspace, self.port = workspace, port or free_port()
        self._argv, self._environment = command(workspace, HOST, self.port)
        if argv is not None:
            self._argv = [*argv, str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The app's address."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> float:
        """Start it; returns the seconds until it answered.

        Raises:
            RuntimeError: it ended by itself, or did not come up; with what it said.
        """
        began = time.perf_counter()
        with (self.workspace / _LOG).open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, env={**os.environ, **self._environment}, stdout=log, stderr=log)
        while not self._healthy():
            if self._process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                self.kill()
                raise RuntimeError("the server did not come up:\n"
                                   + (self.workspace / _LOG).read_text("utf-8")[-4000:])
            time.sleep(0.01)
        return time.perf_counter() - began

    def kill(self) -> None:
        """SIGKILL, with nothing in its way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def cpu_seconds(self) -> float:
        """Processor time that it has used since it was started (Linux)."""
        assert self._process is not None
        line = Path(f"/proc/{self._process.pid}/stat").read_text("ascii")
        # The name may hold blanks; what follows its closing bracket does not.
        fields = line.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Its memory (Linux)."""
        assert self._process is not None
        pages = Path(f"/proc/{self._process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(health_url(HOST, self.port), timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def serving(workspace: Path) -> Iterator[AppServer]:
    """The server, up when the block begins and gone when it ends."""
    server = AppServer(workspace)
    server.start()
    try:
        yield server
    finally:
        server.stop()
