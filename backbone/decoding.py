"""Texts that go on token by token, with the keys and values of what stands there kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad as pad_tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache

from backbone.flat import Flat, flatten
from backbone.flat_pass import after_attention, before_attention, products_of, runs_flat, start
from backbone.model import Backbone
from backbone.text import pad
from backbone.tile_attention import attention


class Decoding(Protocol):
    """B texts in memory, each of which takes one token at a time."""

    states: Tensor
    """[B, d] normalised last hidden states at the last token of each text."""

    def feed(self, tokens: Tensor) -> None:
        """Go on by a token [B] each; `states` are then those at the new tokens."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [b] alone."""


@torch.no_grad()
def decode(backbone: Backbone, adapter: str | None, prompts: Sequence[Sequence[int]],
           room: int) -> Decoding:
    """Read prompts (token ids, none empty), ready for at most `room` tokens more each."""
    backbone.check_ids(prompts)
    backbone.switch_to(adapter)
    if runs_flat(backbone):
        return _FlatDecoding(backbone, adapter, prompts, room)
    return _CheckpointDecoding(backbone, prompts, room)


class _CheckpointDecoding:
    """By the checkpoint's own code, whatever its shape; prompts are padded on the left."""

    def __init__(self, backbone: Backbone, prompts: Sequence[Sequence[int]], room: int) -> None:
        batch = pad(prompts, backbone.pad_id, backbone.device, left=True)
        self._backbone = backbone
        self._mask = pad_tensor(batch.mask, (0, room), value=1)
        self._width = batch.ids.shape[1]
        self._positions = batch.positions[:, -1:]
        self._cache = DynamicCache(config=backbone.language_model.config)
        backbone.choose_attention(len(prompts), self._width + room)
        self.states = self._forward(batch.ids, batch.positions)

    def feed(self, tokens: Tensor) -> None:
        self._width += 1
        self._positions = self._positions + 1
        self.states = self._forward(tokens[:, None], self._positions)

    def keep(self, rows: Tensor) -> None:
        self._cache.reorder_cache(rows)  # of other states than keys and values too, and some rows
        self._mask, self._positions = self._mask[rows], self._positions[rows]
        self.states = self.states[rows]

    @torch.no_grad()
    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        with self._backbone.autocast():
            output = self._backbone.trunk(
                input_ids=ids, attention_mask=self._mask[:, :self._width], position_ids=positions,
                past_key_values=self._cache, use_cache=True)
        hidden: Tensor = output.last_hidden_state[:, -1]
        return hidden


class _FlatDecoding:
    """By `backbone.flat_pass`: what prompts share at their beginning is read once, and no padding.

    Keys and values stand behind each other in one place made large enough at the start, the
    prompts' on its right end, so that the next token has the same column in every row.
    """

    def __init__(self, backbone: Backbone, adapter: str | None,
                 prompts: Sequence[Sequence[int]], room: int) -> None:
        trunk: Any = backbone.trunk
        self._trunk = trunk
        self._products = [[part.rounded() for part in products_of(layer, adapter)]
                          for layer in trunk.layers]
        self._width = max(map(len, prompts))
        lengths = torch.tensor([len(p) for p in prompts])
        self._positions = lengths - 1
        self._seen = torch.arange(self._width + room) >= (self._width - lengths)[:, None]
        """[B, width + room] whether a row's token may stand in a column."""
        flat = flatten(prompts, backbone.device)
        self._places = torch.stack([pad_tensor(c, (self._width - len(c), 0)) for c in flat.columns])
        self._kept: list[Tensor] = []
        """[B, key heads, width + room, head size] of each layer the keys, then the values."""
        self.states = self._read(flat, room)

    @torch.no_grad()
    def _read(self, flat: Flat, room: int) -> Tensor:
        hidden, rotation = start(self._trunk, flat.ids, flat.positions)
        layers = list(self._trunk.layers)
        for layer, products in zip(layers, self._products, strict=True):
            rows = flat.last if layer is layers[-1] else None
            queries, keys, values = before_attention(layer, products, hidden, rotation, rows)
            self._kept += [self._by_row(states, layer.self_attn.head_dim, room)
                           for states in (keys, values)]
            seen = attention(queries, keys, values, flat.tiles if rows is None else
                             flat.last_tiles, layer.self_attn.head_dim)
            hidden = after_attention(layer, products, hidden if rows is None else hidden[rows],
                                     seen)
        found: Tensor = self._trunk.norm(hidden)
        return found

    def _by_row(self, states: Tensor, head_size: int, room: int) -> Tensor:
        """[B, key heads, width + room, head size] of [T, key heads · head size]."""
        batch, width = self._places.shape
        heads = states.shape[1] // head_size
        kept = states.new_empty(batch, heads, width + room, head_size)
        kept[:, :, :width] = states[self._places].view(
            batch, width, heads, head_size).transpose(1, 2)
        return kept

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> None:
        self._positions = self._positions + 1
        hidden, rotation = start(self._trunk, tokens, self._positions)
        for number, (layer, products) in enumerate(zip(self._trunk.layers, self._products,
                                                       strict=True)):
            queries, keys, values = before_attention(layer, products, hidden, rotation)
            seen = self._attend(queries, keys, values, *self._kept[2 * number:2 * number + 2])
            hidden = after_attention(layer, products, hidden, seen)
        self._width += 1
        self.states = self._trunk.norm(hidden)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, kept_keys: Tensor,
                kept_values: Tensor) -> Tensor:
        """[B, heads · head size] of one query a row, whose key and value are kept."""
        batch, heads, _, size = kept_keys.shape
        for kept, new in ((kept_keys, keys), (kept_values, values)):
            kept[:, :, self._width] = new.view(batch, heads, size)
        end = self._width + 1
        # Unlike products of matrices, this reads a part of what is kept where it stands.
        found = scaled_dot_product_attention(
            queries.view(batch, -1, 1, size), kept_keys[:, :, :end], kept_values[:, :, :end],
            self._seen[:, None, None, :end], enable_gqa=True)
        return found.reshape(batch, -1)

    def keep(self, rows: Tensor) -> None:
        self._kept = [kept[rows] for kept in self._kept]
        self._seen, self._positions = self._seen[rows], self._positions[rows]
        self.states = self.states[rows]
