"""What a workspace that is full costs against one that is nearly empty.

Full: 100,000 responses with 200,000 comparisons, half of them in the round that is open; the other
has a few hundred. Both are served at the same time and asked in turns: every page that a lead is
offered (until it is drawn, over the websocket), a labeler's answer until the next question, the
server's start, `prefloop status`, and the export of every kind, a row.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from streamlit_client import Visitor

from benchmarks.app_server import AppServer, running
from benchmarks.harness import Figure, flags, median_ratio, percentile, say, show
from benchmarks.labeling_clients import SIDES, Labeler
from benchmarks.labeling_world import Past, World, make
from data.exporting import KINDS, export

FULL, QUICK_FULL = Past(100_000, 200_000), Past(20_000, 40_000)
EMPTY = Past(200, 400)
QUESTIONS = 200
STARTS, PAGE_LOADS, ANSWERS, EXPORTS = 7, 15, 40, 5
QUICK_STARTS, QUICK_PAGE_LOADS, QUICK_ANSWERS, QUICK_EXPORTS = 3, 7, 20, 3
#: Above the page's own guard against presses that nobody can have meant.
PAUSE_SECONDS = 0.6
PACKAGES = ("prefloop", "streamlit", "websockets")
#: What is in the worst ratio: labelers' pages, start-up and export. Leads' pages of figures are
#: shown beside it, since what they show is itself of the whole round.
LABELERS = ("page_label", "page_answers", "answer", "startup", "status")


@dataclass
class Timings:
    """Seconds (of an export: microseconds a row) by what was done, of one workspace."""

    found: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def time(self, what: str, work: Callable[[], object]) -> None:
        """Do it once, and note how long that took."""
        began = time.perf_counter()
        work()
        self.found[what].append(time.perf_counter() - began)


@dataclass(frozen=True)
class Side:
    """One of the two workspaces, with its server."""

    world: World
    server: AppServer
    timings: Timings = field(default_factory=Timings)


def starts(side: Side, times: int) -> Iterator[None]:
    """The server's start, and the command line's."""
    for _ in range(times):
        side.server.stop()
        side.timings.found["startup"].append(side.server.start())
        side.timings.time("status", lambda: subprocess.run(
            [sys.executable, "-m", "loop", "status", "--workspace", str(side.world.folder)],
            check=True, stdout=subprocess.DEVNULL, env=dict(os.environ)))
        yield


def exports(side: Side, times: int) -> Iterator[None]:
    """Each kind of export, a row."""
    for _ in range(times):
        for kind in KINDS:
            target = side.world.folder / "export.jsonl"
            began = time.perf_counter()
            rows = export(side.world.store, target, kind).rows
            side.timings.found[f"export_{kind}"].append((time.perf_counter() - began) / rows)
            target.unlink()
        yield


async def pages(sides: list[Side], times: int) -> None:
    """Every page that a lead is offered, opened afresh."""
    leads = []
    for side in sides:
        lead = side.world.store.people.add("Lead", role="lead")
        visitor = Visitor(side.server.url)
        visitor.sign_in(side.world.store.people.create_code(lead.id))
        leads.append(visitor)
    first = await leads[0].tab()
    names = ["", *(name for name in first.pages if name)]
    await first.close()
    for _ in range(times):
        for name in names:
            for side, visitor in zip(sides, leads, strict=True):
                began = time.perf_counter()
                tab = await visitor.tab(name)
                side.timings.found[f"page_{name or 'label'}"].append(time.perf_counter() - began)
                await tab.close()


async def answers(sides: list[Side], times: int) -> None:
    """Answers of a person who has given ten thousand before, until the next question."""
    people = [await Labeler.sign_in(
        side.server.url, side.world.store.people.create_code(side.world.people[0].id),
        side.world.people[0].id) for side in sides]
    for number in range(times):
        for side, person in zip(sides, people, strict=True):
            await asyncio.sleep(PAUSE_SECONDS)
            found = await person.answer(SIDES[number % len(SIDES)])
            if not found.saved:
                raise RuntimeError(f"not saved: {found.words}")
            side.timings.found["answer"].append(found.after)
    for person in people:
        await person.close()


def figures_of(full: Timings, empty: Timings) -> dict[str, Figure]:
    """A ratio for everything, the worst of what must not grow, and the times themselves."""
    ratios = {what: median_ratio(full.found[what], empty.found[what]) for what in full.found}
    must = [what for what in ratios if what in LABELERS or what.startswith("export_")]
    worst = max(must, key=lambda what: ratios[what]["value"])
    say(f"the worst is {worst}")
    kinds = [ratios[what] for what in must if what.startswith("export_")]
    named = {"ratio_full_to_empty": ratios[worst],
             "export_ratio_per_row": max(kinds, key=lambda ratio: ratio["value"])}
    named |= {f"{what}_ratio": ratio for what, ratio in ratios.items()}
    named["page_ratio"] = named.pop("page_label_ratio")
    for what in ratios:
        unit, factor = ("us_a_row", 1e6) if what.startswith("export_") else ("ms", 1e3)
        for name, timings in (("full", full), ("empty", empty)):
            named[f"{what}_{unit}_{name}"] = percentile(
                [factor * value for value in timings.found[what]], 0.5)
    return named


def main() -> None:
    """Both workspaces, side by side."""
    asked = flags(__doc__ or "")
    repeats = ((QUICK_STARTS, QUICK_PAGE_LOADS, QUICK_ANSWERS, QUICK_EXPORTS) if asked.quick
               else (STARTS, PAGE_LOADS, ANSWERS, EXPORTS))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        sides = []
        for name, past in (("full", QUICK_FULL if asked.quick else FULL), ("empty", EMPTY)):
            world = make(Path(folder) / name, 1, QUESTIONS, past=past)
            sides.append(Side(world, servers.enter_context(
                running(AppServer.of_workspace(world.folder)))))
        for what, times in ((starts, repeats[0]), (exports, repeats[3])):
            say(f"{what.__name__} ...")
            for _ in zip(*(what(side, times) for side in sides), strict=True):
                pass
        say("pages ...")
        asyncio.run(pages(sides, repeats[1]))
        say("answers ...")
        asyncio.run(answers(sides, repeats[2]))
        figures = figures_of(*(side.timings for side in sides))
    show(figures, {key: key.replace("_", " ") for key in figures}, asked.json, PACKAGES)


if __name__ == "__main__":
    main()
