"""A backup that is restored stays so, nobody is signed in, and what it replaces is kept."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from data.database import copy_into_place
from data.errors import BadInput, PrefloopError
from data.restoring import restore
from data.store import Store

_WRITER = """
import sys, time
from pathlib import Path
from data.store import Store
store = Store(Path(sys.argv[1]))
store.put_setting("said", "after the backup")
print("written", flush=True)
time.sleep(600)
"""


def said(path: Path) -> str:
    store = Store(path)
    try:
        return str(store.setting("said"))
    finally:
        store.database.connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that says "before the backup", of which `today.db` is one."""
    store = Store(tmp_path / "prefloop.db")
    store.put_setting("said", "before the backup")
    store.database.backup(tmp_path / "today.db")
    store.database.connection.close()  # which folds the write-ahead log into the file
    return store.database.path


@pytest.fixture
def killed(path: Path) -> Path:
    """The same with what a killed process wrote since, which is in the write-ahead log alone."""
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)],
                          stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"written\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert path.with_name("prefloop.db-wal").stat().st_size > 0
    return path


def test_what_a_killed_process_left_in_the_log_does_not_come_back(killed: Path) -> None:
    kept = restore(killed, killed.with_name("today.db"))
    assert kept == killed.with_name("prefloop.db.before-restore-1")
    assert (said(killed), said(kept)) == ("before the backup", "after the backup")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_backup_may_have_a_name_that_is_no_text(path: Path) -> None:
    backup = path.with_name(os.fsdecode(b"today-\xff.db"))
    path.with_name("today.db").rename(backup)
    restore(path, backup)
    assert next(iter(Store(path).audit.entries())).subject == "today-⟨DCFF⟩.db"


def test_a_backup_is_one_file_that_can_be_read_where_nothing_can_be_written(
        path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = path.with_name("today.db")
    assert backup.read_bytes()[18:20] == b"\1\1"  # SQLite's header: 2 is a log beside it
    with closing(sqlite3.connect(backup)) as old:  # as older ones are
        old.execute("PRAGMA journal_mode = WAL")
    assert backup.read_bytes()[18:20] == b"\2\2"
    folder = path.with_name("a disk?mode=rwc #1 %20")
    folder.mkdir()
    there = backup.rename(folder / "today.db")
    asked = []
    connect = sqlite3.connect

    def listening(database: object, *options: object, **more: bool) -> sqlite3.Connection:
        asked.append(str(database))
        return connect(database, *options, **more)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr("data.restoring.sqlite3.connect", listening)
    there.chmod(0o444)
    folder.chmod(0o555)
    restore(path, there)
    folder.chmod(0o755)
    assert said(path) == "before the backup"
    assert asked[0].endswith("/today.db?mode=ro&immutable=1")  # root may write anywhere
    assert [*folder.iterdir()] == [there]


def test_of_a_backup_that_was_written_to_the_log_is_read_too(
        killed: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.db"
    restore(target, killed)
    assert said(target) == "after the backup"


def test_a_second_restore_keeps_what_the_first_one_kept(killed: Path) -> None:
    first = restore(killed, killed.with_name("today.db"))
    assert first is not None
    second = restore(killed, first)
    assert second == killed.with_name("prefloop.db.before-restore-2")
    assert (said(killed), said(second)) == ("after the backup", "before the backup")
    assert said(first) == "after the backup"


def test_nothing_is_restored_beneath_a_program_that_has_it_open(
        path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it saved meanwhile would be lost, and in no copy of what was there."""
    monkeypatch.setattr("data.restoring._PATIENCE", 0.0)
    store = Store(path)
    store.put_setting("said", "after the backup")
    with pytest.raises(PrefloopError, match="is open in another program, and nothing was changed"):
        restore(path, path.with_name("today.db"))
    assert sorted(left.name for left in path.parent.glob("*.db*")) == [
        "prefloop.db", "prefloop.db-shm", "prefloop.db-wal", "today.db"]
    store.database.connection.close()
    assert said(path) == "after the backup"
    restore(path, path.with_name("today.db"))
    assert said(path) == "before the backup"


def test_while_it_is_restored_nobody_reads_or_writes(
        path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shut_out = []

    def listening(source: sqlite3.Connection, target: Path) -> None:
        copy_into_place(source, target)
        if target.name != "prefloop.db.before-restore-1":
            return
        with closing(sqlite3.connect(path, timeout=0)) as other:
            for statement in ("SELECT * FROM settings", "DELETE FROM settings"):
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute(statement)
                shut_out.append(statement)

    monkeypatch.setattr("data.restoring.copy_into_place", listening)
    restore(path, path.with_name("today.db"))
    assert len(shut_out) == 2 and said(path) == "before the backup"


@pytest.mark.parametrize("is_there", [True, False])
def test_nobody_is_signed_in_afterwards(path: Path, is_there: bool) -> None:
    """The backup does not know which sessions have ended, and which links were used, since."""
    store = Store(path)
    ann = store.people.add("Ann")
    token, link = store.people.sessions.start(ann.id), store.people.create_code(ann.id)
    backup = path.with_name("today.db")
    store.database.backup(backup)
    store.people.sessions.end_all(ann.id)
    store.people.redeem(link)
    store.database.connection.close()
    if not is_there:
        path.unlink()
    restore(path, backup)
    store = Store(path)
    assert store.people.of_session(token) is None and store.people.redeem(link) is None
    assert not store.people.sessions.of(ann.id)
    entry, *_ = store.audit.entries()
    assert (entry.action, entry.subject, entry.labeler_id) == ("restore database", "today.db", None)
    assert store.people.redeem(store.people.create_code(ann.id))


def test_what_a_killed_restore_left_is_not_read_on_top_of_the_next(killed: Path) -> None:
    for end in ("", "-wal", "-shm"):
        shutil.copy(f"{killed}{end}", f"{killed}.restoring{end}")
    restore(killed, killed.with_name("today.db"))
    assert said(killed) == "before the backup" and not [*killed.parent.glob("*.restoring*")]


def test_a_database_that_cannot_be_opened_is_moved_aside(path: Path) -> None:
    there = b"not a database, just a long enough text" * 50
    path.write_bytes(there)
    kept = restore(path, path.with_name("today.db"))
    assert kept == path.with_name("prefloop.db.before-restore-1") and kept.read_bytes() == there
    assert said(path) == "before the backup" and path.stat().st_mode & 0o777 == 0o600


def test_the_log_of_a_database_that_is_gone_is_moved_aside(killed: Path) -> None:
    """Beside another file of that name, it would be read on top of it."""
    killed.unlink()
    kept = restore(killed, killed.with_name("today.db"))
    assert kept is not None and kept.with_name(kept.name + "-wal").is_file()
    assert said(killed) == "before the backup"
    again = restore(killed, killed.with_name("today.db"))  # the log has taken the first name
    assert again == killed.with_name("prefloop.db.before-restore-2")


def test_where_nothing_was_nothing_is_kept(path: Path) -> None:
    path.unlink()
    assert restore(path, path.with_name("today.db")) is None
    assert said(path) == "before the backup"


def damaged(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (size - 3 * 4096))


def other(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE notes (text TEXT)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
                   "VALUES ('prefloop', 'm999_from_the_future', 'tomorrow')")


@pytest.mark.parametrize(("spoil", "error", "words"), [
    (lambda file: file.write_bytes(b""), BadInput, "no database of prefloop"),
    (lambda file: file.write_bytes(b"just some text" * 500), BadInput, "no database"),
    (lambda file: file.unlink(), BadInput, "there is no file"),
    (damaged, BadInput, "is damaged"), (other, BadInput, "no database of prefloop"),
    (newer, PrefloopError, "newer prefloop")])
def test_what_is_no_good_backup_changes_nothing(path: Path, spoil, error: type[Exception],
                                                words: str) -> None:
    backup = path.with_name("today.db")
    spoil(backup)
    with pytest.raises(error, match=words):
        restore(path, backup)
    assert said(path) == "before the backup" and not [*path.parent.glob("*restore*")]


def test_a_database_is_not_restored_from_itself(path: Path) -> None:
    with pytest.raises(BadInput, match="itself"):
        restore(path, path.parent / "." / "prefloop.db")


def test_what_fails_half_way_leaves_the_database_and_no_copy(
        path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("data.restoring.copy_into_place", full)
    with pytest.raises(PrefloopError, match="disk is full"):
        restore(path, path.with_name("today.db"))
    assert said(path) == "before the backup" and not [*path.parent.glob("*restore*")]
