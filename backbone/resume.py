"""Training state on disk: everything that a killed run needs to end where it would have ended.

A checkpoint is a folder `step-N` with tensors (weights and optimizer state) as safetensors and the
rest as JSON. The newer one is whole on disk before the older goes, so a kill or a power cut at any
moment leaves one to go on from. Random numbers need no saving: every draw is made from (seed,
step). Beside the steps can lie what the run began with, where that would come out differently
later.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from backbone.storage import write_folder
from data.durable import put_in_place
from data.errors import PrefloopError

TENSORS, STATE = "training.safetensors", "state.json"
BEGINNING = "beginning.json"
WEIGHTS = "weights"


def save_training(folder: Path, step: int, weights: Mapping[str, Tensor],
                  optimizers: Mapping[str, Optimizer], state: Mapping[str, Any]) -> None:
    """Keep the state after `step` steps (a name a tensor, a name an optimizer, and JSON)."""
    if step in _steps(folder):  # nothing has changed since: leave what is whole as it is
        return
    tensors = {f"{WEIGHTS}/{key}": value for key, value in weights.items()}
    for name, optimizer in optimizers.items():
        for index, entry in optimizer.state_dict()["state"].items():
            tensors.update({f"{name}/{index}/{key}": torch.as_tensor(value)
                            for key, value in entry.items()})

    def fill(partial: Path) -> None:
        save_file({key: value.detach().cpu().contiguous().clone()
                   for key, value in tensors.items()}, partial / TENSORS)
        (partial / STATE).write_text(json.dumps(dict(state)), "utf-8")

    newest = folder / f"step-{step:08d}"
    write_folder(newest, fill)
    for old in _steps(folder).values():
        if old != newest:
            shutil.rmtree(old, ignore_errors=True)


def load_training(folder: Path, optimizers: Mapping[str, Optimizer]
                  ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Restore optimizers from the newest checkpoint; returns (weights, state), None without one.

    Raises:
        PrefloopError: the checkpoint cannot be read.
    """
    steps = _steps(folder)
    if not steps:
        return None
    newest = steps[max(steps)]
    with _plain_errors(newest):
        weights: dict[str, Tensor] = {}
        moments: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in optimizers}
        for key, value in load_file(newest / TENSORS).items():
            owner, rest = key.split("/", 1)
            if owner == WEIGHTS:
                weights[rest] = value
            else:
                index, name = rest.split("/")
                moments[owner].setdefault(int(index), {})[name] = value
        for owner, optimizer in optimizers.items():
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments[owner]})
        return weights, json.loads((newest / STATE).read_text("utf-8"))


def forget_training(folder: Path) -> None:
    """Remove all checkpoints: the next run starts from the beginning."""
    for old in _steps(folder).values():
        shutil.rmtree(old)


def keep_beginning(folder: Path, began_with: Any) -> None:
    """Keep what a run begins with (JSON), in the place of what was kept before."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{BEGINNING}.partial"
    partial.write_text(json.dumps(began_with), "utf-8")
    put_in_place(partial, folder / BEGINNING)


def beginning(folder: Path) -> Any:
    """What the run that is under way began with; None if nothing is kept.

    Raises:
        PrefloopError: it cannot be read.
    """
    path = folder / BEGINNING
    if not path.is_file():
        return None
    with _plain_errors(path):
        return json.loads(path.read_text("utf-8"))


def _steps(folder: Path) -> dict[int, Path]:
    return {int(path.name.removeprefix("step-")): path for path in folder.glob("step-*")
            if (path / STATE).is_file()}


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Turns what reading a damaged checkpoint raises into one line that says what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        raise PrefloopError(f"{path}: the checkpoint cannot be read ({error}); remove "
                            f"{path.parent} to train from the start") from error
