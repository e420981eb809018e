"""A disk that fills while people label: the page says what was not kept, and afterwards goes on.

Once with a limit on the size of files, which works everywhere, and once with a file system that
is really full, where a process may mount one of its own.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.app_server import AppServer, running
from benchmarks.labeling_check import Ledger
from benchmarks.labeling_clients import Labeler
from benchmarks.labeling_world import World, make
from data.store import DATABASE_NAME, Store

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
_DISK_MB = 8


class LimitedDisk:
    """The server's files may not grow beyond what they are."""

    def __init__(self, world: World) -> None:
        self.server, self._world = AppServer.of_workspace(world.folder), world
        self._log = world.folder / f"{DATABASE_NAME}-wal"

    def fill(self) -> None:
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE,
                         (self._log.stat().st_size, resource.RLIM_INFINITY))

    def free(self) -> None:
        resource.prlimit(self.server.pid, resource.RLIMIT_FSIZE, _UNLIMITED)

    def look(self) -> Store:
        return self._world.store


class SmallDisk:
    """The server has the workspace on a small file system of its own, seen through /proc."""

    def __init__(self, world: World) -> None:
        self._folder = world.folder.resolve()
        self._copies = 0
        copy = world.folder.with_name("copy")
        shutil.copytree(world.folder, copy, ignore=shutil.ignore_patterns(f"{DATABASE_NAME}*"))
        world.store.database.backup(copy / DATABASE_NAME)
        mount = (f'mount -t tmpfs -o size={_DISK_MB}m none "$0" && cp -r "{copy}/." "$0" '
                 '&& exec "$@"')
        self.server = AppServer.of_workspace(
            world.folder, (*_NAMESPACE, "sh", "-c", mount, str(self._folder)))

    @property
    def _seen(self) -> Path:
        return Path(f"/proc/{self.server.pid}/root{self._folder}")

    def fill(self) -> None:
        with (self._seen / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        (self._seen / "filler").unlink()

    def look(self) -> Store:
        """A copy while nothing is written: SQLite itself would follow /proc to the wrong folder."""
        self._copies += 1
        target = self._folder.with_name(f"look-{self._copies}")
        target.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(self._seen / f"{DATABASE_NAME}{suffix}", target)
        return Store(target / DATABASE_NAME)


def _may_mount() -> bool:
    try:
        return subprocess.run(
            [*_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True,
            check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kind", [LimitedDisk, SmallDisk])
def test_what_is_not_kept_is_not_called_saved_and_is_kept_later(
        tmp_path: Path, kind: type[LimitedDisk] | type[SmallDisk]) -> None:
    if kind is SmallDisk and not _may_mount():
        pytest.skip("no file system can be mounted here")
    world = make(tmp_path / "workspace", people=1, questions=10)
    person = world.people[0].id
    code = world.store.people.create_code(person)
    disk = kind(world)
    with running(disk.server):
        asyncio.run(_label_over_a_full_disk(disk, person, code))


async def _label_over_a_full_disk(disk: LimitedDisk | SmallDisk, person: int, code: str) -> None:
    ledger, me = Ledger(), await Labeler.sign_in(disk.server.url, code, person)
    before = await me.answer(0)
    assert before.saved
    disk.fill()

    put_off = await me.answer(1)
    assert not put_off.saved and "nothing was saved" in put_off.words
    assert "disk" in put_off.words
    again = (await me.send())[-1]  # the page tries again by itself, with the same key
    assert not again.saved and len(me.outbox) == 1
    reloaded = await me.back()  # the page opens, and says what it cannot do
    assert "disk" in reloaded.refused
    assert len(disk.look().comparisons.current()) == 1

    disk.free()
    kept = (await reloaded.send())[-1]
    assert kept.saved and kept.mark == put_off.mark and not reloaded.outbox
    after = await reloaded.answer(0)
    assert after.saved
    for one in (before, kept, after):
        ledger.acknowledge(person, one.mark, one.side)
    ledger.check(disk.look())
    assert (ledger.lost, ledger.doubled, ledger.unacknowledged) == (0, 0, 0)
    assert len(ledger.entries) == 3
    for tab in (me, reloaded):
        await tab.close()
