"""The engineers' page of the reward model in real Chromium, light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from accessibility import LOOKS, violations
from browser import (
    Server,
    add_task,
    choose,
    make_workspace,
    open_page,
    settled,
    sign_in,
    unfold,
    visit,
)
from leads_world import CREW, LeadsWorld
from playwright.sync_api import Browser, expect
from reward_page_world import add_reward_models

from data.database import now
from data.records import Answer, Labeler
from data.reward_reports import verdict

pytestmark = pytest.mark.browser
HOSTILE = "<img src=http://evil.test/x onerror=alert(1)> ![i](http://evil.test/i) <script>alert(1)"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People have labeled a round; the worst mistake of all is about hostile texts."""
    folder = tmp_path_factory.mktemp("reward")
    world = LeadsWorld.make(make_workspace(folder))
    store = world.store
    turn = store.rounds.current()
    assert turn
    prompt = next(f"Question about {n} {HOSTILE}" for n in range(100)
                  if _held_out(f"Question about {n} {HOSTILE}"))
    task = add_task(store, turn.id, prompt, [f"{HOSTILE} better", f"**worse** {HOSTILE} " * 40],
                    wanted=2)
    for name in CREW[:2]:
        given = store.assignments.assign(task, world.people[name].id)
        better, worse = given.task.response_ids
        store.comparisons.submit(given.labeler_id, given.task, Answer(((better,), (worse,))),
                                 f"{task}/{name}")
    add_reward_models(store, wrong_about=store.tasks.get(task).prompt_id)
    old = {"held_out_accuracy": {"value": .6, "n": 50, "low": .5, "high": .7}}
    store.versions.add_reward_model(name="reward-0", base="tiny", path="adapters/reward-0",
                                    comparisons={}, metrics=old)
    store.put_setting("worker", {"pid": 1, "seen": now()})
    store.put_setting("job_kinds", [{
        "kind": "eval-reward", "title": "Evaluate", "help": "", "common": [], "fields": [
            {"name": "reward_model", "type": "str", "default": "", "choices": [], "help": ""}]}])
    return folder


def _held_out(text: str) -> bool:
    from data.prompts import split_of

    return split_of([{"role": "user", "content": text}]) == "held_out"


@pytest.fixture
def engineer(person: Callable[..., Labeler]) -> Labeler:
    return person("engineer")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_page_says_what_the_report_says(server: Server, chromium: Browser, engineer: Labeler,
                                            scheme: str, width: int, tmp_path: Path) -> None:
    one = visit(chromium, width, 900, color_scheme=scheme)
    sign_in(one, server, engineer)
    page = one.page
    page.goto(f"{server.url}/reward")
    settled(page)
    choose(page, page.get_by_role("combobox", name="Version"), "reward-2")
    model = server.store.versions.reward_model_named("reward-2")
    accuracy = model.metrics["held_out_accuracy"]
    assert verdict(server.store, model).standing == "beats"
    expect(page.get_by_text("It beats its baselines on held-out prompts")).to_be_visible()
    card = page.locator(".pf-fact").filter(has_text="Held-out accuracy")
    expect(card).to_contain_text(f"{100 * accuracy['value']:.0f} %")
    expect(card).to_contain_text(f"n = {accuracy['n']}")
    expect(page.get_by_text(re.compile("Over the version before, on the same pairs"))
           ).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    for title in ("By strength", "By agreement", "By length", "By labeler"):
        expect(page.get_by_text(title, exact=True).first).to_be_visible()
    unfold(page, page.get_by_text("As tables, with how often"))
    expect(page.locator(".pf-table").first).to_be_visible()
    page.wait_for_timeout(1500)  # plots draw after the run has ended
    page.screenshot(path=tmp_path / f"reward-{scheme}-{width}.png", full_page=True)
    found = violations(page)
    first = model.metrics["mistakes"][0]
    unfold(page, page.locator("[data-testid=stExpander] summary").filter(has_text="1.").first)
    expect(page.get_by_text("Labelers chose (score").first).to_be_visible()
    expect(page.get_by_text(f"score {first['rejected_score']:.2f}").first).to_be_visible()
    found += violations(page)
    assert not found, "\n".join(dict.fromkeys(found))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert one.strangers() == [] and one.dialogs == [] and one.errors == []
    one.context.close()


def test_hostile_texts_lie_there_as_text(server: Server, chromium: Browser,
                                         engineer: Labeler) -> None:
    model = server.store.versions.reward_model_named("reward-1")
    hostile = [m for m in model.metrics["mistakes"]
               if "evil.test" in server.store.responses.get([m["chosen_id"]])[0].text]
    one = visit(chromium)
    sign_in(one, server, engineer)
    page = one.page
    page.goto(f"{server.url}/reward")
    settled(page)
    choose(page, page.get_by_role("combobox", name="Version"), "reward-1")
    assert hostile == model.metrics["mistakes"][:1]
    unfold(page, page.locator("[data-testid=stExpander] summary").filter(has_text="evil.test"))
    expect(page.get_by_text("Labelers chose (score").first).to_be_visible()
    shown = page.locator(".pf-pane").first
    expect(shown).to_contain_text("<img src=http://evil.test/x onerror=alert(1)>")
    assert page.locator(".pf-pane img, .pf-pane script, .pf-pane a").count() == 0
    assert one.strangers() == [] and one.dialogs == []
    one.context.close()


def test_old_versions_blindness_and_evaluating_again(server: Server, chromium: Browser,
                                                     engineer: Labeler) -> None:
    store = server.store
    one = visit(chromium)
    sign_in(one, server, engineer)
    page = one.page
    open_page(page, "Reward model")
    expect(page.get_by_text("This report was made before there were breakdowns")).to_be_visible()
    page.get_by_role("button", name="Evaluate again").click()
    expect(page.get_by_text(re.compile(r"Job \d+ is queued"))).to_be_visible()
    job = store.jobs.claim()
    assert job and job.kind == "eval-reward" and job.config == {"reward_model": "reward-0"}
    newer = store.versions.reward_model_named("reward-2").metrics
    store.jobs.finish(job.id, {"reward_model": "reward-0", **newer})
    # Somebody is asked about the worst mistake's responses: they may not see its scores.
    first = newer["mistakes"][0]
    ids = [first["chosen_id"], first["rejected_id"]]
    turn = store.rounds.current()
    assert turn
    task = store.tasks.add(first["prompt_id"], ids, round_id=turn.id)
    page.reload()
    settled(page)
    expect(page.get_by_text("evaluated again")).to_be_visible()
    count = len(newer["mistakes"])
    expect(page.get_by_text(f"1 of {count} are not shown: you may still be asked")).to_be_visible()
    given = store.assignments.assign(task, engineer.id)
    store.comparisons.submit(engineer.id, given.task, Answer(((ids[0],), (ids[1],))), "once")
    page.reload()
    settled(page)
    expect(page.get_by_text("The worst mistakes")).to_be_visible()
    expect(page.get_by_text("are not shown")).to_have_count(0)
    one.context.close()


def test_a_labeler_may_not_see_it(server: Server, chromium: Browser) -> None:
    one = visit(chromium)
    sign_in(one, server, server.store.people.add("Lea Labeler"))
    one.page.goto(f"{server.url}/reward")
    settled(one.page)
    expect(one.page.get_by_text("a labeler may not do this")).to_be_visible()
    assert one.page.get_by_text("Held-out accuracy").count() == 0
    one.context.close()
