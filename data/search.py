"""Search and filters over answers, tasks, responses and prompts, page by page.

Words are looked up in SQLite's full-text tables, each as a prefix, all of them in one text. What
those tables cannot tell apart (punctuation, scripts without spaces) is then looked for literally,
ignoring the case of Latin letters. Whatever somebody types is data, never query syntax.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from data.answer_counts import IS_DECISION
from data.errors import BadInput
from data.store import Store

KINDS = ("answers", "tasks", "responses", "prompts")
VERDICTS = ("winner", "tie", "both bad", "decision")
#: Beyond so many matches the count says "more than": counting them all would take seconds.
MOST_COUNTED = 10_000
MOST_WORDS = 12

# A phrase in double quotes, or a word.
_WORD = re.compile(r'"([^"]+)"|(\S+)')
# Chinese, Japanese, Thai, Lao, Burmese, Khmer: written without spaces, so a run is one token.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True)
class Filters:
    """What to keep: None, or an empty text, keeps everything. `HEEDED` says who heeds what."""

    text: str = ""
    round_id: int | None = None
    tag: str | None = None
    source: str | None = None
    """The prompt's."""
    split: str | None = None
    purpose: str | None = None
    labeler_id: int | None = None
    flag: str | None = None
    verdict: str | None = None
    """One of `VERDICTS`; "decision" keeps what leads decided."""


@dataclass(frozen=True)
class Found:
    """One page of ids, and how many there are in all (at least, if `more`)."""

    ids: tuple[int, ...]
    total: int
    more: bool


@dataclass(frozen=True)
class Words:
    """A search text as a full-text query (if any of it can be one) and literal patterns."""

    match: str | None
    patterns: tuple[str, ...]


def words_of(text: str) -> Words:
    """What to look for: `C++ "the loop"` finds texts with a word that begins with C and with the
    words "the loop" in a row, and keeps those that hold C++."""
    match, patterns = [], []
    for phrase, single in _WORD.findall(text.replace("\0", " "))[:MOST_WORDS]:
        word = " ".join((phrase or single).split())
        if not any(c.isalnum() for c in word) or _UNSPACED.search(word):
            patterns.append(word)
            continue
        match.append('"' + word.replace('"', '""') + '"*')
        if not all(c.isalnum() or c == " " for c in word):
            patterns.append(word)
    return Words(" ".join(match) or None,
                 tuple(f"%{_literal(word)}%" for word in patterns if word))


_PROMPT = {"tag": "EXISTS (SELECT 1 FROM json_each(p.tags) WHERE value = :tag)",
           "source": "p.source = :source", "split": "p.split = :split"}
_TASK = {**_PROMPT, "round_id": "t.round_id = :round_id", "purpose": "t.purpose = :purpose"}
_VERDICT = f"""CASE :verdict
    WHEN 'winner' THEN c.strength > 0
    WHEN 'tie' THEN c.strength = 0 AND c.verdict = 'ranked'
    WHEN 'both bad' THEN c.verdict = 'both_bad'
    ELSE {IS_DECISION} END"""
_CONDITIONS = {
    "answers": {**_TASK, "labeler_id": "c.labeler_id = :labeler_id", "verdict": _VERDICT,
                "flag": "c.flags <> '{}' AND EXISTS (SELECT 1 FROM json_each(c.flags) f, "
                        "json_each(f.value) v WHERE v.value = :flag)"},
    "tasks": {**_TASK, "labeler_id": "EXISTS (SELECT 1 FROM current_comparisons c "
                                     "WHERE c.task_id = t.id AND c.labeler_id = :labeler_id)"},
    "responses": {**_PROMPT, "round_id": "s.round_id = :round_id",
                  "flag": "EXISTS (SELECT 1 FROM task_responses tr "
                          "JOIN current_comparisons c ON c.task_id = tr.task_id, "
                          "json_each(c.flags) f, json_each(f.value) v WHERE tr.response_id = s.id "
                          "AND f.key = CAST(s.id AS TEXT) AND v.value = :flag)"},
    "prompts": {**_PROMPT, "round_id": "EXISTS (SELECT 1 FROM tasks t WHERE t.prompt_id = p.id "
                                       "AND t.round_id = :round_id)"},
}
#: Which filters each kind heeds; the others are left aside.
HEEDED = {kind: frozenset(conditions) | {"text"} for kind, conditions in _CONDITIONS.items()}

_FROM = {
    "answers": ("c.id", "current_comparisons c JOIN tasks t ON t.id = c.task_id "
                        "JOIN prompts p ON p.id = t.prompt_id"),
    "tasks": ("t.id", "tasks t JOIN prompts p ON p.id = t.prompt_id"),
    "responses": ("s.id", "responses s JOIN prompts p ON p.id = s.prompt_id"),
    "prompts": ("p.id", "prompts p")}
# By text within a prompt: by id, the responses of one policy would always come first.
_ORDER = {"answers": "c.id DESC", "tasks": "t.id DESC", "responses": "s.prompt_id DESC, s.text",
          "prompts": "p.id DESC"}


def find(store: Store, kind: str, filters: Filters, limit: int | None = 25,
         offset: int = 0) -> Found:
    """The ids that pass the filters, newest first (responses: by prompt, in no telling order).

    `limit` None gives all of them.

    Raises:
        BadInput: an unknown kind or verdict.
    """
    if kind not in KINDS:
        raise BadInput(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    if filters.verdict is not None and filters.verdict not in VERDICTS:
        raise BadInput(f"verdict: {filters.verdict!r} is none of {', '.join(VERDICTS)}")
    column, tables = _FROM[kind]
    where, values = _where(kind, filters)
    source = f"FROM {tables} WHERE {where}"
    ids = tuple(row[0] for row in store.database.rows(
        f"SELECT {column} {source} ORDER BY {_ORDER[kind]} LIMIT :limit OFFSET :offset",
        {**values, "limit": -1 if limit is None else limit, "offset": offset}))
    if limit is None:
        return Found(ids, offset + len(ids), False)
    if kind == "answers" and filters == Filters(labeler_id=filters.labeler_id) \
            and filters.labeler_id is not None:
        # All that somebody has answered, on their own page: that count is kept.
        return Found(ids, store.comparisons.count(filters.labeler_id, decisions=True),
                     False)
    counted = int(store.database.value(
        f"SELECT count(*) FROM (SELECT 1 {source} LIMIT {MOST_COUNTED + 1})", values))
    return Found(ids, min(counted, MOST_COUNTED), counted > MOST_COUNTED)


def tags(store: Store) -> list[str]:
    """Every tag that a prompt has."""
    return [row[0] for row in store.database.rows(
        "SELECT DISTINCT value FROM prompts, json_each(tags) WHERE tags <> '[]' ORDER BY value")]


def sources(store: Store) -> list[str]:
    """Every source that prompts come from."""
    return [row[0] for row in store.database.rows(
        "SELECT DISTINCT source FROM prompts ORDER BY source")]


def flags(store: Store) -> list[str]:
    """Every flag that stands in an answer."""
    return [row[0] for row in store.database.rows(
        "SELECT DISTINCT v.value FROM comparisons c, json_each(c.flags) f, json_each(f.value) v "
        "WHERE c.flags <> '{}' ORDER BY v.value")]


def _where(kind: str, filters: Filters) -> tuple[str, dict[str, Any]]:
    """The conditions of a query over `kind`, and the values that they name."""
    values: dict[str, Any] = {name: value for name, value in asdict(filters).items()
                              if name in _CONDITIONS[kind] and value is not None}
    where = [_CONDITIONS[kind][name] for name in values]
    words = words_of(filters.text)
    if words.match is not None or words.patterns:  # a text of blanks and the like has none
        values |= {f"pattern{i}": pattern for i, pattern in enumerate(words.patterns)}
        if words.match is not None:
            values["match"] = words.match
        where.append(_mentions(kind, words))
    return " AND ".join(f"({condition})" for condition in where) or "1", values


def _mentions(kind: str, words: Words) -> str:
    """That a text of the row (of its prompt, its responses, its reason) holds all the words."""
    prompts = _matching(words, "prompt_search", "prompts x, json_each(x.messages) m", "x.id",
                        "json_extract(m.value, '$.content')")
    responses = _matching(words, "response_search", "responses x", "x.id", "x.text")
    if kind == "prompts":
        return f"p.id IN ({prompts})"
    if kind == "responses":
        return f"s.id IN ({responses})"
    either = (f"t.prompt_id IN ({prompts}) OR t.id IN (SELECT task_id FROM task_responses "
              f"WHERE response_id IN ({responses}))")
    if kind == "tasks":
        return either
    reasons = _matching(words, "rationale_search", "comparisons x", "x.id", "x.rationale")
    return f"{either} OR c.id IN ({reasons})"


def _matching(words: Words, index: str, tables: str, column: str, text: str) -> str:
    """The ids of the texts that hold all the words, as a query."""
    if words.match is not None and not words.patterns:
        return f"SELECT rowid FROM {index} WHERE {index} MATCH :match"
    conditions = [f"{text} LIKE :pattern{i} ESCAPE '!'" for i in range(len(words.patterns))]
    if words.match is not None:
        conditions.append(f"{column} IN (SELECT rowid FROM {index} WHERE {index} MATCH :match)")
    return f"SELECT {column} FROM {tables} WHERE {' AND '.join(conditions)}"


def _literal(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
