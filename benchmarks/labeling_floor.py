"""The least that a labeling page can be in Streamlit, as the floor that `labeling_latency` measures
beside the app: one fragment, two texts, buttons with keys. It stores nothing and asks nobody.
"""

import random

import streamlit as st

from benchmarks.labeling_world import text

LABELS = ("A better", "Tie", "B better")


@st.fragment
def page() -> None:
    """The question at hand; a press brings the next."""
    number = st.session_state.setdefault("number", 0)
    rng = random.Random(number)
    for column in st.columns(2):
        column.html(f'<div class="answer">{text(rng)}</div>')
    for key, label in enumerate(LABELS, 1):
        st.button(label, shortcut=str(key), on_click=_next)


def _next() -> None:
    st.session_state["number"] += 1


page()
