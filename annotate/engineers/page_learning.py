"""The engineers' page of the instant model: how well it predicts by now, and what labels bring."""

from __future__ import annotations

import streamlit as st

from annotate.engineers import learning_figures as figures
from annotate.figures import as_prose, facts_html, moment, table_html
from annotate.plots import show
from annotate.session import guarded, store
from data.asking import CURVE, STATE
from data.records import Labeler

REFRESH_SECONDS = 5
_NOTHING = ("Nothing has been learned yet. While a worker lives (`prefloop up`), it reads the "
            "features of responses between jobs; the first answers then begin the curve.")


@guarded("rounds")
def page(labeler: Labeler) -> None:
    """What the worker has kept, read anew every few seconds."""
    st.subheader("Learning")
    st.fragment(_learning, run_every=REFRESH_SECONDS)()


@guarded("rounds")
def _learning(labeler: Labeler) -> None:
    state, curve = store().setting(STATE), store().setting(CURVE)
    if not state and not curve:
        st.write(_NOTHING)
        return
    st.caption("An instant reward model learns from each answer while people label. It orders the "
               "open tasks, and shows how far labels have come. The policy is trained against the "
               "reward models of the Reward model page, not against this one.")
    if not state:
        st.info("Learning is switched off (the settings' section asking): all of this is of "
                f"{moment(curve['at'])}, and no answer since then is in it.")
    st.html(facts_html(figures.facts(state, curve)))
    if not curve:
        st.write("The curve begins with the first decided answers to tasks that chance chose.")
    else:
        st.markdown("#### Accuracy by the number of labels")
        show(figures.plot(curve), "learning-curve", figures.in_words(curve))
        st.caption(as_prose(figures.tested_words(curve)))
        st.markdown("#### What more labels would bring")
        for line in figures.forecast_words(curve):
            st.write(as_prose(line))
        with st.expander("As a table"):
            st.html(table_html(("Labels", "Accuracy"), figures.rows(curve), (0,)))
    others = sorted({p.kind for p in store().people.all()} - {"human"})
    if others:
        st.caption(f"This workspace has answers that are not from people: {', '.join(others)}.")
    if state:
        st.caption(as_prose(figures.order_words(state) + f" Last looked {moment(state['at'])}."))
