"""Real Chromium against a real server: plain functions that any browser test can use.

A workspace is filled straight through the store, the server is started as `prefloop` starts it,
and every page records what it asked the network for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from page_runs import follow, wait_for_code, wait_for_runs
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Dialog,
    Locator,
    Page,
    Playwright,
    expect,
)
from playwright.sync_api import (
    TimeoutError as NotInTime,
)
from processes import free_port

from annotate.launch import command, health_url, signin_url
from data.records import Labeler, Message, NewResponse
from data.store import DATABASE_NAME, Store

#: Whatever comes comes by then, however busy the machine: only what never comes is a failure.
PATIENCE_MS = 120_000
START_SECONDS = 180
#: As `install_browser.sh` looks for them.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_executable(playwright: Playwright) -> str:
    """Chromium on this machine; without one, tests are skipped, but in CI they fail."""
    named = (shutil.which(name) for name in BROWSERS)
    for path in (os.environ.get("PREFLOOP_CHROMIUM"), *named, playwright.chromium.executable_path):
        if path and Path(path).is_file():
            return path
    missing = "no Chromium: install chromium, or run `playwright install chromium`"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def launch_browser(playwright: Playwright) -> Browser:
    """A headless Chromium that calls nobody by itself."""
    return playwright.chromium.launch(
        executable_path=browser_executable(playwright),
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])


@dataclass
class Server:
    """A running app over a workspace, and the store to look behind it."""

    store: Store
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The app's address."""
        return f"http://127.0.0.1:{self.port}"

    def link(self, labeler: Labeler) -> str:
        """A fresh sign-in link."""
        return signin_url("127.0.0.1", self.port, self.store.people.create_code(labeler.id))


@contextmanager
def serving(workspace: Path, port: int | None = None) -> Iterator[Server]:
    """The app's server over a workspace, up when the block begins and gone when it ends."""
    store, port = Store.of_workspace(workspace), port or free_port()
    argv, environment = command(workspace, "127.0.0.1", port)
    log = (workspace / "server.log").open("w")
    process = subprocess.Popen(argv, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        _wait_until_healthy(process, port, workspace / "server.log")
        yield Server(store, port, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended by itself:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(health_url("127.0.0.1", port), timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"the server did not come up:\n{log.read_text()}")


@dataclass
class Visit:
    """One person's browser window, and everything it asked the network for."""

    page: Page
    context: BrowserContext
    requested: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """What our own scripts threw, and what the content security policy had to stop."""

    def strangers(self) -> list[str]:
        """Requests that left this machine."""
        return [url for url in self.requested
                if urlsplit(url).scheme in ("http", "https", "ws", "wss")
                and urlsplit(url).hostname != "127.0.0.1"]


#: What the fixtures of these names are (see `conftest.py`).
Newcomer = Callable[..., tuple[Labeler, Visit]]
Tasks = Callable[..., list[int]]


def _answer(found: Visit, dialog: Dialog) -> None:
    """Whoever leaves a page with unsaved answers means to; any other dialog is an intruder's."""
    if dialog.type == "beforeunload":
        dialog.accept()
        return
    found.dialogs.append(dialog.message)
    dialog.dismiss()


def visit(browser: Browser, width: int = 1400, height: int = 900, **options: Any) -> Visit:
    """A fresh window with no cookies."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE_MS)
    context.on("page", follow)
    page = context.new_page()
    found = Visit(page, context)
    page.on("request", lambda request: found.requested.append(request.url))
    page.on("websocket", lambda socket: found.requested.append(socket.url))
    page.on("dialog", lambda dialog: _answer(found, dialog))
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("console", lambda line: found.errors.append(line.text)
            if "Content Security Policy" in line.text else None)
    return found


def sign_in(window: Visit, server: Server, labeler: Labeler) -> None:
    """Open a fresh link and press its button."""
    window.page.goto(server.link(labeler))
    window.page.get_by_role("button", name="Sign in as").click()
    settled(window.page)


def settled(page: Page) -> None:
    """Wait until Streamlit has connected, and has drawn all that was asked of it."""
    _idle(page)
    wait_for_runs(page, PATIENCE_MS / 1000)
    wait_for_code(page, PATIENCE_MS / 1000)
    # In the place of a widget whose code is still to come; with it, all below moves.
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=PATIENCE_MS)
    _idle(page)
    lettered(page)


def _idle(page: Page) -> None:
    """Until the page says so, which it also does while what was pressed is on its way."""
    expect(page.get_by_test_id("stApp")).to_have_attribute(
        "data-test-script-state", "notRunning", timeout=PATIENCE_MS)


def lettered(page: Page) -> None:
    """Wait until the fonts of what is seen are there: with others, all is of another size."""
    page.evaluate("document.fonts.ready.then(() => null)")


def unfold(page: Page, title: Locator) -> None:
    """Open an expander and wait until it lies still.

    While it unfolds, what is in it moves: a press would begin on a button and end beside it.
    """
    title.click()
    settled(page)
    moving = "document.getAnimations().some((one) => one.playState === 'running')"
    heights = [-1.0]
    while len(set(heights[-3:])) > 1 or len(heights) < 4 or page.evaluate(moving):
        assert len(heights) < 100, f"the page never lay still: {heights[-5:]}"
        page.wait_for_timeout(100)
        heights.append(page.evaluate("document.querySelector('.stMain').scrollHeight"))


def choose(page: Page, box: Locator, option: str = "", typed: str = "") -> None:
    """Take the option of that name, or the first, from a list; `typed` narrows a long one.

    Streamlit's list closes by itself where the focus left another one as it opened, or where a run
    redrew the page: then it is opened again, as a person would.
    """
    wanted = page.get_by_role("option", name=option).first
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        settled(page)
        if not page.get_by_role("option").first.is_visible():
            box.click()
        if typed:
            box.fill(typed)
        try:
            wanted.click(timeout=5_000)
        except NotInTime:
            continue
        settled(page)
        return
    raise AssertionError(f"the list never stayed open with {option or 'an option'} in it")


def press(page: Page, target: Locator) -> None:
    """A press as long as a person's: it begins by taking the focus from a field, whose text is sent
    then. Sent with the press at once, Streamlit may take the two together, and the text is lost."""
    # What a run has sent may not be drawn yet, and only then is its code asked for.
    target.wait_for()
    settled(page)  # what is being drawn anew may hear no press
    target.click(delay=80)
    settled(page)


def open_page(page: Page, name: str) -> None:
    """Go to one of the app's pages by its name in the menu."""
    press(page, page.get_by_test_id("stTopNavLink").filter(has_text=name))


def make_workspace(folder: Path) -> Store:
    """An empty workspace."""
    folder.mkdir(parents=True, exist_ok=True)
    return Store(folder / DATABASE_NAME)


def open_round(store: Store) -> int:
    """A reference, a policy version that learned from it, and a round that samples the latter."""
    reference = store.versions.add_policy(name="secret-reference", base="tiny", method="sft")
    policy = store.versions.add_policy(name="secret-ppo-1", base="tiny", method="ppo",
                                       parent_id=reference.id)
    turn = store.rounds.open(policy.id, reference.id)
    store.rounds.set_stage(turn.id, "labeling")
    return turn.id


def add_task(store: Store, round_id: int | None, prompt: str | list[Message],
             texts: list[str], *, purpose: str = "train", wanted: int = 1) -> int:
    """A task of texts; the first is the new policy's, the others the reference's."""
    messages = prompt if isinstance(prompt, list) else [Message(role="user", content=prompt)]
    prompt_id, _ = store.prompts.add(messages, "test", ["lookalike"])
    versions = store.versions.policies()
    new = versions[-1].id if versions else None
    old = versions[0].id if versions else None
    ids = store.responses.add([
        NewResponse(prompt_id, text, new if i == 0 else old, round_id, sample_index=i)
        for i, text in enumerate(texts)])
    return store.tasks.add(prompt_id, ids, round_id=round_id, purpose=purpose, wanted=wanted)
