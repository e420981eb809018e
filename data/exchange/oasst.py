"""OpenAssistant's files as judgements: message trees, and messages one a line (oasst1, oasst2).

Sibling replies of the assistant with their `rank` (0 is best) are a ranking; the conversation down
to them is the prompt. The published ranks are a consensus of many people, so one labeler, "oasst",
stands for them; where a message carries its single rankings as `events`, there is one labeler a
person. Deleted messages, and those that reviewers rejected, are left out with all below them.

Single messages wait in a private temporary database on disk until all of the file is read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from data.errors import BadInput
from data.exchange.foreign_fields import as_number
from data.exchange.judgements import Judgement, LeftOut, Origin, ranking_by
from data.exchange.own_comparisons import NAME as OWN
from data.exchange.own_comparisons import signed_by
from data.exchange.reading import Row
from data.plain_json import kind_of
from data.prompts import checked_text
from data.records import Message

NAME = "oasst"
_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant", "system": "system"}
_KEPT = ("message_id", "text", "role", "rank", "lang", "deleted", "review_result", "events")

Found = Judgement | LeftOut


@dataclass(frozen=True)
class _Node:
    """One message as the file gives it, checked."""

    id: str
    role: str
    text: str
    rank: float | None
    lang: str
    gone: bool
    rankings: list[dict[str, Any]]

    @property
    def message(self) -> Message:
        return Message(role=self.role, content=self.text)


def is_oasst(values: Mapping[str, Any]) -> bool:
    """Whether a row is a tree, a thread or a message of OpenAssistant's."""
    return ("message_tree_id" in values and isinstance(values.get("prompt"), dict)
            ) or "thread_id" in values or {"message_id", "text", "role"} <= values.keys()


def judgements(rows: Iterable[Row]) -> Iterator[tuple[Row, Found]]:
    """What a file says, with the row that says it.

    Raises:
        BadInput: the file, line and field that are wrong.
    """
    last: Row | None = None
    with closing(sqlite3.connect("")) as waiting:
        waiting.execute("CREATE TABLE messages (id TEXT PRIMARY KEY, parent TEXT, "
                        "line INTEGER NOT NULL, message TEXT NOT NULL) WITHOUT ROWID")
        for row in rows:
            try:
                if isinstance(row.values.get("prompt"), dict):
                    ours = row.values.get("origin") == OWN
                    tree = str(row.values.get("message_tree_id")) if ours else ""
                    for found in _of_tree(row.values["prompt"], tree):
                        yield row, found
                elif "message_id" in row.values:
                    _keep(waiting, row)
                else:
                    raise BadInput("wanted a message tree or a message; threads and other rows "
                                   f"hold no ranks; the fields are {', '.join(row.values)}")
            except BadInput as error:
                raise row.error(error) from None
            last = row
        if last is not None:
            yield from _of_messages(waiting, last)


def _of_tree(root: dict[str, Any], ours: str) -> Iterator[Found]:
    """Every ranking of a tree, from the top. By a stack: a hostile tree may be very deep.

    `ours` is the id of a tree that we exported, else empty.
    """
    waiting: list[tuple[dict[str, Any], str, list[Message]]] = [(root, "prompt", [])]
    while waiting:
        values, where, before = waiting.pop()
        node = _node(values, where)
        if node.gone:
            yield LeftOut("a deleted or rejected message, with what is below it")
            continue
        replies = values.get("replies") or []
        if not isinstance(replies, list):
            raise BadInput(f"{where}.replies: wanted a list, found {kind_of(replies)}")
        below = [(reply, f"{where}.replies[{number}]") for number, reply in enumerate(replies, 1)]
        path = [*before, node.message]
        if node.role == "user":
            yield from _ranked(path, node, [_node(*reply) for reply in below], ours)
        waiting += [(reply, place, path) for reply, place in reversed(below)]


def _node(values: Any, where: str = "") -> _Node:
    at = f"{where}." if where else ""
    if not isinstance(values, dict):
        raise BadInput(f"{where}: wanted a message, found {kind_of(values)}")
    text, role, rank = (values.get(name) for name in ("text", "role", "rank"))
    if not isinstance(text, str):
        raise BadInput(f"{at}text: wanted text, found {kind_of(text)}")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadInput(f"{at}role: {role!r} is none of {', '.join(_ROLES)}")
    if rank is not None and as_number(rank) is None:
        raise BadInput(f"{at}rank: wanted a number, found {rank!r}")
    return _Node(str(values.get("message_id") or ""), _ROLES[role], text, as_number(rank),
                 str(values.get("lang") or ""),
                 bool(values.get("deleted")) or values.get("review_result") is False,
                 _rankings(values.get("events"), at))


def _rankings(events: Any, at: str) -> list[dict[str, Any]]:
    rankings = events.get("ranking") if isinstance(events, dict) else None
    if not rankings:
        return []
    if not isinstance(rankings, list) or not all(
            isinstance(one, dict) and isinstance(one.get("ranked_message_ids"), list)
            for one in rankings):
        raise BadInput(f"{at}events.ranking: wanted a list of objects with ranked_message_ids")
    return rankings


def _ranked(path: list[Message], parent: _Node, replies: list[_Node],
            ours: str = "") -> Iterator[Found]:
    replies = [reply for reply in replies if reply.role == "assistant" and not reply.gone]
    texts = tuple(reply.text for reply in replies)
    tags = (parent.lang,) if parent.lang else ()
    places = {reply.id: i for i, reply in enumerate(replies) if reply.id}
    for event in parent.rankings:
        ids = event["ranked_message_ids"]
        levels = event.get("ranks")  # ours, since OpenAssistant's own know no ties
        if not isinstance(levels, list) or len(levels) != len(ids):
            levels = list(range(len(ids)))
        ranks = {places[one]: rank for one, level in zip(ids, levels, strict=True)
                 if isinstance(one, str) and one in places
                 and (rank := as_number(level)) is not None}
        bad = bool(event.get("not_rankable"))
        if len(ranks) < 2:
            yield LeftOut("a ranking of fewer than two replies")
        else:
            signed = signed_by(event.get("user_id")) if ours else None
            yield Judgement(
                path, texts, ranking_by(dict.fromkeys(ranks, 0.0) if bad else ranks, True),
                verdict="both_bad" if bad else "ranked", tags=tags,
                annotator=signed or f"{NAME}/{event.get('user_id') or 'unknown'}",
                origin=Origin(ours, signed) if signed else None)
    if not parent.rankings:
        found = {i: reply.rank for i, reply in enumerate(replies) if reply.rank is not None}
        if len(found) > 1:
            yield Judgement(path, texts, ranking_by(found, True), annotator=NAME, tags=tags)
        elif replies:
            yield LeftOut("a prompt with fewer than two ranked replies")


def _keep(waiting: sqlite3.Connection, row: Row) -> None:
    _node(row.values)
    name, parent = row.values.get("message_id"), row.values.get("parent_id")
    if not isinstance(name, str) or not isinstance(parent, str | None):
        raise BadInput("message_id, parent_id: wanted text")
    try:
        waiting.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", [
            checked_text("message_id", name), parent and checked_text("parent_id", parent),
            row.line, json.dumps({key: row.values.get(key) for key in _KEPT})])
    except sqlite3.IntegrityError:
        raise BadInput(f"message_id: {name!r} stands there twice") from None


def _of_messages(waiting: sqlite3.Connection, last: Row) -> Iterator[tuple[Row, Found]]:
    """The rankings of a file of messages, in the order of the messages that were replied to."""
    waiting.execute("CREATE INDEX by_parent ON messages(parent, line)")
    for line, name in waiting.execute("""
            SELECT line, id FROM messages m WHERE EXISTS (
                SELECT 1 FROM messages reply WHERE reply.parent = m.id)
            ORDER BY line"""):
        at = Row(last.path, line, {}, last.unit)
        path = _path(waiting, name)
        if path is None:
            yield at, LeftOut("a message whose conversation is not whole in the file")
        elif any(node.gone for node in path):
            yield at, LeftOut("a deleted or rejected message, with what is below it")
        elif path[-1].role == "user":
            replies = [_node(json.loads(reply)) for reply, in waiting.execute(
                "SELECT message FROM messages WHERE parent = ? ORDER BY line", [name])]
            for found in _ranked([node.message for node in path], path[-1], replies):
                yield at, found


def _path(waiting: sqlite3.Connection, name: str | None) -> list[_Node] | None:
    """A message with all before it; None if one of them is not there (or comes before itself)."""
    path: list[_Node] = []
    seen: set[str] = set()
    while name is not None:
        row = waiting.execute("SELECT parent, message FROM messages WHERE id = ?",
                              [name]).fetchone()
        if row is None or name in seen:
            return None
        seen.add(name)
        name, message = row
        path.insert(0, _node(json.loads(message)))
    return path
