"""The labeling page: one question at a time, blind, by click or by key.

Everything that is decided is decided in `annotate.labelers.desk`; everything that is shown is
shown by `static/desk.js`. This joins the two.
"""

from __future__ import annotations

import streamlit as st

from annotate.labelers import component
from annotate.labelers.desk import Desk
from annotate.session import guarded, store, token
from data.records import Labeler

#: Nothing comes with time here. But a browser that has lost its connection asks a server that was
#: started meanwhile for this page only where something runs by itself, or has run before: without,
#: that server would know nothing of the fragment that all acts are sent to.
_ONCE_A_DAY = 86_400


@guarded("answer")
def page(labeler: Labeler) -> None:
    """The question at hand, or why there is none."""
    _desk_fragment()


@st.fragment(run_every=_ONCE_A_DAY)
def _desk_fragment() -> None:
    """A fragment: an answer re-runs this much and nothing more.

    Not guarded as others are: where the session has ended, the component itself says so, and keeps
    what was typed and not stored yet. `Desk.view` and every act check who is here.
    """
    component.mount(_desk().view(), _received)


def _desk() -> Desk:
    """This tab's desk; gone after a sign-out, and then an empty one."""
    desk: Desk = st.session_state.setdefault("desk", Desk(store(), token))
    return desk


def _received() -> None:
    # Gone where the page was left in the same moment; what it sent stays in its outbox.
    message = st.session_state.get(component.KEY, {})
    _desk().receive(message.get("send") if hasattr(message, "get") else None)
