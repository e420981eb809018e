"""LoRA layers in fewer passes over memory than peft's, for passes in the checkpoint's own code.

Sampling token by token runs every layer on a few rows, where peft's own code spends more time
around the products than in them. A layer that is not plain LoRA keeps peft's code.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

from backbone.lora_products import Product, product


def fuse_lora(layer: Any) -> None:
    """Let a layer of peft take the quicker way wherever it can; its weights stay where they are."""
    if type(layer) is LoraLinear and type(layer.base_layer) is nn.Linear:
        layer.forward = partial(_forward, layer, type(layer).forward)


def _forward(layer: Any, plain: Any, x: Tensor, *rest: Any, **options: Any) -> Tensor:
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    base, name = layer.base_layer, names[0] if names else None
    if (len(names) != 1 or layer.disable_adapters or layer.merged or rest or options
            or base.bias is not None or name in layer.lora_variant or layer.lora_bias.get(name)
            or not isinstance(layer.lora_dropout[name], nn.Identity)):
        own: Tensor = plain(layer, x, *rest, **options)
        return own
    weights = Product(base.weight, layer.lora_A[name].weight, layer.lora_B[name].weight,
                      layer.scaling[name])
    rows = x.reshape(-1, x.shape[-1]).to(base.weight.dtype)
    return product(rows, weights).view(*x.shape[:-1], -1)
