"""The app in real Chromium: signing in, and what a lead and an engineer see and do."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from browser import Server, Visit, open_page, press, serving, settled, sign_in
from desk_page import button
from playwright.sync_api import expect

from data.database import now
from data.records import Answer, Labeler

pytestmark = pytest.mark.browser
_names = count(1)

JOB_KINDS = [
    {"kind": "ppo", "title": "Improve the policy (PPO)", "help": "Improves it.",
     "common": ["steps"], "fields": [
         {"name": "steps", "type": "int", "default": 20, "choices": [], "help": "How many."},
         {"name": "learning_rate", "type": "float", "default": 1e-4, "choices": [], "help": ""},
         {"name": "whiten", "type": "bool", "default": True, "choices": [], "help": ""}]},
]


def test_a_link_signs_in_once(server: Server, person: Callable[..., Labeler],
                              window: Callable[..., Visit], tasks: Callable[..., list[int]],
                              ) -> None:
    tasks()
    me = person()
    link = server.link(me)
    one = window()
    for path in ("", "/jobs", "/people"):
        one.page.goto(server.url + path)
        expect(one.page.get_by_text("You are not signed in")).to_be_visible()
        expect(one.page.get_by_text("Page not found")).to_have_count(0)
    note = one.page.locator(".pf-note")
    expect(note.locator("p").first).to_have_text(re.compile("^Ask your lead for a new link"))
    expect(note.locator("p").last).to_contain_text(".venv/bin/prefloop labeler link NAME")
    for _ in range(2):  # a preview of the link does not use it up
        answer = one.page.goto(link)
        assert answer is not None and answer.status == 200
    one.page.get_by_role("button", name=f"Sign in as {me.name}").click()
    expect(button(one.page, "Tie")).to_be_visible()
    cookie = next(c for c in one.context.cookies() if c["name"].startswith("prefloop_"))
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    one.page.goto(link)  # who is signed in is taken to the app
    expect(button(one.page, "Tie")).to_be_visible()
    two = window()
    answer = two.page.goto(link)
    assert answer is not None and answer.status == 403
    expect(two.page.get_by_text("This link does not work")).to_be_visible()
    assert two.context.cookies() == []
    open_page(one.page, "Account")
    one.page.get_by_role("button", name="Sign out").click()
    expect(one.page.get_by_text("You are not signed in")).to_be_visible()
    one.page.reload()
    expect(one.page.get_by_text("You are not signed in")).to_be_visible()


def test_a_lead_sees_the_figures_and_adds_people(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    made = tasks(4, purpose="evaluate", wanted=2)
    lead = person("lead")
    robot = server.store.people.add(f"robot {next(_names)}", kind="simulated")
    for who in (lead, robot):
        for number in made:
            task = server.store.assignments.assign(number, who.id).task
            better, worse = sorted(task.response_ids)
            server.store.comparisons.submit(who.id, task, Answer(((better,), (worse,))),
                                            f"{who.id}-{number}")
    one = window()
    sign_in(one, server, lead)
    open_page(one.page, "Quality")
    facts = one.page.locator(".pf-fact")
    expect(facts.filter(has_text="Labels given")).to_contain_text("8 of 8")
    expect(facts.filter(has_text="Agreement")).to_contain_text(re.compile(r"100 %.*n = 4", re.S))
    expect(facts.filter(has_text="beats the reference")).to_contain_text(
        re.compile(r"100 %.*n = 8", re.S))
    expect(one.page.get_by_role("link", name=f"{robot.name} (simulated)")).to_be_visible()
    open_page(one.page, "People")
    name = f"Newcomer {next(_names)}"
    one.page.get_by_role("textbox", name="Name").fill(name)
    one.page.get_by_role("button", name="Add", exact=True).click()
    shown = one.page.get_by_test_id("stCode")
    expect(shown).to_contain_text(f"{server.url}/signin?code=")
    link = shown.inner_text().strip()
    other = window()
    other.page.goto(link)
    expect(other.page.get_by_role("button", name=f"Sign in as {name}")).to_be_visible()
    one.page.reload()
    settled(one.page)
    assert link.split("code=")[1] not in one.page.content()


def test_an_engineer_starts_watches_and_stops_jobs(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit]) -> None:
    jobs = server.store.jobs
    engineer, one = person("engineer"), window()
    sign_in(one, server, engineer)
    page = one.page
    expect(page.get_by_test_id("stTopNavLink").filter(has_text="Jobs")).to_be_visible()
    assert page.get_by_test_id("stTopNavLink").filter(has_text="People").count() == 0
    server.store.put_setting("job_kinds", JOB_KINDS)
    server.store.put_setting("worker", None)
    open_page(page, "Jobs")
    expect(page.get_by_text("No worker is running")).to_be_visible()
    server.store.put_setting("worker", {"pid": 1, "seen": now()})
    press(page, page.get_by_role("radio", name="Improve the policy (PPO)"))
    page.get_by_role("textbox", name="Steps").fill("many")
    page.get_by_role("button", name="Improve the policy (PPO)").click()
    expect(page.get_by_text("NOT started: Steps: wanted a whole number")).to_be_visible()
    page.get_by_role("textbox", name="Steps").fill("7")
    page.get_by_role("button", name="Improve the policy (PPO)").click()
    expect(page.get_by_text(re.compile(r"Job \d+ is queued"))).to_be_visible()
    job = jobs.claim()
    assert job is not None and job.kind == "ppo" and job.requested_by == engineer.id
    assert job.config == {"steps": 7}  # only what differs from the default
    jobs.set_progress(job.id, 0.4, "step 3 of 7", 60)
    for step in range(3):
        jobs.add_metrics(job.id, step, {
            "reward": 0.1 * step, "kl": 0.2 * step, "length": 30.0, "entropy": 2.0,
            "clip_fraction": 0.1, "broken": float("nan"),
            "samples": [{"prompt": "Hi", "text": "**Hello** <script>alert(1)</script>"}]})
    expect(page.get_by_text(re.compile(r"40%.*step 3 of 7"))).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(5)  # and rewards against distance
    expect(page.locator(".js-plotly-plot .gtitle").first).to_contain_text("Reward")
    expect(page.locator(".pf-text strong")).to_have_text("Hello")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stopping")).to_be_visible()
    assert jobs.get(job.id).stop_requested
    jobs.finish(job.id, {"held_out_accuracy": {"value": 0.71, "n": 120, "low": 0.62, "high": 0.79}})
    fact = page.locator(".pf-fact").filter(has_text="Held-out accuracy")
    expect(fact).to_contain_text(re.compile(r"71 %.*n = 120, 62–79 %", re.S))
    failed = jobs.add("ppo")
    jobs.claim(failed.id)
    jobs.fail(failed.id, "the disk is full <b>now</b>")
    page.reload()
    settled(page)
    expect(page.get_by_text("the disk is full <b>now</b>")).to_be_visible()
    open_page(page, "Rounds")
    expect(page.get_by_text("secret-ppo-1").first).to_be_visible()


def test_a_workspace_folder_without_a_workspace_is_refused(tmp_path: Path) -> None:
    from data.errors import NotFound

    with pytest.raises(NotFound, match="holds no workspace"), serving(tmp_path):
        pass
