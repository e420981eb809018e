"""The completion server of `completion_server.py` in a process of its own, as a test sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import free_port

PROGRAM = str(Path(__file__).with_name("completion_server.py"))


class Running:
    """The server as a test sees it."""

    def __init__(self, checkpoint: Path, *flags: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, str(checkpoint), str(self.port), *flags],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data) as answer:
            return json.loads(answer.read())

    def fault(self, kind: str, times: int = 1_000_000, after: int = 0) -> None:
        self.call("/fault", {"kind": kind, "times": times, "after": after})

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def running(checkpoint: Path, *flags: str, port: int = 0) -> Iterator[Running]:
    server = Running(checkpoint, *flags, port=port)
    try:
        yield server
    finally:
        server.kill()
