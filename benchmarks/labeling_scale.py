"""What a workspace that is full costs against one that is nearly empty.

Full: 100,000 responses with 200,000 comparisons, half of them in the round that is open; the other
has a few hundred. Both are served at the same time and asked in turns: every page of labelers and
leads (until it is drawn, over the websocket), a labeler's answer until the next question, the
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
from data.exchange.exporting import KINDS, export

FULL, QUICK_FULL = Past(100_000, 200_000), Past(20_000, 40_000)
EMPTY = Past(200, 400)
QUESTIONS = 200
#: Above the page's own guard against presses that nobody can have meant.
PAUSE_SECONDS = 0.6
#: The page that counts over all answers of a round, in another process, and how long that may take.
_COUNTED, FIRST_PATIENCE_SECONDS = "quality", 300.0
_OWN = ("", "answers")
PACKAGES = ("prefloop", "streamlit", "websockets")
#: With every page and the exports, what the worst ratio is of.
MUST_NOT_GROW = ("answer_ratio", "startup_ratio", "status_ratio")


@dataclass(frozen=True)
class Repeats:
    """How often each thing is done."""

    starts: int = 7
    exports: int = 5
    pages: int = 15
    answers: int = 40


QUICK = Repeats(3, 3, 7, 20)


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
        for kind in (kind for kind in KINDS if kind != "demonstrations"):  # nobody rewrote here
            target = side.world.folder / "export.jsonl"
            began = time.perf_counter()
            rows = export(side.world.store, target, kind).rows
            side.timings.found[f"export_{kind}"].append((time.perf_counter() - began) / rows)
            target.unlink()
        yield


async def pages(sides: list[Side], times: int) -> None:
    """Every page, opened afresh: a labeler's own by somebody with ten thousand answers, the others
    by a lead; before that, once, the page whose figures are counted at its first opening."""
    visitors = []
    for side in sides:
        lead = side.world.store.people.add("Lead", role="lead")
        pair = []
        for person in (lead, side.world.people[0]):
            pair.append(Visitor(side.server.url))
            pair[-1].sign_in(side.world.store.people.create_code(person.id))
        visitors.append(pair)
    names: list[str] = []
    for side, (lead_visitor, _) in zip(sides, visitors, strict=True):
        async with await lead_visitor.tab() as tab:
            names = names or ["", *(name for name in tab.pages if name)]
            began = time.perf_counter()
            await tab.rerun(page=_COUNTED, wait=False)
            await tab.finished(FIRST_PATIENCE_SECONDS)
            side.timings.found[f"{_COUNTED}_first"].append(time.perf_counter() - began)
    for _ in range(times):
        for name in names:
            for side, pair in zip(sides, visitors, strict=True):
                began = time.perf_counter()
                tab = await pair[name in _OWN].tab(name)
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
    ratios = {f"{what}_ratio": median_ratio(full.found[what], empty.found[what])
              for what in full.found}
    ratios["page_ratio"] = ratios.pop("page_label_ratio")
    exported = {key: ratio for key, ratio in ratios.items() if key.startswith("export_")}
    must = exported | {key: ratio for key, ratio in ratios.items()
                       if key.startswith("page_") or key in MUST_NOT_GROW}
    worst = max(must, key=lambda key: must[key]["value"])
    say(f"the worst of what must not grow: {worst}")
    named = {"ratio_full_to_empty": must[worst],
             "export_ratio_per_row": max(exported.values(), key=lambda ratio: ratio["value"]),
             **ratios}
    for what in full.found:
        unit, factor = ("us_a_row", 1e6) if what.startswith("export_") else ("ms", 1e3)
        for name, timings in (("full", full), ("empty", empty)):
            named[f"{what}_{unit}_{name}"] = percentile(
                [factor * value for value in timings.found[what]], 0.5)
    return named


def compare(folder: Path, full: Past, repeats: Repeats) -> dict[str, Figure]:
    """Both workspaces, side by side."""
    with ExitStack() as servers:
        sides = []
        for name, past in (("full", full), ("empty", EMPTY)):
            world = make(folder / name, 1, QUESTIONS, past=past)
            sides.append(Side(world, servers.enter_context(
                running(AppServer.of_workspace(world.folder)))))
        for what, times in ((starts, repeats.starts), (exports, repeats.exports)):
            say(f"{what.__name__} ...")
            for _ in zip(*(what(side, times) for side in sides), strict=True):
                pass
        say("pages ...")
        asyncio.run(pages(sides, repeats.pages))
        say("answers ...")
        asyncio.run(answers(sides, repeats.answers))
        return figures_of(*(side.timings for side in sides))


def main() -> None:
    """Make the workspaces, compare them, and show."""
    asked = flags(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(Path(folder), QUICK_FULL if asked.quick else FULL,
                          QUICK if asked.quick else Repeats())
    show(figures, {key: key.replace("_", " ") for key in figures}, asked.json, PACKAGES)


if __name__ == "__main__":
    main()
