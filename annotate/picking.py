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
    st.session_state[_box(key)] = st.session_state[key]
    st.selectbox(title, list(options), 0 if placeholder is None else None, key=_box(key),
                 format_func=options.__getitem__, placeholder=placeholder, width=width,
                 on_change=_keep, args=(key,))
    picked: int | None = st.session_state[key]
    return picked


def pick_from_address(name: str, options: Iterable[int], key: str) -> None:
    """Pick what a link from elsewhere names under `name`: once, so that another can be picked
    then."""
    asked = st.query_params.pop(name, None)
    for thing in options:
        if str(thing) == asked:
            st.session_state[key] = thing


def _box(key: str) -> str:
    return f"{key}-box"


def _keep(key: str) -> None:
    picked = st.session_state[_box(key)]
    if picked is None or isinstance(picked, int):  # a label that is out of date comes as it is
        st.session_state[key] = picked
