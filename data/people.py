"""Labelers, their one-time sign-in codes and e-mail addresses. Only hashes of codes are stored."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any
from unicodedata import normalize

from data.database import Database, now
from data.errors import BadInput, NotFound
from data.plain_json import to_json
from data.records import KINDS_OF_LABELER, ROLES, Labeler
from data.sessions import Sessions, hashed
from data.settings import put_setting, setting

CODE_LIFETIME = timedelta(days=7)
LONGEST_NAME = 80
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+", re.ASCII)
_DOMAINS = "sign_in_domains"


def _labeler(row: sqlite3.Row) -> Labeler:
    return Labeler(row["id"], row["name"], row["kind"], row["role"], bool(row["disabled"]),
                   json.loads(row["config"]), row["created_at"], row["set_aside_at"])


def state_of(labeler: Labeler) -> str:
    """Whether they may come in and whether their answers count: `active` is both."""
    limits = (["disabled"] if labeler.disabled else []) + (
        [] if labeler.set_aside_at is None else ["set aside"])
    return ", ".join(limits) or "active"


def _address(text: str) -> str:
    """A text as the e-mail address that it is; empty where it is none."""
    address = text.strip().lower()
    local, _, domain = address.rpartition("@")
    sound = local and address.isprintable() and " " not in address and "@" not in local \
        and _DOMAIN.fullmatch(domain)
    return address if sound else ""


def alike(name: str) -> str:
    """What names have in common that nobody could tell apart: differing in case or spaces only."""
    return normalize("NFKC", " ".join(name.split())).casefold()


def sign_in_address(labeler: Labeler) -> str:
    """The address that signs somebody in: which they were given, or else by which they are called;
    empty where there is none."""
    given = labeler.config.get("email")
    return str(given) if given is not None else _address(labeler.name)


class People:
    """Who may sign in, and who answered what."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.sessions = Sessions(database)

    def add(self, name: str, role: str = "labeler", kind: str = "human",
            config: dict[str, Any] | None = None) -> Labeler:
        """Add a labeler; `config["email"]` lets them sign in through the organisation's own page.

        Raises:
            BadInput: empty, overlong or taken name (for people, also one that differs from
                another's in case or spaces only), unknown role or kind, unusable address.
        """
        name = " ".join(name.split())
        if not name:
            raise BadInput("name: give one")
        if len(name) > LONGEST_NAME:
            raise BadInput(f"name: at most {LONGEST_NAME} characters, and this has {len(name):,}")
        if not name.isprintable():
            raise BadInput(f"name: {name!r} holds characters that do not print")
        if role not in ROLES:
            raise BadInput(f"role: {role!r} is none of {', '.join(ROLES)}")
        if kind not in KINDS_OF_LABELER:
            raise BadInput(f"kind: {kind!r} is none of {', '.join(KINDS_OF_LABELER)}")
        if (other := self._taken(name, kind)) is not None:
            raise BadInput(f"name: there is already a labeler called {other!r}" + (
                "" if other == name else ": names must differ in more than capital letters"))
        config = dict(config or {})
        if config.get("email"):
            config["email"] = self._free_email(str(config["email"]), None)
        new = self._database.insert("labelers", {
            "name": name, "role": role, "kind": kind, "config": config, "created_at": now()})
        return self.get(new)

    def get(self, labeler_id: int) -> Labeler:
        """One labeler. Raises NotFound."""
        row = self._database.row("SELECT * FROM labelers WHERE id = ?", [labeler_id])
        if row is None:
            raise NotFound(f"there is no labeler {labeler_id}")
        return _labeler(row)

    def named(self, name: str) -> Labeler:
        """The labeler of that name. Raises NotFound, with the nearest name that there is."""
        found = self._by_name(name)
        if found is None:
            names = {labeler.name.casefold(): labeler.name for labeler in self.all()}
            near = get_close_matches(name.casefold(), names, 1, cutoff=0.8)
            raise NotFound(f"there is no labeler called {name!r}"
                           + (f"; did you mean {names[near[0]]!r}?" if near else ""))
        return found

    def all(self, kind: str | None = None) -> list[Labeler]:
        """Every labeler, or those of one kind, oldest first."""
        return [_labeler(row) for row in self._database.rows(
            "SELECT * FROM labelers WHERE ? IS NULL OR kind = ? ORDER BY id", [kind, kind])]

    def set_disabled(self, labeler_id: int, disabled: bool) -> bool:
        """Disable (and sign out everywhere) or enable a labeler; their answers stay. Returns
        whether that is a change."""
        self.get(labeler_id)
        with self._database.write() as db:
            if disabled:
                self.sessions.end_all(labeler_id)
            return db.conn.execute(
                "UPDATE labelers SET disabled = ? WHERE id = ? AND disabled <> ?",
                [int(disabled), labeler_id, int(disabled)]).rowcount > 0

    def set_aside(self, labeler_id: int, aside: bool) -> bool:
        """Let a labeler's answers, also those to come, count no longer, or all of them count again.

        No answer is touched: `counted_comparisons` leaves out whoever is set aside, and the tasks
        that they answered have a label less in the same moment. Returns whether that is a change.
        """
        self.get(labeler_id)
        with self._database.write() as db:
            return db.conn.execute(
                "UPDATE labelers SET set_aside_at = ? WHERE id = ? AND (set_aside_at IS NULL) = ?",
                [now() if aside else None, labeler_id, int(aside)]).rowcount > 0

    def set_role(self, labeler_id: int, role: str) -> None:
        """Change what a person may do, from their next click on.

        Raises:
            BadInput: there is no such role, or they are no human.
        """
        if self.get(labeler_id).kind != "human":
            raise BadInput("role: only people have one")
        if role not in ROLES:
            raise BadInput(f"role: {role!r} is none of {', '.join(ROLES)}")
        with self._database.write() as db:
            db.conn.execute("UPDATE labelers SET role = ? WHERE id = ?", [role, labeler_id])

    def set_email(self, labeler_id: int, email: str) -> None:
        """Let a person sign in with this address alone; empty lets them with none, not even where
        they are called by one. The address before is taken back: see `was_taken_back`.

        Raises:
            BadInput: it is no address, or somebody else's.
        """
        address = self._free_email(email, labeler_id) if email.strip() else ""
        with self._database.write() as db:
            person = self.get(labeler_id)
            taken_back = {*person.config.get("taken_back", ()), sign_in_address(person)}
            config = {**person.config, "email": address,
                      "taken_back": sorted(taken_back - {address, ""})}
            db.conn.execute("UPDATE labelers SET config = ? WHERE id = ?",
                            [to_json(config), labeler_id])

    def of_email(self, email: str) -> Labeler | None:
        """Whom an address signs in: who was given it, or else who is called by it and was given
        none."""
        address = email.strip().lower()
        if not address:
            return None
        row = self._database.row(
            "SELECT * FROM labelers WHERE kind = 'human' AND "
            "coalesce(json_extract(config, '$.email'), lower(name)) = ? "
            "ORDER BY json_extract(config, '$.email') IS NULL, id", [address])
        return None if row is None else _labeler(row)

    def was_taken_back(self, email: str) -> bool:
        """Whether an address was somebody's way in, and is so no more: nobody may join by it, or
        whoever a lead keeps out would come back under another name."""
        return self._database.row(
            "SELECT 1 FROM labelers, json_each(config, '$.taken_back') AS taken "
            "WHERE taken.value = ?", [email.strip().lower()]) is not None

    def domains(self) -> tuple[str, ...]:
        """Whoever has an address there may join as a labeler by signing in; none by default."""
        return tuple(setting(self._database, _DOMAINS, ()))

    def set_domains(self, domains: Sequence[str]) -> None:
        """Allow these domains, and no others.

        Raises:
            BadInput: one is no domain name.
        """
        found = tuple(dict.fromkeys(domain.strip().lower().removeprefix("@")
                                    for domain in domains if domain.strip()))
        for domain in found:
            if not _DOMAIN.fullmatch(domain):
                raise BadInput(f"domains: {domain!r} is no domain name such as example.org")
        put_setting(self._database, _DOMAINS, found)

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
                "code_hash": hashed(code), "labeler_id": labeler_id, "created_at": now(),
                "expires_at": now(lifetime)})
        return code

    def of_code(self, code: str) -> Labeler | None:
        """Whom a one-time code would sign in, without using it up (a link preview must not)."""
        row = self._database.row(
            "SELECT l.* FROM sign_in_codes s JOIN labelers l ON l.id = s.labeler_id "
            "WHERE s.code_hash = ? AND s.used_at IS NULL AND s.expires_at > ? "
            "AND NOT l.disabled", [hashed(code), now()])
        return None if row is None else _labeler(row)

    def redeem(self, code: str, lifetime: timedelta | None = None) -> str | None:
        """Trade a one-time code for a session token; None if used, expired or unknown."""
        with self._database.write() as db:
            row = db.conn.execute(
                "UPDATE sign_in_codes SET used_at = ? WHERE code_hash = ? AND used_at IS NULL "
                "AND expires_at > ? AND labeler_id IN (SELECT id FROM labelers WHERE NOT disabled)"
                " RETURNING labeler_id", [now(), hashed(code), now()]).fetchone()
            return None if row is None else self.sessions.start(row["labeler_id"], lifetime)

    def of_session(self, token: str) -> Labeler | None:
        """Who is signed in with this token; None if it ended, expired or the person is disabled."""
        row = self.sessions.person_of(token)
        return None if row is None else _labeler(row)

    def end_session(self, token: str) -> None:
        """Sign out."""
        self.sessions.end(token)

    def sign_everybody_out(self) -> None:
        """End every session, and let no sign-in link of before work."""
        with self._database.write() as db:
            db.conn.execute("UPDATE sessions SET ended_at = ? WHERE ended_at IS NULL", [now()])
            db.conn.execute("UPDATE sign_in_codes SET expires_at = ? WHERE used_at IS NULL "
                            "AND expires_at > ?", [now(), now()])

    def _free_email(self, email: str, of: int | None) -> str:
        address = _address(email)
        if not address:
            raise BadInput(f"email: {email!r} is no e-mail address")
        other = self.of_email(address)
        if other is not None and other.id != of:
            raise BadInput(f"email: {address} belongs to {other.name}")
        return address

    def _taken(self, name: str, kind: str) -> str | None:
        """The name that stands in the way of a new one.

        Others than people need only differ in any way: they are marked wherever they show, and a
        file may name two annotators who differ in case.
        """
        if kind != "human":
            found = self._by_name(name)
            return None if found is None else found.name
        return next((row["name"] for row in self._database.rows("SELECT name FROM labelers")
                     if alike(row["name"]) == alike(name)), None)

    def _by_name(self, name: str) -> Labeler | None:
        row = self._database.row("SELECT * FROM labelers WHERE name = ?", [name])
        return None if row is None else _labeler(row)
