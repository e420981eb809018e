"""Who is signed in, where, the keys, and the way out."""

from __future__ import annotations

import html

import streamlit as st

from annotate import actions, notices
from annotate.figures import moment, table_html, text_html
from annotate.keys import keys_of
from annotate.notices import failing_as
from annotate.session import guarded, store, token
from data.records import Labeler


@guarded("answer")
def page(labeler: Labeler) -> None:
    """Name, role, sessions, sign-out, keys."""
    st.subheader("Account")
    notices.show()
    st.html(f"<p>Signed in as <strong><bdi>{html.escape(labeler.name)}</bdi></strong> "
            f"({html.escape(labeler.role)}).</p>")
    _sessions(labeler)
    st.markdown("#### Keys")
    st.html(table_html(("Key", "Does"), keys_of(store().questions.current()[1])))
    st.caption("Keys do nothing while you type in a text field.")


def _sessions(labeler: Labeler) -> None:
    """Where this person is signed in; one place of many may be a computer that is not theirs."""
    open_sessions = store().people.sessions.of(labeler.id, token() or "")
    rules = store().people.sessions.rules()
    places = len(open_sessions)
    here = next((session.ends_at for session in open_sessions if session.is_this), None)
    where = "here only" if places < 2 else f"in {places} browsers"
    words = (f"You are signed in {where}. Here this ends on {moment(here)}, or after "
             f"{_hours(rules.idle_hours)} without use.")
    st.html(f"<p>{text_html(words)}</p>")
    if places > 1:
        st.html(table_html(("Signed in", "Last used", ""), [
            (moment(session.created_at), moment(session.seen_at),
             "this browser" if session.is_this else "") for session in open_sessions]))
    with st.container(horizontal=True, gap="small"):
        st.button("Sign out", on_click=_leave)
        if places > 1:
            st.button("Sign out everywhere", on_click=_leave_everywhere)


def _hours(hours: int) -> str:
    return f"{hours // 24} days" if hours % 24 == 0 and hours > 24 else f"{hours} hours"


def _leave() -> None:
    with failing_as("signed out"):
        actions.sign_out(store(), token())
        st.session_state.clear()


def _leave_everywhere() -> None:
    with failing_as("signed out"):
        actions.sign_out_everywhere(store(), token())
        st.session_state.clear()
