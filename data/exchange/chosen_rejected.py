"""The shapes in which files hold preferences: two answers, or two whole dialogues.

Pure functions over one row's fields; anything wrong is a BadInput that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from data.errors import BadInput
from data.exchange.messages import (
    DIFFER,
    Lacking,
    Unusable,
    conversation,
    is_transcript,
    refuse_more_than_texts,
    transcript,
)
from data.exchange.prompt_fields import PROMPTS, named, prompt_from, unpacked, with_system
from data.plain_json import kind_of
from data.prompts import checked_text, fingerprint, without_nul
from data.records import Message

#: Why a row that we exported with `set_aside` does not count elsewhere either.
SET_ASIDE = "an answer that was set aside"
NO_PAIR = "a row without the two answers"
#: Most files say which answer is better, and not by how much.
STRENGTH = 3
#: What the two answers are called; the second are OpenAI's.
CHOSEN = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"),
          ("chosen_response", "rejected_response"))


@dataclass(frozen=True)
class Pair:
    """A prompt with the answer that was preferred and the one that was not."""

    messages: list[Message]
    chosen: str
    rejected: str
    strength: int = STRENGTH
    weight: float = 1.0
    """How much it counts: pairs of one ranking count as one answer together."""


def is_set_aside(values: Mapping[str, Any]) -> bool:
    """Whether a row of ours is of a labeler whose answers were set aside, as JSON or a CSV cell."""
    return str(values.get("set_aside")) in ("True", "true")


def names_of_pair(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a row calls the answer that was preferred and the one that was not."""
    return next((names for names in CHOSEN if {*names} <= values.keys()), None)


def pair_from(values: Mapping[str, Any], *, cells: bool = False) -> Pair:
    """The preference of a row (with `cells`, of CSV), in any of the forms that
    `data.exchange.importing` describes.

    Raises:
        BadInput: a field is missing or of the wrong shape, or `strength` is there and none of ours.
        Unusable: the answers are the same, one is empty, or their prompts differ; tools are called;
            or it was set aside where we exported it.
        Lacking: there is neither answer.
    """
    if is_set_aside(values):
        raise Unusable(SET_ASIDE)
    refuse_more_than_texts(values)
    names = names_of_pair(values) or CHOSEN[0]
    if all(values.get(name) is None for name in names):
        raise Lacking(NO_PAIR, _missing(values, names[0]))
    chosen, rejected = (_answer(values, name, cells) for name in names)
    if isinstance(chosen, str) and isinstance(rejected, str) and values.get("prompt") is None:
        if is_transcript(chosen) and is_transcript(rejected):
            chosen, rejected = (transcript(text, name) for text, name in
                                zip((chosen, rejected), names, strict=True))
        elif not any(values.get(name) for name in PROMPTS):
            raise BadInput(f"prompt: missing, and {' and '.join(names)} are no transcripts that "
                           "begin with 'Human:'; write what both begin with into a field prompt")
    if isinstance(chosen, list) and isinstance(rejected, list):
        pair = _of_messages(values, conversation(chosen, names[0]),
                            conversation(rejected, names[1]), names, cells)
    elif isinstance(chosen, str) and isinstance(rejected, str):
        pair = Pair(prompt_from(values, cells=cells), chosen, rejected)
    else:
        raise BadInput(f"{', '.join(names)}: wanted two texts or two lists of messages, found "
                       f"{kind_of(chosen)} and {kind_of(rejected)}")
    return replace(_usable(pair, names), strength=strength_from(values))


def _answer(values: Mapping[str, Any], name: str, cells: bool) -> Any:
    """A text or a list of messages; a single message is a list of one."""
    value = unpacked(values, name, cells)
    if value is None:
        raise BadInput(_missing(values, name))
    return [value] if isinstance(value, dict) else value


def _missing(values: Mapping[str, Any], name: str) -> str:
    return (f"{name}: is null" if name in values else
            f"{name}: missing; the fields are {', '.join(values)}")


def strength_from(values: Mapping[str, Any]) -> int:
    """By how much, where the row says it as our own exports do."""
    said = values.get("strength")
    if said in (None, ""):
        return STRENGTH
    found = str(said).removesuffix(".0")
    if found not in ("1", "2", "3", "4"):
        raise BadInput(f"strength: {said!r} is none of 1 (negligibly better) to 4 (significantly "
                       "better); take the field out to import the pair as \"better\"")
    return int(found)


def _of_messages(values: Mapping[str, Any], chosen: list[Message], rejected: list[Message],
                 names: tuple[str, str], cells: bool) -> Pair:
    """Answers alone after an explicit prompt, or whole dialogues that share their prompt."""
    for name, messages in zip(names, (chosen, rejected), strict=True):
        if messages[-1]["role"] != "assistant":
            raise BadInput(f"{name}: the last message must be the assistant's")
    if len(chosen) == len(rejected) == 1:
        return Pair(prompt_from(values, cells=cells), chosen[0]["content"],
                    rejected[0]["content"])
    if chosen[:-1] != rejected[:-1]:
        raise Unusable(DIFFER)
    shared = named(names[0], with_system(values, chosen[:-1]))
    if values.get("prompt") is not None:
        # A prompt beside whole dialogues may leave out what stands around a question, never it.
        question = fingerprint(prompt_from(values, cells=cells)[-1:])
        if question not in [fingerprint([message]) for message in shared]:
            raise BadInput("prompt: is not how chosen and rejected begin")
    return Pair(shared, chosen[-1]["content"], rejected[-1]["content"])


def _usable(pair: Pair, names: tuple[str, str]) -> Pair:
    texts = [checked_text(name, without_nul(text).strip()) for name, text in
             zip(names, (pair.chosen, pair.rejected), strict=True)]
    if not all(texts):
        raise Unusable("an answer is empty")
    if texts[0] == texts[1]:
        raise Unusable("chosen and rejected are the same")
    return replace(pair, chosen=texts[0], rejected=texts[1])
