"""Features of the frozen backbone: what a linear reward model reads, computed once a response.

A feature is the hidden state after one of the backbone's blocks, pooled over the *response's* own
tokens: their mean, or the last of them. Several (layer, pooling) kinds come out of one forward
pass, which ends at the deepest layer asked for. Nothing here learns; which kind is best is for
held-out data to say (`reward.instant.linear`). `reward.instant.feature_cache` keeps what was
computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch

from backbone.flat_pass import runs_flat
from backbone.layouts import lay_out, layer_count
from backbone.model import Backbone
from backbone.text import conversation_ids, prompt_ids
from data.errors import BadInput
from data.records import Message
from reward.passes import by_length, parts_within
from reward.states import POOLINGS, pooled_states
from reward.states import FeatureKind as FeatureKind

Array = np.ndarray[Any, Any]
#: Tokens in one forward pass: of a flat one as they are, of others padded and before beginnings
#: that texts share are put together.
BATCH_TOKENS = 4096
_UNCUT = 1 << 30


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
    for part in batches(backbone, responses) if kinds else ():
        layout = lay_out(backbone, [responses[i].ids for i in part])
        starts = torch.tensor([responses[i].start for i in part], device=backbone.device)
        for kind, values in pooled_states(backbone, layout, starts, kinds, None).items():
            found[kind][list(part)] = values.cpu().numpy()
        done += len(part)
        if on_batch is not None:
            on_batch(done / len(responses))
    return found


def by_prompt(responses: Sequence[EncodedResponse]) -> list[int]:
    """Their places in an order in which those to one prompt stand together, shorter ones first."""
    return sorted(range(len(responses)), key=lambda i: (
        responses[i].ids[:responses[i].start], len(responses[i].ids)))


def batches(backbone: Backbone, responses: Sequence[EncodedResponse]) -> list[tuple[int, ...]]:
    """Responses to one prompt together (their prompt is encoded once), and by length."""
    if runs_flat(backbone):
        return parts_within({i: r.ids for i, r in enumerate(responses)}, BATCH_TOKENS, True)
    longest: dict[tuple[int, ...], int] = {}
    for response in responses:
        prompt = response.ids[:response.start]
        longest[prompt] = max(longest.get(prompt, 0), len(response.ids))
    order = by_prompt(responses)
    lengths = {place: longest[responses[i].ids[:responses[i].start]]
               for place, i in enumerate(order)}
    return [tuple(order[place] for place in part) for part in by_length(lengths, BATCH_TOKENS)]
