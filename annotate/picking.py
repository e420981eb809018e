"""A box to pick one thing from, which stays picked whatever becomes of its name.

Between browser and server an option is its label. Where that changes with the thing's state (a job
ends, somebody is set aside), the box alone would take the choice for gone and fall back to another.
So the id is kept apart, and the box is set by it on every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import streamlit as st


def pick(title: str, options: Mapping[int, str], key: str, default: int | None = None,
         placeholder: str | None = None, width: int | Literal["stretch"] = "stretch") -> int | None:
    """Draw the box over the ids in `options`, each under its name; returns the one that is picked.

    It is kept in the session's state under `key`, where whoever wants something picked puts its id
    before. Where nothing is kept that is on offer, `default` is picked. With a `placeholder`,
    which stands in the empty box, one may pick nothing, too.
    """
    if st.session_state.get(key) not in options:
        st.session_state[key] = default
    picked: int | None = st.session_state[key]
    box = _box(key, picked)
    st.session_state[box] = picked
    st.selectbox(title, list(options), 0 if placeholder is None else None, key=box,
                 format_func=options.__getitem__, placeholder=placeholder, width=width,
                 on_change=_keep, args=(key, box))
    return picked


def pick_from_address(name: str, options: Iterable[int], key: str) -> None:
    """Pick what a link from elsewhere names under `name`: once, so that another can be picked
    then."""
    asked = st.query_params.pop(name, None)
    for thing in options:
        if str(thing) == asked:
            st.session_state[key] = thing


def _box(key: str, picked: int | None) -> str:
    """The box's own key: another one where something else was picked than in the box. A page that
    asks to be drawn again before it has heard of that still says what its box showed before, and
    of the same box it would be taken for a choice."""
    turn, said = st.session_state.get(_last(key), (0, picked))
    turn += picked != said
    st.session_state[_last(key)] = (turn, picked)
    return _named(key, turn)


def _keep(key: str, box: str) -> None:
    turn, _ = st.session_state[_last(key)]
    picked = st.session_state[box]
    # A label that is out of date comes as it is; a box that is gone can still speak.
    if box == _named(key, turn) and (picked is None or isinstance(picked, int)):
        st.session_state[key] = picked
        st.session_state[_last(key)] = (turn, picked)


def _named(key: str, turn: int) -> str:
    return f"{key}-box-{turn}"


def _last(key: str) -> str:
    """Under which the session keeps which of its boxes is drawn, and what it showed last."""
    return f"{key}-last"
