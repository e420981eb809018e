"""What labelers are asked, and the guidelines they are asked by: both versioned, never overwritten.

A comparison names the version of each that it was made under, so that a change of the question
half-way through a round stays visible in its answers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from data.database import Database, now
from data.errors import BadInput

SCALES = ("strength", "plain")
MOST_FLAGS = 12
LONGEST_FLAG = 40
LONGEST_GUIDELINES = 50_000
#: An overall score of one response, worst to best.
SCORES = range(1, 8)


@dataclass(frozen=True)
class Question:
    """What is asked of each task. A task of two responses is a pair, of more a ranking.

    Raises:
        BadInput: a field is out of its bounds; the message names it.
    """

    scale: str = "strength"
    """Of a pair: "strength" (four levels each side) or "plain" (which is better)."""
    tie: bool = True
    """Whether a tie may be said."""
    both_bad: bool = True
    """Whether both (or all) may be called bad."""
    flags: tuple[str, ...] = ("unsafe", "untrue", "off-topic", "refuses wrongly")
    """What may be marked on each response."""
    scores: bool = False
    """Whether each response also gets an overall score from 1 to 7."""
    reason: bool = True
    """Whether a reason may be typed."""
    rewrite: bool = False
    """Whether the best response may be rewritten into a better one (a demonstration)."""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise BadInput(f"scale: {self.scale!r} is none of {', '.join(SCALES)}")
        if len(self.flags) > MOST_FLAGS:
            raise BadInput(f"flags: at most {MOST_FLAGS}, not {len(self.flags)}")
        for flag in self.flags:
            if not flag.strip() or flag != flag.strip() or len(flag) > LONGEST_FLAG:
                raise BadInput(f"flags: {flag!r} must be 1 to {LONGEST_FLAG} characters, "
                               "without space at its ends")
        if len({flag.casefold() for flag in self.flags}) != len(self.flags):
            raise BadInput("flags: the same flag stands there twice")


@dataclass(frozen=True)
class Guidelines:
    """The instructions shown beside each task, as Markdown."""

    version: int
    text: str
    created_by: int | None
    created_at: str


class Questions:
    """The question and the guidelines of a workspace, with their versions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current(self) -> tuple[int | None, Question]:
        """The question in force and its version; None is the default, before anybody chose."""
        row = self._database.row("SELECT * FROM questions ORDER BY version DESC LIMIT 1")
        return (None, Question()) if row is None else (row["version"], _question(row["config"]))

    def version(self, version: int | None) -> Question:
        """The question as it was in one version (None: the default)."""
        config = self._database.value("SELECT config FROM questions WHERE version = ?", [version])
        return Question() if config is None else _question(config)

    def change(self, question: Question, by: int | None = None) -> int:
        """Put a question in force; returns its version (the same one, if nothing changed)."""
        with self._database.write():
            version, current = self.current()
            if version is not None and current == question:
                return version
            return self._database.insert("questions", {
                "config": asdict(question), "created_by": by, "created_at": now()})

    def guidelines(self) -> Guidelines | None:
        """The guidelines in force, if any were written."""
        row = self._database.row("SELECT * FROM guidelines ORDER BY version DESC LIMIT 1")
        return None if row is None else Guidelines(**dict(row))

    def all_guidelines(self) -> list[Guidelines]:
        """Every version, newest first."""
        return [Guidelines(**dict(row)) for row in self._database.rows(
            "SELECT * FROM guidelines ORDER BY version DESC")]

    def write_guidelines(self, text: str, by: int | None = None) -> int:
        """Put guidelines in force; returns their version (the same one, if nothing changed).

        Raises:
            BadInput: the text is longer than `LONGEST_GUIDELINES` characters.
        """
        if len(text) > LONGEST_GUIDELINES:
            raise BadInput(f"guidelines: at most {LONGEST_GUIDELINES:,} characters, "
                           f"not {len(text):,}")
        with self._database.write():
            current = self.guidelines()
            if current is not None and current.text == text:
                return current.version
            return self._database.insert("guidelines", {
                "text": text, "created_by": by, "created_at": now()})


def _question(config: str) -> Question:
    values: dict[str, Any] = json.loads(config)
    return Question(**{**values, "flags": tuple(values["flags"])})
