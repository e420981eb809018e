"""Adapters (and a score head) on disk, in PEFT's own layout, so that other tools load them.

Only safetensors; written beside their final place and renamed, so that a folder is whole or absent,
after a power cut too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from backbone.heads import ScalarHead
from backbone.model import Backbone
from data.durable import put_in_place
from data.errors import BadInput

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
#: Settings that say how strongly and where an adapter acts; kept when it is loaded and saved.
_STRENGTHS = ("use_rslora", "rank_pattern", "alpha_pattern")
_PLACES = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
#: Settings that change nothing once an adapter is trained (peft sees to `fan_in_fan_out` itself).
_HARMLESS = {"task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path",
             "revision", "inference_mode", "lora_dropout", "fan_in_fan_out", "megatron_core",
             "loftq_config", "eva_config", "corda_config", "qalora_group_size"}
#: Of `init_lora_weights`, the ways that leave the checkpoint's own weights as they are.
_PLAIN_BEGINNINGS = (True, False, "gaussian", "orthogonal", "eva")
#: Where PEFT keeps the score head of a sequence classifier (`modules_to_save`).
SCORE_KEY = "base_model.model.score.weight"


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
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
            put_in_place(partial, folder)
            shutil.rmtree(old)
        else:
            put_in_place(partial, folder)
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
           if key in ("r", "lora_alpha", "lora_dropout", "bias", "fan_in_fan_out", *_STRENGTHS,
                      *_PLACES)},
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
        BadInput: no adapter there, a broken one, one that was trained on another checkpoint, or
            one with a setting that we do not compute.
    """
    config, state = _read(folder)
    _check_base(backbone.folder, config, folder)
    score = state.pop(SCORE_KEY, None)
    fresh = backbone.new_lora_config(config.r, config.lora_alpha)
    _take_over(fresh, config, *_STRENGTHS, *_PLACES)
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


def check_adapter(folder: Path, checkpoint: str) -> None:
    """Refuse an adapter for what can be seen of it without its checkpoint, a folder or hub id.

    Raises:
        BadInput: as `load_adapter` would refuse it.
    """
    config, _ = _read(folder)
    _check_base(checkpoint, config, folder)


def copy_adapter(backbone: Backbone, source: str, target: str) -> None:
    """Make `target` an independent copy of `source`; where that does not act, it may learn to."""
    config = backbone.adapter_config(source)
    fresh = backbone.new_lora_config(config.r, config.lora_alpha)
    _take_over(fresh, config, *_STRENGTHS)
    backbone.add_adapter(target, fresh)
    backbone.load_adapter_state(
        target, {key: value.clone() for key, value in backbone.adapter_state(source).items()})


def _read(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise BadInput(f"{folder}: no adapter there (wanted {CONFIG} and {WEIGHTS}; "
                       "pickled .bin weights are not read)")
    try:
        given = json.loads((folder / CONFIG).read_text("utf-8"))
        config = PeftConfig.from_pretrained(str(folder))
        state = load_file(folder / WEIGHTS)
    except (SafetensorError, json.JSONDecodeError, TypeError, ValueError, KeyError) as error:
        raise BadInput(f"{folder}: the adapter cannot be read: {error}") from error
    if not isinstance(config, LoraConfig):
        raise BadInput(f"{folder}: only LoRA adapters are read, not {config.peft_type}")
    _check_settings(given, folder)
    if check_target_module_exists(config, "lm_head"):  # nobody asks for what it would do there
        modules = config.target_modules
        raise _no_plain_lora(folder, "target_modules",
                             sorted(modules) if isinstance(modules, set) else modules)
    return config, {key: value.to(torch.float32) for key, value in state.items()}


def _check_settings(given: Mapping[str, Any], folder: Path) -> None:
    """Raise BadInput for a setting that makes an adapter compute something else than plain LoRA;
    one that this version of peft does not know may."""
    defaults = {field.name: field.default for field in fields(LoraConfig)}
    fine = {*_HARMLESS, *_STRENGTHS, *_PLACES, "r", "lora_alpha"}
    for name, value in given.items():
        if not value or name in fine or value == defaults.get(name) \
                or (name == "modules_to_save" and value == ["score"]) \
                or (name == "init_lora_weights" and value in _PLAIN_BEGINNINGS):
            continue
        raise _no_plain_lora(folder, name, value)


def _no_plain_lora(folder: Path, name: str, value: Any) -> BadInput:
    return BadInput(f"{folder}: {CONFIG} has {name} = {json.dumps(value)[:60]}, and adapters are "
                    "read as plain LoRA only, not on the head over the vocabulary: merge it into "
                    "its checkpoint, or train one without")


def _take_over(fresh: LoraConfig, config: LoraConfig, *names: str) -> None:
    for name in names:
        setattr(fresh, name, getattr(config, name))


def _check_base(checkpoint: str, config: LoraConfig, folder: Path) -> None:
    named = config.base_model_name_or_path
    if named and Path(named).name != Path(checkpoint).name:
        raise BadInput(f"{folder}: the adapter was trained on {Path(named).name}, and this "
                       f"workspace's checkpoint is {Path(checkpoint).name}")
