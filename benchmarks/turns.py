"""Two programs that train, measured in turns: each works for some seconds while the other waits.

What disturbs a machine for a minute then disturbs both. The programs run in processes (and
environments) of their own, so that each has its own peak memory. Only the standard library: the
peers' environment has nothing of ours.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_OVER = "over"
#: Nothing of our environment must reach the peers' interpreter, nor what `backbone` sets for the
#: process that it is in: each side runs as its users have it.
_OURS = ("PYTHONPATH", "VIRTUAL_ENV", "THP_MEM_ALLOC_ENABLE", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")


@dataclass(frozen=True)
class Turn:
    """What was done in one turn, in whole optimizer steps."""

    pairs: int
    tokens: int
    """Tokens of the texts that were encoded, without padding."""
    seconds: float


class Worker:
    """The side of the program that trains. Its clock runs from `mark` to `step_done`, and from one
    `step_done` to the next; the parent says for how long."""

    def __init__(self) -> None:
        # Whatever a library prints must not stand between the lines that the parent reads.
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._wanted: float | None = None
        self._pairs = self._tokens = 0
        self._seconds = self._since = 0.0
        self.over = False
        """Whether the parent has seen enough: nothing is counted any more."""

    def mark(self) -> None:
        """Start the clock; what was done since the last step is not counted."""
        if self._wanted is None and not self.over:
            self._say({"ready": True})
            self._wait()
        self._since = time.perf_counter()

    def step_done(self, pairs: int, tokens: int) -> None:
        """Count a step; where the turn is over, wait for the next one."""
        if self.over:
            return
        now = time.perf_counter()
        self._seconds += now - self._since
        self._pairs += pairs
        self._tokens += tokens
        if self._wanted is not None and self._seconds >= self._wanted:
            self._say(self._turn())
            self._wait()
        self._since = time.perf_counter()

    def finish(self, values: Mapping[str, Any]) -> None:
        """Training is over: the turn that runs, the memory that it took, and what it gave."""
        self._say({**self._turn(), "peak_gb": _peak_gb(), "result": values})

    def _turn(self) -> dict[str, float]:
        return {"pairs": self._pairs, "tokens": self._tokens, "seconds": self._seconds}

    def _wait(self) -> None:
        line = sys.stdin.readline()
        if not line:
            sys.exit("the benchmark that started this has gone")
        self.over = line.strip() == _OVER
        self._wanted = None if self.over else float(line)
        self._pairs = self._tokens = 0
        self._seconds = 0.0

    def _say(self, values: Mapping[str, Any]) -> None:
        self._out.write(json.dumps(values) + "\n")
        self._out.flush()


def _peak_gb() -> float:
    """The most memory that was taken: of the GPU, where the program has one, else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_reserved() / 1e9)
    # Linux counts in kilobytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@dataclass
class Contender:
    """The side of the benchmark: a program that trains, and what it did so far."""

    command: Sequence[str]
    turns: list[Turn] = field(default_factory=list)
    peak_gb: float = 0.0
    result: dict[str, Any] | None = None
    """What it handed over after training; None while it trains."""
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Load everything and take the first step, which is not counted."""
        clean = {key: value for key, value in os.environ.items() if key not in _OURS}
        self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, cwd=_ROOT,
                                         stdout=subprocess.PIPE, text=True, env=clean)
        self._read()

    def turn(self, seconds: float) -> None:
        """Let it train for at least so long, to the end of a step, or of its training."""
        self._ask(str(seconds))
        self._take(self._read())

    def end(self) -> None:
        """Let it come to its end, untimed."""
        if self.result is None:
            self._ask(_OVER)
            self._take(self._read())

    def stop(self) -> None:
        """End the process, wherever it is, if it ever began."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def rates(self, of: str = "pairs") -> list[float]:
        """Pairs (or tokens) a second in each turn."""
        return [getattr(turn, of) / turn.seconds for turn in self.turns]

    def _take(self, found: dict[str, Any]) -> None:
        if found["pairs"]:
            self.turns.append(Turn(found["pairs"], found["tokens"], found["seconds"]))
        self.peak_gb = found.get("peak_gb", 0.0)
        self.result = found.get("result")

    def _ask(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.command)}: ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found
