"""Which prompts can be asked of a checkpoint: those that its chat template takes and its context
leaves room for. One that cannot be is left out, and keeps no other from being asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backbone.model import Backbone
from backbone.text import prompt_ids
from data.errors import BadInput
from data.records import Prompt


@dataclass
class Fitting:
    """Prompts by their ids, told apart."""

    tokens: dict[int, list[int]] = field(default_factory=dict)
    """Of each that can be asked, its token ids."""
    too_long: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """By the chat template."""
    why_refused: str = ""
    """What it said of the first."""


def those_that_fit(backbone: Backbone, prompts: Sequence[Prompt], room: int) -> Fitting:
    """Tell prompts apart by whether they leave `room` tokens for a response.

    Raises:
        BadInput: there are prompts, and none can be asked.
    """
    found = Fitting()
    for prompt in prompts:
        try:
            ids = prompt_ids(backbone.tokenizer, prompt.messages)
        except BadInput as error:
            found.refused.append(prompt.id)
            found.why_refused = found.why_refused or str(error)
            continue
        if len(ids) + room <= backbone.context_length:
            found.tokens[prompt.id] = ids
        else:
            found.too_long.append(prompt.id)
    if prompts and not found.tokens:
        if not found.too_long:
            raise BadInput(f"all {len(prompts)} prompts are refused: {found.why_refused}")
        refused = (f"; {len(found.refused)} are refused: {found.why_refused}" if found.refused
                   else "")
        raise BadInput(f"--max-new-tokens: none of the {len(prompts)} prompts leaves room for "
                       f"{room} tokens in the checkpoint's context of {backbone.context_length}"
                       f"{refused}")
    return found
