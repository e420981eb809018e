"""Messages in the shapes that files hold them in, as ours: role and content, both texts.

Read are a `role` (or `from`, `author`) beside a `content` (or `value`, `text`), contents in parts
of text, a single message in the place of a list, pairs of role and text, and Anthropic HH's
transcripts. What a message says besides is not read. Images are refused; a dialogue with tools
(calls, results, or tools that it offers) is more than texts, and `Unusable`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from data.errors import BadInput
from data.plain_json import kind_of
from data.records import Message

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user",
         "prompter": "user", "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant",
         "bot": "assistant", "model": "assistant", "ai": "assistant"}
#: Where a message says whose it is.
ROLE_KEYS = ("role", "from", "author", "name", "speaker")
_CONTENT_KEYS = ("content", "value", "text")
#: Types of a part that hold a text.
_TEXTS = ("text", "input_text", "output_text")
_TOOL_ROLES = {"tool", "function", "ipython", "function_call", "function-call", "function_response",
               "observation", "tool_call", "tool_response"}
_TOOLS = "a dialogue with tools"
#: Why dialogues of which only the last answers were compared are no comparison of these.
DIFFER = "the dialogues differ before their last answer"
_TURN = re.compile(r"\n\n(Human|Assistant):")
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}


class Unusable(Exception):
    """A well-formed row that says nothing to learn from; the message is the reason."""


class Lacking(Unusable):
    """A row without what other rows of its file have, as of a column that holds nothing there.

    Where no row has it, the file is not what it was taken for, and `error` says what is wrong.
    """

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(reason)
        self.error = error


def conversation(value: Any, field: str) -> list[Message]:
    """The messages of a field. Contents may be empty: whoever needs a text looks for one.

    Raises:
        BadInput: an entry is no message, or its role says neither user nor assistant nor system;
            or a content has a part that is no text.
        Unusable: a tool is called, or answers.
    """
    if isinstance(value, dict):
        value = [value]
    messages = [_message(entry, f"{field}[{number}]") for number, entry in enumerate(value, 1)]
    if not messages:
        raise BadInput(f"{field}: wanted messages, found none")
    return messages


def refuse_more_than_texts(values: Mapping[str, Any]) -> None:
    """Tools (as objects or in JSON) and images that a row has beside its texts: what was said rests
    on them, and nobody would see them here.

    Raises:
        BadInput: it has images.
        Unusable: it offers tools.
    """
    if isinstance(values.get("images"), list) and values["images"]:
        raise BadInput("images: only texts are taken; leave out the rows with images")
    tools = values.get("tools")
    listed = isinstance(tools, list) and any(isinstance(tool, dict) for tool in tools)
    if listed or (isinstance(tools, str) and tools.replace(" ", "").startswith("[{")):
        raise Unusable(_TOOLS)


def is_answered(messages: Any) -> bool:
    """Whether a list of messages, in whatever shape, ends with the assistant's."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    # A copy, since whose it is says nothing of whether it is read.
    return isinstance(last, dict) and ROLES.get(str(_role(dict(last))).lower()) == "assistant"


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
        role, content = _SPEAKERS[speaker], content.strip()
        if messages and messages[-1]["role"] == role:
            both = f"{messages[-1]['content']}\n\n{content}".strip()
            messages[-1] = Message(role=role, content=both)
        else:
            messages.append(Message(role=role, content=content))
    return messages


def is_transcript(text: str) -> bool:
    """Whether a text is one of Anthropic HH's."""
    return text.lstrip().startswith("Human:") and (
        text.startswith("\n\n") or "\n\nAssistant:" in text)


def _message(entry: Any, where: str) -> Message:
    if isinstance(entry, list) and len(entry) == 2 and str(entry[0]) in ROLES:
        entry = {"role": entry[0], "content": entry[1]}
    if not isinstance(entry, dict):
        raise BadInput(f"{where}: wanted an object with role and content, "
                       f"found {kind_of(entry)}")
    role = _role(entry)
    content = next((entry[key] for key in _CONTENT_KEYS if entry.get(key) is not None), None)
    if str(role).lower() in _TOOL_ROLES or _says(entry.get("tool_calls")) or _says(
            entry.get("function_call")):
        raise Unusable(_TOOLS)
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise BadInput(f"{where}.role: {role!r} is no role; wanted one of {', '.join(ROLES)}")
    if isinstance(content, list):
        content = "\n".join(_part(part, f"{where}.content[{number}]")
                            for number, part in enumerate(content, 1))
    if not isinstance(content, str):
        raise BadInput(f"{where}.content: wanted text, found {kind_of(content)}")
    return Message(role=ROLES[role.lower()], content=content)


def _part(part: Any, where: str) -> str:
    """One part of a content: `{"type": "text", "text": ...}` or a bare text."""
    kind = kind_of(part)
    if isinstance(part, dict):
        kind = part.get("type") or "text"
        part = part.get("text") if kind in _TEXTS else None
    if not isinstance(part, str):
        raise BadInput(f"{where}: is of type {kind}, and only texts are taken; leave out the rows "
                       "with images, sounds and files")
    return part


def _says(value: Any) -> bool:
    """Whether anything stands there: tables write what is missing as an object of nulls."""
    if isinstance(value, dict):
        return any(one is not None for one in value.values())
    return bool(value)


def _role(message: Mapping[str, Any]) -> Any:
    return next((message[key] for key in ROLE_KEYS if message.get(key) is not None), None)
