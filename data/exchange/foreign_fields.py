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
from data.exchange.messages import DIFFER, Lacking, Unusable, conversation
from data.exchange.prompt_fields import (
    ALL_CONTEXTS,
    OBJECTS,
    PROMPTS,
    first_prompt,
    from_cell,
    named,
    prompt_of,
    unpacked,
    with_system,
)
from data.exchange.unread import Watched
from data.plain_json import kind_of
from data.records import Message

_RESPONSES = ("response", "answer", "completion", "output", "generation", "reply", "candidate",
              "option", "summary", "text", "assistant", "conversation", "ref")
_LISTS = ("responses", "answers", "completions", "outputs", "generations", "replies", "candidates",
          "options", "items", "results", "documents", "summaries")
#: What holds an item's text.
_BODIES = ("body", "text", "content", "response", "answer", "html")
NO_RESPONSES = "a row without responses to compare"
#: "response-0", "answer1", "response_a", "generations-1", "left".
_NUMBERED = re.compile(r"^(?:(?P<stem>.*?[^\W\d_])[ _.-]?(?P<number>\d{1,2})"
                       r"|(?P<noun>.+?)[ _.-](?P<letter>[a-zA-Z])|(?P<camel>[a-z]+)(?P<upper>[A-Z])"
                       r"|(?:(?P<before>.+?)[ _.-])?(?P<side>left|right|first|second))$")
_SIDES = {"left": 0, "first": 0, "right": 1, "second": 1}


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
    fields: frozenset[str] = frozenset()
    """The fields that they were read from."""

    def position(self, name: object) -> int | None:
        """The place of the response of this name."""
        names = list(self.responses)
        return names.index(name) if isinstance(name, str) and name in names else None


def asked(data: Mapping[str, Any], fields: Fields, *, cells: bool = False) -> Asked:
    """The prompt and the responses of a record's data (with `cells`, of CSV).

    Raises:
        BadInput: they cannot be told from the names, or are of the wrong shape.
        Lacking: there are no responses.
        Unusable: responses that are whole dialogues do not begin alike, or tools are called.
    """
    plain = dict(data)
    values = {str(name): unpacked(plain, name, cells) for name, value in plain.items()
              if value is not None}
    names, responses = _responses(values, fields)
    texts: dict[str, str] = {}
    shared: list[Message] | None = None
    for name, value in responses.items():
        if isinstance(value, list):
            *before, last = conversation(value, name)
            if last["role"] != "assistant":
                raise BadInput(f"{name}: the last message must be the assistant's")
            if shared and before and before != shared:
                raise Unusable(DIFFER)
            value, shared = last["content"], before or shared
        if not isinstance(value, str):
            raise BadInput(f"{name}: wanted text or messages, found {kind_of(value)}")
        texts[name] = value
    read = set(names)
    beside = Watched({k: v for k, v in values.items() if k not in names}, read.add)
    return Asked(_prompt(beside, fields, shared), texts, frozenset(read))


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
    error = ("cannot tell which fields are the responses; the fields are "
             f"{', '.join(values) or 'none'}; name them with --response-fields")
    raise BadInput(error) if known or lists else Lacking(NO_RESPONSES, error)


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
    return name in fields.responses or is_response(name)


def is_response(name: str) -> bool:
    """Whether a name is one of those that several responses have by custom."""
    stem, place = numbered(name)
    return place is not None and _stem(stem) in _RESPONSES


def entries_of(value: Any) -> list[dict[str, Any]]:
    """A list of objects; also as `datasets` turns such a list around, an object of lists."""
    value = from_cell(value)
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        value = [dict(zip(value, row, strict=False))
                 for row in zip(*value.values(), strict=False)]
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return []
    return value


def _stem(stem: str) -> str:
    """Without what stands before it ("my-response") and without the plural."""
    return re.split(r"[ _.-]", stem.lower())[-1].removesuffix("s")


def _of_list(field: str, value: Any) -> dict[str, Any]:
    """Responses in one list: texts, messages, or items that have an id and a body."""
    value = from_cell(value)
    if not isinstance(value, list):
        raise BadInput(f"{field}: wanted a list of responses, found {kind_of(value)}")
    found: dict[str, Any] = {}
    bodies = any(item.get(key) for item in value if isinstance(item, dict) for key in _BODIES)
    for number, item in enumerate(value, 1):
        name, body = f"{field}[{number}]", item
        if isinstance(item, dict):
            name = str(item.get("id", name))
            # Where others have a body, a title is no text: who has an empty one said nothing.
            held = [item[key] for key in (_BODIES if bodies else (*_BODIES, "title"))
                    if item.get(key) is not None]
            body = next(filter(None, held), held[0] if held else None)
            if body is None:
                raise BadInput(f"{field}[{number}]: wanted a body, found {', '.join(item)}")
        if name in found:
            raise BadInput(f"{field}[{number}]: the id {name!r} stands there twice")
        found[name] = body
    return found


def _prompt(values: dict[str, Any], fields: Fields,
            shared: list[Message] | None) -> list[Message]:
    """The prompt; it may be what the responses, whole dialogues, begin with."""
    name = fields.prompt or first_prompt(values) or ""
    if shared and not name:
        return named("the prompt", with_system(values, shared))
    if not name:
        # A cell of JSON is data about the record rather than the question.
        texts = [n for n, v in values.items() if isinstance(from_cell(v), str) and v.strip()]
        blank = next((n for n in PROMPTS if n in values and n not in texts), None)
        if len(texts) != 1 and blank:
            return prompt_of(values, blank, values[blank])  # says that it is empty
        if len(texts) != 1:
            raise BadInput("cannot tell which field is the prompt; the fields beside the responses "
                           f"are {', '.join(values) or 'none'}; name it with --prompt-field")
        name = texts[0]
    if name not in values:
        raise BadInput(f"{name}: missing; the fields are {', '.join(values)}")
    # Whoever compared saw the texts; an object is data about the record.
    beside = [other for other in ALL_CONTEXTS if isinstance(dict(values).get(other), str)]
    messages = prompt_of(values, name, from_cell(values[name]) if name in OBJECTS else values[name],
                         beside)
    # Beside whole dialogues a prompt may be one of their questions alone.
    if shared and messages[-1] in shared and len(shared) > len(messages):
        return named("the prompt", with_system(values, shared))
    return messages


def _is_chat(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(m, dict) and {"role", "from", "author"} & m.keys()
                               for m in value)
