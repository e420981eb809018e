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
        found = _Gathering(queries, keys.shape[1] // head_size)
        for tile in tiles:
            heads = _Heads(tile, queries, keys, values, head_size)
            found.put(heads, torch.bmm(heads.weights(), heads.values))
        ctx.save_for_backward(queries, keys, values)
        ctx.tiles, ctx.head_size = tiles, head_size
        return found.states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        queries, keys, values = ctx.saved_tensors
        of_queries = _Gathering(queries, keys.shape[1] // ctx.head_size)
        # A key that many texts share gathers many small gradients: fp32.
        of_keys, of_values = (torch.zeros_like(t, dtype=torch.float32) for t in (keys, values))
        for tile in ctx.tiles:
            heads = _Heads(tile, queries, keys, values, ctx.head_size)
            weights = heads.weights()
            of_seen = heads.of_queries(gradients[0])
            # o = P v, P = softmax(s), s = q kᵀ:  ∂s = P (∂P − Σ ∂P P), and 0 where P is 0
            of_weights = torch.bmm(of_seen, heads.values.transpose(1, 2))
            of_scores = torch.ops.aten._softmax_backward_data(
                of_weights, weights, -1, weights.dtype)
            of_queries.put(heads, torch.bmm(of_scores, heads.keys).mul_(heads.scale))
            for sums, product in ((of_keys, torch.bmm(of_scores.transpose(1, 2), heads.queries)),
                                  (of_values, torch.bmm(weights.transpose(1, 2), of_seen))):
                heads.add_to(sums, product)
        return of_queries.states, of_keys.to(keys.dtype), of_values.to(values.dtype), None, None


class _Heads:
    """A tile's queries, keys and values by key head: [S · key heads, tokens, head size].

    Of a token, the query heads that share a key head stand behind each other: [S · key heads,
    Lq · group, head size]. States [T, heads · head size] are rows [T · key heads, group · head
    size] as they lie in memory, so one gathering of such rows does it all.
    """

    def __init__(self, tile: Tile, queries: Tensor, keys: Tensor, values: Tensor,
                 head_size: int) -> None:
        self.tile = tile
        self.head_size = head_size
        self.key_heads = keys.shape[1] // head_size
        self.scale = head_size ** -0.5
        self.query_rows, self.key_rows = self._rows(tile.queries), self._rows(tile.keys)
        self.queries = self._gathered(queries, self.query_rows).mul_(self.scale)
        self.keys = self._gathered(keys, self.key_rows)
        self.values = self._gathered(values, self.key_rows)

    def weights(self) -> Tensor:
        """[S · key heads, Lq · group, Lk] attention weights."""
        scores = torch.bmm(self.queries, self.keys.transpose(1, 2))
        stretches, long, wide = self.tile.unseen.shape
        by_head = scores.view(stretches, self.key_heads, long, -1, wide)
        by_head.add_(self.tile.unseen.to(scores.dtype)[:, None, :, None])
        return scores.softmax(-1)

    def of_queries(self, states: Tensor) -> Tensor:
        """[S · key heads, Lq · group, head size] of states [R, …] at the queries, 0 at padding."""
        found = self._gathered(states, self.query_rows)
        return found.view(len(self.padding), -1).mul_(~self.padding[:, None]).view(found.shape)

    def add_to(self, sums: Tensor, states: Tensor) -> None:
        """Add [S · key heads, Lk, head size] to the keys' [T, key heads · head size], in fp32."""
        rows = states.view(-1, self.head_size).float()
        sums.view(-1, self.head_size).index_add_(0, self.key_rows, rows)

    @property
    def padding(self) -> Tensor:
        """[S · key heads · Lq] which queries are padding."""
        return self.tile.padding[:, None].expand(-1, self.key_heads, -1).flatten()

    def _rows(self, tokens: Tensor) -> Tensor:
        """[S · key heads · L] the rows of tokens [S, L]."""
        heads = torch.arange(self.key_heads, device=tokens.device)
        return (tokens[:, None] * self.key_heads + heads[:, None]).flatten()

    def _gathered(self, states: Tensor, rows: Tensor) -> Tensor:
        by_row = states.reshape(len(states) * self.key_heads, -1)
        return by_row.index_select(0, rows).view(len(self.tile.queries) * self.key_heads, -1,
                                                 self.head_size)


class _Gathering:
    """[R, heads · head size] like the queries, put together tile by tile."""

    def __init__(self, queries: Tensor, key_heads: int) -> None:
        rows = queries.shape[0] * key_heads
        # One more, for padding.
        self._rows = queries.new_empty(rows + 1, queries.shape[1] // key_heads)
        self.states = self._rows[:rows].view(queries.shape)

    def put(self, heads: _Heads, states: Tensor) -> None:
        """Take a tile's [S · key heads, Lq · group, head size]."""
        rows = heads.query_rows.masked_fill(heads.padding, len(self._rows) - 1)
        self._rows.index_copy_(0, rows, states.view(len(rows), -1))
