"""Tabs of one browser, of one person or of two, where one is not heard for a while
or keeps nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from browser import Server, Tasks, Visit, open_page, settled, sign_in
from desk_page import key, outbox, sides, status, stored
from playwright.sync_api import Page, WebSocketRoute, expect

from data.records import Labeler

pytestmark = pytest.mark.browser


@dataclass
class Line:
    """A tab's connection to the server, on which nothing arrives while it is `cut`."""

    cut: bool = False
    sockets: list[WebSocketRoute] = field(default_factory=list)

    def of(self, page: Page) -> Line:
        """Of this page, before it is opened."""
        page.route_web_socket("**/_stcore/stream", self._joined)
        return self

    def _joined(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda message: None if self.cut else server.send(message))
        self.sockets.append(socket)

    def mended(self) -> None:
        """The browser connects anew, as after a lost network."""
        self.cut = False
        self.sockets[-1].close(code=1001)


def joined(visit: Visit, server: Server, person: Labeler) -> tuple[Page, Line]:
    """A person's first tab, at the labeling page, and its connection."""
    line = Line().of(visit.page)
    sign_in(visit, server, person)
    return visit.page, line


def test_a_tab_learns_what_another_has_sent_for_it(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks) -> None:
    tasks(3)
    me, one = person(), window()
    page, line = joined(one, server, me)
    sides(page)
    key(page, "1")
    expect(status(page)).to_contain_text("Saved")
    other = one.context.new_page()
    other.goto(server.url)
    sides(other)
    line.cut = True
    key(page, "u")
    expect(status(other)).to_contain_text("Taken back")  # the tab that is heard sends it, too
    assert outbox(page) == 0 and stored(server, me) == []
    expect(page.locator(".pf-unsaved")).to_be_hidden()
    line.cut = False
    expect(status(page)).to_contain_text("Taken back")
    key(page, "9")  # and nothing is in its way
    expect(status(page)).to_have_text("Saved: B significantly better.")
    assert [c.answer.strength for c in stored(server, me)] == [4]


def test_a_skip_that_another_tab_has_sent_and_taken_back_is_not_done_again(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks) -> None:
    tasks(3)
    me, one = person(), window()
    page, line = joined(one, server, me)
    first = sides(page)
    other = one.context.new_page()
    other.goto(server.url)
    assert sides(other) == first
    line.cut = True
    key(page, "s")
    key(page, "1")
    expect(status(other)).to_contain_text("Skipped")
    key(other, "u")
    expect(status(other)).to_contain_text("Taken back")
    line.cut = False
    expect(status(page)).to_have_text("You have taken this skip back since.")
    assert sides(other) == first
    key(other, "9")
    expect(status(other)).to_have_text("Saved: B significantly better.")
    assert len(stored(server, me)) == 1


def test_who_signs_in_beside_an_open_page_waits_for_nothing_of_the_one_before(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks) -> None:
    tasks(3, wanted=2)
    first, second, one = person(), person(), window()
    page, line = joined(one, server, first)
    sides(page)
    key(page, "1")
    expect(status(page)).to_contain_text("Saved")
    line.cut = True
    key(page, "u")
    expect(page.locator(".pf-waiting")).to_be_visible()
    one.context.clear_cookies()
    beside = one.context.new_page()
    beside.goto(server.link(second))
    beside.get_by_role("button", name="Sign in as").click()
    settled(beside)
    beside.close()
    line.mended()
    expect(page.get_by_text("you 0")).to_be_visible()
    expect(status(page)).to_have_text("")
    key(page, "9")
    expect(status(page)).to_have_text("Saved: B significantly better.")
    assert [len(stored(server, each)) for each in (first, second)] == [1, 1]
    # What the first one did is still theirs.
    one.context.clear_cookies()
    sign_in(one, server, first)
    expect(status(page)).to_contain_text("Taken back")
    assert [len(stored(server, each)) for each in (first, second)] == [0, 1]


def test_what_a_browser_without_storage_holds_outlives_a_look_at_another_page(
        server: Server, person: Callable[..., Labeler], window: Callable[..., Visit],
        tasks: Tasks) -> None:
    tasks(3)
    me, one = person(), window()
    one.page.add_init_script("Storage.prototype.setItem = () => { throw new Error(); }")
    page, line = joined(one, server, me)
    sides(page)
    for size in ("1.15", "1.3"):
        key(page, "+")
        expect(page.locator(".pf-desk")).to_have_attribute("style", re.compile(f"size: {size};"))
    line.cut = True
    key(page, "1")
    expect(page.locator(".pf-unsaved")).to_contain_text("cannot keep them")
    line.cut = False  # the desk is left before it has tried again
    open_page(page, "My answers")
    open_page(page, "Label")
    expect(page.get_by_text("you 1")).to_be_visible()
    assert len(stored(server, me)) == 1
