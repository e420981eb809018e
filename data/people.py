"""Labelers, their one-time sign-in codes and their sessions. Only hashes of secrets are stored."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from datetime import timedelta
from typing import Any

from data.database import Database, now
from data.errors import BadInput, NotFound
from data.records import KINDS_OF_LABELER, ROLES, Labeler

CODE_LIFETIME = timedelta(days=7)
SESSION_LIFETIME = timedelta(days=14)
LONGEST_NAME = 80


def _hash(secret: str) -> str:
    # The secrets are 256 random bits, so a fast hash is enough: there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()


def _labeler(row: sqlite3.Row) -> Labeler:
    return Labeler(row["id"], row["name"], row["kind"], row["role"], bool(row["disabled"]),
                   json.loads(row["config"]), row["created_at"])


class People:
    """Who may sign in, and who answered what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, role: str = "labeler", kind: str = "human",
            config: dict[str, Any] | None = None) -> Labeler:
        """Add a labeler.

        Raises:
            BadInput: empty, overlong or taken name, unknown role or kind.
        """
        name = " ".join(name.split())
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise BadInput(f"name: give 1 to {LONGEST_NAME} printable characters, not {name!r}")
        if role not in ROLES:
            raise BadInput(f"role: {role!r} is none of {', '.join(ROLES)}")
        if kind not in KINDS_OF_LABELER:
            raise BadInput(f"kind: {kind!r} is none of {', '.join(KINDS_OF_LABELER)}")
        if self._by_name(name):
            raise BadInput(f"name: there is already a labeler called {name!r}")
        new = self._database.insert("labelers", {
            "name": name, "role": role, "kind": kind, "config": config or {},
            "created_at": now()})
        return self.get(new)

    def get(self, labeler_id: int) -> Labeler:
        """One labeler. Raises NotFound."""
        row = self._database.row("SELECT * FROM labelers WHERE id = ?", [labeler_id])
        if row is None:
            raise NotFound(f"there is no labeler {labeler_id}")
        return _labeler(row)

    def named(self, name: str) -> Labeler:
        """The labeler of that name. Raises NotFound."""
        found = self._by_name(name)
        if found is None:
            raise NotFound(f"there is no labeler called {name!r}")
        return found

    def all(self, kind: str | None = None) -> list[Labeler]:
        """Every labeler, or those of one kind, oldest first."""
        return [_labeler(row) for row in self._database.rows(
            "SELECT * FROM labelers WHERE ? IS NULL OR kind = ? ORDER BY id", [kind, kind])]

    def set_disabled(self, labeler_id: int, disabled: bool) -> None:
        """Disable (and sign out everywhere) or enable a labeler; their answers stay."""
        self.get(labeler_id)
        with self._database.write() as db:
            db.conn.execute("UPDATE labelers SET disabled = ? WHERE id = ?",
                            [int(disabled), labeler_id])
            if disabled:
                db.conn.execute("UPDATE sessions SET ended_at = ? WHERE labeler_id = ? "
                                "AND ended_at IS NULL", [now(), labeler_id])

    def create_code(self, labeler_id: int, lifetime: timedelta = CODE_LIFETIME) -> str:
        """A new one-time sign-in code for a human; older unused ones stop working."""
        labeler = self.get(labeler_id)
        if labeler.kind != "human":
            raise BadInput(f"{labeler.name} is {labeler.kind} and cannot sign in")
        code = secrets.token_urlsafe(32)
        with self._database.write() as db:
            db.conn.execute("UPDATE sign_in_codes SET expires_at = ? WHERE labeler_id = ? "
                            "AND used_at IS NULL AND expires_at > ?", [now(), labeler_id, now()])
            self._database.insert("sign_in_codes", {
                "code_hash": _hash(code), "labeler_id": labeler_id, "created_at": now(),
                "expires_at": now(lifetime)})
        return code

    def of_code(self, code: str) -> Labeler | None:
        """Whom a one-time code would sign in, without using it up (a link preview must not)."""
        row = self._database.row(
            "SELECT l.* FROM sign_in_codes s JOIN labelers l ON l.id = s.labeler_id "
            "WHERE s.code_hash = ? AND s.used_at IS NULL AND s.expires_at > ? "
            "AND NOT l.disabled", [_hash(code), now()])
        return None if row is None else _labeler(row)

    def redeem(self, code: str, lifetime: timedelta = SESSION_LIFETIME) -> str | None:
        """Trade a one-time code for a session token; None if used, expired or unknown."""
        with self._database.write() as db:
            row = db.conn.execute(
                "UPDATE sign_in_codes SET used_at = ? WHERE code_hash = ? AND used_at IS NULL "
                "AND expires_at > ? AND labeler_id IN (SELECT id FROM labelers WHERE NOT disabled)"
                " RETURNING labeler_id", [now(), _hash(code), now()]).fetchone()
            if row is None:
                return None
            token = secrets.token_urlsafe(32)
            self._database.insert("sessions", {
                "token_hash": _hash(token), "labeler_id": row["labeler_id"],
                "created_at": now(), "expires_at": now(lifetime)})
            return token

    def of_session(self, token: str) -> Labeler | None:
        """Who is signed in with this token; None if it ended, expired or the person is disabled."""
        row = self._database.row(
            "SELECT l.* FROM sessions s JOIN labelers l ON l.id = s.labeler_id "
            "WHERE s.token_hash = ? AND s.ended_at IS NULL AND s.expires_at > ? "
            "AND NOT l.disabled", [_hash(token), now()])
        return None if row is None else _labeler(row)

    def end_session(self, token: str) -> None:
        """Sign out."""
        with self._database.write() as db:
            db.conn.execute("UPDATE sessions SET ended_at = ? WHERE token_hash = ?",
                            [now(), _hash(token)])

    def _by_name(self, name: str) -> Labeler | None:
        row = self._database.row("SELECT * FROM labelers WHERE name = ?", [name])
        return None if row is None else _labeler(row)
