"""What the last press on a page did, shown over it on the next run.

Streamlit runs callbacks before the page is drawn anew, so what they have to say waits here. It lies
over the page, in view wherever that is scrolled to, and its coming and going move nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from annotate.figures import as_label
from data.errors import PrefloopError

_KEY, _TURN = "notice", "notice-turn"


def say(text: str) -> None:
    """Leave a notice; what failed begins with NOT."""
    st.session_state[_KEY] = text


def show() -> None:
    """Show the notice that was left, once."""
    lay(st.session_state.pop(_KEY, None))


def lay(text: str | None) -> None:
    """A notice over the page: one that tells of success fades after a while (see `annotate.style`).

    On every run, with something to say or without: for Streamlit, whatever follows something new is
    new itself, and what is typed there would be lost.
    """
    with st.container(key="notice"):
        if text:
            failed = text.startswith("NOT")
            # Two in turn: a second one in the very place of a first would have faded already.
            st.session_state[_TURN] = turn = 1 - st.session_state.get(_TURN, 0)
            with st.container(key="notice-failed" if failed else f"notice-{turn}"):
                (st.error if failed else st.success)(as_label(text))
                # Whatever it does, the next run is without the notice.
                st.button("Close", key="notice-close", type="tertiary", shortcut="Escape")


@contextmanager
def failing_as(words: str) -> Iterator[None]:
    """Turns an error of the block into the notice `NOT saved: …` (or whatever `words` are)."""
    try:
        yield
    except PrefloopError as error:
        say(f"NOT {words}: {error}")
