"""What the last press on a page did, shown above it on the next run.

Streamlit runs callbacks before the page is drawn anew, so what they have to say waits here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from annotate.figures import as_label
from data.errors import PrefloopError

_KEY = "notice"


def say(text: str) -> None:
    """Leave a notice; what failed begins with NOT."""
    st.session_state[_KEY] = text


def show(*, wherever: bool = False) -> None:
    """Show the notice that was left, once; `wherever` a long page is scrolled to.

    What failed is said in the box alone, which the leads' pages keep in view.
    """
    if text := st.session_state.pop(_KEY, None):
        failed = text.startswith("NOT")
        if wherever and not failed:
            st.toast(as_label(text))
        with st.container(key="notice"):
            (st.error if failed else st.success)(as_label(text))


@contextmanager
def failing_as(words: str) -> Iterator[None]:
    """Turns an error of the block into the notice `NOT saved: …` (or whatever `words` are)."""
    try:
        yield
    except PrefloopError as error:
        say(f"NOT {words}: {error}")
