"""Conversations to token ids, and token ids to padded batches.

Prompts are padded on the left (for generation), whole conversations on either side; everything
downstream reads the attention mask and never looks for the pad token, which on many models
(the embedded one too) is also the end-of-sequence token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from backbone.flat import common_beginning
from data.errors import BadInput
from data.records import Message

#: A length in tokens that no conversation reaches.
UNCUT = 1 << 30
#: What day it is for a chat template that writes the date: always the one that Llama's own falls
#: back on, since a prompt, its score and a resumed run must not change at midnight.
TODAY = datetime(2024, 7, 26)
#: Stands before every template: transformers' own `strftime_now` reads the clock.
_FIXED_DATE = "{% macro strftime_now(format) %}{{ format" + "".join(
    f" | replace({code!r}, {TODAY.strftime(code)!r})" for code in (
        "%-d", "%-m", "%-I", "%-H", *(f"%{letter}" for letter in "aAbBcdeFHIjmMpSTxXyYZz"))
) + " }}{% endmacro %}\n"


@dataclass(frozen=True)
class Batch:
    """Padded token ids with their mask; position ids follow from the mask."""

    ids: Tensor
    """[B, T] token ids; what stands at padded places does not matter."""
    mask: Tensor
    """[B, T] 1 at real tokens, 0 at padding."""
    left: bool = False
    """Whether the padding stands on the left. On the right it needs no attention mask at all:
    under causal attention no real token sees what comes after it."""

    @property
    def positions(self) -> Tensor:
        """[B, T] position of each token in its own text, wherever the padding is."""
        return (self.mask.cumsum(-1) - 1).clamp_min(0)

    @property
    def last(self) -> Tensor:
        """[B] index of each row's last real token."""
        width = self.mask.shape[1]
        return width - 1 - self.mask.flip(1).argmax(1)


def pad(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device,
        left: bool = False) -> Batch:
    """Pad token id lists to a batch, on the right or on the left."""
    width = max(len(s) for s in sequences)
    ids = torch.full((len(sequences), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        span = slice(width - len(sequence), width) if left else slice(0, len(sequence))
        ids[row, span] = torch.tensor(sequence, dtype=torch.long)
        mask[row, span] = 1
    return Batch(ids.to(device), mask.to(device), left)


def prompt_ids(tokenizer: Any, messages: Sequence[Message],
               longest: int | None = None) -> list[int]:
    """Token ids of a prompt through the chat template, ready for the assistant's turn.

    Raises:
        BadInput: the prompt is longer than `longest` tokens, or the template refuses it.
    """
    ids = _template(tokenizer, messages, add_generation_prompt=True)
    if longest is not None and len(ids) > longest:
        raise BadInput(f"prompt {messages[-1]['content'][:60]!r}: {len(ids):,} tokens, and the "
                       f"checkpoint's context leaves room for {longest:,}")
    return ids


def conversation_ids(tokenizer: Any, messages: Sequence[Message], longest: int,
                     pad_id: int | None) -> tuple[list[int], int]:
    """Token ids of a whole conversation, and how many turns were cut to make it fit.

    The oldest turns go first (a system message stays); a last turn that is too long by itself
    loses its beginning. Trailing tokens equal to `pad_id` (the pad token of the *checkpoint*) are
    left off, so that a score read at the last token is read where transformers' own sequence
    classifiers read it.
    """
    kept, cut = list(messages), 0
    first = 1 if kept[0]["role"] == "system" else 0
    ids = _template(tokenizer, kept)
    while len(ids) > longest and len(kept) > first + 2:
        # Templates want a conversation to begin with the user: an answer goes with its question.
        turns = 2 if kept[first + 1]["role"] == "assistant" and len(kept) > first + 3 else 1
        del kept[first:first + turns]
        cut += turns
        ids = _template(tokenizer, kept)
    if len(ids) > longest:
        ids, cut = ids[-longest:], cut + 1
    while len(ids) > 1 and ids[-1] == pad_id:
        ids.pop()
    return ids, cut


@lru_cache(maxsize=8)
def turn_ids(tokenizer: Any, text: str, pad_id: int | None) -> tuple[int, ...]:
    """Token ids that one more turn of the user adds to the `conversation_ids` of a conversation
    that ends with an answer, up to where the assistant would answer again."""
    answered = [Message(role="user", content="Hello"), Message(role="assistant", content="Hello")]
    before, _ = conversation_ids(tokenizer, answered, UNCUT, pad_id)
    whole = prompt_ids(tokenizer, [*answered, Message(role="user", content=text)])
    return tuple(whole[common_beginning(before, whole):])


def _template(tokenizer: Any, messages: Sequence[Message],
              add_generation_prompt: bool = False) -> list[int]:
    try:
        text = tokenizer.apply_chat_template(
            list(messages), chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            tokenize=False, add_generation_prompt=add_generation_prompt)
    except Exception as error:  # jinja raises what the template's author chose
        raise BadInput(f"the checkpoint's chat template refuses the conversation "
                       f"{messages[-1]['content'][:60]!r}: {error}") from error
    # The template has written the special tokens already.
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
