"""What the labeling page sends, read as strictly as anything from outside.

An entry is one act of a labeler: {key, do: "answer" | "skip" | "undo", …}. Positions are those on
the page, 0 for A; response ids never travel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.choices import (
    LETTERS,
    choices_for,
    ranked,
    ranking_of,
    rewrite_of,
)
from data.errors import BadInput
from data.questions import SCORES, Question
from data.records import Answer, Rewrite

#: A key: the task's sealed name, a dash, and what tells one act on the task from another.
LONGEST_KEY = 80


@dataclass(frozen=True)
class Asked:
    """What an answer was given to: the responses as shown, the question and both versions."""

    shown: tuple[int, ...]
    texts: tuple[str, ...]
    question: Question
    question_version: int | None
    guidelines_version: int | None


def key_of(entry: object) -> str:
    """An entry's key, which is also its submission key. Raises BadInput."""
    key = entry.get("key") if isinstance(entry, Mapping) else None
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or "-" not in key \
            or not key.replace("-", "").isalnum() or not key.isascii():
        raise BadInput("key: the page sent none that the server made; reload the page")
    return key


def answer_of(entry: Mapping[str, Any], asked: Asked, longest: float) -> Answer:
    """An entry's answer, its times cut to `longest` seconds.

    Raises:
        BadInput: it does not answer the question; the message names the field.
    """
    question, shown = asked.question, asked.shown
    ranking, strength, verdict = _verdict(entry, question, shown)
    scores = {shown[position]: value for position, value in
              _by_position(entry, "scores", shown, int).items()}
    if question.scores and set(scores) != set(shown):
        raise BadInput("scores: give each response a score first")
    if not question.scores and scores:
        raise BadInput("scores: are not asked for")
    if not set(scores.values()) <= set(SCORES):
        raise BadInput(f"scores: must lie from {SCORES[0]} to {SCORES[-1]}")
    flags = {shown[position]: tuple(flag for flag in question.flags if flag in chosen)
             for position, chosen in _by_position(entry, "flags", shown, list).items()}
    seconds = min(_seconds(entry, "seconds"), longest)
    return Answer(
        ranking, strength, verdict, {response: each for response, each in flags.items() if each},
        _text(entry, "reason").strip() if question.reason else "", seconds,
        min(_seconds(entry, "active_seconds"), seconds), scores,
        _rewrite(entry, asked) if question.rewrite else None,
        asked.question_version, asked.guidelines_version)


def version_of(entry: Mapping[str, Any], name: str, latest: int | None) -> int | None:
    """Which version of the question or the guidelines was on the page. Raises BadInput."""
    version = entry.get(name)
    if version is None:
        return None
    if not _is(version, int) or not 1 <= version <= (latest or 0):
        raise BadInput(f"{name}: there is no version {version!r}")
    return int(version)


def _verdict(entry: Mapping[str, Any], question: Question,
             shown: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], ...], int, Any]:
    if len(shown) == 2:
        choice = next((c for c in choices_for(question) if c.name == entry.get("choice")), None)
        if choice is None:
            raise BadInput("choice: is none of those that the question offers")
        return ranking_of(choice, shown), choice.strength, choice.verdict
    if entry.get("choice") == "all-bad":
        if not question.both_bad:
            raise BadInput("choice: is none of those that the question offers")
        return (shown,), 0, "both_bad"
    tiers = entry.get("tiers")
    if not isinstance(tiers, Sequence) or isinstance(tiers, str) \
            or not all(isinstance(tier, list) and tier for tier in tiers):
        raise BadInput("tiers: wanted groups of positions, best first")
    placed = [position for tier in tiers for position in tier]
    if not all(_is(position, int) for position in placed) \
            or sorted(placed) != list(range(len(shown))):
        raise BadInput("tiers: each response must be placed once")
    return ranked(tiers, shown, question)


def _rewrite(entry: Mapping[str, Any], asked: Asked) -> Rewrite | None:
    """The rewritten response, if anything about it was changed."""
    rewrite = entry.get("rewrite")
    if rewrite is None:
        return None
    if not isinstance(rewrite, Mapping) or not _is(rewrite.get("base"), int) \
            or not 0 <= rewrite["base"] < len(asked.shown):
        raise BadInput("rewrite: wanted the position of a response and a text")
    base = rewrite["base"]
    return rewrite_of(asked.shown[base], asked.texts[base], _text(rewrite, "text"))


def _by_position(entry: Mapping[str, Any], name: str, shown: Sequence[int],
                 wanted: type) -> dict[int, Any]:
    values = entry.get(name) or {}
    if not isinstance(values, Mapping):
        raise BadInput(f"{name}: wanted values by position")
    found = {}
    for position, value in values.items():
        if not str(position).isdecimal() or int(position) >= len(shown) or not _is(value, wanted):
            raise BadInput(f"{name}: {str(position)[:20]!r} is none of {LETTERS[:len(shown)]}, "
                           "by position, or its value is of the wrong kind")
        found[int(position)] = value
    return found


def _seconds(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise BadInput(f"{name}: {value!r} is no time")
    return float(value)


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name) or ""
    if not isinstance(value, str):
        raise BadInput(f"{name}: wanted text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{name}: holds half of a character") from None
    return value.replace("\0", "")


def _is(value: object, wanted: type) -> bool:
    """isinstance, but True is no number."""
    return isinstance(value, wanted) and not isinstance(value, bool)
