"""What tells browser tests that a page is at rest: by hand, message for message."""

from __future__ import annotations

from page_runs import Runs
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
