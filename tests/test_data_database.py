"""Transactions: one thread after the other, and how much each is worth to the disk."""

import os
import sqlite3
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from data_world import World
from desk_world import Person, entry, pairs, send, undo

from data import migrations
from data.database import Database, plain_errors
from data.errors import PrefloopError
from data.records import Answer

_FULL, _NORMAL = 2, 1


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "prefloop.db")


def test_every_migration_is_applied_in_the_order_of_their_numbers(database: Database) -> None:
    files = Path(next(iter(migrations.__path__))).glob("m*.py")
    assert sorted(path.stem for path in files) == [row["name"] for row in database.rows(
        "SELECT name FROM _sqlite_migrations ORDER BY id")]


def test_what_need_not_survive_a_power_cut_is_the_exception(database: Database) -> None:
    def synchronous() -> int:
        return int(database.value("PRAGMA synchronous"))

    assert synchronous() == _FULL
    with database.write(durable=False):
        assert synchronous() == _NORMAL
    assert synchronous() == _FULL
    with pytest.raises(ZeroDivisionError), database.write(durable=False):
        raise ZeroDivisionError
    assert synchronous() == _FULL
    with database.write():
        with database.write(durable=False):
            assert synchronous() == _FULL  # the outer transaction says how
        assert database.connection.conn.in_transaction


def test_whatever_was_answered_survives_a_power_cut(world: World, me: Person) -> None:
    """An answer, its undo and a decision are each committed as durably as can be."""
    pairs(world, 3)
    mine, said = me.desk(), list[str]()
    question = mine.view()["question"]
    world.store.database.connection.conn.set_trace_callback(said.append)
    send(mine, entry(question))
    send(mine, undo(question))
    lead, task = world.store.people.add("Lead", "lead"), world.task()
    world.store.decisions.decide(lead.id, task.id, Answer((task.response_ids,), 0), "key")
    assert _synchronous_at_commits_of_answers(said) == ["FULL"] * 3


def _synchronous_at_commits_of_answers(statements: list[str]) -> list[str]:
    """What was in force as each transaction ended that had written a comparison."""
    found, in_force, has_answer = [], "FULL", False
    for statement in statements:
        if statement.startswith("PRAGMA synchronous"):
            in_force = statement.split()[-1]
        elif statement.startswith("BEGIN"):
            has_answer = False
        elif statement.startswith("INSERT INTO comparisons "):
            has_answer = True
        elif statement == "COMMIT" and has_answer:
            found.append(in_force)
    return found


def test_threads_wait_for_their_turn_and_say_so_when_it_does_not_come(
        database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.database.BUSY_SECONDS", 0.05)
    writing, done = threading.Event(), threading.Event()

    def write_for_long() -> None:
        with database.write():
            writing.set()
            done.wait(30)

    thread = threading.Thread(target=write_for_long)
    thread.start()
    writing.wait(30)
    with pytest.raises(PrefloopError, match="held the database locked"), database.write():
        pass
    assert database.value("SELECT count(*) FROM settings") == 0  # readers never wait
    done.set()
    thread.join()
    with database.write() as db:
        db.conn.execute("INSERT INTO settings VALUES ('key', '1')")
    assert database.value("SELECT count(*) FROM settings") == 1


def test_a_backup_is_private_while_it_is_written(database: Database, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    partial, replace, modes = tmp_path / "copy.db.partial", Path.replace, []
    partial.write_text("left by a killed one, for all to read")
    partial.chmod(0o644)

    def look(path: Path, target: Any) -> Path:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", look)
    database.backup(tmp_path / "copy.db")
    assert modes == [0o600]
    assert Database(tmp_path / "copy.db").value("SELECT count(*) FROM settings") == 0


def test_where_there_is_no_room_for_sqlites_own_files_the_disk_is_said_to_be_full(
        database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls that an I/O error, already of the first read."""
    def fails() -> str:
        with pytest.raises(PrefloopError) as found, plain_errors(database.path):
            raise sqlite3.OperationalError("disk I/O error")
        return str(found.value)

    monkeypatch.setattr("data.database.shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    assert fails().endswith("the disk is full, nothing was saved; free some space and try again")
    monkeypatch.setattr("data.database.shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    assert fails().endswith("the disk reports an error, nothing was saved")


@pytest.mark.parametrize("error", ["attempt to write a readonly database",
                                   "unable to open database file"])
def test_a_folder_that_cannot_be_written_is_named_also_to_those_who_only_read(
        database: Database, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says of another user's workspace, and of one on a read-only disk; root is refused
    nowhere, so the look at the permissions is told so."""
    monkeypatch.setattr("data.database.os.access", lambda _, mode: mode == os.R_OK)
    with (pytest.raises(PrefloopError, match=r"written to its folder.*copy the workspace"),
          plain_errors(database.path)):
        raise sqlite3.OperationalError(error)


def test_a_log_that_was_removed_while_it_was_written_to_is_named(
        database: Database) -> None:
    """By somebody who tidied up while prefloop was running."""
    database.insert("settings", {"key": "k", "value": "1"})
    database.path.with_name("prefloop.db-wal").unlink()
    with pytest.raises(PrefloopError, match=r"prefloop\.db-wal was removed .* with Ctrl-C"):
        Database(database.path)
