"""Features of the frozen backbone: what a linear reward model reads, computed once a response.

A feature is the hidden state after one of the backbone's blocks, pooled over the *response's* own
tokens: their mean, or the last of them. Several (layer, pooling) kinds come out of one forward
pass, which ends at the deepest layer asked for. Nothing here learns; which kind is best is for
held-out data to say (`reward.linear`). `reward.feature_cache` keeps what was computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backbone.model import Backbone
from backbone.packing import SHARED, pack
from backbone.text import conversation_ids, pad, prompt_ids
from data.errors import BadInput
from data.records import Message
from reward.batches import by_length

Array = np.ndarray[Any, Any]
POOLINGS = ("mean", "last")
#: Padded tokens in one forward pass, before beginnings that texts share are put together.
BATCH_TOKENS = 4096
_UNCUT = 1 << 30


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
class EncodedResponse:
    """A conversation as token ids, and where its response begins."""

    ids: tuple[int, ...]
    start: int
    """Index of the response's first token; the template's tokens after it count as its own."""

    @property
    def key(self) -> str:
        """A hash of what is read, by which features are found again."""
        numbers = np.array([self.start, *self.ids], dtype=np.int64)
        return hashlib.sha256(numbers.tobytes()).hexdigest()[:32]


def encode_response(backbone: Backbone, messages: Sequence[Message], text: str,
                    max_length: int) -> EncodedResponse:
    """A prompt with one of its responses, cut at the oldest turns where it is too long."""
    conversation = [*messages, Message(role="assistant", content=text)]
    tokenizer, pad_id = backbone.tokenizer, backbone.config_pad_id
    longest = min(max_length, backbone.context_length)
    ids, turns = conversation_ids(tokenizer, conversation, longest, pad_id)
    whole = conversation_ids(tokenizer, conversation, _UNCUT, pad_id)[0] if turns else ids
    prompt = prompt_ids(tokenizer, messages)
    shared = sum(1 for _ in takewhile(lambda p: p[0] == p[1], zip(whole, prompt, strict=False)))
    # Turns are cut from the beginning, so the response has as many tokens as it had, or all.
    own = max(len(whole) - shared, 1)
    return EncodedResponse(tuple(ids), max(len(ids) - own, 0))


def layer_count(backbone: Backbone) -> int:
    """How many blocks the backbone has."""
    return len(_blocks(backbone.trunk))


def some_kinds(backbone: Backbone) -> list[FeatureKind]:
    """Kinds worth choosing among: both poolings at five depths from a third of the blocks on."""
    blocks = layer_count(backbone)
    layers = sorted({max(1, round(blocks * share)) for share in (1 / 3, 1 / 2, 2 / 3, 5 / 6, 1)})
    return [FeatureKind(layer, pooling) for layer in layers for pooling in POOLINGS]


@torch.no_grad()
def compute(backbone: Backbone, responses: Sequence[EncodedResponse],
            kinds: Sequence[FeatureKind],
            on_batch: Callable[[float], None] | None = None) -> dict[FeatureKind, Array]:
    """[N, d] float32 features of each kind, in the order of the responses; no adapter is on.

    `on_batch` hears the share that is done; what it raises ends the work.

    Raises:
        BadInput: the backbone has no such layer.
    """
    depth = layer_count(backbone)
    for kind in kinds:
        if kind.layer > depth:
            raise BadInput(f"layer: {kind.layer}, but the checkpoint has {depth}")
    found = {kind: np.zeros((len(responses), backbone.hidden_size), np.float32) for kind in kinds}
    done = 0
    for part in _batches(responses) if kinds else ():
        for kind, values in _forward(backbone, [responses[i] for i in part], kinds).items():
            found[kind][list(part)] = values
        done += len(part)
        if on_batch is not None:
            on_batch(done / len(responses))
    return found


class _Deepest(Exception):
    """No deeper layer is wanted: ends a forward pass early."""


def _batches(responses: Sequence[EncodedResponse]) -> list[tuple[int, ...]]:
    """Responses to one prompt together (their prompt is encoded once), and by length."""
    longest: dict[tuple[int, ...], int] = {}
    for response in responses:
        prompt = response.ids[:response.start]
        longest[prompt] = max(longest.get(prompt, 0), len(response.ids))
    order = sorted(range(len(responses)), key=lambda i: (
        responses[i].ids[:responses[i].start], len(responses[i].ids)))
    lengths = {place: longest[responses[i].ids[:responses[i].start]]
               for place, i in enumerate(order)}
    return [tuple(order[place] for place in part) for part in by_length(lengths, BATCH_TOKENS)]


def _forward(backbone: Backbone, responses: Sequence[EncodedResponse],
             kinds: Sequence[FeatureKind]) -> dict[FeatureKind, Array]:
    texts = [list(response.ids) for response in responses]
    starts = torch.tensor([response.start for response in responses], device=backbone.device)
    run: Callable[[], Tensor]
    if backbone.can_pack and len(texts) > 1:
        packed = pack(texts, backbone.pad_id, backbone.device)
        rows, last = packed.rows, packed.last
        segments, positions = packed.segments[rows], packed.positions[rows]
        mine = segments.gather(1, last[:, None])
        columns = torch.arange(segments.shape[1], device=backbone.device)
        own = (segments == mine) | (segments == SHARED)
        own &= (positions >= starts[:, None]) & (columns <= last[:, None])

        def run() -> Tensor:
            return backbone.hidden_of_packed(packed, None)
    else:
        batch = pad(texts, backbone.pad_id, backbone.device)
        rows, last = torch.arange(len(texts), device=backbone.device), batch.last
        own = (batch.mask == 1) & (batch.positions >= starts[:, None])

        def run() -> Tensor:
            return backbone.hidden(batch, None)

    share = own.float() / own.sum(1, keepdim=True)  # [N, T] each token's part of the mean
    found: dict[FeatureKind, Array] = {}

    def keep(layer: int, states: Tensor) -> None:
        # Means are taken in fp32, whatever the products around them run in.
        with torch.autocast(backbone.device.type, enabled=False):
            for kind in kinds:
                if kind.layer == layer and kind.pooling == "mean":
                    pooled = torch.einsum("nt,ntd->nd", share, states[rows].float())
                    found[kind] = pooled.cpu().numpy()
                elif kind.layer == layer:
                    found[kind] = states[rows, last].float().cpu().numpy()

    with _watched(backbone.trunk, {kind.layer for kind in kinds}, keep):
        run()
    return found


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

    blocks = _blocks(trunk)
    handles = [blocks[layer - 1].register_forward_hook(watch(layer)) for layer in sorted(layers)]
    try:
        yield
    except _Deepest:
        pass
    finally:
        for handle in handles:
            handle.remove()


def _blocks(trunk: nn.Module) -> nn.ModuleList:
    """The decoder's blocks: the longest list among its children (`layers`, or `h` in GPT-2)."""
    lists = [child for child in trunk.children() if isinstance(child, nn.ModuleList)]
    if not lists:
        raise BadInput("--checkpoint: its decoder keeps no list of blocks to read features from")
    return max(lists, key=len)
