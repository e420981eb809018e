"""From the press of a key to the next question readable, in a real Chromium.

The time runs from the key event's own time stamp until both new answers are painted, taken inside
the page (see `stopwatch.js`), and until the page says that the answer is saved. A minimal Streamlit
page is measured the same way, in turns with the app, as the floor: what a page costs in Streamlit
that asks the server for each question and stores nothing.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from browser import launch_browser
from playwright.sync_api import Browser, Page, sync_playwright
from processes import free_port

from annotate.server import OPTIONS
from benchmarks.app_server import HOST, AppServer, running
from benchmarks.harness import Figure, exact, flags, percentile, say, show
from benchmarks.labeling_world import World, make

PRESSES, QUICK_PRESSES = 240, 60
BLOCK = 20
#: People read at least a little; the app takes anything much quicker for an echo of a press.
PAUSE_MS = (1000, 1600)
#: Presses before the measured ones: both pages have run their scripts once.
WARM_UP = 5
PACKAGES = ("prefloop", "streamlit", "playwright")
UNITS = {"p50_ms": "key press to next question, median, ms", "p95_ms": "the same, p95",
         "ack_p50_ms": "key press to \"Saved\", median, ms", "ack_p95_ms": "the same, p95",
         "floor_p50_ms": "minimal page, median, ms", "floor_p95_ms": "the same, p95",
         "lost": "answers called saved and not there"}
_STOPWATCH = Path(__file__).with_name("stopwatch.js").read_text("utf-8")
_TEXTS = "() => [...document.querySelectorAll('{}')].map((each) => each.textContent)"
_APP = (_TEXTS.format(".pf-response .pf-text"),
        "() => document.querySelector('.pf-status').textContent.startsWith('Saved')")
_FLOOR = (_TEXTS.format(".answer"), "() => true")
_RESULT = ("Promise.race([stopwatch.result, new Promise((resolve) => "
           "setTimeout(() => resolve(null), 20000))])")
#: The answers that either page takes by these keys.
_KEYS = "12"


@dataclass
class Subject:
    """A page under the stopwatch, and its milliseconds."""

    name: str
    page: Page
    shown: list[float] = field(default_factory=list)
    saved: list[float] = field(default_factory=list)
    texts: list[tuple[str, ...]] = field(default_factory=list)
    """Of every question in turn."""

    def watch(self, answers: str, saved: str) -> None:
        """Put the stopwatch into the page, once there is a question."""
        # The page's security policy lets DevTools evaluate an expression, but nothing later on.
        self.page.evaluate(f"""new Promise((resolve) => {{
            const look = () => ({answers})().length === 2 ? resolve() : setTimeout(look, 50);
            look();
        }})""")
        self.texts.append(tuple(self.page.evaluate(f"({answers})()")))
        self.page.evaluate(f"{_STOPWATCH}({{answers: {answers}, saved: {saved}}})")

    def press(self, rng: random.Random, measured: bool = True) -> None:
        """Read a little, press a key, and note what came of it."""
        self.page.wait_for_timeout(rng.uniform(*PAUSE_MS))
        self.page.evaluate("stopwatch.arm()")
        self.page.keyboard.press(rng.choice(_KEYS))
        found: dict[str, Any] | None = self.page.evaluate(_RESULT)
        if found is None:
            raise RuntimeError(f"{self.name}: nothing came of a press")
        if measured:
            self.shown.append(found["shown"])
            self.saved.append(found["saved"])
        self.texts.append(tuple(found["texts"]))


@contextmanager
def app(browser: Browser, world: World) -> Iterator[Subject]:
    """The labeling page of somebody who has signed in."""
    with running(AppServer.of_workspace(world.folder)) as server:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{server.url}/signin?code={world.store.people.create_code(world.people[0].id)}")
        page.get_by_role("button", name="Sign in as").click()
        subject = Subject("the app", page)
        subject.watch(*_APP)
        yield subject


@contextmanager
def floor(browser: Browser, folder: Path) -> Iterator[Subject]:
    """The minimal page, under the app's own settings of Streamlit."""
    port = free_port()
    options = [f"--{name}={str(value).lower()}" for name, value in OPTIONS.items()
               if isinstance(value, bool | int | str) and not name.startswith("theme")]
    server = AppServer(
        [sys.executable, "-m", "streamlit", "run", str(Path(__file__).parent / "labeling_floor.py"),
         *options, "--server.address", HOST, "--server.port", str(port)],
        port, {"PYTHONPATH": str(Path(__file__).parents[1])}, "/_stcore/health",
        folder / "floor.log")
    with running(server):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(server.url)
        subject = Subject("the minimal page", page)
        subject.watch(*_FLOOR)
        yield subject


def measure(subjects: list[Subject], presses: int) -> None:
    """So many presses of each, block by block in turns."""
    rng = random.Random(0)
    for subject in subjects:
        for _ in range(WARM_UP):
            subject.press(rng, measured=False)
    for done in range(0, presses, BLOCK):
        for subject in subjects:
            say(f"{subject.name}: {done} of {presses} presses ...")
            for _ in range(min(BLOCK, presses - done)):
                subject.press(rng)


def not_there(world: World, subject: Subject) -> int:
    """Questions that were shown and answered, and whose answer the store does not hold; each was
    called saved before the next was pressed."""
    stored = {frozenset(_plain(response.text)
                        for response in world.store.responses.get(comparison.shown))
              for comparison in world.store.comparisons.current()}
    answered = subject.texts[:-1]
    return sum(frozenset(_plain(text) for text in texts) not in stored for texts in answered)


def _plain(text: str) -> str:
    return "".join(text.split())


def main() -> None:
    """Both pages in one browser, each in a window of its own."""
    asked = flags(__doc__ or "")
    presses = QUICK_PRESSES if asked.quick else PRESSES
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, \
            ExitStack() as open_pages:
        world = make(Path(folder) / "workspace", 1, presses + WARM_UP + 10)
        browser = launch_browser(playwright)
        ours = open_pages.enter_context(app(browser, world))
        least = open_pages.enter_context(floor(browser, Path(folder)))
        measure([ours, least], presses)
        figures: dict[str, Figure] = {
            f"{key}{name}_ms": percentile(values, share)
            for key, values in (("", ours.shown), ("ack_", ours.saved), ("floor_", least.shown))
            for name, share in (("p50", 0.5), ("p95", 0.95))}
        figures["lost"] = exact(not_there(world, ours), presses)
        browser.close()
    show(figures, UNITS, asked.json, PACKAGES)


if __name__ == "__main__":
    main()
