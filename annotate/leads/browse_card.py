"""One thing and where it leads: its text, what it came from, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from annotate.answer_form import in_letters, show_task, turns_html
from annotate.choices import letter
from annotate.figures import as_label, duration, facts_html, moment, name_of, table_html
from annotate.leads import addresses
from annotate.leads.browse_filters import back_to_search
from annotate.leads.evidence import hidden_result
from annotate.rendering import conversation_html, response_html
from annotate.session import store
from data.blindness import hidden_from
from data.lineage import card
from data.lineage_groups import Group
from data.measures.quality import seconds_of
from data.records import Comparison, Labeler


def show_card(kind: str, thing: int, labeler: Labeler) -> None:
    """The card, with every link as a button; errors in one line if there is no such thing."""
    st.button("Back to the search", icon=":material/arrow_back:", on_click=back_to_search,
              key="card-back")
    found = card(store(), kind, thing, labeler.id)
    st.markdown(f"### {as_label(found.title)}")
    if found.facts:
        st.html('<div class="pf-about">' + " · ".join(
            f"{escape(name)}: {escape(value)}" for name, value in found.facts) + "</div>")
    if kind in _BODIES:
        _BODIES[kind](thing, labeler)
    left, right = st.columns(2, gap="medium")
    with left, st.container(key="groups-from"):
        st.markdown("#### Comes from")
        _groups("from", found.came_from, labeler)
    with right, st.container(key="groups-to"):
        st.markdown("#### Led to")
        _groups("to", found.led_to, labeler)


def _groups(side: str, groups: Sequence[Group], labeler: Labeler) -> None:
    if not groups:
        st.write("Nothing is recorded.")
    for number, group in enumerate(groups):
        more = f" ({group.total:,})" if group.total > len(group.links) else ""
        st.html(f'<div class="pf-role">{escape(group.title)}{more}</div>')
        for place, link in enumerate(group.links):
            st.button(as_label(link.label), type="tertiary", width="stretch",
                      key=f"row-{side}-{number}-{place}", on_click=addresses.go_to,
                      args=(link.kind, link.id, labeler))


def _answer(thing: int, labeler: Labeler) -> None:
    """What was said, as its labeler saw the task."""
    comparison = store().comparisons.get(thing)
    task = store().tasks.get(comparison.task_id)
    order = comparison.shown or task.response_ids
    answer = comparison.answer
    what = "withdrawn" if answer.verdict == "withdrawn" else in_letters(answer, order)
    facts = [("Says", what, "in the order that they were shown"
              if comparison.shown else "the order of display is not known"),
             ("Who", name_of(store().people.get(comparison.labeler_id)),
              moment(comparison.created_at)),
             ("Time", duration(seconds_of(answer)), "idle time taken out"
              if answer.active_seconds is not None else "as the clock ran"),
             ("Asked under", "default question" if answer.question_version is None
              else f"question {answer.question_version}",
              "no guidelines" if answer.guidelines_version is None
              else f"guidelines {answer.guidelines_version}")]
    hidden = hidden_result(comparison, task)
    if hidden is not None:
        facts.append((*hidden, "a hidden task"))
    decision = store().decisions.get(thing)
    if decision is not None:
        facts.append(("Decision", "of a lead", f"overrides {len(decision.overrides)}"))
    st.html(facts_html(facts))
    show_task(store().prompts.get(task.prompt_id), order)
    marks = [(letter(position), ", ".join(answer.flags.get(response, ())) or "–",
              str(answer.scores.get(response, "–"))) for position, response in enumerate(order)
             if response in answer.flags or response in answer.scores]
    if marks:
        st.html(table_html(("Response", "Flags", "Score"), marks))
    if answer.rationale:
        st.html(turns_html("Reason", answer.rationale))
    if decision is not None and decision.note:
        st.html(turns_html("Note", decision.note))
    rewrite = store().comparisons.rewrite_of(thing)
    if rewrite is not None:
        place = letter(order.index(rewrite.response_id))
        st.html(turns_html(f"Rewrite of {place}", rewrite.text))


def _task(thing: int, labeler: Labeler) -> None:
    """The task in the viewer's own order, and everybody's answers in its letters."""
    task = store().tasks.get(thing)
    order = store().assignments.order_for(task, labeler.id)
    show_task(store().prompts.get(task.prompt_id), order)
    _hidden(task.response_ids, labeler)
    _uncertainty(thing, len(order))
    answers = store().comparisons.of_task(thing, set_aside=True)
    if answers:
        st.html(table_html(("Who", "Says", "Reason", "Time", "When"), [
            (who_said(c), in_letters(c.answer, order),
             c.answer.rationale or "–", duration(seconds_of(c.answer)), moment(c.created_at))
            for c in answers], numbers=(3,)))


def _uncertainty(task: int, responses: int) -> None:
    """How sure the instant model is of an open task, which says nothing of what it prefers."""
    variance = store().asking.variance_of(task)
    if variance is not None:
        of = "the reward difference" if responses == 2 else "the least certain pair's difference"
        st.html(facts_html([("Posterior variance", f"{variance:.3g}",
                             f"of {of}, by the instant model: ± {variance**0.5:.2g} logits")]))
        st.caption("The greater it is, the more an answer would tell. It does not say which "
                   "response the model likes better.")


def who_said(comparison: Comparison) -> str:
    """Whose word it is, and whether it is a lead's decision rather than a blind answer."""
    name = name_of(store().people.get(comparison.labeler_id))
    return name if store().decisions.get(comparison.id) is None else f"{name} (decision)"


def _response(thing: int, labeler: Labeler) -> None:
    response = store().responses.get([thing])[0]
    st.html(conversation_html(store().prompts.get(response.prompt_id).messages))
    with st.container(border=True):
        st.html(response_html(response.text))
    _hidden([thing], labeler)


def _prompt(thing: int, labeler: Labeler) -> None:
    st.html(conversation_html(store().prompts.get(thing).messages))


def _hidden(responses: Sequence[int], labeler: Labeler) -> None:
    if hidden_from(store(), labeler.id, responses):
        st.caption("Who wrote this is hidden: you may still be asked about it.")


_BODIES = {"answer": _answer, "task": _task, "response": _response, "prompt": _prompt}
