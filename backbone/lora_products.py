"""Products with frozen weights and LoRA, and attention over tiles, as few passes over memory.

What a backward pass needs and a forward pass can make again in passing (normalised inputs, the
gate's product, attention weights) is not kept. There are no gradients for frozen weights, and none
for inputs that want none. Numbers are rounded where PEFT under autocast rounds them: products in
the checkpoint's precision, norms and softmax inside in fp32; gradients of adapters are fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from backbone.flat import Tile


@dataclass(frozen=True)
class Product:
    """y = x Wᵀ + scale · (x Aᵀ) Bᵀ of one linear layer."""

    weight: Tensor
    """[out, in] W, frozen."""
    a: Tensor
    """[rank, in] A."""
    b: Tensor
    """[out, rank] B."""
    scale: float


def normed_products(hidden: Tensor, norm: Tensor, epsilon: float,
                    products: Sequence[Product]) -> tuple[Tensor, ...]:
    """[T, out] of several products of RMSNorm(hidden) ([T, d]; weight [d])."""
    apply: Any = _Normed.apply
    found: tuple[Tensor, ...] = apply(hidden, norm, epsilon, *_flat(products))
    return found


def product(inputs: Tensor, weights: Product) -> Tensor:
    """[T, out] of one product of inputs [T, in]."""
    apply: Any = _Plain.apply
    found: tuple[Tensor, ...] = apply(inputs, *_flat([weights]))
    return found[0]


def gated_product(gate: Tensor, up: Tensor, weights: Product) -> Tensor:
    """[T, out] of one product of SiLU(gate) · up ([T, in] each)."""
    apply: Any = _Gated.apply
    found: tuple[Tensor, ...] = apply(gate, up, *_flat([weights]))
    return found[0]


def attention(queries: Tensor, keys: Tensor, values: Tensor, tiles: Sequence[Tile],
              head_size: int) -> Tensor:
    """[R, heads · head_size] softmax(q kᵀ / √head_size) v over what each query of [R, …] sees.

    Keys and values [T, key heads · head_size]; query heads share key heads in equal groups.
    """
    apply: Any = _Attention.apply
    found: Tensor = apply(queries, keys, values, tiles, head_size)
    return found


def _flat(products: Sequence[Product]) -> list[Any]:
    """Tensors and scales as arguments of their own, since autograd sees no dataclasses."""
    return [[p.scale for p in products], *(t for p in products for t in (p.weight, p.a, p.b))]


def _norm(hidden: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """RMSNorm and [T, 1] the reciprocal root mean square, fp32 (Zhang & Sennrich 2019)."""
    squares = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32).square()
    reciprocal = (squares / hidden.shape[-1] + epsilon).rsqrt()
    return (hidden * reciprocal).to(hidden.dtype) * weight, reciprocal


def _norm_backward(gradient: Tensor, hidden: Tensor, weight: Tensor, reciprocal: Tensor) -> Tensor:
    # y = w x̂, x̂ = x ρ:  ∂L/∂x = ρ (w g − x̂ · mean(w g · x̂))
    unit = hidden * reciprocal
    weighted = gradient.float() * weight
    weighted -= unit * (weighted * unit).mean(-1, keepdim=True)
    return (weighted * reciprocal).to(hidden.dtype)


def _forward(inputs: Tensor, scales: Sequence[float],
             tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Outputs, and [T, ranks] the scaled x Aᵀ of all products side by side."""
    a = torch.cat(list(tensors[1::3])).to(inputs.dtype)
    small = linear(inputs, a)
    outputs = []
    for weight, b, part, scale in zip(tensors[::3], tensors[2::3], _split(small, tensors), scales,
                                      strict=True):
        part *= scale
        outputs.append(linear(inputs, weight).addmm_(part, b.to(inputs.dtype).t()))
    return outputs, small


def _backward(inputs: Tensor, small: Tensor, scales: Sequence[float], tensors: Sequence[Tensor],
              gradients: Sequence[Tensor], wants_inputs: bool
              ) -> tuple[Tensor | None, list[Tensor | None]]:
    """Gradients of the inputs, and of (scales, W, A, B, W, A, B, …)."""
    back, of_b = [], []
    for gradient, b, part, scale in zip(gradients, tensors[2::3], _split(small, tensors), scales,
                                        strict=True):
        back.append((gradient @ b.to(gradient.dtype)) * scale)
        of_b.append((gradient.t() @ part).float())
    together = torch.cat(back, 1)
    of_a = torch.split((together.t() @ inputs).float(), _ranks(tensors))
    of_inputs = None
    if wants_inputs:
        a = torch.cat(list(tensors[1::3])).to(inputs.dtype)
        of_inputs = together @ a
        for gradient, weight in zip(gradients, tensors[::3], strict=True):
            of_inputs.addmm_(gradient, weight)
    adapters: list[Tensor | None] = [None]
    for one, other in zip(of_a, of_b, strict=True):
        adapters += [None, one, other]
    return of_inputs, adapters


def _split(small: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.split(small, _ranks(tensors), 1)


def _ranks(tensors: Sequence[Tensor]) -> list[int]:
    return [len(a) for a in tensors[1::3]]


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, norm: Tensor, epsilon: float, scales: list[float],
                *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs, reciprocal = _norm(hidden, norm, epsilon)
        outputs, small = _forward(inputs, scales, tensors)
        ctx.save_for_backward(hidden, norm, reciprocal, small, *tensors)
        ctx.scales = scales
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        hidden, norm, reciprocal, small, *tensors = ctx.saved_tensors
        inputs = (hidden * reciprocal).to(hidden.dtype) * norm
        of_inputs, adapters = _backward(inputs, small, ctx.scales, tensors, gradients,
                                        ctx.needs_input_grad[0])
        if of_inputs is not None:
            of_inputs = _norm_backward(of_inputs, hidden, norm, reciprocal)
        return (of_inputs, None, None, *adapters)


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scales: list[float],
                *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs, small = _forward(inputs, scales, tensors)
        ctx.save_for_backward(inputs, small, *tensors)
        ctx.scales = scales
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        inputs, small, *tensors = ctx.saved_tensors
        of_inputs, adapters = _backward(inputs, small, ctx.scales, tensors, gradients, True)
        return (of_inputs, *adapters)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, scales: list[float],
                *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs, small = _forward(silu(gate) * up, scales, tensors)
        ctx.save_for_backward(gate, up, small, *tensors)
        ctx.scales = scales
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        gate, up, small, *tensors = ctx.saved_tensors
        opened = silu(gate)
        of_inputs, adapters = _backward(opened * up, small, ctx.scales, tensors, gradients, True)
        assert of_inputs is not None
        of_gate = torch.ops.aten.silu_backward(of_inputs * up, gate)
        return (of_gate, of_inputs * opened, *adapters)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, tiles: Sequence[Tile],
                head_size: int) -> Tensor:
        found = torch.empty_like(queries)
        for tile in tiles:
            heads = _Heads(tile, queries, keys, values, head_size)
            seen = torch.bmm(heads.weights(), heads.values)
            found[heads.rows] = heads.joined(seen, heads.long).flatten(0, 1)[tile.real]
        ctx.save_for_backward(queries, keys, values)
        ctx.tiles, ctx.head_size = tiles, head_size
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        queries, keys, values = ctx.saved_tensors
        of_queries = torch.empty_like(queries)
        # A key that many texts share gathers many small gradients: fp32.
        of_keys, of_values = (torch.zeros_like(t, dtype=torch.float32) for t in (keys, values))
        for tile in ctx.tiles:
            heads = _Heads(tile, queries, keys, values, ctx.head_size)
            weights = heads.weights()
            of_seen = heads.split(heads.padded(gradients[0]))
            # o = P v, P = softmax(s), s = q kᵀ:  ∂s = P (∂P − Σ ∂P P), and 0 where P is 0
            of_weights = torch.bmm(of_seen, heads.values.transpose(1, 2))
            of_scores = torch.ops.aten._softmax_backward_data(
                of_weights, weights, -1, weights.dtype)
            of_q = heads.joined(torch.bmm(of_scores, heads.keys), heads.long) * heads.scale
            of_queries[heads.rows] = of_q.flatten(0, 1)[tile.real]
            columns = tile.keys.flatten()
            for sums, product in ((of_keys, torch.bmm(of_scores.transpose(1, 2), heads.queries)),
                                  (of_values, torch.bmm(weights.transpose(1, 2), of_seen))):
                sums.index_add_(0, columns, heads.joined(product, heads.wide).flatten(0, 1).float())
        return of_queries, of_keys.to(keys.dtype), of_values.to(values.dtype), None, None


class _Heads:
    """A tile's queries, keys and values by key head: [S · key heads, tokens, head size].

    Query heads that share a key head stand behind each other: [S · key heads, group · Lq, …].
    """

    def __init__(self, tile: Tile, queries: Tensor, keys: Tensor, values: Tensor,
                 head_size: int) -> None:
        self.tile = tile
        self.rows = tile.queries.flatten()[tile.real]
        self.head_size = head_size
        self.key_heads = keys.shape[-1] // head_size
        self.scale = head_size ** -0.5
        _, self.long, self.wide = tile.hidden.shape
        self.queries = self.split(queries[tile.queries] * self.scale)
        self.keys, self.values = self.split(keys[tile.keys]), self.split(values[tile.keys])

    def weights(self) -> Tensor:
        """[S · key heads, group · Lq, Lk] attention weights."""
        scores = torch.bmm(self.queries, self.keys.transpose(1, 2))
        by_head = scores.view(len(self.tile.hidden), -1, self.long, self.wide)
        by_head.masked_fill_(self.tile.hidden[:, None], float("-inf"))
        return scores.softmax(-1)

    def split(self, states: Tensor) -> Tensor:
        """[S, L, heads · head size] by key head."""
        count, length, width = states.shape
        group = width // self.head_size // self.key_heads
        by_head = states.view(count, length, self.key_heads, group, self.head_size)
        return by_head.permute(0, 2, 3, 1, 4).reshape(
            count * self.key_heads, group * length, self.head_size)

    def joined(self, states: Tensor, length: int) -> Tensor:
        """The inverse of `split`: [S, length, …]."""
        count = self.tile.hidden.shape[0]
        by_head = states.view(count, self.key_heads, -1, length, self.head_size)
        return by_head.permute(0, 3, 1, 2, 4).reshape(count, length, -1)

    def padded(self, rows: Tensor) -> Tensor:
        """[S, Lq, …] of [R, …], 0 at padding."""
        found = rows.new_zeros(len(self.tile.hidden) * self.long, rows.shape[-1])
        found[self.tile.real] = rows[self.rows]
        return found.view(-1, self.long, rows.shape[-1])
