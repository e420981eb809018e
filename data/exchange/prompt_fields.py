"""The prompt of a row: which fields hold it, under the names that published sets and tools use.

The table is `PROMPTS`: the first of these that says something is the prompt. What stands beside it
and was part of the question is read too: a context, a system message, the turns before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from data.errors import BadInput
from data.exchange.messages import (
    ROLE_KEYS,
    ROLES,
    conversation,
    is_answered,
    is_transcript,
    refuse_more_than_texts,
    transcript,
)
from data.plain_json import kind_of
from data.prompts import check_messages, checked_text
from data.records import Message

PROMPTS = ("prompt", "instruction", "question", "query", "messages", "conversations",
           "conversation", "chat", "dialogue", "dialog", "history", "context", "input", "info")
#: Of these names a text is none: it would be something said about the prompt.
OBJECTS = ("context", "info")
#: Of these names a text is messages that were not written as JSON.
_NO_TEXTS = ("messages", "conversations")
#: Shown beside the prompt of these names, and part of what is answered.
_CONTEXTS: dict[str, Sequence[str]] = {"prompt": ("context",), "input": ("context",)}
ALL_CONTEXTS = ("context", "input")
SYSTEMS = ("system", "system_prompt", "system-prompt")
#: Messages as Python prints them, which is what pandas and `datasets` put into a cell of CSV.
_PRINTED = re.compile(r"\[\s*\{'(role|content|from|value)': .*\]", re.DOTALL)


def prompt_from(values: Mapping[str, Any], *, cells: bool = False) -> list[Message]:
    """The messages of a row (with `cells`, of CSV) with a field of PROMPTS, as text or messages.

    Many published sets have both the question and, in `messages`, the whole dialogue with its
    answer. Then the question is meant.

    Raises:
        BadInput: there is none, or it is of the wrong shape; the message names the field.
        Unusable: tools are called.
    """
    messages = unpacked(values, "messages", cells)
    answered = is_answered(messages) and any(
        values.get(name) for name in PROMPTS if name not in ("messages", "context"))
    if messages is not None and not answered:
        return prompt_of(values, "messages", messages)
    name = first_prompt(values, {"messages"}) or next((n for n in PROMPTS if n in values), None)
    if name is None:
        raise BadInput(f"prompt: missing; the fields are {', '.join(values) or 'none'}")
    return prompt_of(values, name, unpacked(values, name, cells))


def first_prompt(values: Mapping[str, Any], but: Collection[str] = ()) -> str | None:
    """The first field of PROMPTS (`but` these) that says something.

    None behind it is looked at: what nobody looked at is told as not read.
    """
    return next((name for name in PROMPTS if name not in but
                 and (value := from_cell(values.get(name)))
                 and not (name in OBJECTS and isinstance(value, str))), None)


def prompt_of(values: Mapping[str, Any], name: str, prompt: Any,
              contexts: Sequence[str] | None = None) -> list[Message]:
    """The field of this name as messages, with what stands beside it in the row (in the first of
    `contexts`; if left out, of those that belong to the name).

    Raises:
        BadInput: it is no prompt; the message names the field.
        Unusable: tools are called.
    """
    refuse_more_than_texts(values)
    if isinstance(prompt, dict):
        refuse_more_than_texts(prompt)
        prompt = _of_object(prompt)
    if isinstance(prompt, list):
        messages = conversation(prompt, name)
    elif prompt is None:
        raise BadInput(f"{name}: is null")
    elif not isinstance(prompt, str):
        raise BadInput(f"{name}: wanted text or messages, found {kind_of(prompt)}")
    elif name in _NO_TEXTS and not is_transcript(prompt):
        raise BadInput(f"{name}: wanted a list of messages, found a text that is none in JSON")
    elif is_transcript(prompt):
        messages = transcript(prompt, name)
        if messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
            messages.pop()  # "\n\nAssistant:" only asks for the answer
    elif not prompt.strip():
        raise BadInput(f"{name}: is empty")
    else:
        content = _with_context(values, name, checked_text(name, prompt), contexts)
        messages = [Message(role="user", content=content)]
        messages = [*_turns_before(values, name), *messages]
    return named(name, with_system(values, messages))


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


def named(field: str, messages: list[Message]) -> list[Message]:
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


def unpacked(values: Mapping[str, Any], field: str, cells: bool) -> Any:
    """A field; a CSV cell that holds messages (as our own export writes them) as those messages.

    Raises:
        BadInput: a cell holds them in another notation, which would pass for what somebody said.
    """
    value = values.get(field)
    if cells:
        refuse_printed(field, value)
    if not isinstance(value, str):
        return value
    found = from_cell(value)
    is_object = cells and isinstance(found, dict) and _is_no_text(found, field)
    return found if is_object or _holds_messages(found) else value


def refuse_printed(field: str, value: Any) -> None:
    """Refuse a cell of CSV in which Python has printed messages.

    Raises:
        BadInput: it is one.
    """
    if isinstance(value, str) and _PRINTED.fullmatch(value) and isinstance(from_cell(value), str):
        raise BadInput(f"{field}: is a list of messages as Python prints it ({value[:20]}…), which "
                       "is no JSON; save the file as JSON Lines or Parquet")


def _is_no_text(found: Mapping[str, Any], field: str) -> bool:
    """Whether an object in a cell is a message or a prompt of `_of_object`, and not a text (such as
    one that asks about JSON)."""
    return ({"role", "content"} <= found.keys() or {"from", "value"} <= found.keys()
            or isinstance(found.get("messages"), list) or isinstance(found.get("full_text"), str)
            or (field in OBJECTS and bool({"post", "article"} & found.keys())))


def _holds_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(
        isinstance(m, dict) and ("role" in m or any(
            str(m.get(key)).lower() in ROLES for key in ROLE_KEYS)) for m in value)


def _of_object(prompt: Mapping[str, Any]) -> Any:
    """A prompt that is an object: OpenAI's `{"messages": ...}`, WebGPT's question, or what
    OpenAI's summaries are of, in the words that their policies were asked with."""
    if prompt.get("post"):
        heads = [f"{head.upper()}: {prompt[head]}" for head in ("subreddit", "title")
                 if isinstance(prompt.get(head), str) and prompt[head].strip()]
        return "\n\n".join([*heads, f"POST: {prompt['post']}", "TL;DR:"])
    if prompt.get("article"):
        return f"Article: {prompt['article']}\n\nTL;DR:"
    if "role" in prompt or "from" in prompt:
        return [prompt]
    return prompt.get("messages") or prompt.get("full_text") or prompt


def _with_context(values: Mapping[str, Any], name: str, prompt: str,
                  contexts: Sequence[str] | None) -> str:
    if contexts is None:
        contexts = _CONTEXTS.get(name, ALL_CONTEXTS)
    found = next(((other, value) for other in contexts
                  if other != name and (value := values.get(other))), None)
    if found is None:
        return prompt
    other, context = found
    if not isinstance(context, str):
        raise BadInput(f"{other}: wanted text beside {name}, found {kind_of(context)}; "
                       f"write it into {name}, or take it out")
    return f"{prompt}\n\n{context}" if context.strip() else prompt


def _turns_before(values: Mapping[str, Any], name: str) -> list[Message]:
    """LLaMA-Factory's `history` beside an `instruction`: pairs of question and answer."""
    turns = from_cell(values.get("history")) if name == "instruction" else None
    if not turns:
        return []
    if not isinstance(turns, list) or not all(
            isinstance(turn, list) and len(turn) == 2 for turn in turns):
        raise BadInput("history: wanted pairs of a question and its answer")
    return conversation([{"role": role, "content": content} for turn in turns
                         for role, content in zip(("user", "assistant"), turn, strict=True)],
                        "history")


def with_system(values: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """Messages that begin with what stands in a row's field for the system message.

    Raises:
        BadInput: they begin with another one.
    """
    system = next((values[name] for name in SYSTEMS if isinstance(values.get(name), str)
                   and values[name].strip()), "")
    if not system:
        return messages
    if not messages or messages[0]["role"] != "system":
        return [Message(role="system", content=system), *messages]
    if messages[0]["content"].split() != system.split():
        raise BadInput("system: is not the system message that the messages begin with")
    return messages
