"""A labeler's own answers: search them, read them again, change them (as a revision)."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import streamlit as st

from annotate import actions, notices
from annotate.answer_form import show_task
from annotate.choices import (
    Choice,
    choice_of,
    choices_for,
    in_words,
    letter,
    ranked,
    ranking_of,
    rewrite_of,
    tiers_of,
)
from annotate.figures import as_label, moment, short
from annotate.notices import failing_as, say
from annotate.session import guarded, store, token
from data.comparisons import LONGEST_RATIONALE, LONGEST_REWRITE
from data.errors import BadInput
from data.questions import SCORES, Question
from data.records import Answer, Comparison, Labeler, Prompt, Rewrite, Verdict
from data.search import Filters, find

PAGE_SIZE = 20


@guarded("answer")
def page(labeler: Labeler) -> None:
    """The list, newest first."""
    st.subheader("My answers")
    notices.show()
    text = (st.text_input("Search", key="mine-search", persist_state="session",
                          placeholder="Search prompts, responses and reasons",
                          label_visibility="collapsed") or "").strip()
    filters = Filters(text, labeler_id=labeler.id)
    first = find(store(), "answers", filters, PAGE_SIZE)
    if not first.total:
        st.write("No answer mentions that." if text else "You have not answered yet.")
        return
    pages = -(-first.total // PAGE_SIZE)
    number = 1 if pages == 1 else st.pagination(pages, key=f"mine-page-{text}")
    total = f"More than {first.total:,}" if first.more else f"{first.total:,}"
    st.caption(f"{total} answer{'s' if first.total > 1 else ''}, newest first")
    found = first if number == 1 else find(store(), "answers", filters, PAGE_SIZE,
                                           (number - 1) * PAGE_SIZE)
    for comparison in found.ids:
        _entry(store().comparisons.get(comparison))


def _entry(comparison: Comparison) -> None:
    task = store().tasks.get(comparison.task_id)
    prompt = store().prompts.get(task.prompt_id)
    verdict = in_words(comparison.answer, comparison.shown)
    revised = f" · revision {comparison.revision}" if comparison.revision > 1 else ""
    title = (f"{as_label(verdict)} · {as_label(short(prompt.text))} "
             f":gray[· {comparison.created_at[:10]}]")
    with st.expander(title, key=f"mine-{comparison.id}", on_change="rerun") as entry:
        if entry.open:
            st.caption(f"{moment(comparison.created_at)}{revised}")
            _details(comparison, prompt)


def _details(comparison: Comparison, prompt: Prompt) -> None:
    show_task(prompt, comparison.shown)
    if store().comparisons.has_decided(comparison.task_id, comparison.labeler_id):
        st.caption("Your decision: decide anew, or take it back, under Disputes."
                   if store().decisions.get(comparison.id) is not None else
                   "Your answer of before you decided: since you have seen the others', it is "
                   "changed by deciding, under Disputes.")
        return
    with st.form(f"revise-{comparison.id}", border=False):
        _form(comparison)


def _form(comparison: Comparison) -> None:
    """What was said, to be changed; under the question that it was said under."""
    answer, shown = comparison.answer, comparison.shown
    asked, all_bad = _asked(comparison), answer.verdict == "both_bad"
    if len(shown) == 2:
        choices = _choices(comparison)
        current = choice_of(answer, shown, choices)
        st.segmented_control("Answer", [choice.label for choice in choices],
                             key=f"pick-{comparison.id}",
                             default=current.label if current else None)
    else:
        ranks = {} if all_bad else {position: rank for rank, tier in
                                    enumerate(tiers_of(answer, shown), 1) for position in tier}
        for position in range(len(shown)):
            st.segmented_control(f"Rank of {letter(position)}", range(1, len(shown) + 1),
                                 default=ranks.get(position),
                                 key=f"pick-{comparison.id}-{position}")
        if asked.both_bad or all_bad:
            st.checkbox("All bad", all_bad, key=f"bad-{comparison.id}")
    for position, response in enumerate(shown):
        given = answer.flags.get(response, ())
        if asked.scores:
            st.segmented_control(f"Score of {letter(position)}", SCORES,
                                 default=answer.scores.get(response),
                                 key=f"score-{comparison.id}-{position}")
        if offered := [*asked.flags, *(flag for flag in given if flag not in asked.flags)]:
            st.pills(f"Flags of {letter(position)}", offered, selection_mode="multi",
                     default=given, format_func=as_label, key=f"flag-{comparison.id}-{position}")
    if asked.reason or answer.rationale:
        st.text_area("Reason", answer.rationale, key=f"why-{comparison.id}",
                     max_chars=LONGEST_RATIONALE, height=80)
    if asked.rewrite:
        _rewrite_fields(comparison)
    st.form_submit_button("Save the change", on_click=_revise, args=(comparison,),
                          key=f"change-{comparison.id}")


def _rewrite_fields(comparison: Comparison) -> None:
    rewrite = store().comparisons.rewrite_of(comparison.id)
    letters = _letters(comparison)
    base = None if rewrite is None else comparison.shown.index(rewrite.response_id)
    st.segmented_control("Rewritten response", letters, key=f"base-{comparison.id}",
                         default=None if base is None else letters[base])
    st.text_area("Rewrite", "" if rewrite is None else rewrite.text, height=160,
                 key=f"rewrite-{comparison.id}", max_chars=LONGEST_REWRITE)


def _letters(comparison: Comparison) -> list[str]:
    return [letter(position) for position in range(len(comparison.shown))]


def _asked(comparison: Comparison) -> Question:
    """The question of then."""
    return store().questions.version(comparison.answer.question_version)


def _choices(comparison: Comparison) -> tuple[Choice, ...]:
    """The buttons of then, and the one that was pressed, whatever has become of it."""
    choices = choices_for(_asked(comparison))
    given = choice_of(comparison.answer, comparison.shown)
    known = choice_of(comparison.answer, comparison.shown, choices)
    return choices if known or given is None else (*choices, given)


def _revise(comparison: Comparison) -> None:
    with failing_as("saved"):
        answer = _picked(comparison)
        stored = actions.submit(store(), token(), comparison.task_id, answer, uuid4().hex,
                                comparison.revision)
        say("Nothing was changed, and nothing saved." if stored.id == comparison.id
            else f"Saved: {in_words(answer, comparison.shown)}.")


def _picked(comparison: Comparison) -> Answer:
    """What the form says. Raises BadInput where something is left open."""
    state, shown, old = st.session_state, comparison.shown, comparison.answer
    flags = {response: tuple(state.get(f"flag-{comparison.id}-{position}") or ())
             for position, response in enumerate(shown)}
    scores = {response: score for position, response in enumerate(shown)
              if (score := state.get(f"score-{comparison.id}-{position}")) is not None}
    if _asked(comparison).scores and len(scores) < len(shown):
        raise BadInput("give each response a score first")
    ranking, strength, verdict = _verdict(comparison)
    return replace(old, ranking=ranking, strength=strength, verdict=verdict,
                   flags={k: v for k, v in flags.items() if v}, scores=scores,
                   rationale=str(state.get(f"why-{comparison.id}") or "").strip(),
                   rewrite=_rewrite(comparison))


def _verdict(comparison: Comparison) -> tuple[tuple[tuple[int, ...], ...], int, Verdict]:
    state, shown = st.session_state, comparison.shown
    if len(shown) == 2:
        label = state.get(f"pick-{comparison.id}")
        choice = next((c for c in _choices(comparison) if c.label == label), None)
        if choice is None:
            raise BadInput("choose an answer first")
        return ranking_of(choice, shown), choice.strength, choice.verdict
    if state.get(f"bad-{comparison.id}"):
        return (shown,), 0, "both_bad"
    picked = [int(state.get(f"pick-{comparison.id}-{i}") or 0) for i in range(len(shown))]
    if not all(picked):
        raise BadInput("choose a rank for each response first")
    tiers = [[i for i, rank in enumerate(picked) if rank == each] for each in sorted(set(picked))]
    return ranked(tiers, shown, _asked(comparison), comparison.answer)


def _rewrite(comparison: Comparison) -> Rewrite | None:
    base = st.session_state.get(f"base-{comparison.id}")
    if base is None:
        return None
    response = store().responses.get([comparison.shown[_letters(comparison).index(base)]])[0]
    return rewrite_of(response.id, response.text,
                      str(st.session_state.get(f"rewrite-{comparison.id}") or ""))
