"""Training state on disk: everything that a killed run needs to end where it would have ended.

Tensors (weights and optimizer state) as safetensors, the rest as JSON, in one folder that is
replaced as a whole. Random numbers need no saving: every draw is made from (seed, step).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from backbone.storage import write_folder

TENSORS, STATE = "training.safetensors", "state.json"


def save_training(folder: Path, weights: Mapping[str, Tensor],
                  optimizers: Mapping[str, Optimizer], state: Mapping[str, Any]) -> None:
    """Save weights, optimizers (by name) and a JSON state, all or nothing."""
    tensors = {f"weights/{key}": value for key, value in weights.items()}
    for name, optimizer in optimizers.items():
        for index, entry in optimizer.state_dict()["state"].items():
            tensors.update({f"optimizers/{name}/{index}/{key}": torch.as_tensor(value)
                            for key, value in entry.items()})

    def fill(partial: Path) -> None:
        save_file({key: value.detach().cpu().contiguous().clone()
                   for key, value in tensors.items()}, partial / TENSORS)
        (partial / STATE).write_text(json.dumps(dict(state)))

    write_folder(folder, fill)


def load_training(folder: Path, optimizers: Mapping[str, Optimizer]
                  ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Restore optimizers and return (weights, state); None where there is no saved state."""
    if not (folder / STATE).is_file():
        return None
    weights: dict[str, Tensor] = {}
    found: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in optimizers}
    with safe_open(folder / TENSORS, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
            kind, rest = key.split("/", 1)
            if kind == "weights":
                weights[rest] = file.get_tensor(key)
            else:
                name, index, field = rest.split("/")
                found[name].setdefault(int(index), {})[field] = file.get_tensor(key)
    for name, optimizer in optimizers.items():
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": found[name], "param_groups": groups})
    return weights, json.loads((folder / STATE).read_text())
