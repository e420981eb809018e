"""Prompts: added once each, split by prompt for good when they are added."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from importlib.resources import files

from data.database import Database, now
from data.errors import BadInput, NotFound
from data.plain_json import to_json
from data.records import SPLITS, Message, Prompt

#: Share of prompts kept out of all training, so that accuracy and win rates mean something.
HELD_OUT_SHARE = 0.25
LONGEST_PROMPT = 200_000  # characters; a longer one is a file put into the wrong field


def fingerprint(messages: Sequence[Message]) -> str:
    """The same for two prompts that differ in blanks only: what a duplicate is."""
    plain = [[m["role"], " ".join(m["content"].split())] for m in messages]
    return hashlib.sha256(to_json(plain).encode()).hexdigest()


def opening_of(messages: Sequence[Message]) -> str:
    """The same for two dialogues whose first message of the user is the same, but for blanks."""
    return fingerprint([next(m for m in messages if m["role"] == "user")])


def cluster_of(messages: Sequence[Message]) -> int:
    """The same number for two dialogues that begin alike (`opening_of`), as arrays hold it.

    They share most of their text (files of preferences hold the same one at several lengths), so
    no fold of a cross-validation parts them, and to an interval they are one witness.
    """
    return int(opening_of(messages)[:15], 16)  # 60 bits: two never meet by chance


def split_of(messages: Sequence[Message]) -> str:
    """train or held_out, from the text alone: the same on every machine and in every import.

    The user's first message decides, so dialogues that begin alike stay on the same side.
    """
    share = int(opening_of(messages)[:8], 16) / 2**32
    return "held_out" if share < HELD_OUT_SHARE else "train"


def check_messages(messages: object) -> list[Message]:
    """Messages of a prompt as they should be, or BadInput that says what is wrong."""
    if not isinstance(messages, list) or not messages:
        raise BadInput("messages: wanted a list of {role, content} with at least one")
    for number, message in enumerate(messages, 1):
        where = f"messages[{number}]"
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise BadInput(f"{where}: wanted an object with role and content")
        if message["role"] not in ("system", "user", "assistant"):
            raise BadInput(f"{where}.role: {message['role']!r} is not system, user or assistant")
        content = message["content"]
        if not isinstance(content, str) or not content.strip():
            raise BadInput(f"{where}.content: wanted text")
        checked_text(f"{where}.content", content)
    if messages[-1]["role"] != "user":
        raise BadInput("messages: the last one must be the user's, for the policy to answer")
    return [Message(role=m["role"], content=m["content"]) for m in messages]


def checked_text(field: str, text: str) -> str:
    """The text, unless it is overlong or cannot be stored; then BadInput, with the field."""
    if len(text) > LONGEST_PROMPT:
        raise BadInput(f"{field}: {len(text):,} characters; at most {LONGEST_PROMPT:,} are taken")
    if "\0" in text:
        raise BadInput(f"{field}: holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{field}: holds half of a surrogate pair") from None
    return text


def without_nul(text: str) -> str:
    """What a model wrote as files and other tools can hold it: a token may be a NUL character."""
    return text.replace("\0", "")


def prompt_of(row: sqlite3.Row) -> Prompt:
    """A record from a row of the prompts table."""
    return Prompt(row["id"], json.loads(row["messages"]), row["source"], row["split"],
                  json.loads(row["tags"]), row["created_at"])


class Prompts:
    """The prompts of a workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, messages: list[Message], source: str, tags: Sequence[str] = (),
            split: str | None = None) -> tuple[int, bool]:
        """Add a prompt unless it is there. Returns its id and whether it is new.

        `split` is only for tests and demonstrations; left out, the text decides.
        """
        messages = check_messages(messages)
        if split is not None and split not in SPLITS:
            raise BadInput(f"split: {split!r} is none of {', '.join(SPLITS)}")
        mark = fingerprint(messages)
        with self._database.write():
            found = self._database.value("SELECT id FROM prompts WHERE fingerprint = ?", [mark])
            if found is not None:
                return int(found), False
            new = self._database.insert("prompts", {
                "messages": list(messages), "fingerprint": mark, "source": source,
                "split": split or split_of(messages), "tags": list(tags), "created_at": now()})
            return new, True

    def add_starters(self) -> int:
        """Add the prompts that come with prefloop; returns how many were new."""
        # Not splitlines(): JSON allows U+2028 and the like inside a string.
        lines = (files("data") / "starter_prompts.jsonl").read_text("utf-8").strip().split("\n")
        with self._database.write():
            return sum(self.add(entry["messages"], "starter", entry["tags"])[1]
                       for entry in map(json.loads, lines))

    def get(self, prompt_id: int) -> Prompt:
        """One prompt. Raises NotFound."""
        row = self._database.row("SELECT * FROM prompts WHERE id = ?", [prompt_id])
        if row is None:
            raise NotFound(f"there is no prompt {prompt_id}")
        return prompt_of(row)

    def all(self, split: str | None = None) -> list[Prompt]:
        """All prompts, or those of a split, oldest first."""
        return [prompt_of(row) for row in self._database.rows(
            "SELECT * FROM prompts WHERE :split IS NULL OR split = :split ORDER BY id",
            {"split": split})]

    def split_of_known(self, messages: Sequence[Message]) -> str | None:
        """The split of a prompt that is here already; None of one that is not."""
        found = self._database.value("SELECT split FROM prompts WHERE fingerprint = ?",
                                     [fingerprint(messages)])
        return None if found is None else str(found)

    def count(self, split: str | None = None) -> int:
        """How many prompts there are (in a split)."""
        return int(self._database.value(
            "SELECT count(*) FROM prompts WHERE ? IS NULL OR split = ?", [split, split]))
