"""Attention over the tiles of a flat row (`backbone.flat`), one after the other.

No attention weight outlives its tile: the backward pass makes them again, so that memory does not
grow with the square of a text's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backbone.flat import Tile


def attention(queries: Tensor, keys: Tensor, values: Tensor, tiles: Sequence[Tile],
              head_size: int) -> Tensor:
    """[R, heads · head_size] softmax(q kᵀ / √head_size) v over what each query of [R, …] sees.

    Keys and values [T, key heads · head_size]; query heads share key heads in equal groups.
    """
    apply: Any = _Attention.apply
    found: Tensor = apply(queries, keys, values, tiles, head_size)
    return found


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
