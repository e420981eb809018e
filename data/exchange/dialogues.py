"""The shapes in which files hold prompts and preferences, turned into messages.

Pure functions over one row's fields; anything wrong is a BadInput that names the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from data.errors import BadInput
from data.prompts import check_messages, checked_text, fingerprint, without_nul
from data.records import Message

_TURN = re.compile(r"\n\n(Human|Assistant):")
#: Messages as Python prints them, which is what pandas and `datasets` put into a cell of CSV.
_PRINTED = re.compile(r"\[\s*\{'(role|content)': .*\]", re.DOTALL)
#: Why a row that we exported with `set_aside` does not count elsewhere either.
SET_ASIDE = "an answer that was set aside"
_ROLES = {"Human": "user", "Assistant": "assistant"}
#: Most files say which answer is better, and not by how much.
STRENGTH = 3


@dataclass(frozen=True)
class Pair:
    """A prompt with the answer that was preferred and the one that was not."""

    messages: list[Message]
    chosen: str
    rejected: str
    strength: int = STRENGTH


class Unusable(Exception):
    """A well-formed row that says nothing to learn from; the message is the reason."""


def prompt_from(values: Mapping[str, Any], *, cells: bool = False) -> list[Message]:
    """The messages of a row (with `cells`, of CSV) with `messages`, or with `prompt` as text or
    messages.

    Many published sets have both: the question, and the whole dialogue with its answer. Then
    `prompt` is meant.
    """
    messages = _unpacked(values, "messages", cells)
    if messages is not None and not (values.get("prompt") and _is_answered(messages)):
        return check_messages(messages)
    if values.get("prompt") is None:
        raise BadInput("prompt: is null" if "prompt" in values else
                       f"prompt: missing; the fields are {', '.join(values) or 'none'}")
    prompt = _unpacked(values, "prompt", cells)
    if isinstance(prompt, list):
        return _named("prompt", prompt)
    if not isinstance(prompt, str):
        raise BadInput(f"prompt: wanted text or messages, found {type(prompt).__name__}")
    if _is_transcript(prompt):
        turns = transcript(prompt, "prompt")
        if turns[-1]["role"] == "assistant" and not turns[-1]["content"]:
            turns.pop()  # "\n\nAssistant:" only asks for the answer
        return _named("prompt", turns)
    if not prompt.strip():
        raise BadInput("prompt: is empty")
    return _named("prompt", [{"role": "user", "content": checked_text("prompt", prompt)}])


def is_set_aside(values: Mapping[str, Any]) -> bool:
    """Whether a row of ours is of a labeler whose answers were set aside, as JSON or a CSV cell."""
    return str(values.get("set_aside")) in ("True", "true")


def tags_from(values: Mapping[str, Any]) -> list[str]:
    """A row's tags: a list of texts (as JSON too), or one text with commas between them."""
    tags = from_cell(values.get("tags"))
    if tags is None:
        return []
    if isinstance(tags, str):
        tags = [tag.strip(' "[]') for tag in tags.split(",")]
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadInput("tags: wanted a list of texts")
    return [checked_text("tags", tag) for tag in tags if tag]


def pair_from(values: Mapping[str, Any], *, cells: bool = False) -> Pair:
    """The preference of a row (with `cells`, of CSV), in any of the forms that
    `data.exchange.importing` describes.

    Raises:
        BadInput: a field is missing or of the wrong shape, or `strength` is there and none of ours.
        Unusable: the answers are the same, one is empty, or their prompts differ; or it was set
            aside where we exported it.
    """
    if is_set_aside(values):
        raise Unusable(SET_ASIDE)
    chosen, rejected = (_unpacked(values, name, cells) for name in ("chosen", "rejected"))
    for name, value in (("chosen", chosen), ("rejected", rejected)):
        if value is None:
            raise BadInput(f"{name}: is null" if name in values else
                           f"{name}: missing; the fields are {', '.join(values)}")
    if isinstance(chosen, str) and isinstance(rejected, str) and values.get("prompt") is None:
        if _is_transcript(chosen) and _is_transcript(rejected):
            chosen, rejected = transcript(chosen, "chosen"), transcript(rejected, "rejected")
        elif values.get("messages") is None:
            raise BadInput("prompt: missing, and chosen and rejected are no transcripts that "
                           "begin with 'Human:'")
    if isinstance(chosen, list) and isinstance(rejected, list):
        pair = _of_messages(values, _turns("chosen", chosen), _turns("rejected", rejected), cells)
    elif isinstance(chosen, str) and isinstance(rejected, str):
        pair = Pair(prompt_from(values, cells=cells), chosen, rejected)
    else:
        raise BadInput("chosen, rejected: wanted two texts or two lists of messages, found "
                       f"{type(chosen).__name__} and {type(rejected).__name__}")
    return replace(_usable(pair), strength=_strength_from(values))


def _strength_from(values: Mapping[str, Any]) -> int:
    """By how much, where the row says it as our own exports do."""
    said = values.get("strength")
    if said in (None, ""):
        return STRENGTH
    found = str(said).removesuffix(".0")
    if found not in ("1", "2", "3", "4"):
        raise BadInput(f"strength: {said!r} is none of 1 (negligibly better) to 4 (significantly "
                       "better); take the field out to import the pair as \"better\"")
    return int(found)


def transcript(text: str, field: str) -> list[Message]:
    """Anthropic HH's "\\n\\nHuman: ...\\n\\nAssistant: ..." as messages.

    Turns in a row by one side are joined: a few of the set's transcripts have them, and chat
    templates want the roles to alternate.
    """
    parts = _TURN.split("\n\n" + text.strip())
    if parts[0].strip():
        raise BadInput(f"{field}: a transcript must begin with 'Human:' or 'Assistant:'")
    messages: list[Message] = []
    for speaker, content in zip(parts[1::2], parts[2::2], strict=True):
        role, content = _ROLES[speaker], content.strip()
        if messages and messages[-1]["role"] == role:
            both = f"{messages[-1]['content']}\n\n{content}".strip()
            messages[-1] = Message(role=role, content=both)
        else:
            messages.append(Message(role=role, content=content))
    return messages


def _of_messages(values: Mapping[str, Any], chosen: list[Message],
                 rejected: list[Message], cells: bool) -> Pair:
    """Answers alone after an explicit prompt, or whole dialogues that share their prompt."""
    for name, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1]["role"] != "assistant":
            raise BadInput(f"{name}: the last message must be the assistant's")
    if len(chosen) == len(rejected) == 1:
        return Pair(prompt_from(values, cells=cells), chosen[0]["content"],
                    rejected[0]["content"])
    if chosen[:-1] != rejected[:-1]:
        raise Unusable("the dialogues differ before their last answer")
    shared = _named("chosen", chosen[:-1])
    explicit = shared if values.get("prompt") is None else prompt_from(values, cells=cells)
    # A prompt beside whole dialogues may leave out the system message, never the question.
    if fingerprint(explicit[-1:]) != fingerprint(shared[-1:]):
        raise BadInput("prompt: is not how chosen and rejected begin")
    return Pair(shared, chosen[-1]["content"], rejected[-1]["content"])


def _usable(pair: Pair) -> Pair:
    texts = [checked_text(name, without_nul(text).strip()) for name, text in
             (("chosen", pair.chosen), ("rejected", pair.rejected))]
    if not all(texts):
        raise Unusable("an answer is empty")
    if texts[0] == texts[1]:
        raise Unusable("chosen and rejected are the same")
    return replace(pair, chosen=texts[0], rejected=texts[1])


def _is_transcript(text: str) -> bool:
    return text.lstrip().startswith("Human:") and (
        text.startswith("\n\n") or "\n\nAssistant:" in text)


def _is_answered(messages: Any) -> bool:
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and last.get("role") == "assistant"


def _turns(field: str, messages: list[Any]) -> list[Message]:
    """Messages whose contents may be empty: what a model answered is judged by `_usable`."""
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise BadInput(f"{field}[{number}]: wanted an object with role and content")
        if not isinstance(message["role"], str) or not isinstance(message["content"], str):
            raise BadInput(f"{field}[{number}]: role and content must be text")
    if not messages:
        raise BadInput(f"{field}: wanted messages, found none")
    return [Message(role=m["role"], content=m["content"]) for m in messages]


def _named(field: str, messages: Any) -> list[Message]:
    """Checked messages; errors speak of the field they came from."""
    try:
        return check_messages(messages)
    except BadInput as error:
        raise BadInput(str(error).replace("messages", field, 1)) from None


def from_cell(value: Any) -> Any:
    """A CSV cell that holds a JSON list or object as that value; anything else as it is."""
    if isinstance(value, str) and (value[:1], value[-1:]) in (("[", "]"), ("{", "}")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _unpacked(values: Mapping[str, Any], field: str, cells: bool) -> Any:
    """A field; a CSV cell that holds messages (as our own export writes them) as those messages.

    Raises:
        BadInput: a cell holds them in another notation, which would pass for what somebody said.
    """
    value = values.get(field)
    found = from_cell(value)
    if cells and isinstance(found, str) and _PRINTED.fullmatch(found):
        raise BadInput(f"{field}: is a list of messages as Python prints it ({found[:20]}…), which "
                       "is no JSON; save the file as JSON Lines or Parquet")
    if isinstance(found, list) and found and all(
            isinstance(m, dict) and "role" in m for m in found):
        return found
    return value
