"""Adapters (and a score head) on disk, in PEFT's own layout, so that other tools load them.

Only safetensors; written beside their final place and renamed, so that a folder is whole or absent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from backbone.heads import ScalarHead
from backbone.model import Backbone
from data.errors import BadInput

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
#: Where PEFT keeps the score head of a sequence classifier (`modules_to_save`).
SCORE_KEY = "base_model.model.score.weight"


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder all at once: `fill` writes into a hidden sibling that is then renamed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old)
        else:
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def save_adapter(backbone: Backbone, name: str, folder: Path,
                 score: ScalarHead | None = None,
                 beside: Callable[[Path], None] | None = None) -> None:
    """Save an adapter; with a score head it is a sequence classifier's (one label).

    `beside` writes what else belongs into the folder, before that gets its name.
    """
    config = LoraConfig(**{
        **{key: value for key, value in backbone.adapter_config(name).to_dict().items()
           if key in ("r", "lora_alpha", "lora_dropout", "bias", "target_modules")},
        "task_type": "CAUSAL_LM" if score is None else "SEQ_CLS",
        "modules_to_save": None if score is None else ["score"],
        "base_model_name_or_path": backbone.folder, "inference_mode": True})
    state = {key: value.detach().cpu().contiguous()
             for key, value in backbone.adapter_state(name).items()}
    if score is not None:
        state[SCORE_KEY] = score.weight.detach().cpu().contiguous()

    def fill(partial: Path) -> None:
        save_file(state, partial / WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(partial)
        backbone.tokenizer.save_pretrained(partial)
        if beside is not None:
            beside(partial)

    write_folder(folder, fill)


def load_adapter(backbone: Backbone, name: str, folder: Path) -> Tensor | None:
    """Load an adapter under a name; returns the weight of its score head, if it has one.

    Raises:
        BadInput: no adapter there, a broken one, or one that was trained on another checkpoint.
    """
    config, state = _read(folder)
    _check_base(backbone, config, folder)
    score = state.pop(SCORE_KEY, None)
    fresh = backbone.new_lora_config(config.r, config.lora_alpha)
    fresh.target_modules = config.target_modules
    backbone.add_adapter(name, fresh)
    expected = backbone.adapter_state(name)
    wrong = next((key for key in state.keys() | expected.keys()
                  if key not in state or key not in expected
                  or state[key].shape != expected[key].shape), None)
    if wrong is not None:
        backbone.drop_adapter(name)
        raise BadInput(f"{folder}: the adapter does not fit checkpoint {backbone.checkpoint} "
                       f"(at {wrong}); it was trained on another base")
    backbone.load_adapter_state(name, state)
    return score


def copy_adapter(backbone: Backbone, source: str, target: str) -> None:
    """Make `target` an independent copy of `source`."""
    config = backbone.adapter_config(source)
    backbone.add_adapter(target, backbone.new_lora_config(config.r, config.lora_alpha))
    backbone.load_adapter_state(
        target, {key: value.clone() for key, value in backbone.adapter_state(source).items()})


def _read(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise BadInput(f"{folder}: no adapter there (wanted {CONFIG} and {WEIGHTS}; "
                       "pickled .bin weights are not read)")
    try:
        config = PeftConfig.from_pretrained(str(folder))
        state = load_file(folder / WEIGHTS)
    except (SafetensorError, json.JSONDecodeError, TypeError, ValueError, KeyError) as error:
        raise BadInput(f"{folder}: the adapter cannot be read: {error}") from error
    if not isinstance(config, LoraConfig):
        raise BadInput(f"{folder}: only LoRA adapters are read, not {config.peft_type}")
    return config, {key: value.to(torch.float32) for key, value in state.items()}


def _check_base(backbone: Backbone, config: LoraConfig, folder: Path) -> None:
    named = config.base_model_name_or_path
    if named and Path(named).name != Path(backbone.folder).name:
        raise BadInput(f"{folder}: the adapter was trained on {Path(named).name}, and this "
                       f"workspace's checkpoint is {Path(backbone.folder).name}")
