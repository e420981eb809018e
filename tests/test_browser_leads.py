"""A lead's work in real Chromium: ask, guide, measure, find who clicks through, decide."""

from __future__ import annotations

import re

import pytest
from browser import Newcomer, Server, choose, open_page, press, settled, unfold
from leads_world import CARELESS, CREW, section, workspace
from playwright.sync_api import expect

from data.disputes import disputes

assert workspace  # a fixture

pytestmark = pytest.mark.browser


def test_a_lead_sets_the_question_and_writes_guidelines(server: Server, newcomer: Newcomer) -> None:
    lead, one = newcomer("lead")
    page, questions = one.page, server.store.questions
    open_page(page, "Settings")
    expect(page).to_have_title("Settings · prefloop")
    page.get_by_text("Which is better", exact=True).click()
    page.get_by_text("Each response gets a score").click()
    page.get_by_role("textbox", name="Flags").fill("unsafe\ntoo long")
    page.get_by_role("button", name="Save question").click()
    expect(page.get_by_text("Saved: version 1 of the question")).to_be_visible()
    version, question = questions.current()
    assert version == 1 and question.scale == "plain" and question.scores
    assert question.flags == ("unsafe", "too long") and question.tie
    settled(page)
    page.get_by_role("textbox", name="Flags").fill("same\nSame")
    page.get_by_role("button", name="Save question").click()
    expect(page.get_by_text("NOT saved: flags: the same flag stands there twice")).to_be_visible()
    assert questions.current()[0] == 1
    section(page, "Guidelines")
    text = page.get_by_role("textbox", name="Guidelines")
    text.fill("# Better\nis what **helps**. <script>alert(1)</script> ![x](http://evil.test/x)")
    text.press("Control+Enter")
    preview = page.locator(".pf-text")
    expect(preview.locator("strong")).to_have_text("helps")
    assert preview.locator("script, img").count() == 0
    page.get_by_role("button", name="Save guidelines").click()
    expect(page.get_by_text("Saved: version 1 of the guidelines")).to_be_visible()
    settled(page)  # below the notice, another editor takes the place of the one before
    page.get_by_role("textbox", name="Guidelines").fill("Second thoughts")
    page.get_by_role("button", name="Save guidelines").click()
    expect(page.get_by_text("Saved: version 2 of the guidelines")).to_be_visible()
    unfold(page, page.get_by_text(re.compile("^Version 1 ")))
    page.get_by_role("button", name="Put in force again").click()
    expect(page.get_by_text("Saved: version 3 of the guidelines")).to_be_visible()
    assert [g.version for g in questions.all_guidelines()] == [3, 2, 1]
    now = questions.guidelines()
    assert now is not None and now.text.startswith("# Better") and now.created_by == lead.id
    section(page, "Assignment")
    page.get_by_role("spinbutton", name="Daily goal").fill("40")
    page.get_by_role("button", name="Save assignment").click()
    expect(page.get_by_text("Saved: the rules hold")).to_be_visible()
    rules = server.store.assignments.rules()
    assert (rules.daily_goal, rules.gold_share) == (40, 0.1)
    assert {e.action for e in server.store.audit.entries(labeler_id=lead.id)} >= {
        "change question", "write guidelines", "change assignment"}


def test_a_lead_makes_gold_of_a_task_and_retires_it(server: Server, newcomer: Newcomer) -> None:
    page, known = newcomer("lead")[1].page, server.store.known
    before = {k.task_id for k in known.all()}
    open_page(page, "Settings")
    section(page, "Known answers")
    search = page.get_by_role("textbox", name="Find a task")
    search.fill("Question 42: rivers")
    search.press("Enter")
    expect(page.get_by_text("No task mentions that.")).to_be_visible()
    search.fill("Question 42")
    search.press("Enter")
    choose(page, page.get_by_role("combobox", name="Task"))
    expect(page.locator(".pf-pane")).to_have_count(2)
    left = page.locator(".pf-pane").first.inner_text()
    press(page, page.get_by_role("radio", name="A better"))
    press(page, page.get_by_text("Practice, with feedback"))
    press(page, page.get_by_role("button", name="Add known answer"))
    expect(page.get_by_text("NOT added: explanation")).to_be_visible()
    explanation = page.get_by_role("textbox", name="Explanation")
    explanation.fill("It answers what was asked.")
    explanation.press("Control+Enter")
    # The notice goes and all below it moves up: a press meanwhile would miss the button.
    expect(page.get_by_text("NOT added: explanation")).to_have_count(0)
    settled(page)
    page.get_by_role("button", name="Add known answer").click()
    expect(page.get_by_text("has a known answer now")).to_be_visible()
    new, = [k for k in known.all() if k.task_id not in before]
    winner = server.store.responses.get(new.answer.ranking[0])[0]
    assert new.practice and winner.text.replace("**", "") == left
    assert new.explanation == "It answers what was asked."
    unfold(page, page.get_by_text(re.compile("^Practice · Question 42")))
    expect(page.get_by_text("has a known answer now")).to_have_count(0)  # and all below moves up
    settled(page)
    page.get_by_role("button", name="Retire").click()
    expect(page.get_by_text("is handed out no more")).to_be_visible()
    assert {k.task_id for k in known.all()} == before


def test_the_careless_one_of_eight_is_found_at_a_glance(newcomer: Newcomer) -> None:
    page = newcomer("lead")[1].page
    open_page(page, "Quality")
    alarm = page.locator(".pf-alarm")
    expect(alarm).to_have_count(1)
    expect(alarm).to_contain_text(f"{CARELESS} stands out")
    for evidence in ("41 of 41 answers faster than anybody reads", "reading speed is 15–50",
                     "chose the one shown first (left) in"):
        expect(alarm).to_contain_text(evidence)
    box = alarm.bounding_box()
    assert box is not None and box["y"] + box["height"] < 900  # without scrolling
    expect(page.get_by_text("The figures below count everybody, and ties too")).to_be_visible()
    for name in set(CREW) - {CARELESS}:
        assert name not in alarm.inner_text()
    rows = page.locator(".pf-compact").first.locator("tbody tr")
    expect(rows).to_have_count(len(CREW))
    expect(rows.first).to_contain_text(re.compile(f"{CARELESS}.*stands out", re.S))
    expect(page.locator(".pf-mark")).to_have_count(1)
    charts = page.locator(".js-plotly-plot")
    expect(charts).to_have_count(4)
    dots = charts.first.locator(".points path")
    expect(dots).to_have_count(len(CREW))
    colours = dots.evaluate_all("dots => dots.map(dot => getComputedStyle(dot).fill)")
    assert sorted(map(colours.count, set(colours))) == [1, len(CREW) - 1]  # one in red
    expect(page.get_by_text("Published agreement, to compare with")).to_be_visible()
    facts = page.locator(".pf-fact")
    expect(facts.filter(has_text="Same again on repeats")).to_contain_text("n = 64")
    expect(facts.filter(has_text="Known answers right")).to_contain_text("n = 80")
    quality = page.url
    alarm.get_by_role("link", name="Their answers").click()
    page.wait_for_url("**/browse?*")
    settled(page)
    expect(page.get_by_text(re.compile(r"^51 answers$"))).to_be_visible()
    rows = page.locator(".st-key-rows-browse button")
    expect(rows).to_have_count(25)
    assert {row.split(":")[0] for row in rows.all_inner_texts()} == {CARELESS}
    for evidence in (r" · [01]\.\d s · repeat: (not the )?same again",
                     r" · [01]\.\d s · known answer: (right|wrong)", r" · [01]\.\d s\s+Question"):
        expect(rows.filter(has_text=re.compile(evidence))).not_to_have_count(0)
    press(page, rows.filter(has_text="known answer: wrong").first)
    expect(page.locator(".pf-fact").filter(has_text="Known answer")).to_contain_text("wrong")
    page.goto(quality)
    alarm.get_by_role("link", name="Set aside or disable, on People").click()
    page.wait_for_url("**/people?*")
    settled(page)
    expect(page.get_by_role("combobox", name="Person")).to_have_value(CARELESS)


def test_an_engineer_is_not_sent_to_people(server: Server, newcomer: Newcomer) -> None:
    page = newcomer("engineer")[1].page
    page.goto(f"{server.url}/quality")
    expect(page.locator(".pf-alarm")).to_contain_text("Their answers")
    expect(page.locator(".pf-alarm")).not_to_contain_text("People")


def test_a_lead_decides_a_dispute(server: Server, newcomer: Newcomer) -> None:
    lead, one = newcomer("lead")
    page, store = one.page, server.store
    turn = store.rounds.current()
    assert turn is not None
    hottest = disputes(store, turn.id)[0]
    open_page(page, "Disputes")
    first = page.get_by_test_id("stExpander").first
    expect(first).to_contain_text(
        f"disagreement {hottest.heat:.2f}, n = {hottest.answers} · Question")
    unfold(page, first.locator("summary"))
    expect(page.locator(".pf-pane")).to_have_count(2)
    assert "secret" not in page.content()  # who wrote what
    texts = page.locator(".pf-pane").all_inner_texts()
    names = {store.people.get(c.labeler_id).name
             for c in store.comparisons.of_task(hottest.task_id)}
    for name in names:
        expect(page.locator(".pf-table").get_by_role("link", name=name)).to_have_attribute(
            "href", f"/browse?of={store.people.named(name).id}")
    # Readable before it can be pressed, too: not the colour that it has on the accent.
    colour = page.get_by_role("button", name="Record decision").evaluate(
        "(one) => getComputedStyle(one).color")
    assert colour != "rgb(255, 255, 255)"
    press(page, page.get_by_role("radio", name="B better"))
    press(page, page.get_by_role("radio", name="Significantly"))
    page.get_by_role("textbox", name="Note").fill("B is sound.")
    page.get_by_role("button", name="Record decision").click()
    expect(page.get_by_text(re.compile(r"^Decided\. Overrides"))).to_be_visible()
    decision = store.decisions.of_task(hottest.task_id)
    assert decision is not None and decision.labeler_id == lead.id
    assert decision.note == "B is sound." and decision.overrides
    stored = store.comparisons.get(decision.comparison_id)
    assert stored.winner is not None and stored.answer.strength == 4
    assert store.responses.get([stored.winner])[0].text.replace("**", "") == texts[1]
    assert stored.winner == stored.shown[1]  # it is recorded as it was shown
    press(page, page.get_by_text("Show decided ones", exact=True))
    unfold(page, page.get_by_test_id("stExpander").filter(has_text="decided").locator("summary"))
    overridden = [store.people.get(store.comparisons.get(i).labeler_id).name
                  for i in decision.overrides]
    note = page.locator(".pf-calm")
    expect(note).to_contain_text(f"{lead.name} decided: B significantly better.")
    expect(note).to_contain_text(f"Overrides {', '.join(overridden)}")
    expect(note).to_contain_text("B is sound.")


def test_several_people_are_added_and_a_role_is_changed(server: Server, newcomer: Newcomer) -> None:
    page, people = newcomer("lead")[1].page, server.store.people
    open_page(page, "People")
    unfold(page, page.get_by_text("Add several at once"))
    names = page.get_by_role("textbox", name="Names, one a line")
    names.fill(f"Nora\n{CARELESS}")
    page.get_by_role("button", name="Add all").click()
    expect(page.locator(".st-key-notice")).to_contain_text(
        "NOT added: line 2: name: there is already")
    assert "Nora" not in {p.name for p in people.all()}  # all or none
    settled(page)
    page.get_by_role("textbox", name="Names, one a line").fill("Nora\n\nOle")
    page.get_by_role("button", name="Add all").click()
    expect(page.get_by_text("The sign-in links of 2 people")).to_be_visible()
    links = page.get_by_test_id("stCode").inner_text().strip().splitlines()
    assert [line.split("\t")[0] for line in links] == ["Nora", "Ole"]
    code = links[1].split("code=")[1]
    found = people.of_code(code)
    assert found is not None and found.name == "Ole"
    # A long list shows its beginning only.
    choose(page, page.get_by_role("combobox", name="Person"), "Ole", typed="Ole")
    choose(page, page.get_by_test_id("stMain").get_by_role("combobox", name="Role").last,
           "engineer")
    press(page, page.get_by_role("button", name="Change role"))
    expect(page.locator(".st-key-notice")).to_contain_text("Ole is an engineer now.")
    press(page, page.get_by_role("button", name="Disable", exact=True))
    assert not people.named("Ole").disabled  # it is asked first
    press(page, page.get_by_role("button", name="Disable Ole"))
    expect(page.locator(".st-key-notice")).to_contain_text("Ole is disabled and signed out.")
    assert people.named("Ole").disabled
    expect(page.get_by_role("button", name="Enable", exact=True)).to_be_visible()
    settled(page)
    assert people.named("Ole").role == "engineer"
    row = page.locator(".pf-table tr").filter(has_text=CARELESS)
    expect(row).to_contain_text("51")
    open_page(page, "Audit")
    expect(page.locator(".pf-table")).to_contain_text("change role")
    choose(page, page.get_by_role("combobox", name="Action"), "change role")
    expect(page.locator(".pf-table tbody tr")).to_have_count(1)
    expect(page.locator(".pf-table")).to_contain_text("from labeler to engineer")


@pytest.mark.parametrize("role", ["labeler", "engineer"])
def test_a_role_sees_only_its_pages(server: Server, newcomer: Newcomer, role: str) -> None:
    page = newcomer(role)[1].page
    refused = {"labeler": ("quality", "disputes", "browse", "settings", "people", "audit"),
               "engineer": ("settings", "people", "audit")}[role]
    for path in refused:
        page.goto(f"{server.url}/{path}")
        expect(page.get_by_text(f"{role} may not do this")).to_be_visible()
        assert CARELESS not in page.content()
