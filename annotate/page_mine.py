"""A labeler's own answers: search them, read them again, change them (as a revision)."""

from __future__ import annotations

from uuid import uuid4

import streamlit as st

from annotate import actions
from annotate.choices import (
    FLAGS,
    LETTERS,
    PAIR_CHOICES,
    choice_of,
    in_words,
    ranking_of,
    ranking_of_ranks,
    ranks_of,
)
from annotate.figures import moment
from annotate.rendering import conversation_html, response_html
from annotate.session import guarded, store, token
from data.comparisons import LONGEST_RATIONALE
from data.errors import PrefloopError
from data.records import Answer, Comparison, Labeler, Prompt

PAGE_SIZE = 20


@guarded("answer")
def page(labeler: Labeler) -> None:
    """The list, newest first."""
    st.subheader("My answers")
    if notice := st.session_state.pop("mine-notice", None):
        (st.error if notice.startswith("NOT") else st.success)(notice)
    text = st.text_input("Search", key="mine-search", persist_state="session",
                         placeholder="Search prompts, responses and reasons",
                         label_visibility="collapsed") or ""
    total = store().comparisons.search(labeler.id, text, 0)[1]
    if not total:
        st.write("No answer mentions that." if text.strip() else "You have not answered yet.")
        return
    pages = -(-total // PAGE_SIZE)
    number = 1 if pages == 1 else int(st.number_input(
        f"Page of {pages:,}", 1, pages, key=f"mine-page-{text}", width=160))
    st.caption(f"{total:,} answer{'s' if total > 1 else ''}, newest first")
    found, _ = store().comparisons.search(labeler.id, text, PAGE_SIZE, (number - 1) * PAGE_SIZE)
    for comparison in found:
        _entry(comparison)


def _entry(comparison: Comparison) -> None:
    task = store().tasks.get(comparison.task_id)
    prompt = store().prompts.get(task.prompt_id)
    verdict = in_words(comparison.answer, comparison.shown)
    revised = f" · revision {comparison.revision}" if comparison.revision > 1 else ""
    title = f"{_plain(verdict)} · {_plain(_short(prompt.text))}"
    with st.expander(title, key=f"mine-{comparison.id}", on_change="rerun") as entry:
        if entry.open:
            st.caption(f"{moment(comparison.created_at)}{revised}")
            _details(comparison, prompt)


def _details(comparison: Comparison, prompt: Prompt) -> None:
    st.html(conversation_html(prompt.messages))
    responses = store().responses.get(comparison.shown)
    for start in range(0, len(responses), 2):
        for position, column in enumerate(st.columns(2, gap="small"), start):
            if position < len(responses):
                with column, st.container(border=True):
                    st.html(f'<div class="pf-letter">{LETTERS[position]}</div>')
                    st.html(response_html(responses[position].text))
    with st.form(f"revise-{comparison.id}", border=False):
        _form(comparison)


def _form(comparison: Comparison) -> None:
    answer, shown = comparison.answer, comparison.shown
    if len(shown) == 2:
        labels = [choice.label for choice in PAIR_CHOICES]
        current = choice_of(answer, shown)
        st.segmented_control("Answer", labels, key=f"pick-{comparison.id}",
                             default=current.label if current else None)
    else:
        ranks = ranks_of(answer, shown)
        for position in range(len(shown)):
            st.segmented_control(f"Rank of {LETTERS[position]}", range(1, len(shown) + 1),
                                 default=ranks[position], key=f"pick-{comparison.id}-{position}")
    for position, response in enumerate(shown):
        st.pills(f"Flags of {LETTERS[position]}", FLAGS, selection_mode="multi",
                 default=[flag for flag in answer.flags.get(response, ()) if flag in FLAGS],
                 key=f"flag-{comparison.id}-{position}")
    st.text_area("Reason", answer.rationale, key=f"why-{comparison.id}",
                 max_chars=LONGEST_RATIONALE, height=80)
    st.form_submit_button("Change my answer", on_click=_revise, args=(comparison,),
                          key=f"change-{comparison.id}")


def _revise(comparison: Comparison) -> None:
    try:
        answer = _picked(comparison)
        if answer is None:
            raise PrefloopError("choose an answer (or a rank for each response) first")
        actions.submit(store(), token(), comparison.task_id, answer, uuid4().hex,
                       comparison.revision)
        st.session_state["mine-notice"] = f"Saved: {in_words(answer, comparison.shown)}."
    except PrefloopError as error:
        st.session_state["mine-notice"] = f"NOT saved: {error}"


def _picked(comparison: Comparison) -> Answer | None:
    """What the form says; None where something is left open."""
    state, shown, old = st.session_state, comparison.shown, comparison.answer
    flags = {response: tuple(state.get(f"flag-{comparison.id}-{position}") or ())
             for position, response in enumerate(shown)}
    rest = ({k: v for k, v in flags.items() if v},
            str(state.get(f"why-{comparison.id}") or "").strip(), old.seconds)
    if len(shown) == 2:
        label = state.get(f"pick-{comparison.id}")
        choice = next((c for c in PAIR_CHOICES if c.label == label), None)
        return None if choice is None else Answer(
            ranking_of(choice, shown), choice.strength, choice.verdict, *rest)
    picked = [state.get(f"pick-{comparison.id}-{i}") for i in range(len(shown))]
    if not all(picked):
        return None
    ranking = ranking_of_ranks({i: int(rank) for i, rank in enumerate(picked) if rank}, shown)
    return Answer(ranking, 0 if len(ranking) == 1 else 3, "ranked", *rest)


def _short(text: str, length: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length - 1] + "…"


def _plain(text: str) -> str:
    """Safe in a Streamlit label, which reads Markdown (and its images, links and directives)."""
    return "".join("\\" + c if c in "\\`*_{}[]()<>#+-.!|~:$&=" else c for c in text)
