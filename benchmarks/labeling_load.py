"""How long a labeler waits for the next question while many others label at one server.

So many people sign in over HTTP, hold a websocket each and answer every five seconds, give or take
a fifth, for five minutes; each number of people has a workspace and a server of its own. Timed is
from an answer's sending to the arrival of the word that it is saved, and the next question with it.
Afterwards the database is held against what the server had acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.app_server import AppServer, running
from benchmarks.harness import Figure, exact, flags, percentile, say, show
from benchmarks.labeling_check import Ledger
from benchmarks.labeling_clients import SIDES, Answered, Labeler
from benchmarks.labeling_world import World, make

LEVELS = (1, 10, 25, 50, 100)
#: The level that the goal is set for.
GOAL_LEVEL = 50
EVERY_SECONDS, JITTER = 5.0, 0.2
SECONDS, QUICK_SECONDS = 300.0, 30.0
#: People come in one after the other, as they do.
ARRIVAL_SECONDS = 0.1
#: So many people get the same question.
WANTED = 3
PACKAGES = ("prefloop", "streamlit", "websockets")


@dataclass
class Level:
    """What one number of labelers went through."""

    labelers: int
    answers: list[Answered] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    server_cpu: float = 0.0
    client_cpu: float = 0.0
    server_mb: float = 0.0

    def figures(self) -> dict[str, Figure]:
        """All of the level under keys of its own."""
        waits = [1000 * one.after for one in self.answers]
        found = {"p50_ms": percentile(waits, 0.5), "p95_ms": percentile(waits, 0.95),
                 "server_cpu_ms_per_answer": exact(1000 * self.server_cpu / len(waits),
                                                   len(waits)),
                 "client_cpu_share": exact(self.client_cpu), "server_mb": exact(self.server_mb)}
        return {f"{key}_{self.labelers}": figure for key, figure in found.items()}


async def measure(world: World, server: AppServer, seconds: float) -> Level:
    """Everybody in the world labels for so long."""
    level = Level(len(world.people))
    people = []
    for person in world.people:
        code = world.store.people.create_code(person.id)
        people.append(await Labeler.sign_in(server.url, code, person.id))
        await asyncio.sleep(ARRIVAL_SECONDS)
    began, processor, mine = time.perf_counter(), server.cpu_seconds(), time.process_time()
    await asyncio.gather(*(_label(one, level, began + seconds) for one in people))
    level.server_cpu = server.cpu_seconds() - processor
    level.client_cpu = (time.process_time() - mine) / (time.perf_counter() - began)
    level.server_mb = server.resident_mb()
    for one in people:
        await one.close()
    return level


async def _label(me: Labeler, level: Level, until: float) -> None:
    rng = random.Random(f"pace of {me.person}")
    await asyncio.sleep(rng.uniform(0, EVERY_SECONDS))
    while time.perf_counter() < until:
        due = time.perf_counter() + EVERY_SECONDS * rng.uniform(1 - JITTER, 1 + JITTER)
        side = rng.choice(SIDES)
        try:
            found = await me.answer(side)
        except Exception as error:
            level.errors.append(f"{type(error).__name__}: {error}")
            return
        level.answers.append(found)
        if found.saved:
            level.ledger.acknowledge(me.person, found.mark, side)
        else:
            level.errors.append(f"not saved: {found.words}")
        await asyncio.sleep(max(due - time.perf_counter(), 0))


def run(labelers: int, seconds: float) -> Level:
    """One level, from a new workspace to the check of what it holds."""
    say(f"{labelers} labelers for {seconds:.0f} s ...")
    answers = labelers * (seconds / (EVERY_SECONDS * (1 - JITTER)) + 2)
    with tempfile.TemporaryDirectory() as folder:
        # Nobody gets the same question twice, so one person alone needs as many as answers.
        world = make(Path(folder) / "workspace", labelers,
                     questions=int(max(2 * answers / WANTED, answers / labelers + 10)),
                     wanted=WANTED)
        with running(AppServer.of_workspace(world.folder)) as server:
            level = asyncio.run(measure(world, server, seconds))
        level.ledger.check(world.store)
    return level


def main() -> None:
    """Every level, one after the other."""
    asked = flags(__doc__ or "")
    levels = [run(labelers, QUICK_SECONDS if asked.quick else SECONDS) for labelers in LEVELS]
    for level in levels:
        for error in level.errors[:3]:
            say(f"with {level.labelers} labelers: {error}")
    figures: dict[str, Figure] = {}
    for level in levels:
        figures |= level.figures()
    total = sum(len(level.answers) for level in levels)
    figures |= {
        "server_cpu_ms_per_answer": figures[f"server_cpu_ms_per_answer_{GOAL_LEVEL}"],
        "errors": exact(sum(len(level.errors) for level in levels), total),
        "lost": exact(sum(level.ledger.lost for level in levels), total),
        "doubled": exact(sum(level.ledger.doubled for level in levels), total)}
    show(figures, {key: _words(key) for key in figures}, asked.json, PACKAGES)


def _words(key: str) -> str:
    """`p95_ms_50` as "p95 ms, 50 labelers"."""
    name, _, labelers = key.rpartition("_")
    if not labelers.isdigit():
        return key.replace("_", " ")
    return f"{name.replace('_', ' ')}, {labelers} labeler{'s' if labelers != '1' else ''}"


if __name__ == "__main__":
    main()
