"""Which fields of another tool's record hold the prompt and which the responses.

Annotation tools let each project name its fields, and their exports do not say what is what. The
names that the tools' own templates use are known here; other names are told with `Fields`. Never
guessed where two readings are possible: then the error lists the fields.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.errors import BadInput
from data.exchange.dialogues import from_cell
from data.prompts import check_messages
from data.records import Message

_PROMPTS = ("prompt", "instruction", "question", "query", "messages", "conversation", "chat",
            "dialogue", "dialog", "history", "input")
#: Shown beside the prompt, and part of what is answered.
_CONTEXTS = ("context", "input")
_SYSTEMS = ("system", "system_prompt", "system-prompt")
_RESPONSES = ("response", "answer", "completion", "output", "generation", "reply", "candidate",
              "option", "summary", "text", "assistant")
_LISTS = ("responses", "answers", "completions", "outputs", "generations", "replies", "candidates",
          "options", "items", "results", "documents")
#: "response-0", "answer1", "response_a", "generations-1", "left".
_NUMBERED = re.compile(r"^(?:(?P<stem>.*?[^\W\d_])[ _.-]?(?P<number>\d{1,2})"
                       r"|(?P<noun>.+?)[ _.-](?P<letter>[a-zA-Z])|(?P<camel>[a-z]+)(?P<upper>[A-Z])"
                       r"|(?:(?P<before>.+?)[ _.-])?(?P<side>left|right|first|second))$")
_SIDES = {"left": 0, "first": 0, "right": 1, "second": 1}
_ROLES = {"system": "system", "user": "user", "human": "user", "prompter": "user",
          "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant",
          "ai": "assistant"}
#: Where a message says whose it is.
_ROLE_KEYS = ("role", "from", "author", "name", "speaker")


@dataclass(frozen=True)
class Fields:
    """Names of the fields, where the project did not use names that are known."""

    prompt: str = ""
    responses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What a record asked: a prompt, and responses by the names that answers give them."""

    messages: list[Message]
    responses: dict[str, str]

    def position(self, name: object) -> int | None:
        """The place of the response of this name."""
        names = list(self.responses)
        return names.index(name) if isinstance(name, str) and name in names else None


def asked(data: Mapping[str, Any], fields: Fields) -> Asked:
    """The prompt and the responses of a record's data.

    Raises:
        BadInput: they cannot be told from the names, or are of the wrong shape.
    """
    values = {str(name): _unpacked(value) for name, value in data.items() if value is not None}
    names, responses = _responses(values, fields)
    texts, shared = {}, None
    for name, value in responses.items():
        if isinstance(value, list):
            *before, last = conversation(value, name)
            if last["role"] != "assistant":
                raise BadInput(f"{name}: the last message must be the assistant's")
            value, shared = last["content"], before or shared
        if not isinstance(value, str):
            raise BadInput(f"{name}: wanted text or messages, found {type(value).__name__}")
        texts[name] = value
    return Asked(_prompt({k: v for k, v in values.items() if k not in names}, fields, shared),
                 texts)


def conversation(value: list[Any], field: str) -> list[Message]:
    """Messages in any tool's shape: role or from or author; content or value or text.

    Raises:
        BadInput: an entry is none, or its role says neither user nor assistant nor system.
    """
    messages = []
    for number, entry in enumerate(value, 1):
        where = f"{field}[{number}]"
        if not isinstance(entry, dict):
            raise BadInput(f"{where}: wanted a message, found {type(entry).__name__}")
        role, content = (next((entry[key] for key in keys if entry.get(key) is not None), None)
                         for keys in (_ROLE_KEYS, ("content", "value", "text")))
        if not isinstance(role, str) or role.lower() not in _ROLES:
            raise BadInput(f"{where}: {role!r} is no role; wanted one of {', '.join(_ROLES)}")
        if not isinstance(content, str):
            raise BadInput(f"{where}: wanted a text as content, found {type(content).__name__}")
        messages.append(Message(role=_ROLES[role.lower()], content=content))
    if not messages:
        raise BadInput(f"{field}: wanted messages, found none")
    return messages


def as_number(value: Any) -> float | None:
    """A finite number as a float; None for anything else, also for true and false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _responses(values: Mapping[str, Any], fields: Fields) -> tuple[set[str], dict[str, Any]]:
    """The fields that hold the responses, and the responses by name."""
    if fields.responses:
        missing = [name for name in fields.responses if name not in values]
        if missing:
            raise BadInput(f"{missing[0]}: missing; the fields are {', '.join(values)}")
        if len(fields.responses) == 1:
            return set(fields.responses), _of_list(fields.responses[0],
                                                   values[fields.responses[0]])
        return set(fields.responses), {name: values[name] for name in fields.responses}
    groups: dict[str, dict[str, tuple[int, Any]]] = {}
    for name, value in values.items():
        stem, place = numbered(name)
        if place is not None and isinstance(value, str | list):
            groups.setdefault(stem, {})[name] = (place, value)
    groups = {stem: members for stem, members in groups.items() if len(members) > 1}
    known = [stem for stem in groups if _stem(stem) in _RESPONSES or not stem] or list(groups)
    lists = [name for name in _LISTS if isinstance(found := from_cell(values.get(name)), list)
             and not _is_chat(found)]
    if len(known) == 1:
        members = groups[known[0]]
        ordered = sorted(members, key=lambda name: members[name][0])
        return set(members), {name: members[name][1] for name in ordered}
    if not known and len(lists) == 1:
        return {lists[0]}, _of_list(lists[0], values[lists[0]])
    raise BadInput("cannot tell which fields are the responses; the fields are "
                   f"{', '.join(values) or 'none'}; name them with --response-fields")


def numbered(name: str) -> tuple[str, int | None]:
    """"answer2" as ("answer", 2): what a field is called and which of several it is."""
    found = _NUMBERED.match(name)
    if found is None:
        return ("", ord(name.lower()) - ord("a")) if re.fullmatch("[abAB]", name) else (name, None)
    parts = found.groupdict()
    if parts["number"]:
        return parts["stem"], int(parts["number"])
    if parts["side"]:
        return parts["before"] or "", _SIDES[parts["side"]]
    letter = parts["letter"] or parts["upper"]
    return parts["noun"] or parts["camel"], ord(letter.lower()) - ord("a")


def names_response(name: str, fields: Fields) -> bool:
    """Whether a field of this name holds one of several responses, whatever its text looks like."""
    stem, place = numbered(name)
    return name in fields.responses or (place is not None and _stem(stem) in _RESPONSES)


def _stem(stem: str) -> str:
    """Without what stands before it ("my-response") and without the plural."""
    return re.split(r"[ _.-]", stem.lower())[-1].removesuffix("s")


def _of_list(field: str, value: Any) -> dict[str, Any]:
    """Responses in one list: texts, messages, or items that have an id and a body."""
    value = from_cell(value)
    if not isinstance(value, list):
        raise BadInput(f"{field}: wanted a list of responses, found {type(value).__name__}")
    found: dict[str, Any] = {}
    for number, item in enumerate(value, 1):
        name, body = f"{field}[{number}]", item
        if isinstance(item, dict):
            name = str(item.get("id", name))
            body = next((item[key] for key in ("body", "text", "content", "response", "answer",
                                               "html", "title") if item.get(key)), None)
            if body is None:
                raise BadInput(f"{field}[{number}]: wanted a body, found {', '.join(item)}")
        if name in found:
            raise BadInput(f"{field}[{number}]: the id {name!r} stands there twice")
        found[name] = body
    return found


def _prompt(values: dict[str, Any], fields: Fields, shared: list[Message] | None) -> list[Message]:
    name = fields.prompt or next((n for n in _PROMPTS if from_cell(values.get(n))), "")
    if not name:
        # A cell of JSON is data about the record rather than the question.
        texts = [n for n, v in values.items() if isinstance(from_cell(v), str) and v.strip()]
        if shared is not None and not texts:
            return check_messages(shared)
        if len(texts) != 1:
            raise BadInput("cannot tell which field is the prompt; the fields beside the responses "
                           f"are {', '.join(values) or 'none'}; name it with --prompt-field")
        name = texts[0]
    value = values.get(name)
    if isinstance(value, list):
        messages = conversation(value, name)
    elif isinstance(value, str):
        context = next((values[n] for n in _CONTEXTS if n != name
                        and isinstance(values.get(n), str) and values[n].strip()), "")
        messages = [Message(role="user", content=f"{value}\n\n{context}" if context else value)]
    else:
        raise BadInput(f"{name}: missing; the fields are {', '.join(values)}" if value is None
                       else f"{name}: wanted text or messages, found {type(value).__name__}")
    system = next((values[n] for n in _SYSTEMS if isinstance(values.get(n), str)), "")
    if system.strip() and messages[0]["role"] != "system":
        messages.insert(0, Message(role="system", content=system))
    try:
        return check_messages(messages)
    except BadInput as error:
        raise BadInput(str(error).replace("messages", name, 1)) from None


def _unpacked(value: Any) -> Any:
    """A CSV cell that holds messages as those; any other text, JSON or not, is what was said."""
    found = from_cell(value)
    if isinstance(value, str) and isinstance(found, list) and found and all(
            isinstance(m, dict) and ("role" in m or any(
                str(m.get(key)).lower() in _ROLES for key in _ROLE_KEYS)) for m in found):
        return found
    return value


def _is_chat(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(m, dict) and {"role", "from", "author"} & m.keys()
                               for m in value)
