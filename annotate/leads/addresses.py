"""The addresses of things on Browse: `?task=12`.

A response that its viewer may still be asked about is named by its prompt and a digest of its text
instead of its id, which would tell who wrote it: the samples of one policy version have ids in a
row.
"""

from __future__ import annotations

import hashlib

import streamlit as st

from annotate.session import store
from data import lineage
from data.blindness import hidden_from
from data.records import Labeler

_LONGEST_ID = 18


def go_to(kind: str, thing: int, labeler: Labeler) -> None:
    """Let the address name a thing, which Browse then shows."""
    st.query_params.from_dict({kind: _name(kind, thing, labeler)})


def named() -> tuple[str, int] | None:
    """The kind and id of the thing that the address names; None where it names none."""
    for kind in lineage.KINDS:
        text = st.query_params.get(kind, "")
        thing = _of_text(text) if kind == "response" and "-" in text else id_of(text)
        if thing is not None:
            return kind, thing
    return None


def id_of(text: str) -> int | None:
    """The id that a part of an address is, as the database can hold it; None if it is none."""
    return int(text[:_LONGEST_ID]) if text.isascii() and text.isdigit() else None


def _name(kind: str, thing: int, labeler: Labeler) -> str:
    if kind != "response" or thing not in hidden_from(store(), labeler.id, [thing]):
        return str(thing)
    response = store().responses.get([thing])[0]
    return f"{response.prompt_id}-{_digest(response.text)}"


def _of_text(name: str) -> int | None:
    """The response of a prompt that has the text; the first of several."""
    prompt, _, digest = name.partition("-")
    return next((row["id"] for row in store().database.rows(
        "SELECT id, text FROM responses WHERE prompt_id = ? ORDER BY id", [id_of(prompt)])
        if _digest(row["text"]) == digest), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
