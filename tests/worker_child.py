"""The program of a worker's child, with jobs that do to it what jobs can do.

`python tests/worker_child.py WORKSPACE`
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.errors import PrefloopError
from data.store import Store
from loop.child import serve
from loop.context import JobContext
from loop.settings import Settings


def steps(context: JobContext) -> dict[str, Any]:
    """Counts to ppo.steps in a checkpoint file, and waits at a step while the workspace says so."""
    context.checkpoints.mkdir(exist_ok=True)
    file = context.checkpoints / "step"
    step = int(file.read_text()) if file.exists() else 0
    while step < context.settings.ppo.steps:
        step += 1
        file.write_text(str(step))
        context.progress.metrics(step, {"reward": step / 10})
        context.progress.update(step / context.settings.ppo.steps, f"step {step}")
        while (context.workspace / "held").exists():
            time.sleep(0.02)
            context.progress.update(step / context.settings.ppo.steps, f"step {step}, held")
    return {"steps": step, "pid": os.getpid(), "seed": context.seed, "policy":
            context.options["policy"], "resolved": (context.job.resolved or {}).get("steps")}


def killed(context: JobContext) -> dict[str, Any]:
    print("allocating a lot", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def broken(context: JobContext) -> dict[str, Any]:
    raise RuntimeError("shape\nmismatch")


def refused(context: JobContext) -> dict[str, Any]:
    raise PrefloopError("there are no labels yet")


def stubborn(context: JobContext) -> dict[str, Any]:
    (context.workspace / "stubborn").touch()
    time.sleep(600)
    return {}


def endless_features(store: Store, workspace: Path, settings: Settings,
                     give_way: Callable[[], bool]) -> bool:
    """Never done by itself, and broken or deadly where the workspace says so."""
    (workspace / "reading").touch()
    while not give_way() and not (workspace / "deadly").exists():
        if (workspace / "broken").exists():
            raise RuntimeError("no features from this process")
        time.sleep(0.02)
    if (workspace / "deadly").exists():
        print("allocating a lot", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    (workspace / "reading").unlink()
    return False


HANDLERS = {"ppo": steps, "train-reward": killed, "eval-reward": broken, "sample": refused,
            "best-of-n": stubborn}

if __name__ == "__main__":
    serve(Path(sys.argv[1]), HANDLERS, endless_features)
