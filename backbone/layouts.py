"""Texts laid out for one forward pass: flat where the decoder's shape is known, else in rows.

Either way a pass can end behind the deepest block that is asked for, and begin behind the blocks
that no adapter changes: what those make of the texts is the same for every adapter, and computed
once (`Layout.lower`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from backbone.flat import flatten
from backbone.flat_pass import climb, last_states, runs_flat
from backbone.model import Backbone
from backbone.packing import SHARED, pack
from backbone.text import pad
from data.errors import BadInput

#: Hears how many blocks states have been through, and the states.
Keep = Callable[[int, Tensor], None]


class Layout(ABC):
    """N texts as the T tokens of one forward pass; what texts share may stand there once."""

    def __init__(self, columns: Sequence[Tensor], width: int) -> None:
        self.columns = columns
        """Of each text, [its length] which of the T tokens are its own, in its order."""
        self.width = width
        """T, padding included."""

    def share(self, starts: Tensor) -> Tensor:
        """[N, T] each token's part of the mean over a text from its start ([N]) to its end."""
        found = torch.zeros(len(self.columns), self.width, device=starts.device)
        for row, columns, start in zip(found, self.columns, starts.tolist(), strict=True):
            row[columns[start:]] = 1 / (len(columns) - start)
        return found

    @property
    def last(self) -> Tensor:
        """[N] which of the T tokens is each text's last."""
        return torch.stack([columns[-1] for columns in self.columns])

    @abstractmethod
    def climb(self, layers: Collection[int], adapter: str | None, keep: Keep,
              lower: Any = None) -> None:
        """Hand over the [T, d] states behind each of these blocks (1: behind the first), and end
        behind the last of them, with an adapter on (or none); gradients flow.

        `lower` is what `lower` gave, where the pass is to begin there.
        """

    @abstractmethod
    def ends(self, adapter: str | None, lower: Any = None) -> Tensor:
        """[N, d] normalised last hidden states at the texts' last tokens; gradients flow."""

    @abstractmethod
    def lower(self, block: int) -> Any:
        """What the first `block` blocks make of the texts with no adapter on; no gradients."""


def lay_out(backbone: Backbone, texts: Sequence[Sequence[int]]) -> Layout:
    """Token ids, none empty, ready for a forward pass."""
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
              lower: Any = None) -> None:
        for number, states in climb(self._backbone, self._flat, adapter, max(layers), lower):
            if number in layers:
                keep(number, states)

    def ends(self, adapter: str | None, lower: Any = None) -> Tensor:
        return last_states(self._backbone, self._flat, adapter, lower)

    @torch.no_grad()
    def lower(self, block: int) -> Any:
        for found in climb(self._backbone, self._flat, None, block):
            lower = found
        return lower


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

    def climb(self, layers: Collection[int], adapter: str | None, keep: Keep,
              lower: Any = None) -> None:
        blocks = blocks_of(self._backbone.trunk)
        with (_instead(blocks, lower),
              _watched(blocks, layers, lambda layer, states: keep(layer, states.flatten(0, 1))),
              _until(blocks[max(layers) - 1])):
            self._run(adapter)

    def ends(self, adapter: str | None, lower: Any = None) -> Tensor:
        with _instead(blocks_of(self._backbone.trunk), lower):
            return self._run(adapter).flatten(0, 1)[self.last]

    @torch.no_grad()
    def lower(self, block: int) -> Any:
        kept: list[Any] = []
        blocks = blocks_of(self._backbone.trunk)
        handle = blocks[block - 1].register_forward_hook(
            lambda _module, _inputs, output: kept.append(output))
        try:
            with _until(blocks[block - 1]):
                self._run(None)
        finally:
            handle.remove()
        return block, kept[0]


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
def _instead(blocks: nn.ModuleList, lower: Any) -> Iterator[None]:
    """Passes begin behind the blocks that have been run, if any."""
    block, made = lower or (0, None)
    for module in blocks[:block]:
        # Whatever a lower block is given, it answers with what the last of them once did.
        module.forward = lambda *_, **__: made
    try:
        yield
    finally:
        for module in blocks[:block]:
            del module.forward


def upper_blocks(backbone: Backbone, block: int, last: int | None = None) -> list[str]:
    """Names (PEFT's `target_modules`) of the linear layers of the blocks from `block` (0 is the
    first) to before `last`, for an adapter that leaves the blocks below as they are.

    Raises:
        BadInput: there are none.
    """
    blocks = blocks_of(backbone.trunk)
    [prefix] = [name for name, module in backbone.trunk.named_children() if module is blocks]
    found = {f"{prefix}.{number}.{name.removesuffix('.base_layer')}"
             for number in range(block, len(blocks) if last is None else last)
             for name, module in blocks[number].named_modules()
             if isinstance(module, nn.Linear) and "lora_" not in name}
    if not found:
        raise BadInput(f"blocks: {block} to {last or len(blocks)} hold no linear layers; the "
                       f"checkpoint has {len(blocks)} blocks")
    return sorted(found)


def layer_count(backbone: Backbone) -> int:
    """How many blocks the backbone has."""
    return len(blocks_of(backbone.trunk))


def blocks_of(trunk: nn.Module) -> nn.ModuleList:
    """The decoder's blocks: the longest list among its children (`layers`, or `h` in GPT-2).

    Raises:
        BadInput: it has none.
    """
    lists = [child for child in trunk.children() if isinstance(child, nn.ModuleList)]
    if not lists:
        raise BadInput("--checkpoint: its decoder keeps no list of blocks to read features from")
    return max(lists, key=len)
