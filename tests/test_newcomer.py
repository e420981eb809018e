"""What a newcomer does, end to end: real Chromium, the real `up`, a real worker, a tiny model."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import PATIENCE_MS, Visit, open_page, press, settled, visit
from desk_page import PAUSE_MS
from models import tiny_checkpoint
from playwright.sync_api import Browser, Page, expect
from processes import free_port

from backbone.config import ModelConfig
from data.store import Store
from loop.settings import SETTINGS_NAME
from loop.workspace import Plan, make_workspace

pytestmark = pytest.mark.browser
PROMPTS, LABELS = 12, 12


@dataclass
class Running:
    """`prefloop up` over a workspace, and the link that it printed."""

    store: Store
    link: str


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    folder = tmp_path / "workspace"
    checkpoint = tiny_checkpoint(tmp_path)
    lines = [json.dumps({"prompt": f"tell me about the {word} number {n}"})
             for n, word in enumerate(("cat", "dog", "house", "sea") * 10)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    make_workspace(folder, Plan(ModelConfig(checkpoint=str(checkpoint)), starter_prompts=False,
                                prompts=tmp_path / "prompts.jsonl"))
    settings = (folder / SETTINGS_NAME).read_text()
    for section, lines_of in (
            ("sample", f"prompts = {PROMPTS}\nmax_new_tokens = 12"),
            ("reward", "epochs = 2"),
            ("ppo", "steps = 3\nbatch_size = 8\nminibatch_size = 8\nmax_new_tokens = 8")):
        settings = settings.replace(f"[{section}]\n", f"[{section}]\n{lines_of}\n")
    (folder / SETTINGS_NAME).write_text(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "loop", "up", "--workspace", str(folder), "--port",
         str(free_port()), "--json"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        yield Running(Store.of_workspace(folder), _link(process))
    finally:
        process.terminate()
        assert process.wait(PATIENCE_MS / 1000) == 0, "Ctrl-C ends everything in good order"


def _link(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    text = ""
    for line in process.stdout:
        text += line
        if line.rstrip() == "}":
            return str(json.loads(text)["link"])
    raise AssertionError(f"`prefloop up` ended without a link:\n{text}")


@pytest.fixture
def window(chromium: Browser) -> Iterator[Visit]:
    one = visit(chromium)
    expect.set_options(timeout=2 * PATIENCE_MS)  # for a job, too
    yield one
    expect.set_options(timeout=PATIENCE_MS)
    assert one.strangers() == []
    one.context.close()


def rank(page: Page, number: int) -> None:
    """Rank the pair at hand by key, now one side and now the other."""
    expect(page.get_by_role("button", name="A better")).to_be_visible()
    page.wait_for_timeout(PAUSE_MS)
    page.keyboard.press("28"[number % 2])
    page.wait_for_timeout(300)


def start(page: Page, title: str, insist: bool = False) -> None:
    """Start a stage from the Jobs page; a dozen labels prove no reward model, so insist on it."""
    open_page(page, "Jobs")
    press(page, page.get_by_role("radio", name=title))
    if insist:
        expect(page.get_by_text("too few held-out pairs to tell")).to_be_visible()
        press(page, page.get_by_text("Use it anyway"))
    press(page, page.get_by_role("button", name=title))
    expect(page.get_by_text(re.compile(r"Job \d+ is queued"))).to_be_visible()


def test_from_the_link_to_the_new_policys_samples(running: Running, window: Visit) -> None:
    store, page = running.store, window.page
    page.goto(running.link)
    page.get_by_role("button", name="Sign in as").click()
    settled(page)

    for number in range(LABELS):
        rank(page, number)
    expect(page.get_by_role("heading", name=re.compile("is complete"))).to_be_visible()
    assert len(store.comparisons.current()) == LABELS
    open_page(page, "Quality")
    expect(page.locator(".pf-fact").filter(has_text="Labels given")).to_contain_text(
        f"{LABELS} of {LABELS}")

    start(page, "Train the reward model")
    accuracy = page.locator(".pf-fact").filter(has_text="Held-out accuracy")
    expect(accuracy).to_contain_text(re.compile(r"(%.*|too few to say: )n = \d+", re.S))

    start(page, "Improve the policy (PPO)", insist=True)
    expect(page.get_by_text(re.compile("Policy.*ppo-1", re.S)).first).to_be_visible()
    titles = page.locator(".js-plotly-plot .gtitle")
    for name in ("Reward", "KL", "length", "Entropy"):
        expect(titles.filter(has_text=re.compile(name, re.I)).first).to_be_visible()

    start(page, "Open the next round")
    open_page(page, "Label")
    rank(page, 0)
    (latest,) = store.comparisons.current(round_id=store.rounds.all()[-1].id)
    written_by = {store.versions.policy(r.policy_version_id or 0).name
                  for r in store.responses.get(store.tasks.get(latest.task_id).response_ids)}
    assert "ppo-1" in written_by
    assert store.rounds.all()[0].closed_at is not None
    origin = next(v for v in store.versions.policies() if v.name == "ppo-1")
    assert store.versions.labelers_behind(origin.id) == {"lead": len(
        [c for c in store.comparisons.current(round_id=store.rounds.all()[0].id)
         if store.prompts.get(store.tasks.get(c.task_id).prompt_id).split == "train"])}
