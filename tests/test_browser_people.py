"""The page of people in real Chromium: names that are refused or long, and who is meant."""

from __future__ import annotations

import re

import pytest
from browser import Newcomer, Server, Visit, choose, settled, unfold
from leads_world import CARELESS, LeadsWorld, workspace
from playwright.sync_api import Page, expect

assert workspace  # a fixture

pytestmark = pytest.mark.browser
LONG = "W" * 80


def add(page: Page, name: str) -> None:
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("button", name="Add", exact=True).click()


def chosen(page: Page) -> str:
    return page.get_by_role("combobox", name="Person").input_value()


def come(server: Server, newcomer: Newcomer, path: str = "people", **options: int) -> Page:
    one: Visit = newcomer("lead", **options)[1]
    one.page.goto(f"{server.url}/{path}")
    settled(one.page)
    return one.page


def test_a_refused_name_is_told_why_once_and_stays_in_its_field(server: Server,
                                                                newcomer: Newcomer) -> None:
    page, notice = come(server, newcomer), ".st-key-notice"
    for name, why in (("grace  hasty", "already a labeler called 'Grace Hasty': names must differ"),
                      ("x" * 200, "at most 80 characters, and this has 200"),
                      ("", "give one")):
        add(page, name)
        expect(page.locator(notice)).to_contain_text(f"NOT added: name: {why}"
                                                     if "already" not in why else why)
        settled(page)
        assert page.get_by_text(why).count() == 1  # no toast says it again
        expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value(name)
    assert [p.name for p in server.store.people.all()].count(CARELESS) == 1


def test_an_error_is_in_view_wherever_the_page_is_scrolled_to(server: Server,
                                                              newcomer: Newcomer) -> None:
    page = come(server, newcomer, width=390, height=844)
    page.get_by_role("textbox", name="E-mail address").fill("nobody")
    page.get_by_role("button", name="Save address").click()
    error = page.locator(".st-key-notice").get_by_text("is no e-mail address")
    expect(error).to_be_in_viewport()
    settled(page)
    page.get_by_role("button", name="Save address").scroll_into_view_if_needed()
    expect(error).to_be_in_viewport()


def test_a_list_with_a_name_twice_adds_nobody_and_names_the_lines(server: Server,
                                                                  newcomer: Newcomer) -> None:
    page, before = come(server, newcomer), len(server.store.people.all())
    unfold(page, page.get_by_text("Add several at once"))
    names = page.get_by_role("textbox", name="Names, one a line")
    for text, why in (("Ann One\n\nBea\nann one", "'ann one' stands in the list twice (lines 1 and "
                                                  "4); nobody was added"),
                      (f"Ann One\n{CARELESS}", "line 2: name: there is already a labeler called "
                                               f"'{CARELESS}'; nobody was added")):
        names.fill(text)
        page.get_by_role("button", name="Add all").click()
        expect(page.locator(".st-key-notice")).to_contain_text(f"NOT added: {why}")
        settled(page)
        expect(names).to_have_value(text)
    assert len(server.store.people.all()) == before


def test_what_is_pressed_next_is_meant_for_whoever_was_added(server: Server,
                                                             newcomer: Newcomer) -> None:
    page, people = come(server, newcomer), server.store.people
    add(page, "Iris New")
    expect(page.get_by_text("The sign-in link of Iris New.")).to_be_visible()
    settled(page)
    assert chosen(page) == "Iris New"
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("")
    link = page.get_by_test_id("stCode")
    first = link.inner_text()
    page.get_by_role("button", name="New sign-in link").click()
    expect(link).not_to_have_text(first)
    expect(page.get_by_text("The sign-in link of Iris New.")).to_be_visible()
    settled(page)
    code = link.inner_text().strip().split("code=")[1]
    found = people.of_code(code)
    assert found is not None and found.name == "Iris New"
    unfold(page, page.get_by_text("Add several at once"))
    page.get_by_role("textbox", name="Names, one a line").fill("Jon New\nKim New")
    page.get_by_role("button", name="Add all").click()
    expect(page.get_by_text("The sign-in links of 2 people")).to_be_visible()
    settled(page)
    assert chosen(page) == "Jon New"


def test_a_link_may_name_a_person_and_another_can_be_chosen_then(server: Server, leads: LeadsWorld,
                                                                 newcomer: Newcomer) -> None:
    page = come(server, newcomer, f"people?person={leads.people[CARELESS].id}")
    assert chosen(page) == CARELESS
    choose(page, page.get_by_role("combobox", name="Person"), "Ada Okafor", typed="Ada Okafor")
    assert chosen(page) == "Ada Okafor"
    page.goto(f"{server.url}/people?person=x")
    settled(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)


@pytest.mark.parametrize("width", [1400, 390])
def test_a_long_name_wraps_and_columns_keep_their_place(server: Server, newcomer: Newcomer,
                                                        width: int) -> None:
    people = server.store.people
    page = come(server, newcomer, width=width)

    def places(path: str, *heads: str) -> list[float]:
        page.goto(f"{server.url}/{path}")
        settled(page)
        expect(page.locator(".pf-table")).to_be_visible()
        boxes = [page.locator(".pf-table th").filter(has_text=re.compile(f"^{head}$"))
                 .bounding_box() for head in heads]
        return [box["x"] for box in boxes if box is not None]

    before = places("people", "State", "Answers")
    if LONG not in {person.name for person in people.all()}:
        long = people.add(LONG)
        server.store.audit.record(long.id, "sign in", long.name, way="link")
    after = places("people", "State", "Answers")
    assert after[1] < width or width < 700  # on a phone the table scrolls, as it did
    for was, now in zip(before, after, strict=True):
        assert now - was < (1 if width < 700 else 330)
    expect(page.locator(".pf-table td").filter(has_text=LONG)).to_be_visible()
    assert places("audit", "Details" if width > 700 else "Did")[0] < width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
