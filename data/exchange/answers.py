"""A row with one response to a prompt: what is scored, and what graded rows are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.errors import BadInput
from data.exchange.messages import conversation, is_answered
from data.exchange.own_comparisons import unguarded
from data.exchange.prompt_fields import PROMPTS, first_prompt, prompt_from, prompt_of, unpacked
from data.plain_json import kind_of
from data.records import Message

RESPONSES = ("response", "completion", "answer", "output", "generation")
#: What tells a row of `prefloop export --what responses`, whose `text` is the response.
_OURS = {"text", "response_id", "finish_reason"}
_DIALOGUES = ("messages", "conversations", "conversation", "prompt")


def has_answer(values: Mapping[str, Any]) -> bool:
    """Whether a row has a response, or a dialogue that ends with one."""
    return any(values.get(name) is not None for name in RESPONSES) or any(
        is_answered(values.get(name)) for name in _DIALOGUES)


def answer_from(values: Mapping[str, Any], *, cells: bool = False) -> tuple[list[Message], str]:
    """The prompt and the response of a row (with `cells`, of CSV).

    Raises:
        BadInput: there is no response or no prompt; the message names the field.
        Unusable: tools are called.
    """
    name = next((name for name in RESPONSES if values.get(name) is not None), None)
    if name is None and values.keys() >= _OURS and isinstance(text := values["text"], str):
        return prompt_from(values, cells=cells), unguarded(text) if cells else text
    if name is None:
        return _of_dialogue(values, cells)
    response = unpacked(values, name, cells)
    if isinstance(response, dict | list):
        *before, last = conversation(response, name)
        if last["role"] != "assistant":
            raise BadInput(f"{name}: the last message must be the assistant's")
        if before and not any(values.get(field) for field in PROMPTS):
            return prompt_of({**values, name: None}, name, before), last["content"]
        response = last["content"]
    if not isinstance(response, str):
        raise BadInput(f"{name}: wanted text or messages, found {kind_of(response)}")
    return prompt_from(values, cells=cells), response


def prompt_alone(values: Mapping[str, Any], *, cells: bool = False) -> tuple[list[Message], bool]:
    """The prompt of a row (with `cells`, of CSV), and whether an answer that ends it was left out.

    Raises:
        BadInput: there is none, or it is of the wrong shape; the message names the field.
        Unusable: tools are called.
    """
    name = first_prompt(values) or ""
    messages = unpacked(values, name, cells)
    if is_answered(messages) and len(messages) > 1:
        return prompt_of(values, name, messages[:-1]), True
    return prompt_from(values, cells=cells), False


def _of_dialogue(values: Mapping[str, Any], cells: bool) -> tuple[list[Message], str]:
    for name in _DIALOGUES:
        messages = unpacked(values, name, cells)
        if is_answered(messages) and len(messages) > 1:
            *before, last = conversation(messages, name)
            return prompt_of(values, name, before), last["content"]
    raise BadInput("wanted a text `response` beside `prompt`, or `messages` that end with the "
                   "assistant's")
