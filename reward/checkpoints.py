"""Checkpoints of a reward training run: enough to go on to the very same weights.

Beside the steps' own folders (`backbone.resume`) lies `data.json`, the preferences that the run
began with: labels that arrive later wait for the next run. A tuned reward's run keeps the linear
head there that it began with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from backbone.resume import forget_training, load_training, save_training
from data.durable import put_in_place
from data.errors import PrefloopError
from reward.ensemble import Ensemble
from reward.examples import PreferenceData
from reward.model import RewardModel
from reward.tuned import HEAD, TunedReward

#: What `reward.train` trains.
Trainable = RewardModel | Ensemble | TunedReward
_DATA = "data.json"
_SCORE = "score.weight"
_BEST = "best/"
_MEMBER = "member-"


def begin(folder: Path, prepare: Callable[[], PreferenceData],
          settings: dict[str, Any]) -> PreferenceData:
    """The data to train on: those of the run that is under way there with the same settings.

    A run with other settings is not gone on with: its checkpoints make room. How much is computed
    at a time has no say in what comes of it, and may have become another. Only a new run's data
    are prepared; one that goes on has them as they were when it began.

    Raises:
        PrefloopError: what is kept there cannot be read.
    """
    path = folder / _DATA
    if path.is_file():
        try:
            kept = json.loads(path.read_text("utf-8"))
            if _without_sizes(kept["settings"]) == _without_sizes(settings):
                return PreferenceData.from_dict(kept["data"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PrefloopError(f"{path}: the checkpoint cannot be read ({error}); remove "
                                f"{folder} to train from the start") from error
    data = prepare()
    forget_training(folder)
    (folder / HEAD).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"settings": settings, "data": data.as_dict()}), "utf-8")
    put_in_place(partial, path)
    return data


def _without_sizes(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "microbatch_tokens"}


def weights_of(model: Trainable) -> dict[str, Tensor]:
    """All that training changes, by name; of an ensemble each member's under its number."""
    if isinstance(model, Ensemble):
        return {f"{_MEMBER}{number}/{name}": value
                for number, member in enumerate(model.members)
                for name, value in weights_of(member).items()}
    adapter = model.backbone.adapter_state(model.adapter)
    return adapter if isinstance(model, TunedReward) else {**adapter, _SCORE: model.head.weight}


def put_weights(model: Trainable, weights: dict[str, Tensor]) -> None:
    """The inverse of `weights_of`."""
    if isinstance(model, Ensemble):
        for number, member in enumerate(model.members):
            mine = f"{_MEMBER}{number}/"
            put_weights(member, {name.removeprefix(mine): value for name, value in weights.items()
                                 if name.startswith(mine)})
        return
    adapter = dict(weights)
    if isinstance(model, RewardModel):
        with torch.no_grad():
            model.head.weight.copy_(adapter.pop(_SCORE))
    model.backbone.load_adapter_state(model.adapter, adapter)


def save(folder: Path, done: int, model: Trainable, optimizer: Optimizer,
         curve: list[dict[str, Any]], best: dict[str, Tensor]) -> None:
    """Keep the state after `done` steps, then forget the ones before."""
    weights = weights_of(model) | {_BEST + name: value for name, value in best.items()}
    save_training(folder, done, weights, {"all": optimizer}, {"done": done, "curve": curve})


def resume(folder: Path, model: Trainable, optimizer: Optimizer
           ) -> tuple[int, list[dict[str, Any]], dict[str, Tensor]]:
    """Put the newest checkpoint into model and optimizer; returns its steps (0 for none), the
    held-out curve so far, and the weights that were best on it, where those are kept.

    Raises:
        PrefloopError: the checkpoint cannot be read.
    """
    found = load_training(folder, {"all": optimizer})
    if found is None:
        return 0, [], {}
    weights, state = found
    best = {name.removeprefix(_BEST): weights.pop(name)
            for name in list(weights) if name.startswith(_BEST)}
    put_weights(model, weights)
    return int(state["done"]), state.get("curve", []), best
