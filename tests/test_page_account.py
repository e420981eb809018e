"""When a session ends is said; so is a sign-out that cannot be written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import streamlit as st
from browser import Server
from forging import Arrive, run

from annotate import actions
from annotate.door import page_account
from annotate.figures import moment, text_html
from data.database import now
from data.errors import PrefloopError
from data.sessions import SessionRules


@pytest.mark.parametrize(("leave", "action"), [
    (page_account._leave, "sign_out"), (page_account._leave_everywhere, "sign_out_everywhere")])
def test_a_sign_out_that_was_not_kept_is_said(
        monkeypatch: pytest.MonkeyPatch, leave: Callable[[], None], action: str) -> None:
    said: dict[str, str] = {"kept": "what was typed"}

    def full(*_: object) -> None:
        raise PrefloopError("the disk is full, nothing was saved")

    monkeypatch.setattr(actions, action, full)
    monkeypatch.setattr(page_account, "store", lambda: None)
    monkeypatch.setattr(page_account, "token", lambda: "secret")
    monkeypatch.setattr(st, "session_state", said)
    leave()
    assert "NOT signed out: the disk is full, nothing was saved" in said.values()
    assert said["kept"]
    monkeypatch.setattr(actions, action, lambda *_: None)
    leave()
    assert not said


def test_the_end_that_is_named_is_that_of_this_session(server: Server, arrive: Arrive) -> None:
    """More days hold from the next sign-in on, whatever the rules say by now."""
    async def main() -> None:
        me, visitor = arrive()
        ends = now(timedelta(days=3))
        with server.store.database.write() as db:
            db.conn.execute("UPDATE sessions SET expires_at = ? WHERE labeler_id = ?",
                            [ends, me.id])
        server.store.people.sessions.set_rules(SessionRules(lifetime_days=300))
        async with await visitor.tab("account") as tab:
            assert (text_html(f"Here this ends on {moment(ends)}, or after 5 days without use")
                    in tab.text())
        server.store.people.sessions.set_rules(SessionRules())
    run(main())
