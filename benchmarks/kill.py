"""Whether an acknowledged answer survives the server's sudden end, again and again.

Labelers click without a rest, one of them in two tabs; every third answer is sent twice. The
server is killed with SIGKILL at a random moment and started again; whoever did not hear that their
answer was saved sends it again once they are back. All the while another process reads every
comparison, as training does. At the end the database is held against what had been acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from websockets.exceptions import WebSocketException

from benchmarks.app_server import AppServer, running
from benchmarks.harness import exact, flags, percentile, say, show
from benchmarks.labeling_check import Ledger
from benchmarks.labeling_clients import SIDES, Answered, Labeler
from benchmarks.labeling_world import World, make
from data.store import Store

KILLS, QUICK_KILLS = 200, 40
PEOPLE, WANTED = 5, 3
#: How long a server lives once it answers: both ends, and the kill falls anywhere between.
LIFE_SECONDS = (0.2, 3.0)
PAUSE_SECONDS = (0.05, 0.4)
#: A question may be with another tab of the same person; then there is a moment to wait.
LOOK_AGAIN_SECONDS = 0.1
READ_EVERY_SECONDS = 0.05
PACKAGES = ("prefloop", "streamlit", "websockets")
#: What a client sees of a server that was killed.
GONE = (WebSocketException, OSError, TimeoutError)
UNITS = {"kills": "kills", "acknowledged": "answers acknowledged", "lost": "of them lost",
         "doubled": "doubled", "unacknowledged": "kept, but never acknowledged",
         "sent_again": "answers sent again after a kill", "refused": "refused: answered in another "
         "tab", "reads": "reads of all comparisons beside it", "restart_ms": "restart, ms"}


@dataclass
class Run:
    """What was done, and what came of it."""

    kills: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    refused: list[str] = field(default_factory=list)
    sent_again: int = 0
    reads: int = 0
    restart_seconds: list[float] = field(default_factory=list)
    through: set[int] = field(default_factory=set)
    """The tabs that were told of an answer of theirs that it is saved since the last kill."""
    over: bool = False

    def note(self, number: int, person: int, answers: Sequence[Answered]) -> None:
        """Keep what the server said of a tab's answers."""
        for one in answers:
            if one.saved:
                self.ledger.acknowledge(person, one.mark, one.side)
                self.through.add(number)
            else:
                self.refused.append(one.words)


async def work(world: World, server: AppServer, kills: int,
               life: tuple[float, float] = LIFE_SECONDS) -> Run:
    """Labelers click while the server is killed so many times; at the end it is up."""
    run, rng = Run(), random.Random(0)
    people = [await Labeler.sign_in(server.url, world.store.people.create_code(person.id),
                                    person.id) for person in world.people]
    tabs = [*people, await people[0].second_tab()]
    async with asyncio.TaskGroup() as group:
        for number, tab in enumerate(tabs):
            group.create_task(_label(number, tab, run))
        for number in range(1, kills + 1):
            await asyncio.sleep(rng.uniform(*life))
            server.kill()
            run.through.clear()
            run.restart_seconds.append(await asyncio.to_thread(server.start))
            run.kills = number
            if number % 20 == 0:
                say(f"killed {number} times, {len(run.ledger.entries):,} answers acknowledged ...")
        while len(run.through) < len(tabs):  # on a slow machine nobody may have come so far before
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        await asyncio.sleep(life[1])
        run.over = True
    return run


async def _label(number: int, tab: Labeler, run: Run) -> None:
    """One tab: click, come back after a kill with what was not acknowledged, and click on."""
    connected, rng = True, random.Random(number)
    while not run.over or tab.outbox:
        try:
            if not connected:
                tab = await tab.back()
                connected = True
                run.sent_again += len(tab.outbox)
                run.note(number, tab.person, await tab.send())
            await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))
            if tab.waiting:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                await tab.look_again()
            elif not run.over:
                times = 2 if rng.random() < 1 / 3 else 1
                run.note(number, tab.person, [await tab.answer(rng.choice(SIDES), times)])
        except GONE:
            connected = False
            with suppress(*GONE):
                await tab.close()
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
    await tab.close()


@contextmanager
def reading(world: World, run_reads: list[int]) -> Iterator[None]:
    """Another process that reads all comparisons while the block runs; it must never fail.

    Raises:
        RuntimeError: a read failed, or found fewer answers than the one before.
    """
    # Plainly a process: multiprocessing would run this process's main module in it once more.
    reader = subprocess.Popen(
        [sys.executable, "-c", "from benchmarks.kill import read_on; read_on()",
         str(world.store.database.path)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    try:
        yield
    finally:
        reads, _ = reader.communicate(timeout=60)  # closes its input, which ends it
        if reader.returncode != 0:
            raise RuntimeError(f"the reading process ended with {reader.returncode}")
        run_reads.append(int(reads))


def read_on() -> None:
    """The other process: read until the input closes, then print how often that was."""
    over = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    store, seen, reads = Store(Path(sys.argv[1])), 0, 0
    while not over.is_set():
        answers, pairs = store.comparisons.current(), store.comparisons.preferences()
        if len(answers) < seen or len(pairs) < len(answers):
            raise RuntimeError(f"{len(answers)} answers and {len(pairs)} pairs after {seen}")
        seen = len(answers)
        reads += 1
        over.wait(READ_EVERY_SECONDS)
    print(reads)


def run(folder: Path, kills: int, life: tuple[float, float] = LIFE_SECONDS) -> Run:
    """All of it, in a new workspace: a run whose ledger was held against the database."""
    questions = int(kills * 8 * PEOPLE / WANTED) + 100
    world = make(folder / "workspace", PEOPLE, questions, WANTED)
    reads: list[int] = []
    server = AppServer.of_workspace(world.folder)
    with running(server), reading(world, reads):
        found = asyncio.run(work(world, server, kills, life))
    found.reads = reads[0]
    found.ledger.check(world.store)
    return found


def main() -> None:
    """Kill, count, and show."""
    asked = flags(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), QUICK_KILLS if asked.quick else KILLS)
    strange = {words for words in found.refused if "answered" not in words}
    if strange:
        say(f"refused for other reasons: {sorted(strange)[:3]}")
    ledger = found.ledger
    figures = {key: exact(value) for key, value in (
        ("kills", found.kills), ("acknowledged", len(ledger.entries)), ("lost", ledger.lost),
        ("doubled", ledger.doubled), ("unacknowledged", ledger.unacknowledged),
        ("sent_again", found.sent_again), ("refused", len(found.refused)),
        ("reads", found.reads))}
    figures["restart_ms"] = percentile([1000 * each for each in found.restart_seconds], 0.5)
    show(figures, UNITS, asked.json, PACKAGES)


if __name__ == "__main__":
    main()
