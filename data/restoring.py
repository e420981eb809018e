"""Putting a backup in the place of a workspace's database, with what was there kept beside it, and
the adapters that the backup knows nothing of.

Through SQLite, into the file that is there: its write-ahead log would else be read on top of the
backup, and undo it. A file that SQLite cannot open is moved aside, its log with it.

Nobody is signed in afterwards, and no sign-in link of before works: the backup does not know which
have been ended or used since.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

from sqlite_utils import Database as SqliteUtils

from data.database import BUSY_SECONDS, copy_into_place, plain_errors, refuse_newer
from data.errors import BadInput, PrefloopError
from data.store import Store
from data.versions import Versions
from data.visible import reveal_line

_PATIENCE = 2.0  # seconds; another command may have the database open for an instant
#: What SQLite keeps beside a database while it is open, and after a kill.
_BESIDE = ("", "-wal", "-shm")


def restore(path: Path, backup: Path) -> Path | None:
    """Make a database what a backup holds; returns where what was there is kept, if anything was.

    Until the backup is found to be good nothing is changed, and then all at once. It is brought up
    to date where an older prefloop wrote it, and its audit log says that it was restored.

    Raises:
        BadInput: the backup is no database of prefloop, a damaged one, or the database itself.
        PrefloopError: the backup was written by a newer prefloop, another program has the database
            open, or a file cannot be written.
    """
    if path.exists() and backup.exists() and path.samefile(backup):
        raise BadInput(f"{backup} is the workspace's database itself: give a backup")
    with _opened(backup) as source, plain_errors(path):
        kept = _beside(path, free_ending(path.parent))
        with _ready(source, reveal_line(backup.name), _beside(path, ".restoring")) as ready:
            if not _replaced(path, ready, kept):
                _move_aside(path, kept)
                ready.rename(path)
    return kept if any(_beside(kept, end).exists() for end in _BESIDE) else None


def set_adapters_aside(adapters: Path, versions: Versions, ending: str) -> Path | None:
    """Move the adapters that no version names into a folder beside theirs; returns it, if there
    were any. The names of versions come again, and what is trained then would take their place.

    Raises:
        PrefloopError: one cannot be moved.
    """
    paths = (*(version.path for version in versions.policies()),
             *(version.path for version in versions.reward_models()))
    named = {adapters.parent / path for path in paths if path}
    with plain_errors(adapters):
        unnamed = sorted(path for path in adapters.glob("[!.]*") if path not in named)
        if not unnamed:
            return None
        aside = _beside(adapters, ending)
        aside.mkdir(mode=0o700)
        for path in unnamed:
            shutil.move(path, aside / path.name)
    return aside


def free_ending(folder: Path) -> str:
    """What the next restore puts after the names of what it keeps: `.before-restore-1`, or the next
    number that nothing in the folder bears."""
    endings = (f".before-restore-{number}" for number in count(1))
    return next(ending for ending in endings
                if not any(folder.glob(f"*{ending}")) and not any(folder.glob(f"*{ending}-*")))


@contextmanager
def _opened(backup: Path) -> Iterator[sqlite3.Connection]:
    """A backup that was looked at from end to end."""
    if not backup.is_file():
        raise BadInput(f"there is no file {backup}")
    with plain_errors(backup), closing(sqlite3.connect(
            _read_only(backup), BUSY_SECONDS, uri=True)) as source:
        try:
            refuse_newer(SqliteUtils(source, execute_plugins=False), backup)
            if not _is_ours(source):
                raise BadInput(f"{backup} is no database of prefloop")
            whole = source.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
        except sqlite3.DatabaseError as error:
            if not _is_damaged(error):
                raise
            whole = False
        if not whole:
            raise BadInput(f"{backup} is damaged, or no database: give another backup")
        yield source


def _read_only(backup: Path) -> str:
    """How SQLite is asked to open a backup without writing beside it, as the disk may be read-only:
    a file that nobody writes to, where no log of one who did lies beside it."""
    logged = any(_beside(backup, end).exists() for end in ("-wal", "-journal"))
    return f"{backup.absolute().as_uri()}?mode={'rw' if logged else 'ro&immutable=1'}"


def _is_ours(source: sqlite3.Connection) -> bool:
    tables = {row[0] for row in source.execute("SELECT name FROM sqlite_master")}
    return {"_sqlite_migrations", "comparisons", "policy_versions"} <= tables


@contextmanager
def _ready(source: sqlite3.Connection, name: str, ready: Path) -> Iterator[Path]:
    """A copy of a backup of that name as it is to be used, removed if nobody takes it away."""
    _remove(ready)  # a killed one's log would be read on top of it
    try:
        copy_into_place(source, ready)
        store = Store(ready)
        with store.database.write():
            store.people.sign_everybody_out()
            store.audit.record(None, "restore database", name)
        store.database.connection.close()  # folds the write-ahead log into the file
        yield ready
    finally:
        _remove(ready)


def _replaced(path: Path, ready: Path, kept: Path) -> bool:
    """Copy the database to where it is kept, and the backup over it; False, and nothing is changed,
    where there is none that SQLite could open."""
    if not path.exists():
        return False
    with (closing(sqlite3.connect(path, _PATIENCE, isolation_level=None)) as live,
          closing(sqlite3.connect(ready)) as source):
        try:
            _shut_out_others(live, path)
            copy_into_place(live, kept)
            source.backup(live)
        except BaseException as error:
            kept.unlink(missing_ok=True)
            if isinstance(error, sqlite3.DatabaseError) and _is_damaged(error):
                return False
            raise
    return True


def _shut_out_others(live: sqlite3.Connection, path: Path) -> None:
    """Let no other program read or write a database until the connection is closed: what one wrote
    after it was copied would be lost.

    Raises:
        PrefloopError: another one has it open, such as the app, which does so as long as it runs.
    """
    live.execute("PRAGMA locking_mode = EXCLUSIVE")
    try:
        live.execute("BEGIN EXCLUSIVE")
        live.execute("COMMIT")  # the lock stays
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise PrefloopError(f"{path} is open in another program, and nothing was changed: end "
                            "`prefloop up`, or what else has it open, and restore then") from None


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether an error is of what a file holds, and not of the disk, a lock or permissions."""
    return not isinstance(error, sqlite3.OperationalError)


def _move_aside(path: Path, kept: Path) -> None:
    for end in _BESIDE:
        if _beside(path, end).exists():
            _beside(path, end).rename(_beside(kept, end))


def _remove(path: Path) -> None:
    for end in _BESIDE:
        _beside(path, end).unlink(missing_ok=True)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)
