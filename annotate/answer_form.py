"""Widgets that give one answer to a task: for a lead who states what is right.

Not the labeling page: nothing is timed, and the lead has everybody's answers in view.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from annotate.choices import PLAIN_STRENGTH, in_words, letter
from annotate.rendering import CUT_OFF, conversation_html, response_html
from annotate.session import store
from data.records import STRENGTHS, Answer, Prompt, Response

_TIE, _BAD = "Tie", "Both bad"


def show_task(prompt: Prompt, shown: Sequence[int]) -> None:
    """The conversation and the responses in a display order, without saying who wrote them."""
    st.html(conversation_html(prompt.messages))
    responses = store().responses.get(shown)
    for start in range(0, len(responses), 2):
        for position, column in enumerate(st.columns(2, gap="small"), start):
            if position < len(responses):
                with column, st.container(border=True):
                    response = responses[position]
                    st.html(f'<div class="pf-letter">{letter(position)}</div>'
                            f"{response_html(response.text)}{_cut_html(response)}")


def _cut_html(response: Response) -> str:
    return f'<p class="pf-cut">{CUT_OFF}</p>' if response.is_cut else ""


def in_letters(answer: Answer, shown: Sequence[int]) -> str:
    """An answer within a sentence, in the letters of an order that need not be its labeler's."""
    words = in_words(answer, shown)
    return words.lower() if answer.is_tie else words


def answer_input(key: str, shown: Sequence[int], strengths: bool) -> Answer | None:
    """The widgets; the answer they give, None while something is left open.

    `strengths` asks a pair by how much the winner is better; otherwise it is plainly better.
    """
    if len(shown) == 2:
        chosen = st.segmented_control("Right answer", ("A better", _TIE, "B better", _BAD),
                                      key=f"{key}-choice")
        if strengths and chosen not in (None, _TIE, _BAD):
            st.segmented_control(
                "By how much", [level for level in STRENGTHS if level], default=PLAIN_STRENGTH,
                format_func=lambda level: STRENGTHS[level].removesuffix(" better").capitalize(),
                key=f"{key}-strength", required=True)
    else:
        for position in range(len(shown)):
            st.segmented_control(f"Rank of {letter(position)}", range(1, len(shown) + 1),
                                 key=f"{key}-rank-{position}")
        st.checkbox("All bad", key=f"{key}-bad")
    return answer_given(key, shown, strengths)


def answer_given(key: str, shown: Sequence[int], strengths: bool) -> Answer | None:
    """What the widgets of that key say now; None while something is left open.

    For callbacks, which must ask at the press: what the page last drew may be older than a choice
    that was made in the moment before.
    """
    state = st.session_state
    if len(shown) > 2:
        ranks = [int(state.get(f"{key}-rank-{position}") or 0) for position in range(len(shown))]
        if state.get(f"{key}-bad"):
            return Answer((tuple(shown),), 0, "both_bad")
        if not all(ranks):
            return None
        ranking = tuple(tuple(response for response, given in zip(shown, ranks, strict=True)
                              if given == rank) for rank in sorted(set(ranks)))
        return Answer(ranking, 0 if len(ranking) == 1 else PLAIN_STRENGTH)
    chosen = state.get(f"{key}-choice")
    if chosen is None:
        return None
    if chosen in (_TIE, _BAD):
        return Answer((tuple(shown),), 0, "ranked" if chosen == _TIE else "both_bad")
    strength = (state.get(f"{key}-strength") or PLAIN_STRENGTH) if strengths else PLAIN_STRENGTH
    better, worse = shown if chosen == "A better" else (shown[1], shown[0])
    return Answer(((better,), (worse,)), strength)


def turns_html(title: str, text: str) -> str:
    """A titled passage of plain text (a reason, a note)."""
    return (f'<div class="pf-role">{escape(title)}</div>'
            f'<div class="pf-text" dir="auto">{escape(text)}</div>')
