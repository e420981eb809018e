"""Who is signed in, for how long. Only hashes of the tokens are stored.

A session ends at sign-out, when its person is disabled, after a set time, and after a set time
without use. A page that refreshes by itself is no use: the caller says what is.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from data.database import Database, now
from data.errors import BadInput
from data.settings import put_setting, setting

#: Use is written down at most this often: it is asked at every click, by many people at once.
SEEN_EVERY = timedelta(minutes=1)
_SETTING = "sessions"


def hashed(secret: str) -> str:
    """What is stored of a code or a token.

    They are 256 random bits, so a fast hash is enough: there is nothing to guess. Looking a hash
    up takes no time that tells anything of the secret.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class SessionRules:
    """How long people stay signed in; a lead sets it per workspace.

    Open sessions take a shorter lifetime at once, and a longer one never: whoever signed in was
    promised an end, and a stranger who holds a session should not gain by the change. The idle
    time holds for all as it is.

    Raises:
        BadInput: a field is out of its bounds; the message names it.
    """

    lifetime_days: int = 14
    """A session ends so long after signing in at the latest, whatever happens."""
    idle_hours: int = 120
    """A session ends when it was not used for so long."""

    def __post_init__(self) -> None:
        for name, high in (("lifetime_days", 365), ("idle_hours", 365 * 24)):
            if not 1 <= getattr(self, name) <= high:
                raise BadInput(f"{name}: must lie from 1 to {high}, not {getattr(self, name)}")

    @property
    def lifetime(self) -> timedelta:
        """The same as a duration."""
        return timedelta(days=self.lifetime_days)

    @property
    def idle(self) -> timedelta:
        """The same as a duration."""
        return timedelta(hours=self.idle_hours)


@dataclass(frozen=True)
class Session:
    """One place where a person is signed in."""

    created_at: str
    seen_at: str
    ends_at: str
    """When it ends however much it is used."""
    is_this: bool = False
    """Whether it is the session of the token that was asked with."""


class Sessions:
    """The sessions of a workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rules(self) -> SessionRules:
        """The rules in force."""
        return SessionRules(**setting(self._database, _SETTING, {}))

    def set_rules(self, rules: SessionRules) -> None:
        """Put rules in force; see `SessionRules` for the sessions that are open."""
        put_setting(self._database, _SETTING, asdict(rules))

    def start(self, labeler_id: int, lifetime: timedelta | None = None) -> str:
        """A new session's token; `lifetime` can only make it shorter than the rules do."""
        token = secrets.token_urlsafe(32)
        created = now()
        self._database.insert("sessions", {
            "token_hash": hashed(token), "labeler_id": labeler_id, "created_at": created,
            "seen_at": created,
            "expires_at": now(self.rules().lifetime if lifetime is None else lifetime)})
        return token

    def person_of(self, token: str) -> sqlite3.Row | None:
        """The labeler's row, if the session lives and the person is not disabled."""
        row = self._database.row(
            "SELECT l.*, s.created_at AS started_at, s.seen_at, s.expires_at "
            "FROM sessions s JOIN labelers l ON l.id = s.labeler_id "
            "WHERE s.token_hash = ? AND s.ended_at IS NULL AND NOT l.disabled",
            [hashed(token)])
        return row if row is not None and _lives(row, self.rules()) else None

    def used(self, token: str) -> None:
        """Note that somebody acts in this session; written at most every `SEEN_EVERY`."""
        row = self.person_of(token)
        if row is not None and row["seen_at"] < now(-SEEN_EVERY):
            with self._database.write() as db:
                db.conn.execute("UPDATE sessions SET seen_at = ? WHERE token_hash = ?",
                                [now(), hashed(token)])

    def end(self, token: str) -> None:
        """Sign out."""
        with self._database.write() as db:
            db.conn.execute("UPDATE sessions SET ended_at = ? WHERE token_hash = ? "
                            "AND ended_at IS NULL", [now(), hashed(token)])

    def end_all(self, labeler_id: int) -> int:
        """Sign a person out everywhere; returns how many sessions that ended."""
        ended = len(self.of(labeler_id))
        with self._database.write() as db:
            db.conn.execute("UPDATE sessions SET ended_at = ? WHERE labeler_id = ? "
                            "AND ended_at IS NULL", [now(), labeler_id])
        return ended

    def of(self, labeler_id: int, token: str = "") -> list[Session]:
        """Where a person is signed in, newest first; `token` tells which of them is here."""
        rules = self.rules()
        rows = self._database.rows(
            "SELECT created_at AS started_at, seen_at, expires_at, token_hash = ? AS is_this "
            "FROM sessions WHERE labeler_id = ? AND ended_at IS NULL ORDER BY created_at DESC",
            [hashed(token), labeler_id])
        return [Session(row["started_at"], row["seen_at"], _end(row, rules).isoformat(),
                        bool(row["is_this"]))
                for row in rows if _lives(row, rules)]


def _end(row: sqlite3.Row, rules: SessionRules) -> datetime:
    """When a session ends however much it is used."""
    return min(datetime.fromisoformat(row["expires_at"]),
               datetime.fromisoformat(row["started_at"]) + rules.lifetime)


def _lives(row: sqlite3.Row, rules: SessionRules) -> bool:
    ends = min(_end(row, rules), datetime.fromisoformat(row["seen_at"]) + rules.idle)
    return ends > datetime.now(ends.tzinfo)
