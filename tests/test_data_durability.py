"""An acknowledged label is never lost: threads, kills, full and read-only disks, backups."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from data_world import World

from data.database import Database
from data.errors import PrefloopError
from data.records import Answer
from data.store import Store

THREADS, ANSWERS = 8, 40


def fill(world: World, tasks: int, wanted: int = 1) -> None:
    with world.store.database.write():
        for _ in range(tasks):
            world.task(wanted=wanted)


def check_whole(path: Path) -> None:
    """The file is sound, and every table says the same as every other."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute(
        "SELECT count(*) FROM comparisons c WHERE verdict = 'ranked' AND (SELECT count(*) "
        "FROM preferences p WHERE p.comparison_id = c.id) <> 1").fetchone() == (0,)
    assert db.execute(
        "SELECT count(*) FROM tasks t WHERE labels <> (SELECT count(*) FROM current_comparisons c "
        "WHERE c.task_id = t.id)").fetchone() == (0,)
    db.close()


def test_labelers_in_parallel_lose_nothing_while_a_trainer_reads(world: World) -> None:
    fill(world, ANSWERS * 4, wanted=THREADS // 2)  # enough that nobody runs out
    people = world.people(THREADS)
    saved: list[str] = []
    failures: list[BaseException] = []
    finished = threading.Event()
    seen: list[int] = []

    def label(index: int) -> None:
        try:
            rng = random.Random(index)
            for _ in range(ANSWERS):
                assignment = world.store.assignments.next_for(people[index].id)
                assert assignment is not None
                ranking = tuple((i,) for i in rng.sample(assignment.shown, 2))
                key = f"{index}/{assignment.task.id}"
                world.store.comparisons.submit(
                    people[index].id, assignment.task, Answer(ranking), key)
                saved.append(key)
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        try:
            while not finished.is_set():
                answers = world.store.comparisons.current()
                pairs = world.store.comparisons.preferences()
                assert len(pairs) >= len(answers)
                seen.append(len(answers))
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    threads = [threading.Thread(target=label, args=(i,)) for i in range(THREADS)]
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    finished.set()
    reader.join()
    assert failures == []
    assert seen == sorted(seen) and len(seen) > 1
    stored = [c.submission_key for c in world.store.comparisons.current()]
    assert len(saved) == THREADS * ANSWERS
    assert sorted(stored) == sorted(saved)
    assert set(Counter(c.labeler_id for c in world.store.comparisons.current()).values()) == {
        ANSWERS}
    check_whole(world.store.database.path)


def test_one_answer_sent_by_many_threads_is_one_answer(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task()
    found: list[int] = []
    gate = threading.Barrier(6)

    def press() -> None:
        gate.wait()
        found.append(world.choose(ann, task, 0).id)

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 6
    check_whole(world.store.database.path)


_LABEL = """
import sys
from pathlib import Path
from data.records import Answer
from data.store import Store
store = Store(Path(sys.argv[1]))
me = store.people.named("Labeler 0").id
while assignment := store.assignments.next_for(me):
    first, second = assignment.shown
    stored = store.comparisons.submit(me, assignment.task, Answer(((first,), (second,))),
                                      f"key {assignment.task.id}")
    print(stored.submission_key, flush=True)
"""


def test_killed_in_mid_writing_keeps_every_acknowledged_answer_once(world: World) -> None:
    fill(world, 3000)
    world.people(1)
    path = world.store.database.path
    rng, acknowledged = random.Random(0), []
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", _LABEL, str(path)], text=True,
                                   stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 8)):
            acknowledged.append(process.stdout.readline().strip())
        time.sleep(rng.random() * .02)
        os.kill(process.pid, signal.SIGKILL)
        # The last line may be cut: then it was never acknowledged.
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait()
        check_whole(path)
    stored = Counter(c.submission_key for c in Store(path).comparisons.current())
    assert len(acknowledged) == len(set(acknowledged)) > 20
    assert set(acknowledged) <= stored.keys()
    assert set(stored.values()) == {1}
    # At most the one answer in flight at each kill was stored without its acknowledgement.
    assert len(stored) - len(acknowledged) <= 10


def test_a_full_disk_leaves_nothing_half_written(world: World) -> None:
    (ann,) = world.people(1)
    task = world.task()
    world.store.assignments.assign(task.id, ann.id)
    pages = world.store.database.value("PRAGMA page_count")
    world.store.database.value(f"PRAGMA max_page_count = {pages}")
    first, second = task.response_ids
    answer = Answer(((first,), (second,)), rationale="x" * 4000)
    with pytest.raises(PrefloopError, match="the disk is full, nothing was saved"):
        for i in range(500):
            world.store.tasks.add(task.prompt_id, task.response_ids)
            world.store.put_setting(f"filler {i}", "y" * 2000)
    with pytest.raises(PrefloopError, match="the disk is full, nothing was saved"):
        world.store.comparisons.submit(ann.id, task, answer, "key")
    assert world.store.comparisons.current() == world.store.comparisons.preferences() == []
    check_whole(world.store.database.path)
    world.store.database.value(f"PRAGMA max_page_count = {pages + 1000}")
    world.store.comparisons.submit(ann.id, task, answer, "key")  # space again: it goes on
    assert len(world.store.comparisons.current()) == 1
    check_whole(world.store.database.path)


def test_a_read_only_database_gives_one_line(world: World) -> None:
    """As root every file can be written, so the connection itself is told to refuse."""
    (ann,) = world.people(1)
    task = world.task()
    world.store.assignments.assign(task.id, ann.id)
    world.store.database.value("PRAGMA query_only = ON")
    first, second = task.response_ids
    with pytest.raises(PrefloopError) as caught:
        world.store.comparisons.submit(ann.id, task, Answer(((first,), (second,))), "key")
    assert str(caught.value) == (f"{world.store.database.path}: the database is read-only, "
                                 "nothing was saved; check the file's permissions")
    assert world.store.comparisons.current() == []


def test_a_newer_database_is_refused_and_left_alone(world: World) -> None:
    path = world.store.database.path
    world.store.database.connection.conn.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
        "VALUES ('prefloop', 'm999_from_the_future', 'tomorrow')")
    dump = list(sqlite3.connect(path).iterdump())
    with pytest.raises(PrefloopError, match=r"newer prefloop .*m999_from_the_future"):
        Store(path)
    assert list(sqlite3.connect(path).iterdump()) == dump


@pytest.mark.parametrize("content", [b"not a database, just a long enough text" * 50,
                                     b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database_gives_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prefloop.db"
    path.write_bytes(content)
    with pytest.raises(PrefloopError, match=r"prefloop\.db: ") as caught:
        Store(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_database_that_cannot_be_opened_gives_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "prefloop.db"):
        with pytest.raises(PrefloopError, match="cannot be opened"):
            Store(path)


def test_a_lock_held_too_long_gives_one_line(world: World,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.database.BUSY_SECONDS", 0.05)
    impatient = Store(world.store.database.path)
    with world.store.database.write():
        with pytest.raises(PrefloopError, match="held the database locked"):
            impatient.put_setting("k", 1)
        assert impatient.prompts.all() == []  # readers never wait
    impatient.put_setting("k", 1)


def test_opening_at_the_same_time_makes_one_schema(tmp_path: Path) -> None:
    stores: list[Store] = []
    failures: list[BaseException] = []

    def opened() -> None:
        try:
            stores.append(Store(tmp_path / "prefloop.db"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=opened) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and len(stores) == 8
    assert stores[0].prompts.count() == 0


def test_a_transaction_that_fails_leaves_nothing_and_nests(tmp_path: Path) -> None:
    database = Database(tmp_path / "prefloop.db")
    with pytest.raises(ZeroDivisionError), database.write():
        database.insert("settings", {"key": "outer", "value": "1"})
        with database.write():
            database.insert("settings", {"key": "inner", "value": "1"})
        raise ZeroDivisionError
    assert database.rows("SELECT * FROM settings") == []
    database.insert("settings", {"key": "later", "value": "1"})
    assert database.value("SELECT count(*) FROM settings") == 1


def test_a_backup_of_a_live_database_is_consistent(world: World, tmp_path: Path) -> None:
    fill(world, 400)
    (ann,) = world.people(1)
    stop = threading.Event()
    failures: list[BaseException] = []

    def label() -> None:
        try:
            while not stop.is_set() and (assignment := world.store.assignments.next_for(ann.id)):
                world.choose(ann, assignment.task, 0)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=label)
    thread.start()
    before = len(world.store.comparisons.current())
    target = tmp_path / "backups.db"
    for _ in range(5):
        world.store.database.backup(target)
        check_whole(target)
    after = len(world.store.comparisons.current())
    stop.set()
    thread.join()
    assert failures == []
    assert before <= len(Store(target).comparisons.current()) <= after
    assert not list(tmp_path.glob("*.partial*"))


def test_a_backup_that_fails_keeps_the_one_before(world: World, tmp_path: Path) -> None:
    with pytest.raises(PrefloopError):
        world.store.database.backup(tmp_path / "missing" / "copy.db")
    target = tmp_path / "copy.db"
    world.store.database.backup(target)
    kept = target.read_bytes()
    (target.with_name("copy.db.partial")).mkdir()
    with pytest.raises(PrefloopError):
        world.store.database.backup(target)
    assert target.read_bytes() == kept
