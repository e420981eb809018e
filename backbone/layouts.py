"""Texts laid out for one forward pass: flat where the decoder's shape is known, else in rows.

Either way a pass can end behind the deepest block that is asked for, and begin behind the blocks
that no adapter changes: what those make of the texts is the same for every adapter, and computed
once (`Layout.lower`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from backbone.blocks import blocks_of
from backbone.flat import flatten
from backbone.flat_pass import climb, last_states, runs_flat
from backbone.model import Backbone
from backbone.packing import SHARED, pack
from backbone.targets import linear_layers
from backbone.text import pad
from data.errors import BadInput

#: Hears how many blocks states have been through, and the states.
Keep = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Lower:
    """What the first `block` blocks make of texts with no adapter on."""

    block: int
    states: Tensor
    """[T, d] of the tokens of a layout, or of a text."""
    rest: tuple[Any, ...] | None = None
    """What else the last of them answers with, where it answers with a tuple."""


class Layout(ABC):
    """N texts as the T tokens of one forward pass; what texts share may stand there once."""

    def __init__(self, columns: Sequence[Tensor], width: int) -> None:
        self.columns = columns
        """Of each text, [its length] which of the T tokens are its own, in its order."""
        self.width = width
        """T, padding included."""

    def share(self, spans: Sequence[tuple[int, int]]) -> Tensor:
        """[N, T] each token's part of the mean over a span of each text (from, to before)."""
        found = torch.zeros(len(self.columns), self.width, device=self.columns[0].device)
        for row, columns, (start, end) in zip(found, self.columns, spans, strict=True):
            row[columns[start:end]] = 1 / (end - start)
        return found

    def at(self, places: Sequence[int]) -> Tensor:
        """[N] which of the T tokens stands at a place of each text; −1: its last."""
        return torch.stack([columns[place] for columns, place in zip(self.columns, places,
                                                                     strict=True)])

    @property
    def last(self) -> Tensor:
        """[N] which of the T tokens is each text's last."""
        return self.at([-1] * len(self.columns))

    @abstractmethod
    def climb(self, layers: Collection[int], adapter: str | None, keep: Keep,
              lower: Lower | None = None) -> None:
        """Hand over the [T, d] states behind each of these blocks (1: behind the first), and end
        behind the last of them, with an adapter on (or none); gradients flow.

        `lower` is what `lower` gave, where the pass is to begin there.
        """

    @abstractmethod
    def ends(self, adapter: str | None, lower: Lower | None = None) -> Tensor:
        """[N, d] normalised last hidden states at the texts' last tokens; gradients flow."""

    @abstractmethod
    def lower(self, block: int) -> Lower:
        """What the first `block` blocks make of the texts with no adapter on; no gradients."""

    def split(self, lower: Lower) -> list[Lower]:
        """Each text's own part of what `lower` gave, for whatever layout it stands in next."""
        return [replace(lower, states=lower.states[columns]) for columns in self.columns]

    def join(self, parts: Sequence[Lower]) -> Lower:
        """What `lower` would give, of what `split` gave of each text elsewhere."""
        states, columns = torch.cat([part.states for part in parts]), torch.cat(list(self.columns))
        # Of what texts share, the first one's: another's may have been rounded otherwise.
        count = len(states)
        places = torch.full((self.width,), count, device=columns.device).scatter_reduce(
            0, columns, torch.arange(count, device=columns.device), "amin")
        return replace(parts[0], states=torch.cat([states, states.new_zeros(1, states.shape[1])])
                       [places])


def lay_out(backbone: Backbone, texts: Sequence[Sequence[int]]) -> Layout:
    """Token ids, none empty, ready for a forward pass."""
    backbone.check_ids(texts)
    if runs_flat(backbone):
        return _Flat(backbone, texts)
    return _Rows(backbone, texts)


class _Flat(Layout):
    """One row without padding."""

    def __init__(self, backbone: Backbone, texts: Sequence[Sequence[int]]) -> None:
        self._backbone = backbone
        self._flat = flatten(texts, backbone.device)
        super().__init__(self._flat.columns, len(self._flat.ids))

    def climb(self, layers: Collection[int], adapter: str | None, keep: Keep,
              lower: Lower | None = None) -> None:
        for number, states in climb(self._backbone, self._flat, adapter, max(layers),
                                    _begun(lower)):
            if number in layers:
                keep(number, states)

    def ends(self, adapter: str | None, lower: Lower | None = None) -> Tensor:
        return last_states(self._backbone, self._flat, adapter, _begun(lower))

    @torch.no_grad()
    def lower(self, block: int) -> Lower:
        for _, states in climb(self._backbone, self._flat, None, block):
            found = states
        return Lower(block, found)


def _begun(lower: Lower | None) -> tuple[int, Tensor] | None:
    return None if lower is None else (lower.block, lower.states)


class _Rows(Layout):
    """Rows by the checkpoint's own code: packed where the backbone allows it, else padded."""

    def __init__(self, backbone: Backbone, texts: Sequence[Sequence[int]]) -> None:
        self._backbone = backbone
        self._run: Callable[[str | None], Tensor]
        if backbone.can_pack and len(texts) > 1:
            packed = pack(texts, backbone.pad_id, backbone.device)
            self._run = lambda adapter: backbone.hidden_of_packed(packed, adapter)
            rows, ids, positions = packed.rows, packed.ids, packed.positions
            segments = packed.segments[rows]
            own = segments.gather(1, packed.last[:, None])
            mine = (segments == own) | (segments == SHARED)
        else:
            batch = pad(texts, backbone.pad_id, backbone.device)
            self._run = lambda adapter: backbone.hidden(batch, adapter)
            rows, ids, positions = (torch.arange(len(texts), device=backbone.device), batch.ids,
                                    batch.positions)
            mine = batch.mask == 1
        width = ids.shape[1]
        columns = [places[positions[row, places].argsort()] + row * width for row, places in zip(
            rows.tolist(), (one.nonzero()[:, 0] for one in mine), strict=True)]
        super().__init__(columns, ids.numel())
        self._shape = ids.shape

    def climb(self, layers: Collection[int], adapter: str | None, keep: Keep,
              lower: Lower | None = None) -> None:
        blocks = blocks_of(self._backbone.trunk)
        with (_instead(blocks, lower, self._shape),
              _watched(blocks, layers, lambda layer, states: keep(layer, states.flatten(0, 1))),
              _until(blocks[max(layers) - 1])):
            self._run(adapter)

    def ends(self, adapter: str | None, lower: Lower | None = None) -> Tensor:
        with _instead(blocks_of(self._backbone.trunk), lower, self._shape):
            return self._run(adapter).flatten(0, 1)[self.last]

    @torch.no_grad()
    def lower(self, block: int) -> Lower:
        kept: list[Any] = []
        blocks = blocks_of(self._backbone.trunk)
        handle = blocks[block - 1].register_forward_hook(
            lambda _module, _inputs, output: kept.append(output))
        try:
            with _until(blocks[block - 1]):
                self._run(None)
        finally:
            handle.remove()
        made, rest = (kept[0], None) if isinstance(kept[0], Tensor) else (kept[0][0], kept[0][1:])
        return Lower(block, made.flatten(0, 1), rest)


class _Deepest(Exception):
    """No deeper layer is wanted: ends a forward pass early."""


@contextmanager
def _until(block: nn.Module) -> Iterator[None]:
    """Passes end behind this block, when the hooks have been called that it has by now."""
    def hook(*_: Any) -> None:
        raise _Deepest

    handle = block.register_forward_hook(hook)
    try:
        yield
    except _Deepest:
        pass
    finally:
        handle.remove()


@contextmanager
def _watched(blocks: nn.ModuleList, layers: Collection[int], keep: Keep) -> Iterator[None]:
    """Hand over each wanted layer's states as they come."""
    def watch(layer: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            keep(layer, output if isinstance(output, Tensor) else output[0])

        return hook

    handles = [blocks[layer - 1].register_forward_hook(watch(layer)) for layer in sorted(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _instead(blocks: nn.ModuleList, lower: Lower | None, shape: torch.Size) -> Iterator[None]:
    """Passes over token ids of this shape begin behind the blocks that have been run, if any."""
    if lower is None:
        yield
        return
    states = lower.states.view(*shape, -1)
    made = states if lower.rest is None else (states, *lower.rest)
    for module in blocks[:lower.block]:
        # Whatever a lower block is given, it answers with what the last of them once did.
        module.forward = lambda *_, **__: made
    try:
        yield
    finally:
        for module in blocks[:lower.block]:
            del module.forward


def upper_blocks(backbone: Backbone, block: int, last: int | None = None) -> list[str]:
    """Names (PEFT's `target_modules`) of the linear layers of the blocks from `block` (0 is the
    first) to before `last`, for an adapter that leaves the blocks below as they are.

    Raises:
        BadInput: there are none.
    """
    blocks = blocks_of(backbone.trunk)
    [prefix] = [name for name, module in backbone.trunk.named_children() if module is blocks]
    found = {f"{prefix}.{number}.{name}"
             for number in range(block, len(blocks) if last is None else last)
             for name, _ in linear_layers(blocks[number])}
    if not found:
        raise BadInput(f"blocks: {block} to {last or len(blocks)} hold no linear layers; the "
                       f"checkpoint has {len(blocks)} blocks")
    return sorted(found)


def layer_count(backbone: Backbone) -> int:
    """How many blocks the backbone has."""
    return len(blocks_of(backbone.trunk))
