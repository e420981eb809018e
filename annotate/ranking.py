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

    Plain buttons, and the desk holds the ranks: a widget with a value of its own would send the
    old one back with the next key press, and so undo what the press just before had set.
    """
    rank = desk.ranks.get(position)
    with st.container(horizontal=True, vertical_alignment="center", gap="small",
                      key=f"rank-head-{position}"):
        st.html(f'<div class="pf-letter">{LETTERS[position]}</div>', width="content")
        with st.container(horizontal=True, gap=None, width="content", key=f"ranks-{position}"):
            for number in range(1, count + 1):
                st.button(str(number), type="primary" if number == rank else "secondary",
                          key=f"rank-{position}-{number}",
                          on_click=_pick, args=(desk, desk.submission_key, position, number))
        st.button("Next best", key=f"next-{position}",
                  shortcut=str(position + 1), on_click=desk.place,
                  args=(desk.submission_key, position))


def buttons(desk: Desk, question: Question,
            answer: Callable[[Desk, str, bool], None]) -> None:
    """Save (once every response has a rank), start over, all bad."""
    count = len(question.texts)
    missing = count - len(desk.ranks)
    st.button("Save ranking" if not missing else f"Save ranking ({missing} to go)",
              type="primary", shortcut="Enter", disabled=bool(missing),
              key="save-ranking", on_click=answer,
              args=(desk, desk.submission_key, False))
    st.button("All equally bad", shortcut="0", key="all-bad",
              on_click=answer, args=(desk, desk.submission_key, True))
    st.button("Clear ranks", shortcut="X", key="clear-ranks",
              on_click=desk.ranks.clear)
    st.caption("1 is best, equal numbers are ties")


def answer(desk: Desk, question: Question, all_bad: bool, flags: dict[int, tuple[str, ...]],
           rationale: str, seconds: float) -> Answer:
    """The ranking on the page as a record."""
    if all_bad:
        return Answer((question.shown,), 0, "both_bad", flags, rationale, seconds)
    ranking = ranking_of_ranks(desk.ranks, question.shown)
    return Answer(ranking, 0 if len(ranking) == 1 else 3, "ranked", flags, rationale, seconds)


def _pick(desk: Desk, submission_key: str, position: int, rank: int) -> None:
    """Set a rank, or take it away where it was set."""
    if submission_key != desk.submission_key:
        return
    if desk.ranks.get(position) == rank:
        del desk.ranks[position]
    else:
        desk.ranks[position] = rank
