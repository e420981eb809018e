"""Pictures of every page, light and dark, wide and narrow, for docs/pages.md.

    python tests/take_screenshots.py FOLDER [--workspace DIR] [--only PAGE ...]

Without a workspace, of the made-up crew that the tests of the leads' pages know. It adds a lead to
the workspace that it is given, so give it a copy.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from browser import (
    Server,
    add_task,
    launch_browser,
    make_workspace,
    serving,
    settled,
    sign_in,
    visit,
)
from leads_world import LeadsWorld
from learning_world import STATE_KEPT, kept_curve
from playwright.sync_api import sync_playwright
from reward_page_world import add_reward_models

from data.asking import CURVE, STATE
from data.database import now
from data.questions import Question
from data.store import Store

PAGES = ("label", "answers", "quality", "disputes", "browse", "settings", "people", "audit",
         "rounds", "reward", "learning", "jobs", "account")
#: A desk's window, and a phone's.
WINDOWS = {"wide": {"width": 1400, "height": 900},
           "narrow": {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}}
GUIDELINES = """Prefer the response that **answers what was asked**, truthfully.

1. Is it true? An untrue claim weighs more than a clumsy sentence.
2. Does it help this person with this question?
3. Of two that do, the shorter one.
"""


def made_up(folder: Path) -> Store:
    """A round that eight people have labeled, with more to do."""
    store = make_workspace(folder)
    world = LeadsWorld.make(store)
    world.hidden()
    store.questions.change(Question(scores=False, rewrite=True))
    store.questions.write_guidelines(GUIDELINES)
    turn = store.rounds.current()
    assert turn is not None  # LeadsWorld opened it
    for number in range(6):
        add_task(store, turn.id, f"How do I keep a sourdough alive for {number + 2} weeks?", [
            "Feed it once a week with equal weights of flour and water, and keep it in the fridge. "
            "Before you bake, give it **two feeds** at room temperature, twelve hours apart.",
            "Keep it in the fridge and feed it once a week. Starters can be frozen too:\n\n"
            "1. Spread it on paper and let it dry.\n2. Crumble it into a jar.\n"
            "3. Add water and flour when you need it."], wanted=2)
    add_reward_models(store)
    store.put_setting(STATE, STATE_KEPT)
    store.put_setting(CURVE, kept_curve())
    return store


def take(server: Server, folder: Path, pages: tuple[str, ...]) -> None:
    """One picture for each page, scheme and width."""
    lead = server.store.people.add("Robin Lead", "lead")
    with sync_playwright() as playwright:
        browser = launch_browser(playwright)
        for scheme in ("light", "dark"):
            for width, options in WINDOWS.items():
                window = visit(browser, color_scheme=scheme, **options)
                sign_in(window, server, lead)
                for page in pages:
                    server.store.put_setting("worker", {"pid": 1, "seen": now()})
                    window.page.goto(f"{server.url}/{'' if page == 'label' else page}")
                    settled(window.page)
                    window.page.wait_for_timeout(2500)  # plots draw after the run has ended
                    window.page.screenshot(path=folder / f"{page}-{scheme}-{width}.png")
                window.context.close()
        browser.close()


def main() -> None:
    """Read the command line, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--only", nargs="+", choices=PAGES, default=list(PAGES))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        workspace = asked.workspace or Path(temporary)
        if asked.workspace is None:
            made_up(workspace)
        with serving(workspace) as server:
            take(server, asked.folder, tuple(asked.only))


if __name__ == "__main__":
    main()
