"""The labeling page: one question at a time, blind, by click or by key."""

from __future__ import annotations

import streamlit as st

from annotate import ranking, waiting
from annotate.choices import FLAGS, LETTERS, PAIR_CHOICES, Choice, ranking_of
from annotate.desk import Desk, Question
from annotate.rendering import conversation_html, response_html
from annotate.session import guarded, store, token
from annotate.signin import TOP_SCRIPT
from data.comparisons import LONGEST_RATIONALE
from data.records import SKIP_REASONS, Answer, Labeler


@guarded("answer")
def page(labeler: Labeler) -> None:
    """The question at hand, or why there is none."""
    desk = st.session_state.setdefault("desk", Desk(store(), token))
    if desk.question is None:
        desk.take()
    if desk.question is None:
        waiting.show(desk)
    else:
        _question_page()


@st.fragment
@guarded("answer")
def _question_page(labeler: Labeler) -> None:
    """A fragment: an answer re-runs this much and nothing more."""
    desk: Desk = st.session_state["desk"]
    question = desk.question
    if question is None:
        st.rerun()
    _progress(question, labeler.id)
    # Our own script, from our own server: a new question starts at the top of the page.
    with st.container(key="to-top"):
        st.html(f'<script src="{TOP_SCRIPT}" data-question="{desk.submission_key}"></script>',
                unsafe_allow_javascript=True)
    st.html(conversation_html(question.messages))
    _responses(desk, question)
    with st.container(key="desk-bar", gap="small"):
        _bar(desk, question)
    desk.rendered()


def _progress(question: Question, labeler_id: int) -> None:
    mine = store().comparisons.count(labeler_id, question.round_id)
    if question.round_id is None:
        st.html(f'<div class="pf-bar"><span>You have answered {mine:,}</span></div>')
        return
    number = store().rounds.get(question.round_id).number
    given, wanted = store().tasks.progress(question.round_id)
    share = 100 * given / wanted if wanted else 0
    st.html(f'<div class="pf-bar"><span>Round {number}</span><div class="pf-track">'
            f'<div style="width: {share:.1f}%"></div></div>'
            f"<span>{given:,} of {wanted:,} labels · you {mine:,}</span></div>")


def _responses(desk: Desk, question: Question) -> None:
    per_row = 2 if len(question.texts) in (2, 4) else 3
    for start in range(0, len(question.texts), per_row):
        columns = st.columns(per_row, gap="small")
        for position, column in enumerate(columns, start):
            if position < len(question.texts):
                with column, st.container(border=True, height="stretch",
                                          key=f"response-{position}"):
                    _response(desk, question, position)


def _response(desk: Desk, question: Question, position: int) -> None:
    letter = LETTERS[position]
    if len(question.texts) == 2:
        st.html(f'<div class="pf-letter">{letter}</div>')
    else:
        ranking.rank_control(desk, position, len(question.texts))
    st.html(response_html(question.texts[position]))
    st.pills(f"Flags of {letter}", FLAGS, selection_mode="multi", label_visibility="collapsed",
             key=_key(desk, f"flags-{position}"), persist_state="session")


def _bar(desk: Desk, question: Question) -> None:
    if desk.skipping:
        _skip_reasons(desk)
    elif len(question.texts) == 2:
        with st.container(key="answers"):
            for choice in PAIR_CHOICES:
                st.button(choice.label, key=choice.name, shortcut=choice.key,
                          on_click=_answer_pair, args=(desk, desk.submission_key, choice))
    else:
        with st.container(key="answers-ranked", horizontal=True):
            ranking.buttons(desk, question, _answer_ranked)
    with st.container(key="extras", horizontal=True, vertical_alignment="center", gap="small"):
        st.text_area(
            "Reason", height=68, max_chars=LONGEST_RATIONALE, key=_key(desk, "reason"),
            placeholder="Reason (optional)", label_visibility="collapsed",
            persist_state="session", on_change="ignore")
        st.button("Skip", shortcut="S", width=110, key="skip",
                  disabled=desk.skipping, on_click=_open_skip, args=(desk,))
        st.button("Undo", shortcut="U", width=110, key="undo",
                  on_click=desk.undo, args=(desk.submission_key,))
    waiting.status(desk)


def _skip_reasons(desk: Desk) -> None:
    with st.container(key="answers"):
        for number, reason in enumerate(SKIP_REASONS, 1):
            st.button(reason.capitalize(), key=f"skip-{number}", shortcut=str(number),
                      on_click=desk.skip, args=(desk.submission_key, reason))
        st.button("Back", key="back", shortcut="Esc", type="tertiary",
                  on_click=_close_skip, args=(desk,))


def _answer_pair(desk: Desk, submission_key: str, choice: Choice) -> None:
    desk.answer(submission_key, lambda question, seconds: Answer(
        ranking_of(choice, question.shown), choice.strength, choice.verdict,
        _flags(desk, question), _reason(desk), seconds))


def _answer_ranked(desk: Desk, submission_key: str, all_bad: bool) -> None:
    desk.answer(submission_key, lambda question, seconds: ranking.answer(
        desk, question, all_bad, _flags(desk, question), _reason(desk), seconds))


def _flags(desk: Desk, question: Question) -> dict[int, tuple[str, ...]]:
    chosen = {response: tuple(st.session_state.get(_key(desk, f"flags-{position}")) or ())
              for position, response in enumerate(question.shown)}
    return {response: flags for response, flags in chosen.items() if flags}


def _reason(desk: Desk) -> str:
    return str(st.session_state.get(_key(desk, "reason")) or "").strip()


def _open_skip(desk: Desk) -> None:
    desk.skipping = True


def _close_skip(desk: Desk) -> None:
    desk.skipping = False


def _key(desk: Desk, name: str) -> str:
    """The key of a widget that holds a value: new for each question, so that it starts empty.

    Buttons keep theirs, so that their shortcuts never go dead in between. No key holds an id of
    the store, which would tell which response was sampled first.
    """
    return f"{name}-{desk.submission_key}"
