"""The decoder's forward and backward pass over a flat row of texts, where its shape is known.

For decoders of Llama's shape (RMSNorm, rotary positions, grouped queries, SiLU gate, no biases) on
a CPU. It gives what the checkpoint's own code gives, to rounding: tests hold the two together.
Others, and passes on a GPU, take the checkpoint's own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

from backbone.blocks import recomputed
from backbone.flat import Flat, Tile
from backbone.lora_products import Product, gated_product, normed_products, product
from backbone.model import Backbone
from backbone.tile_attention import attention

#: Decoders whose layers are computed here line by line.
_KNOWN = ("LlamaModel",)
#: Blocks from below that have been run, and [T, d] what they made of a flat row.
Lower = tuple[int, Tensor]
_ATTENTION, _GATE = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")


def runs_flat(backbone: Backbone) -> bool:
    """Whether `last_states` and `states_at` can run the backbone's decoder."""
    trunk: Any = backbone.trunk
    return (type(trunk).__name__ in _KNOWN and backbone.device.type == "cpu"
            and not backbone.is_cut_up and trunk.config.hidden_act == "silu"
            and all(_plain(module) for layer in trunk.layers for module in _linears(layer)))


def last_states(backbone: Backbone, flat: Flat, adapter: str | None,
                lower: Lower | None = None) -> Tensor:
    """[N, d] normalised last hidden states at the texts' last tokens; gradients flow.

    Behind the last attention only those tokens are computed.
    """
    trunk: Any = backbone.trunk
    hidden, rotation = _before_last(backbone, flat, adapter, lower)
    hidden = _block(backbone, -1, adapter, hidden, rotation, flat.last_tiles, flat.last)
    found: Tensor = trunk.norm(hidden)
    return found


def states_at(backbone: Backbone, flat: Flat, adapter: str | None, columns: Tensor) -> Tensor:
    """[n, d] normalised last hidden states at these columns of the flat row; gradients flow."""
    trunk: Any = backbone.trunk
    hidden, rotation = _before_last(backbone, flat, adapter, None)
    hidden = _block(backbone, -1, adapter, hidden, rotation, flat.tiles)
    found: Tensor = trunk.norm(hidden[columns])
    return found


def climb(backbone: Backbone, flat: Flat, adapter: str | None, blocks: int,
          lower: Lower | None = None) -> Iterator[tuple[int, Tensor]]:
    """The number of blocks that they have been through, and [T, d] states: from the first block's
    input (or from `lower`) up to those behind so many blocks; gradients flow."""
    backbone.switch_to(adapter)  # peft lets gradients into the current adapter alone
    trunk: Any = backbone.trunk
    hidden, rotation = start(trunk, flat.ids, flat.positions)
    first, hidden = lower or (0, hidden)
    yield first, hidden
    for number in range(first, blocks):
        hidden = _block(backbone, number, adapter, hidden, rotation, flat.tiles)
        yield number + 1, hidden


def _before_last(backbone: Backbone, flat: Flat, adapter: str | None,
                 lower: Lower | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """[T, d] what the last layer is given, and the rotations (cosines and sines)."""
    trunk: Any = backbone.trunk
    hidden, rotation = start(trunk, flat.ids, flat.positions)
    for _, states in climb(backbone, flat, adapter, len(trunk.layers) - 1, lower):
        hidden = states
    return hidden, rotation


def start(trunk: Any, ids: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """[T, d] what the first layer is given for token ids [T], and the rotations (cosines, sines)
    of their positions [T]."""
    hidden: Tensor = trunk.embed_tokens(ids)
    cosines, sines = (t[0] for t in trunk.rotary_emb(hidden[None], positions[None]))
    return hidden, (cosines, sines)


def _block(backbone: Backbone, number: int, adapter: str | None, hidden: Tensor,
           rotation: tuple[Tensor, Tensor], tiles: Sequence[Tile],
           rows: Tensor | None = None) -> Tensor:
    """`_layer` of a block, by its number."""
    trunk: Any = backbone.trunk
    run: Any = partial(_layer, trunk.layers[number], adapter)
    if backbone.recomputes and torch.is_grad_enabled():
        run = recomputed(run, partial(backbone.switch_to, adapter))
    found: Tensor = run(hidden, rotation, tiles, rows)
    return found


def _layer(layer: Any, adapter: str | None, hidden: Tensor, rotation: tuple[Tensor, Tensor],
           tiles: Sequence[Tile], rows: Tensor | None = None) -> Tensor:
    """[T, d] what follows [T, d] in one layer; with rows [R] only those, as [R, d]."""
    products = products_of(layer, adapter)
    seen = attention(*before_attention(layer, products, hidden, rotation, rows), tiles,
                     layer.self_attn.head_dim)
    return after_attention(layer, products, hidden if rows is None else hidden[rows], seen)


def products_of(layer: Any, adapter: str | None) -> list[Product]:
    """A layer's linear parts: queries, keys, values, output; gate, up, down."""
    return [_product(module, adapter) for module in _linears(layer)]


def before_attention(layer: Any, products: Sequence[Product], hidden: Tensor,
                     rotation: tuple[Tensor, Tensor],
                     rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """[T, heads · size] queries (with rows [R] only theirs), [T, key heads · size] keys, values;
    queries and keys turned to their positions."""
    norm = layer.input_layernorm
    q, k, v = products[:3]
    if rows is None:
        rotated = rotation
        queries, keys, values = normed_products(
            hidden, norm.weight, norm.variance_epsilon, [q, k, v])
    else:
        rotated = (rotation[0][rows], rotation[1][rows])
        keys, values = normed_products(hidden, norm.weight, norm.variance_epsilon, [k, v])
        (queries,) = normed_products(hidden[rows], norm.weight, norm.variance_epsilon, [q])
    return _rotate(queries, *rotated), _rotate(keys, *rotation), values


def after_attention(layer: Any, products: Sequence[Product], hidden: Tensor,
                    seen: Tensor) -> Tensor:
    """[T, d] what follows of a layer's input [T, d] and what attention saw, [T, heads · size]."""
    norm = layer.post_attention_layernorm
    o, gate, up, down = products[3:]
    hidden = hidden + product(seen, o)
    opened, raised = normed_products(hidden, norm.weight, norm.variance_epsilon, [gate, up])
    return hidden + gated_product(opened, raised, down)


class _Rotate(torch.autograd.Function):
    """Rotary positions (Su et al. 2021); the gradient is turned back by the same angle."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        ctx.save_for_backward(cosines, sines)
        return _turn(states, cosines, sines)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        cosines, sines = ctx.saved_tensors
        return _turn(gradients[0], cosines, -sines), None, None


def _rotate(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    apply: Any = _Rotate.apply
    found: Tensor = apply(states, cosines, sines)
    return found


def _turn(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """[T, heads · size] with each head's halves (x, y) turned to (x c − y s, y c + x s)."""
    half = cosines.shape[-1] // 2
    cosine, sine = cosines[:, None, :half], sines[:, None, :half]
    found = torch.empty_like(states)
    old, new = (t.view(len(t), -1, 2, half) for t in (states, found))
    new[:, :, 0] = torch.addcmul(old[:, :, 0] * cosine, old[:, :, 1], sine, value=-1)
    new[:, :, 1] = torch.addcmul(old[:, :, 1] * cosine, old[:, :, 0], sine)
    return found


def _linears(layer: Any) -> list[nn.Module]:
    return [*(getattr(layer.self_attn, name) for name in _ATTENTION),
            *(getattr(layer.mlp, name) for name in _GATE)]


def _plain(module: nn.Module) -> bool:
    """Whether a linear layer is no more than W, or W with plain LoRA."""
    if isinstance(module, LoraLinear):
        return (_plain(module.get_base_layer()) and not module.merged
                and not any(module.use_dora.values()) and not any(module.lora_bias.values())
                and not module.fan_in_fan_out
                and all(isinstance(d, nn.Identity) for d in module.lora_dropout.values()))
    return type(module) is nn.Linear and module.bias is None


def _product(module: Any, adapter: str | None) -> Product:
    if not isinstance(module, LoraLinear):
        weight = module.weight
        return Product(weight, weight.new_zeros(0, weight.shape[1]),
                       weight.new_zeros(weight.shape[0], 0), 0.0)
    weight = module.get_base_layer().weight
    if adapter not in module.lora_A:
        return Product(weight, weight.new_zeros(0, weight.shape[1]),
                       weight.new_zeros(weight.shape[0], 0), 0.0)
    return Product(weight, module.lora_A[adapter].weight, module.lora_B[adapter].weight,
                   module.scaling[adapter])
