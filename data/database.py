"""One SQLite file: a connection per thread, WAL, immediate transactions, errors in plain words.

Deliberately knows no table but the one that migrations keep.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlite_utils import Database as SqliteUtils

from data.errors import PrefloopError
from data.plain_json import to_json
from data.schema import migrations

BUSY_SECONDS = 30.0
_LEAST_FREE = 65_536  # bytes; SQLite wants half of it before it reads the first row
_RESTORE = "`prefloop restore FILE` puts a backup in its place"
_NO_FOLDER = ("nothing can be written to its folder, which SQLite has to do even to read it, and "
              "nothing was saved; check the folder's permissions, or copy the workspace to where "
              "you can write")


def now(after: timedelta = timedelta()) -> str:
    """The present (plus `after`) as ISO 8601 in UTC, with microseconds, so that text sorts."""
    return (datetime.now(UTC) + after).isoformat(timespec="microseconds")


def written_at(path: Path) -> str:
    """When a file, or what a folder lists, was last written, in the same form."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="microseconds")


class Database:
    """The file behind a workspace. Safe to share between threads, never between processes' forks.

    Raises:
        PrefloopError: the file is no database, read-only, locked for long, on a full disk, or
            written by a newer prefloop.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._writing = threading.Lock()
        with plain_errors(self.path):
            db = self.connection
            _enable_wal(db)
            refuse_newer(db, path)
            if migrations.pending(db):
                with self.write() as db:
                    migrations.apply(db)

    @property
    def connection(self) -> SqliteUtils:
        """This thread's connection (a sqlite3 connection belongs to the thread that made it)."""
        db: SqliteUtils | None = getattr(self._local, "db", None)
        if db is None:
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            # Without it, INSERT OR REPLACE deletes rows behind the back of the triggers.
            connection.execute("PRAGMA recursive_triggers = ON")
            # FULL: an answer that the page has called saved survives the machine's power cut too.
            connection.execute("PRAGMA synchronous = FULL")
            db = self._local.db = SqliteUtils(connection, execute_plugins=False)
        return db

    @contextmanager
    def write(self, durable: bool = True) -> Iterator[SqliteUtils]:
        """One immediate transaction, committed at the end of the block; nests into an outer one.

        Without `durable`, a power cut (not a kill) may undo it, as long as no durable one has
        followed: for what would be made anew just the same, at a fraction of the time.
        """
        with plain_errors(self.path):
            db = self.connection
            if db.conn.in_transaction:
                yield db
                return
            with self._turn():
                if not durable:
                    db.conn.execute("PRAGMA synchronous = NORMAL")
                try:
                    yield from self._transaction(db)
                finally:
                    if not durable:
                        db.conn.execute("PRAGMA synchronous = FULL")

    def _transaction(self, db: SqliteUtils) -> Iterator[SqliteUtils]:
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.conn.execute("COMMIT")
        except BaseException:
            # A full disk can end the transaction by itself.
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The threads of a process write one after the other.

        SQLite would let them sleep and look again, ever longer; a lock wakes the next at once.
        """
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise sqlite3.OperationalError("database is locked")
        try:
            yield
        finally:
            self._writing.release()

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with plain_errors(self.path):
            found: list[sqlite3.Row] = self.connection.conn.execute(sql, values).fetchall()
            return found

    def each(self, sql: str,
             values: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query one by one, all of the same moment, without holding them all."""
        with plain_errors(self.path):
            yield from self.connection.conn.execute(sql, values)

    def row(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with plain_errors(self.path):
            found: sqlite3.Row | None = self.connection.conn.execute(sql, values).fetchone()
            return found

    def value(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.row(sql, values)
        return None if row is None else row[0]

    def insert(self, table: str, values: dict[str, Any]) -> int:
        """Insert one row and return its id. Lists and dicts are stored as JSON."""
        stored = {k: to_json(v) if isinstance(v, list | dict | tuple) else v
                  for k, v in values.items()}
        with self.write() as db:
            names = ", ".join(stored)
            marks = ", ".join("?" * len(stored))
            cursor = db.conn.execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})", list(stored.values()))
            return int(cursor.lastrowid or 0)

    def backup(self, target: Path) -> None:
        """Copy a consistent state of the live database into `target`, for its owner alone to read,
        as the workspace's own is, from the first byte on."""
        with plain_errors(self.path):
            copy_into_place(self.connection.conn, target)


def copy_into_place(connection: sqlite3.Connection, target: Path) -> None:
    """Copy a database into a file that is its owner's alone, there whole or not at all."""
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)  # a killed one's may be open to others
        partial.touch(mode=0o600, exist_ok=False)
        copy = sqlite3.connect(partial)
        with copy:
            connection.backup(copy)
        # Without a log beside it: one file, that can be read where nothing can be written.
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def refuse_newer(db: SqliteUtils, path: Path) -> None:
    """Raise PrefloopError where a database has a migration that is not known here."""
    known = {m.name for m in migrations._migrations}
    unknown = [m.name for m in migrations.applied(db) if m.name not in known]
    if unknown:
        raise PrefloopError(
            f"{path} was written by a newer prefloop (it has migration {unknown[-1]}, "
            "which this version does not know): update prefloop, nothing was changed")


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """SQLite's and the disk's errors as a PrefloopError that names the file."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise PrefloopError(f"{path}: {_in_words(error, path)}") from error
    except OSError as error:
        raise PrefloopError(f"{path}: {error.strerror or error}") from error


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LEAST_FREE
    except OSError:
        return False


def _only_readable(path: Path) -> bool:
    """Whether a file can be read, and nothing be written beside it, as on a read-only disk."""
    return os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK)


def _enable_wal(db: SqliteUtils) -> None:
    """Switch to write-ahead logging. SQLite does not wait by itself where another connection is
    switching the same new file at the same moment, so we do."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.enable_wal()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _in_words(error: sqlite3.DatabaseError, path: Path) -> str:
    text = str(error)
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHORT_READ:
        return (f"{path.name}-wal was removed or cut short while the database was open, nothing "
                "was saved; end `prefloop up`, or what else has it open, with Ctrl-C and not with "
                "`kill -9`: what it still holds is then written back")
    if "disk I/O error" in text and _is_full(path.parent):
        text = "disk is full"  # SQLite does not say so where it has no room for an index of its log
    for fragment, words in (
        ("readonly", _NO_FOLDER if _only_readable(path) else
         "the database is read-only, nothing was saved; check the file's permissions"),
        ("disk is full", "the disk is full, nothing was saved; free some space and try again"),
        ("disk I/O error", "the disk reports an error, nothing was saved"),
        ("locked", "another program has held the database locked for too long; try again"),
        ("unable to open", _NO_FOLDER if _only_readable(path) else
         "the database cannot be opened; check the folder and its permissions"),
        ("not a database", f"this file is not a SQLite database; {_RESTORE}"),
        ("malformed", f"the database file is damaged; {_RESTORE}"),
    ):
        if fragment in text:
            return words
    return text
