"""Who did what, and when: append-only, for leads to read."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from data.database import Database, now


@dataclass(frozen=True)
class Entry:
    """One thing that somebody did; `labeler_id` is None for the command line."""

    id: int
    labeler_id: int | None
    action: str
    subject: str
    details: dict[str, Any]
    created_at: str


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(row["id"], row["labeler_id"], row["action"], row["subject"],
                 json.loads(row["details"]), row["created_at"])


class Audit:
    """The audit log. Never holds a secret, nor what an answer says (the answer does)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, labeler_id: int | None, action: str, subject: str = "",
               **details: Any) -> None:
        """Add an entry; inside a `write` block it stands or falls with what it tells of."""
        self._database.insert("audit", {"labeler_id": labeler_id, "action": action,
                                        "subject": subject, "details": details,
                                        "created_at": now()})

    def entries(self, *, labeler_id: int | None = None, action: str | None = None,
                limit: int = 100, before: int | None = None) -> list[Entry]:
        """The newest entries first; `before` is the id to go on from."""
        return [_entry(row) for row in self._database.rows(
            "SELECT * FROM audit WHERE (:who IS NULL OR labeler_id = :who) "
            "AND (:action IS NULL OR action = :action) AND (:before IS NULL OR id < :before) "
            "ORDER BY id DESC LIMIT :limit",
            {"who": labeler_id, "action": action, "before": before, "limit": limit})]

    def actions(self) -> list[str]:
        """Every action that was ever recorded, by name."""
        return [row[0] for row in self._database.rows(
            "SELECT DISTINCT action FROM audit ORDER BY action")]
