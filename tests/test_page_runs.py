"""What tells browser tests that a page is at rest: by hand, message for message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from page_runs import Runs, follow, wait_for_code
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


def asks(runs: Runs, fragment: str = "") -> None:
    message = BackMsg()
    message.rerun_script.fragment_id = fragment
    runs.sent(message.SerializeToString())


def begins(runs: Runs, *fragments: str) -> None:
    message = ForwardMsg()
    message.new_session.name = "app"
    message.metadata.run.fragment_ids.extend(fragments)
    runs.received(message.SerializeToString())


def draws(runs: Runs, fragment: str) -> None:
    message = ForwardMsg()
    message.delta.fragment_id = fragment
    runs.received(message.SerializeToString())


def ends(runs: Runs, status: int = ForwardMsg.FINISHED_SUCCESSFULLY) -> None:
    runs.received(ForwardMsg(script_finished=status).SerializeToString())


def test_a_press_on_its_way_is_no_rest() -> None:
    runs = Runs()
    assert runs.over
    asks(runs)
    assert not runs.over
    begins(runs)
    assert not runs.over
    ends(runs)
    assert runs.over


def test_a_run_that_another_cuts_short_is_no_rest() -> None:
    runs = Runs()
    asks(runs)
    begins(runs)
    asks(runs)
    ends(runs, ForwardMsg.FINISHED_EARLY_FOR_RERUN)
    assert not runs.over
    begins(runs)
    ends(runs)
    assert runs.over


def test_the_run_of_another_part_answers_no_press() -> None:
    runs = Runs()
    asks(runs, "clock")
    asks(runs, "desk")
    begins(runs, "clock")
    ends(runs, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
    assert not runs.over
    begins(runs, "desk")
    ends(runs, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
    assert runs.over


def test_a_part_that_the_page_has_no_more_is_not_waited_for() -> None:
    for stands in (True, False):
        runs = Runs()
        asks(runs)
        begins(runs)
        asks(runs, "clock")  # on its way while the page is left
        if stands:
            draws(runs, "clock")
        ends(runs)
        assert runs.over is not stands


class Fetched:
    """Something that a page fetches."""

    def __init__(self, resource_type: str) -> None:
        self.resource_type, self.url = resource_type, f"a {resource_type}"


class Window:
    """As much of a page as is followed; `then` happens while it waits."""

    def __init__(self, *then: tuple[str, Fetched]) -> None:
        self.heard: dict[str, Callable[[Any], None]] = {}
        self.drawn, self.then = 0, list(then)

    def on(self, name: str, handler: Callable[[Any], None]) -> None:
        self.heard[name] = handler

    def evaluate(self, _: str) -> None:
        self.drawn += 1

    def wait_for_timeout(self, _: float) -> None:
        if self.then:
            name, what = self.then.pop(0)
            self.heard[name](what)


def test_code_on_its_way_is_no_rest_and_an_image_is() -> None:
    script, style, image = (Fetched(kind) for kind in ("script", "stylesheet", "image"))
    window = Window(("requestfinished", script), ("requestfailed", style))
    page: Any = window
    follow(page)
    for one in (script, style, image):
        window.heard["request"](one)
    wait_for_code(page, 60)
    assert window.then == [] and window.drawn == 2, "before, and once all of it was there"
    window.heard["request"](script)
    with pytest.raises(AssertionError, match="a script"):
        wait_for_code(page, 0)
