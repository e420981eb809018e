"""The app's server as a process of its own: started as prefloop starts it, measured, killed."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from processes import free_port

from annotate.launch import command, health_url

HOST = "127.0.0.1"
START_SECONDS = 180.0


class AppServer:
    """A server at one port, through any number of starts and ends.

    Args:
        argv: its command line.
        port: where it will answer.
        environment: what to add to ours.
        health: the address, below its own, that answers once it is up.
        log: where what it prints is appended.
    """

    def __init__(self, argv: Sequence[str], port: int, environment: Mapping[str, str],
                 health: str, log: Path) -> None:
        self.port = port
        self._argv, self._environment = list(argv), dict(environment)
        self._health, self._log = f"{self.url}{health}", log
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of_workspace(cls, workspace: Path, within: Sequence[str] = ()) -> AppServer:
        """The app over a workspace, as `prefloop up` starts it, at a port of its own; `within` is a
        command line that goes before."""
        port = free_port()
        argv, environment = command(workspace, HOST, port)
        return cls([*within, *argv], port, environment, urlsplit(health_url(HOST, port)).path,
                   workspace / "logs" / "server.log")

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Start it; returns the seconds until it answered.

        Raises:
            RuntimeError: it ended by itself, or did not come up; with what it said.
        """
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, env={**os.environ, **self._environment}, stdout=log, stderr=log)
        while not self._healthy():
            if self._process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                self.kill()
                raise RuntimeError("the server did not come up:\n"
                                   + self._log.read_text("utf-8")[-4000:])
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
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def cpu_seconds(self) -> float:
        """Processor time that it has used since it was started (Linux)."""
        line = Path(f"/proc/{self.pid}/stat").read_text("ascii")
        # The name may hold blanks; what follows its closing bracket does not.
        fields = line.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Its memory (Linux)."""
        pages = Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self._health, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def running(server: AppServer) -> Iterator[AppServer]:
    """A server that is up when the block begins and gone when it ends."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
