"""Features of the frozen backbone: what a linear reward model reads, computed once a response.

A feature is the hidden state after one of the backbone's blocks, pooled over the *response's* own
tokens: their mean, or the last of them; or the state in which the checkpoint would answer a
question about the response. Several (layer, pooling) kinds come out of one forward pass, which ends
at the deepest layer asked for. Nothing here learns; which kind is best is for held-out data to say
(`reward.instant.linear`). `reward.instant.response_features` keeps what was computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from backbone.flat import common_beginning
from backbone.flat_pass import runs_flat
from backbone.layouts import lay_out, layer_count
from backbone.model import Backbone
from backbone.text import UNCUT, conversation_ids, prompt_ids, turn_ids
from data.errors import BadInput
from data.records import Message
from reward.kinds import FeatureKind
from reward.passes import by_length, parts_within
from reward.states import Span, pooled_states

Array = np.ndarray[Any, Any]
#: Tokens in one forward pass: of a flat one as they are, of others padded and before beginnings
#: that texts share are put together.
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class EncodedResponse:
    """A conversation as token ids, and where its response stands."""

    ids: tuple[int, ...]
    """Of the conversation, and of the question about its response where one is asked."""
    start: int
    """Index of the response's first token."""
    end: int
    """Index after its last token; the template's tokens after the response count as its own."""

    @property
    def span(self) -> Span:
        """From where to before which of the ids the response stands."""
        return self.start, self.end


def fingerprint(backbone: Backbone) -> str:
    """What the checkpoint's weights are, in the precision they run in: a sample of each, hashed."""
    digest = hashlib.sha256(str(backbone.dtype).encode())
    for name, weight in sorted(backbone.trunk.named_parameters()):
        if "lora_" not in name:
            flat = weight.detach().flatten()
            sample = flat[:: max(1, flat.numel() // 64)][:64].float().cpu().numpy()
            digest.update(sample.tobytes())
    return digest.hexdigest()[:16]


def encode_response(backbone: Backbone, messages: Sequence[Message], text: str,
                    max_length: int, question: str = "") -> EncodedResponse:
    """A prompt with one of its responses, cut at the oldest turns where it is too long, and what
    is asked about it, if anything (`reward.kinds.question_of`)."""
    conversation = [*messages, Message(role="assistant", content=text)]
    tokenizer, pad_id = backbone.tokenizer, backbone.config_pad_id
    asked = turn_ids(tokenizer, question, pad_id) if question else ()
    longest = max(1, min(max_length, backbone.context_length) - len(asked))
    ids, turns = conversation_ids(tokenizer, conversation, longest, pad_id)
    whole = conversation_ids(tokenizer, conversation, UNCUT, pad_id)[0] if turns else ids
    prompt = prompt_ids(tokenizer, messages)
    shared = common_beginning(whole, prompt)
    # Turns are cut from the beginning, so the response has as many tokens as it had, or all.
    own = max(len(whole) - shared, 1)
    return EncodedResponse((*ids, *asked), max(len(ids) - own, 0), len(ids))


def encode_last_turns(backbone: Backbone, conversations: Sequence[Sequence[Message]],
                      max_length: int, question: str = "") -> list[EncodedResponse]:
    """Conversations, each of which ends with its response; see `encode_response`."""
    return [encode_response(backbone, conversation[:-1], conversation[-1]["content"], max_length,
                            question) for conversation in conversations]


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
        spans = [responses[i].span for i in part]
        for kind, values in pooled_states(backbone, layout, spans, kinds, None).items():
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
