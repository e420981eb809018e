"""Messages that no page of ours sends, stolen tabs, junk, another site's page; and what is no use
of a session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from browser import Server
from forging import SECRETS, Arrive, age_session, run, told
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit_client import Visitor
from websockets.exceptions import ConnectionClosed, InvalidStatus

from annotate.door.gate import is_use
from data.database import now


def test_only_what_somebody_does_keeps_a_session_alive() -> None:
    def state(*events: str, auto: bool = False) -> ClientState:
        return ClientState(is_auto_rerun=auto, widget_states=WidgetStates(widgets=[
            WidgetState(id="typed before", string_value="x"),
            *(WidgetState(id="desk", json_trigger_value=event) for event in events)]))

    look, act = (json.dumps([{"event": "send", "value": {"entries": entries}}])
                 for entries in ([], [{"do": "skip"}]))
    assert is_use(state()) and is_use(state(act)) and is_use(state(look, act))
    assert not is_use(state(look)) and not is_use(state(auto=True))
    for strange in ("", "x", "[[]]", "null", '[{"value": 1}]', "[" * 9000):
        assert is_use(state(strange))


def test_use_is_written_down(server: Server, arrive: Arrive) -> None:
    async def main() -> None:
        who, visitor = arrive()
        age_session(server.store, who, "seen_at", timedelta(hours=100))
        async with await visitor.tab("account"):
            while True:  # in the background, after the page; `run` has an end to its patience
                (session,) = server.store.people.sessions.of(who.id)
                if session.seen_at > now(-timedelta(hours=1)):
                    return
                await asyncio.sleep(0.05)
    run(main())


def test_a_tab_cannot_be_taken_over_by_its_id(server: Server, arrive: Arrive) -> None:
    server.store.people.add("Zebediah Secretname")

    async def main() -> None:
        who, lead = arrive("lead")
        _, labeler = arrive()
        forged = Visitor(labeler.url, dict(labeler.cookies), {"X-Prefloop-Person": str(who.id)})
        async with await lead.tab("people") as theirs:
            for thief in (labeler, forged, Visitor(labeler.url)):
                async with await thief.tab("people", session=theirs.session, record=True) as mine:
                    assert mine.session != theirs.session
                    assert not [secret for secret in SECRETS if secret in told(mine)]
            await theirs.rerun()
            assert "Zebediah Secretname" in theirs.text()
            async with await lead.tab("people", session=theirs.session) as again:
                assert again.session == theirs.session  # a dropped connection of one's own
    run(main())


def _messages() -> Iterator[BackMsg]:
    """What no page of ours sends; some of it would reach every other person's page."""
    yield BackMsg(clear_cache=True)
    yield BackMsg(load_git_info=True)
    yield BackMsg(set_run_on_save=True)
    yield BackMsg(debug_disconnect_websocket=True)
    yield BackMsg(debug_shutdown_runtime=True)
    for payload in ("install_skills", "dismiss_skills_nudge"):
        message = BackMsg()
        message.backend_operation_request.request_id = "x"
        getattr(message.backend_operation_request, payload).SetInParent()
        yield message
    message = BackMsg()
    message.file_urls_request.request_id = "x"
    message.file_urls_request.file_names.append("../../etc/passwd")
    yield message


def test_messages_that_no_page_sends_are_not_heard(arrive: Arrive) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab("account") as tab:
            for message in _messages():
                await tab.send(message)
            await tab.send(BackMsg(app_heartbeat=True))
            heard: list[str] = []

            def note(message: ForwardMsg) -> bool:
                heard.append(str(message.WhichOneof("type")))
                return heard[-1] == "heartbeat_ack"

            await tab.until(note)
            # The other tells that the page's own run is over.
            assert set(heard) <= {"heartbeat_ack", "session_status_changed"}
            await tab.rerun()
            assert "Signed in as" in tab.text()
    run(main())


def test_a_page_of_another_site_gets_no_connection(arrive: Arrive) -> None:
    async def main() -> None:
        _, visitor = arrive("lead")
        for origin in ("https://evil.example", "http://localhost:1", "http://127.0.0.1:1", "null",
                       "http://127.0.0.1.evil.example"):
            with pytest.raises(InvalidStatus, match="403"):
                await visitor.tab(origin=origin)
    run(main())


@pytest.mark.parametrize("junk", [b"", b"\xff" * 40, b"\x00", "a text frame", b"\x0a" * 5_000_000])
def test_junk_closes_the_connection_and_nothing_else(
        server: Server, arrive: Arrive, junk: bytes | str) -> None:
    async def main() -> None:
        _, visitor = arrive()
        async with await visitor.tab("account") as tab:
            await tab.send_raw(junk)
            with suppress(ConnectionClosed):
                await tab.rerun()
        async with await visitor.tab("account") as tab:
            assert "Signed in as" in tab.text()
        assert visitor.request("GET", "/healthz").status == 200
    run(main())
