"""The app in real Chromium: what a labeler, a lead and an engineer see and do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from browser import (
    PAUSE_MS,
    Server,
    Visit,
    add_task,
    launch_browser,
    make_workspace,
    open_page,
    open_round,
    serving,
    settled,
    sign_in,
    visit,
)
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from test_annotate_rendering import PAYLOADS

from data.database import now
from data.records import Answer, Comparison, Labeler

pytestmark = pytest.mark.browser

JOB_KINDS = [
    {"kind": "ppo", "title": "Improve the policy (PPO)", "help": "Improves it.",
     "common": ["steps"], "fields": [
         {"name": "steps", "type": "int", "default": 20, "choices": [], "help": "How many."},
         {"name": "learning_rate", "type": "float", "default": 1e-4, "choices": [], "help": ""},
         {"name": "whiten", "type": "bool", "default": True, "choices": [], "help": ""}]},
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch_browser(playwright)
        expect.set_options(timeout=15_000)  # a busy machine is no failure
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests; each closes the round before and opens its own."""
    workspace = tmp_path_factory.mktemp("workspace")
    store = make_workspace(workspace)
    store.put_setting("job_kinds", JOB_KINDS)
    store.put_setting("worker", {"pid": 1, "seen": now()})
    open_round(store)
    with serving(workspace) as running:
        yield running


_names = count(1)


@pytest.fixture
def person(server: Server) -> Callable[..., Labeler]:
    """Adds somebody with a name of their own."""
    return lambda role="labeler": server.store.people.add(f"{role} {next(_names)}", role)


@pytest.fixture
def window(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens windows, and holds each to the rule that no request leaves this machine."""
    opened: list[Visit] = []

    def open_one(**options: object) -> Visit:
        opened.append(visit(chromium, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for one in opened:
        assert one.strangers() == []
        assert one.dialogs == []
        one.context.close()


@pytest.fixture
def tasks(server: Server) -> Callable[..., list[int]]:
    """Opens a round of its own, with pairs."""
    def make(number: int = 3, texts: tuple[str, ...] = ("first text", "second text"),
             **options: object) -> list[int]:
        versions = server.store.versions.policies()
        turn = server.store.rounds.open(versions[1].id, versions[0].id)
        server.store.rounds.set_stage(turn.id, "labeling")
        return [add_task(server.store, turn.id, f"Question {next(_names)}", list(texts),
                         **options)  # type: ignore[arg-type]
                for _ in range(number)]
    return make


def stored(server: Server, labeler: Labeler) -> list[Comparison]:
    return server.store.comparisons.current(labeler_id=labeler.id)


def button(page: Page, label: str) -> Locator:
    """An answer button; its name ends with its key."""
    return page.get_by_role("button", name=re.compile(rf"^{re.escape(label)}( Shortcut)?\b"))


def status(page: Page) -> Locator:
    return page.locator(".pf-status")


def read_for_a_moment(page: Page) -> None:
    page.wait_for_timeout(PAUSE_MS)


def click(page: Page, label: str) -> None:
    read_for_a_moment(page)
    button(page, label).click()


def key(page: Page, name: str) -> None:
    read_for_a_moment(page)
    page.keyboard.press(name)


def sides(page: Page) -> list[str]:
    expect(page.locator(".pf-pane").nth(1)).to_be_visible()
    return page.locator(".pf-pane").all_inner_texts()


def winner_text(server: Server, comparison: Comparison) -> str:
    assert comparison.winner is not None
    return server.store.responses.get([comparison.winner])[0].text


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
    expect(one.page.get_by_text("prefloop labeler add NAME")).to_be_visible()
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
    one.page.reload()
    expect(one.page.get_by_text("You are not signed in")).to_be_visible()


def test_pairs_are_ranked_by_click_and_by_key(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    tasks(4)
    me, one = person(), window()
    sign_in(one, server, me)
    page = one.page
    left, right = sides(page)
    click(page, "A better")
    expect(status(page)).to_have_text("Saved: A better.")
    assert winner_text(server, stored(server, me)[0]) == left
    left, right = sides(page)
    key(page, "4")
    expect(status(page)).to_have_text("Saved: B slightly better.")
    second = stored(server, me)[1]
    assert winner_text(server, second) == right and second.answer.strength == 2
    assert second.first_shown_won is False and second.answer.seconds >= PAUSE_MS / 1000
    key(page, "3")
    expect(status(page)).to_have_text("Saved: Tie.")
    expect(page.get_by_text("you 3")).to_be_visible()
    key(page, "6")
    expect(page.get_by_role("heading", name=re.compile("is complete"))).to_be_visible()
    third, fourth = stored(server, me)[2:]
    assert third.answer.is_tie and fourth.answer.verdict == "both_bad"


def test_a_double_click_stores_once(server: Server, person: Callable[..., Labeler],
                                    window: Callable[..., Visit],
                                    tasks: Callable[..., list[int]]) -> None:
    tasks(3)
    me, one = person(), window()
    sign_in(one, server, me)
    read_for_a_moment(one.page)
    button(one.page, "A better").dblclick()
    expect(one.page.get_by_text("you 1")).to_be_visible()
    read_for_a_moment(one.page)
    box = button(one.page, "B better").bounding_box()
    assert box is not None
    for _ in range(4):  # four impatient clicks in the same place, a tenth of a second apart
        one.page.mouse.click(box["x"] + 20, box["y"] + 10)
        one.page.wait_for_timeout(100)
    expect(one.page.get_by_text("you 2")).to_be_visible()
    one.page.wait_for_timeout(500)
    assert len(stored(server, me)) == 2


def test_keys_do_nothing_while_typing_a_reason(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    tasks(2)
    me, one = person(), window()
    sign_in(one, server, me)
    page = one.page
    page.get_by_role("button", name="untrue").first.click()
    box = page.get_by_role("textbox", name="Reason")
    box.click()
    read_for_a_moment(page)
    box.press_sequentially("sources 1 and 2, us 345, skip 6", delay=5)
    page.wait_for_timeout(500)
    assert stored(server, me) == [] and box.input_value().endswith("skip 6")
    expect(button(page, "Tie")).to_be_visible()
    button(page, "B better").click()
    expect(status(page)).to_have_text("Saved: B better.")
    answer = stored(server, me)[0]
    assert answer.answer.rationale == "sources 1 and 2, us 345, skip 6"
    assert answer.answer.flags == {answer.shown[0]: ("untrue",)}
    expect(page.get_by_role("textbox", name="Reason")).to_have_value("")


def test_undo_and_skip(server: Server, person: Callable[..., Labeler],
                       window: Callable[..., Visit], tasks: Callable[..., list[int]]) -> None:
    tasks(2)
    me, one = person(), window()
    sign_in(one, server, me)
    page = one.page
    question, shown = page.locator(".pf-conversation").inner_text(), sides(page)
    key(page, "1")
    expect(status(page)).to_have_text("Saved: A better.")
    key(page, "u")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    assert stored(server, me) == [] and sides(page) == shown
    assert page.locator(".pf-conversation").inner_text() == question
    key(page, "s")
    expect(button(page, "Cannot judge")).to_be_visible()
    key(page, "Escape")
    expect(button(page, "Tie")).to_be_visible()
    key(page, "s")
    click(page, "Cannot judge")
    expect(status(page)).to_have_text("Skipped: cannot judge.")
    assert page.locator(".pf-conversation").inner_text() != question
    click(page, "Undo")
    expect(status(page)).to_have_text("Taken back: answer it again.")
    assert page.locator(".pf-conversation").inner_text() == question


def test_four_responses_are_ranked_with_ties(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    tasks(2, ("one", "two", "three", "four"))
    me, one = person(), window()
    sign_in(one, server, me)
    page = one.page
    shown = sides(page)
    for left, place in zip(("(3 to go)", "(2 to go)", "(1 to go)", ""), ("3", "1", "2", "4"),
                           strict=True):
        page.keyboard.press(place)
        expect(page.get_by_role("button", name=f"Save ranking {left}".strip())).to_be_visible()
    expect(button(page, "Save ranking")).to_be_enabled()
    key(page, "Enter")
    expect(status(page)).to_have_text("Saved: C > A > B > D.")
    first = stored(server, me)[0]
    texts = {r.id: r.text for r in server.store.responses.get(first.shown)}
    assert [texts[i] for (i,) in first.answer.ranking] == [shown[i] for i in (2, 0, 1, 3)]
    for position, rank in enumerate(("2", "1", "2", "4")):
        page.locator(f".st-key-ranks-{position}").get_by_role(
            "button", name=rank, exact=True).click()
        page.wait_for_timeout(400)
    expect(button(page, "Save ranking")).to_be_enabled()
    key(page, "Enter")  # saves, and does not press the button that has the focus
    expect(page.get_by_role("heading", name=re.compile("is complete"))).to_be_visible()
    assert [len(group) for group in stored(server, me)[1].answer.ranking] == [1, 2, 1]


def test_a_reload_keeps_the_sides_and_hides_who_wrote_what(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    tasks(1, ("alpha", "omega"), purpose="evaluate", wanted=12)
    orders = set()
    for _ in range(8):
        me, one = person(), window()
        sign_in(one, server, me)
        shown = sides(one.page)
        one.page.reload()
        expect(button(one.page, "Tie")).to_be_visible()
        assert sides(one.page) == shown
        orders.add(tuple(shown))
        document = one.page.content()
        for secret in ("secret", "ppo", "lookalike", "evaluate", "reference"):
            assert secret not in document.lower()
    assert len(orders) == 2  # the order is each labeler's own
    for page in ("people", "quality", "rounds", "jobs"):
        one.page.goto(f"{server.url}/{page}")
        expect(one.page.get_by_text("a labeler may not do this")).to_be_visible()
        assert "secret" not in one.page.content()
    expect(one.page.get_by_test_id("stTopNavLink")).to_have_count(3)


def test_hostile_responses_run_nothing_and_load_nothing(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    texts = list(PAYLOADS.values())
    tasks(1, tuple(dict.fromkeys(("\n\n".join(texts[::2]), "\n\n".join(texts[1::2])))))
    me, one = person(), window()
    one.page.add_init_script("window.ran = 0; window.alert = () => { window.ran += 1 }")
    sign_in(one, server, me)
    expect(one.page.locator(".pf-pane")).to_have_count(2)
    one.page.wait_for_timeout(500)
    assert one.page.evaluate("window.ran") == 0
    inside = one.page.locator(".pf-text")
    for tag in ("script", "img", "iframe", "svg", "a", "form", "style", "link", "object"):
        assert inside.locator(tag).count() == 0
    headers = one.page.request.get(server.url).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe-eval" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert one.page.request.put(f"{server.url}/_stcore/upload_file/a/b").status == 404


def test_a_waiting_labeler_gets_the_first_pair_by_itself(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    tasks(0)
    job = server.store.jobs.add("sample")
    server.store.jobs.claim(job.id)
    server.store.jobs.set_progress(job.id, 0.25, "secret-ppo-1: 5 of 20", 40)
    me, one = person(), window()
    sign_in(one, server, me)
    expect(one.page.get_by_role("heading", name="Responses are being written")).to_be_visible()
    expect(one.page.get_by_text(re.compile("25%"))).to_be_visible()
    server.store.jobs.set_progress(job.id, 0.5, "", 20)
    expect(one.page.get_by_text(re.compile("50%"))).to_be_visible()
    turn = server.store.rounds.current()
    assert turn is not None
    add_task(server.store, turn.id, "At last?", ["yes", "no"])
    expect(button(one.page, "Tie")).to_be_visible(timeout=10_000)
    server.store.jobs.finish(job.id, {})
    key(one.page, "1")
    expect(one.page.get_by_role("heading", name=re.compile("is complete"))).to_be_visible()
    assert len(stored(server, me)) == 1
    click(one.page, "Undo")
    expect(button(one.page, "Tie")).to_be_visible()
    assert stored(server, me) == []


def test_own_answers_are_found_and_changed(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    tasks(2)
    me, one = person(), window()
    sign_in(one, server, me)
    key(one.page, "1")
    expect(status(one.page)).to_have_text("Saved: A better.")
    open_page(one.page, "My answers")
    search = one.page.get_by_role("textbox", name="Search")
    search.fill("no such words")
    search.press("Enter")
    expect(one.page.get_by_text("No answer mentions that.")).to_be_visible()
    search.fill("FIRST text")
    search.press("Enter")
    one.page.get_by_text("A better · Question").click()
    one.page.get_by_role("radio", name="B slightly better").click()
    one.page.get_by_role("button", name="Change my answer").click()
    expect(one.page.get_by_text("Saved: B slightly better.")).to_be_visible()
    before, after = server.store.comparisons.history(stored(server, me)[0].task_id, me.id)
    assert after.revision == 2 and after.shown == before.shown
    assert after.answer.ranking == before.answer.ranking[::-1] and after.answer.strength == 2


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
    expect(one.page.get_by_text(f"{robot.name} (simulated)")).to_be_visible()
    open_page(one.page, "People")
    name = f"Newcomer {next(_names)}"
    one.page.get_by_role("textbox", name="Name").fill(name)
    one.page.get_by_role("button", name="Add", exact=True).click()
    link = one.page.get_by_test_id("stCode").inner_text().strip()
    assert link.startswith(f"{server.url}/signin?code=")
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
    assert page.get_by_test_id("stTopNavLink").filter(has_text="People").count() == 0
    server.store.put_setting("worker", None)
    open_page(page, "Jobs")
    expect(page.get_by_text("No worker is running")).to_be_visible()
    server.store.put_setting("worker", {"pid": 1, "seen": now()})
    page.get_by_role("radio", name="Improve the policy (PPO)").click()
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
    expect(page.get_by_text(re.compile(r"40%.*step 3 of 7"))).to_be_visible(timeout=10_000)
    expect(page.locator(".js-plotly-plot")).to_have_count(4)
    expect(page.locator(".js-plotly-plot .gtitle").first).to_contain_text("Reward")
    expect(page.locator(".pf-text strong")).to_have_text("Hello")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stopping")).to_be_visible()
    assert jobs.get(job.id).stop_requested
    jobs.finish(job.id, {"held_out_accuracy": {"value": 0.71, "n": 120, "low": 0.62, "high": 0.79}})
    fact = page.locator(".pf-fact").filter(has_text="Held-out accuracy")
    expect(fact).to_contain_text(re.compile(r"71 %.*n = 120, 62–79 %", re.S), timeout=10_000)
    failed = jobs.add("ppo")
    jobs.claim(failed.id)
    jobs.fail(failed.id, "the disk is full <b>now</b>")
    page.reload()
    settled(page)
    expect(page.get_by_text("the disk is full <b>now</b>")).to_be_visible()
    open_page(page, "Rounds")
    expect(page.get_by_text("secret-ppo-1").first).to_be_visible()


def test_a_phone_shows_one_response_above_the_other(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Callable[..., list[int]]) -> None:
    tasks(2, ("short", "long word " * 600))
    me, one = person(), window(width=390, height=844)
    sign_in(one, server, me)
    page = one.page
    upper, lower = (page.locator(f".st-key-response-{i}").bounding_box() for i in range(2))
    assert upper is not None and lower is not None
    assert upper["x"] == lower["x"] and upper["y"] + upper["height"] <= lower["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = button(page, "A better").bounding_box()
    assert box is not None and box["y"] + box["height"] <= 844
    page.mouse.move(200, 400)
    page.mouse.wheel(0, 3000)
    click(page, "A better")
    expect(status(page)).to_have_text("Saved: A better.")
    expect(page.locator(".pf-conversation")).to_be_in_viewport()


def test_a_workspace_folder_without_a_workspace_is_refused(tmp_path: Path) -> None:
    from data.errors import NotFound

    with pytest.raises(NotFound, match="holds no workspace"), serving(tmp_path):
        pass
