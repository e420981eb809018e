"""Who is signed in, the keys, and the way out."""

from __future__ import annotations

import html

import streamlit as st

from annotate import actions
from annotate.choices import PAIR_CHOICES
from annotate.figures import table_html
from annotate.session import guarded, store, token
from data.records import Labeler


@guarded("answer")
def page(labeler: Labeler) -> None:
    """Name, role, keys, sign-out."""
    st.subheader("Account")
    st.html(f"<p>Signed in as <strong>{html.escape(labeler.name)}</strong> "
            f"({html.escape(labeler.role)}).</p>")
    st.button("Sign out", on_click=_leave)
    st.markdown("#### Keys")
    keys = [(choice.key, choice.label) for choice in PAIR_CHOICES]
    keys += [("S", "Skip, then a number for the reason"), ("U", "Undo the last answer or skip"),
             ("1 to 9", "Three responses or more: place this one next, best first"),
             ("Enter", "Three responses or more: save the ranking")]
    st.html(table_html(("Key", "Does"), keys))
    st.caption("Keys do nothing while you type in a text field.")


def _leave() -> None:
    actions.sign_out(store(), token())
    st.session_state.clear()
