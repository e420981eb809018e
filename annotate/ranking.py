"""Ranking three to nine responses: a rank for each, equal ranks for ties, or one key a response.

`Next best` gives a response the first free rank, so placing them best to worst takes K presses.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from annotate.choices import LETTERS, ranking_of_ranks
from annotate.desk import Desk, Question
from data.records import Answer


def rank_control(desk: Desk, position: int, count: int) -> None:
    """The head of one response: its letter, its rank, and the button that places it next.

    The desk holds the ranks. A widget's own state would be sent back with the next key press,
    and undo what a press just before it had set; so the key holds the rank, and a changed rank
    is a new widget.
    """
    letter, rank = LETTERS[position], desk.ranks.get(position)
    key = f"rank-{position}-{rank}-{desk.submission_key}"
    head, ranks, place = st.columns([1, 6, 4], gap="small", vertical_alignment="center",
                                    wrap=False)
    head.html(f'<div class="pf-letter">{letter}</div>')
    ranks.segmented_control(f"Rank of {letter}", range(1, count + 1), default=rank, key=key,
                            label_visibility="collapsed", on_change=_pick,
                            args=(desk, position, key))
    place.button("Next best", key=f"next-{position}-{desk.submission_key}", width="stretch",
                 shortcut=str(position + 1), on_click=desk.place,
                 args=(desk.submission_key, position))


def buttons(desk: Desk, question: Question,
            answer: Callable[[Desk, str, bool], None]) -> None:
    """Save (once every response has a rank), start over, all bad."""
    count = len(question.texts)
    missing = count - len(desk.ranks)
    st.button("Save ranking" if not missing else f"Save ranking ({missing} to go)",
              type="primary", shortcut="Enter", disabled=bool(missing),
              key=f"save-{desk.submission_key}", on_click=answer,
              args=(desk, desk.submission_key, False))
    st.button("All equally bad", shortcut="0", key=f"all-bad-{desk.submission_key}",
              on_click=answer, args=(desk, desk.submission_key, True))
    st.button("Clear ranks", shortcut="X", key=f"clear-{desk.submission_key}",
              on_click=desk.ranks.clear)
    st.caption("1 is best, equal numbers are ties")


def answer(desk: Desk, question: Question, all_bad: bool, flags: dict[int, tuple[str, ...]],
           rationale: str, seconds: float) -> Answer:
    """The ranking on the page as a record."""
    if all_bad:
        return Answer((question.shown,), 0, "both_bad", flags, rationale, seconds)
    ranking = ranking_of_ranks(desk.ranks, question.shown)
    return Answer(ranking, 0 if len(ranking) == 1 else 3, "ranked", flags, rationale, seconds)


def _pick(desk: Desk, position: int, key: str) -> None:
    rank = st.session_state.get(key)
    if rank:
        desk.ranks[position] = int(rank)
    else:
        desk.ranks.pop(position, None)
