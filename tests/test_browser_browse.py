"""Looking anything up in real Chromium: found, walked, taken home; hostile text stays text."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from browser import Newcomer, Server, choose, open_page, press, settled
from leads_world import LeadsWorld, workspace
from playwright.sync_api import Page, expect

from data.records import Message, NewResponse

assert workspace  # a fixture

pytestmark = pytest.mark.browser
HOSTILE = '=HYPERLINK("http://evil.test","x") <img src=x onerror=alert(1)> ![i](http://evil.test/i)'


def seek(page: Page, words: str) -> None:
    """Search for words; what is typed during a run may be undone by it."""
    settled(page)
    search = page.get_by_role("textbox", name="Search")
    search.fill(words)
    search.press("Enter")
    settled(page)


def test_anything_is_found_walked_and_taken_home(newcomer: Newcomer) -> None:
    page = newcomer("lead")[1].page
    open_page(page, "Browse")
    seek(page, '"question 7" NOT')
    expect(page.get_by_text(
        'Nothing matches: answers with words “"question 7" NOT”.')).to_be_visible()
    seek(page, '"question 7:"')
    # Three labels, the known answer's eight, and nobody's repeat.
    expect(page.get_by_text(re.compile(r"^1\d answers$"))).to_be_visible()
    choose(page, page.get_by_role("combobox", name="Purpose"), "Train")
    expect(page.get_by_text(re.compile(r"^3 answers$"))).to_be_visible()
    taken = {}
    for form in ("CSV", "JSONL"):
        with page.expect_download() as download:
            press(page, page.get_by_role("button", name=form, exact=True))
        taken[form] = Path(download.value.path()).read_text("utf-8")
    records = [json.loads(line) for line in taken["JSONL"].splitlines()]
    assert len(records) == 3 and {r["purpose"] for r in records} == {"train"}
    rows = list(csv.DictReader(io.StringIO(taken["CSV"])))
    assert [int(row["comparison_id"]) for row in rows] == [r["comparison_id"] for r in records]
    # The lead may still be asked about these (they stand in a known answer): no policy is named.
    assert {response["policy"] for r in records for response in r["responses"]} == {None}
    press(page, page.locator(".st-key-row-0 button"))
    expect(page.get_by_role("heading", name=re.compile("^Answer"))).to_be_visible()
    assert "secret" not in page.content()
    press(page, page.get_by_role("button", name=re.compile("^Task")))
    expect(page.get_by_role("heading", name=re.compile("^Task"))).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name=re.compile("^Answer"))).to_be_visible()
    press(page, page.get_by_role("button", name="Back to the search"))
    expect(page.get_by_text(re.compile(r"^3 answers$"))).to_be_visible()


def test_lineage_leads_to_the_policy_once_nothing_is_hidden(server: Server, leads: LeadsWorld,
                                                            newcomer: Newcomer) -> None:
    """Of a task that is full and stands in no known answer, the lead will not be asked."""
    page, task = newcomer("lead")[1].page, leads.tasks[40]
    page.goto(f"{server.url}/browse?task={task}")
    settled(page)
    press(page, page.get_by_role("button", name="secret-ppo-1"))
    expect(page.get_by_role("heading", name="Policy version secret-ppo-1")).to_be_visible()
    press(page, page.get_by_role("button", name="secret-reference"))
    expect(page.get_by_role("heading", name="Policy version secret-reference")).to_be_visible()
    page.goto(f"{server.url}/browse?task=999999")
    expect(page.get_by_text("there is no task 999999")).to_be_visible()


def test_hostile_text_stays_text_on_the_leads_pages(leads: LeadsWorld, newcomer: Newcomer) -> None:
    store = leads.store
    prompt, _ = store.prompts.add([Message(role="user", content=HOSTILE)], "<b>web</b>", ["=tag"])
    store.tasks.add(prompt, store.responses.add(
        NewResponse(prompt, f"{HOSTILE} {i}") for i in range(2)))
    page = newcomer("lead")[1].page
    open_page(page, "Browse")
    for kind in ("Prompts", "Responses", "Tasks"):
        press(page, page.get_by_role("radio", name=kind))
        seek(page, "HYPERLINK")
        expect(page.locator(".st-key-row-0")).to_contain_text("HYPERLINK")
        assert page.locator(".st-key-rows-browse img, .st-key-rows-browse a").count() == 0
        with page.expect_download() as download:
            press(page, page.get_by_role("button", name="CSV", exact=True))
        text = Path(download.value.path()).read_text("utf-8")
        assert not any(cell.startswith(("=", "+", "-", "@"))
                       for row in csv.reader(io.StringIO(text)) for cell in row)
        press(page, page.locator(".st-key-row-0 button"))
        expect(page.locator(".pf-text").first).to_be_visible()
        assert page.locator(".pf-text img, .pf-text a, .pf-text script").count() == 0
        press(page, page.get_by_role("button", name="Back to the search"))


def test_filters_live_in_the_address(server: Server, leads: LeadsWorld,
                                     newcomer: Newcomer) -> None:
    """Reloaded, sent, gone back through, cleared: the address says what is searched."""
    page, who = newcomer("lead")[1].page, leads.people["Ada Okafor"]
    listed = page.locator(".st-key-rows-browse")
    page.goto(f"{server.url}/browse?of={who.id}")
    settled(page)
    expect(page.get_by_role("combobox", name="Labeler")).to_have_value(who.name)
    choose(page, page.get_by_role("combobox", name="Verdict"), "Winner")
    expect(page).to_have_url(f"{server.url}/browse?of={who.id}&verdict=winner")
    search = page.get_by_role("textbox", name="Search")
    seek(page, "rivers")
    expect(page).to_have_url(re.compile(r"\?words=rivers&of=\d+&verdict=winner$"))
    expect(listed).to_contain_text("rivers")
    rows = listed.get_by_role("button")
    found = rows.all_inner_texts()
    assert found and not any("Ben Sato" in row for row in found)
    sent = page.url
    page.reload()
    settled(page)
    expect(search).to_have_value("rivers")
    expect(rows).to_have_text(found, use_inner_text=True)
    assert page.url == sent
    page.go_back()
    expect(search).to_have_value("")
    expect(page.get_by_role("combobox", name="Verdict")).to_have_value("Winner")
    settled(page)
    page.go_back()
    expect(page.get_by_role("combobox", name="Verdict")).to_have_value("")
    expect(page.get_by_role("combobox", name="Labeler")).to_have_value(who.name)
    assert page.url == f"{server.url}/browse?of={who.id}"
    seek(page, "nowhere *at* all")
    expect(page.get_by_text("Nothing matches: answers with words “nowhere *at* all”, "
                            f"labeler {who.name}.")).to_be_visible()
    press(page, page.get_by_role("button", name="Clear filters"))
    expect(page.get_by_text(re.compile(r"^\d+ answers$"))).to_be_visible()
    expect(search).to_have_value("")
    expect(page.get_by_role("button", name="Clear filters")).to_have_count(0)
    expect(page).to_have_url(f"{server.url}/browse")
    page.goto(sent)
    settled(page)
    open_page(page, "Quality")
    open_page(page, "Browse")
    expect(page.get_by_role("combobox", name="Labeler")).to_have_value("")  # nothing sticks


def test_on_a_phone_filters_stand_two_in_a_row(server: Server, newcomer: Newcomer) -> None:
    page = newcomer("lead", width=320, height=640)[1].page
    page.goto(f"{server.url}/browse")
    settled(page)
    expect(page.get_by_role("combobox", name="Split")).to_be_visible()
    edges = page.locator(".st-key-browse-filters [data-testid=stSelectbox]").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect()).map("
        "(at) => [at.top, at.right])")
    assert len(edges) == 8 and len({top for top, _ in edges}) == 4
    assert max(right for _, right in edges) <= 320
