"""Which layers of a decoder LoRA goes on: the linear ones, by their names."""

from __future__ import annotations

from collections.abc import Iterator

from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

#: What linear layers of a mixture of experts were called before transformers kept the experts as
#: one tensor: where there is one, peft takes these names for it, whatever else bears them.
_EXPERTS = {"gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"}
#: Mamba's code reads these layers' weights and does not run them: LoRA would not be heard.
_MAMBA = {"out_proj", "dt_proj"}


def linear_layers(part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every linear layer that LoRA can go on, or that has one already.

    Of GPT-2 these are called `Conv1D`, which is a linear layer with its weight turned.
    """
    fused = any(parameter.dim() == 3 and "lora_" not in name and "conv" not in name
                for name, parameter in part.named_parameters())
    for name, module in part.named_modules():
        place, _, own = name.rpartition(".")
        if "lora_" in name or own == "base_layer":
            continue
        if not isinstance(module, (nn.Linear, Conv1D, LoraLayer)):
            continue
        around = part.get_submodule(place)
        mamba = isinstance(getattr(around, "A_log", None), nn.Parameter) and hasattr(around, "D")
        if not (fused and own in _EXPERTS) and not (mamba and own in _MAMBA):
            yield name, module


def is_turned(part: nn.Module) -> bool:
    """Whether its linear layers are GPT-2's, whose weights are [in, out]."""
    return any(isinstance(module, Conv1D) for module in part.modules())
