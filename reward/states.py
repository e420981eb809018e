"""Hidden states of texts: where they are read, pooled how, and what adapters on one backbone share.

A forward pass can end behind the deepest block that is asked for, and begin behind the blocks that
no adapter changes: what those make of a batch is the same for every adapter, and computed once
(`lower_states`, `upper_run`). The blocks themselves are the checkpoint's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backbone.model import Backbone
from backbone.packing import SHARED, pack
from backbone.text import pad
from data.errors import BadInput

POOLINGS = ("mean", "last")
#: Runs a batch with an adapter on (or none): [B, T, d] last hidden states.
Run = Callable[[str | None], Tensor]


@dataclass(frozen=True, order=True)
class FeatureKind:
    """Which hidden state, and how a response's tokens become one vector."""

    layer: int
    """Blocks that the state has been through: 1 to the number of the backbone's blocks."""
    pooling: str = "mean"
    """`mean` over the response's tokens, or the `last` token of the conversation."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise BadInput(f"pooling: {self.pooling!r} is none of {', '.join(POOLINGS)}")
        if self.layer < 1:
            raise BadInput(f"layer: must be at least 1, not {self.layer}")

    def __str__(self) -> str:
        return f"layer{self.layer}.{self.pooling}"

    @classmethod
    def parse(cls, name: str) -> FeatureKind:
        """The inverse of `str`.

        Raises:
            BadInput: the text names no kind.
        """
        layer, _, pooling = name.removeprefix("layer").partition(".")
        if not layer.isdecimal():
            raise BadInput(f"features: {name!r} is not of the form layer20.mean")
        return cls(int(layer), pooling)


@dataclass(frozen=True)
class Layout:
    """N texts as the rows of one forward pass: packed where the backbone allows it, else padded."""

    run: Run
    """[B, T, d] last hidden states with an adapter on (or none)."""
    rows: Tensor
    """[N] row of each text."""
    last: Tensor
    """[N] column of each text's last token."""
    mine: Tensor
    """[N, T] whether a column of the text's row belongs to the text."""
    positions: Tensor
    """[N, T] position of each column in the text."""

    def share(self, starts: Tensor) -> Tensor:
        """[N, T] each column's part of the mean over a text from its start ([N]) to its end."""
        columns = torch.arange(self.mine.shape[1], device=starts.device)
        own = (self.mine & (self.positions >= starts[:, None])
               & (columns <= self.last[:, None])).float()
        return own / own.sum(1, keepdim=True)


def lay_out(backbone: Backbone, texts: Sequence[Sequence[int]]) -> Layout:
    """Token ids, none empty, ready for a forward pass."""
    if backbone.can_pack and len(texts) > 1:
        packed = pack(texts, backbone.pad_id, backbone.device)
        segments, rows, last = packed.segments[packed.rows], packed.rows, packed.last
        mine = (segments == segments.gather(1, last[:, None])) | (segments == SHARED)
        return Layout(lambda adapter: backbone.hidden_of_packed(packed, adapter), rows, last,
                      mine, packed.positions[rows])
    batch = pad(texts, backbone.pad_id, backbone.device)
    return Layout(lambda adapter: backbone.hidden(batch, adapter),
                  torch.arange(len(texts), device=backbone.device), batch.last, batch.mask == 1,
                  batch.positions)


def pooled_states(backbone: Backbone, layout: Layout, starts: Tensor,
                  kinds: Sequence[FeatureKind], adapter: str | None,
                  run: Run | None = None) -> dict[FeatureKind, Tensor]:
    """[N, d] fp32 of each kind, with an adapter on (or none); gradients flow.

    `run` stands in for the layout's own pass, where the lower blocks' states are known.
    """
    share = layout.share(starts)
    found: dict[FeatureKind, Tensor] = {}

    def keep(layer: int, states: Tensor) -> None:
        # Means are taken in fp32, whatever the products around them run in.
        with torch.autocast(backbone.device.type, enabled=False):
            for kind in kinds:
                if kind.layer == layer and kind.pooling == "mean":
                    found[kind] = torch.einsum("nt,ntd->nd", share, states[layout.rows].float())
                elif kind.layer == layer:
                    found[kind] = states[layout.rows, layout.last].float()

    with _watched(backbone.trunk, {kind.layer for kind in kinds}, keep):
        (run or layout.run)(adapter)
    return found


@torch.no_grad()
def token_parts(backbone: Backbone, layout: Layout, starts: Tensor,
                slopes: Mapping[FeatureKind, Tensor], adapter: str | None) -> list[Tensor]:
    """Of each text, what each of its tokens from its start ([N]) on brings to Σ slope · feature.

    A mean is a sum over tokens; a last token brings its kind's part alone. Slopes are [d].
    """
    share = layout.share(starts)
    brought = torch.zeros_like(share)
    texts = torch.arange(len(share), device=share.device)

    def keep(layer: int, states: Tensor) -> None:
        with torch.autocast(backbone.device.type, enabled=False):
            for kind, slope in slopes.items():
                if kind.layer == layer:
                    worth = (states.float() @ slope)[layout.rows]
                    if kind.pooling == "mean":
                        brought.add_(share * worth)
                    else:
                        brought[texts, layout.last] += worth[texts, layout.last]

    with _watched(backbone.trunk, {kind.layer for kind in slopes}, keep):
        layout.run(adapter)
    own = [row.nonzero()[:, 0] for row in share]
    return [brought[n, columns[layout.positions[n, columns].argsort()]]
            for n, columns in enumerate(own)]


@torch.no_grad()
def lower_states(backbone: Backbone, layout: Layout, block: int) -> Any:
    """What the first `block` blocks make of a batch with no adapter on, as they hand it on."""
    kept: list[Any] = []

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        kept.append(output)
        raise _Deepest

    handle = blocks_of(backbone.trunk)[block - 1].register_forward_hook(hook)
    try:
        layout.run(None)
    except _Deepest:
        pass
    finally:
        handle.remove()
    return kept[0]


def upper_run(backbone: Backbone, layout: Layout, block: int, lower: Any) -> Run:
    """The layout's pass, begun behind the first `block` blocks with what they made of it."""
    def run(adapter: str | None) -> Tensor:
        lower_blocks = blocks_of(backbone.trunk)[:block]
        for module in lower_blocks:
            # Whatever a lower block is given, it answers with what the last of them once did.
            module.forward = lambda *_, **__: lower
        try:
            return layout.run(adapter)
        finally:
            for module in lower_blocks:
                del module.forward

    return run


def upper_blocks(backbone: Backbone, block: int, last: int | None = None) -> list[str]:
    """Names (PEFT's `target_modules`) of the linear layers of the blocks from `block` (0 is the
    first) to before `last`, for an adapter that leaves the blocks below as they are."""
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


class _Deepest(Exception):
    """No deeper layer is wanted: ends a forward pass early."""


@contextmanager
def _watched(trunk: nn.Module, layers: set[int],
             keep: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Hand over each wanted layer's states as they come, and stop behind the last of them."""
    deepest = max(layers)

    def watch(layer: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            keep(layer, output if isinstance(output, Tensor) else output[0])
            if layer == deepest:
                raise _Deepest

        return hook

    blocks = blocks_of(trunk)
    handles = [blocks[layer - 1].register_forward_hook(watch(layer)) for layer in sorted(layers)]
    try:
        yield
    except _Deepest:
        pass
    finally:
        for handle in handles:
            handle.remove()


def layer_count(backbone: Backbone) -> int:
    """How many blocks the backbone has."""
    return len(blocks_of(backbone.trunk))


def blocks_of(trunk: nn.Module) -> nn.ModuleList:
    """The decoder's blocks: the longest list among its children (`layers`, or `h` in GPT-2)."""
    lists = [child for child in trunk.children() if isinstance(child, nn.ModuleList)]
    if not lists:
        raise BadInput("--checkpoint: its decoder keeps no list of blocks to read features from")
    return max(lists, key=len)
