"""Checkpoints of a reward training run: enough to go on to the very same weights.

In the checkpoint folder lies `data.json`, the preferences that the run began with (labels that
arrive later wait for the next run), and `step-N/` with weights, optimizer state and settings. A
newer step is whole on disk before an older one goes. No state of a random generator is kept, since
all that is random follows from the seed and the step.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from backbone.storage import write_folder
from data.errors import PrefloopError
from reward.examples import PreferenceData
from reward.model import RewardModel

_DATA = "data.json"
_STATE = "state.json"
_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_HEAD = "score.weight"


def begin(folder: Path, data: PreferenceData, settings: dict[str, Any]) -> PreferenceData:
    """The data to train on: those of the run that is under way there with the same settings.

    A run with other settings is not gone on with: its checkpoints make room.
    """
    path = folder / _DATA
    if path.is_file():
        with _plain_errors(path):
            kept = json.loads(path.read_text("utf-8"))
            if kept["settings"] == settings:
                return PreferenceData.from_dict(kept["data"])
    for old in _steps(folder).values():
        shutil.rmtree(old)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"settings": settings, "data": data.as_dict()}), "utf-8")
    os.replace(partial, path)
    return data


def save(folder: Path, done: int, model: RewardModel, optimizer: Optimizer) -> None:
    """Keep the state after `done` steps, then forget the ones before."""
    def fill(partial: Path) -> None:
        save_file(_weights(model), partial / _WEIGHTS)
        save_file(_moments(optimizer), partial / _OPTIMIZER)
        (partial / _STATE).write_text(json.dumps({"done": done}), "utf-8")

    name = f"step-{done:08d}"
    if done in _steps(folder):  # nothing has changed since: leave what is whole as it is
        return
    write_folder(folder / name, fill)
    for old in _steps(folder).values():
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def resume(folder: Path, model: RewardModel, optimizer: Optimizer) -> int:
    """Put the newest checkpoint into model and optimizer; returns its steps, 0 for none.

    Raises:
        PrefloopError: the checkpoint cannot be read.
    """
    steps = _steps(folder)
    if not steps:
        return 0
    newest = steps[max(steps)]
    with _plain_errors(newest):
        weights = load_file(newest / _WEIGHTS)
        with torch.no_grad():
            model.head.weight.copy_(weights.pop(_HEAD))
        model.backbone.load_adapter_state(model.adapter, weights)
        _restore(optimizer, load_file(newest / _OPTIMIZER))
        return int(json.loads((newest / _STATE).read_text("utf-8"))["done"])


def _steps(folder: Path) -> dict[int, Path]:
    return {int(path.name.removeprefix("step-")): path for path in folder.glob("step-*")
            if (path / _STATE).is_file()}


def _weights(model: RewardModel) -> dict[str, Tensor]:
    state = {**model.backbone.adapter_state(model.adapter), _HEAD: model.head.weight}
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def _moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """AdamW's state as flat names: `number of the tensor.what`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{key}": value.detach().cpu().contiguous()
            for number, values in state.items() for key, value in values.items()}


def _restore(optimizer: Optimizer, moments: dict[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**whole, "state": state})


class _plain_errors:
    """Turns what reading a damaged checkpoint raises into one line that says what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: object) -> None:
        if isinstance(error, OSError | ValueError | KeyError | TypeError | SafetensorError
                      | RuntimeError):
            raise PrefloopError(f"{self.path}: the checkpoint cannot be read ({error}); remove "
                                f"{self.path.parent} to train from the start") from error
