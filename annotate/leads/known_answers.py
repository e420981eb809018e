"""The settings' section in which leads state right answers to tasks, hidden or for practice."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from annotate.answer_form import answer_given, answer_input, in_letters, show_task
from annotate.figures import as_label, moment, share, short
from annotate.leads import lead_actions
from annotate.notices import failing_as, say
from annotate.session import store, token
from data.errors import BadInput
from data.measures.quality import gold_accuracy
from data.records import KnownAnswer, Labeler
from data.search import Filters, Found, find

__all__ = ["show"]
FOUND = 10
PAGE_SIZE = 20
LONGEST_EXPLANATION = 4000
_USES = {"hidden": "Hidden among the others, to measure accuracy",
         "practice": "Practice, with feedback, before anything else"}


def show(labeler: Labeler) -> None:
    """Add one from an existing task; those in use below."""
    st.caption("Take a task that was sampled or imported, and state its right answer. Labelers "
               "get a copy of it: who has answered the original may recognise it.")
    with st.container(border=True):
        _add(labeler)
    _in_use(labeler)


def _add(labeler: Labeler) -> None:
    text = st.text_input("Find a task", key="known-search", persist_state="session",
                         placeholder="Words of its prompt or its responses")
    matches = [find(store(), "tasks", Filters(text=text or "", purpose=purpose), FOUND)
               for purpose in ("train", "evaluate")]
    found = [task for match in matches for task in match.ids]
    if not found:
        st.write("No task mentions that." if (text or "").strip() else "There is no task yet.")
        return
    titles = {task: _title(task) for task in found}
    chosen = st.selectbox("Task", found, index=None, format_func=titles.__getitem__,
                          key="known-task", placeholder=f"Choose one of these {len(found)}")
    _how_many(matches)
    if chosen is None:
        return
    task = store().tasks.get(chosen)
    # In the order of storing, one policy's would always come first.
    shown = store().assignments.order_for(task, labeler.id)
    show_task(store().prompts.get(task.prompt_id), shown)
    answer = answer_input(_answer_key(chosen), shown, strengths=False)
    use = st.radio("Use", list(_USES), format_func=_USES.__getitem__, key="known-use")
    st.text_area("Explanation" + (" (shown after the answer)" if use == "practice" else
                                  " (for leads; optional)"),
                 key=f"known-why-{chosen}", max_chars=LONGEST_EXPLANATION, height=90)
    st.button("Add known answer", type="primary", disabled=answer is None, on_click=_save,
              args=(chosen, shown))


def _how_many(matches: Sequence[Found]) -> None:
    """That the list is not all there is, where it is not."""
    listed, total = sum(len(m.ids) for m in matches), sum(m.total for m in matches)
    if total > listed:
        more = "more than " if any(m.more for m in matches) else ""
        st.caption(f"{listed} of {more}{total:,} tasks are listed: the newest, at most {FOUND} for "
                   f"training and {FOUND} for evaluation. To list another, search above for words "
                   "of it.")


def _title(task_id: int) -> str:
    task = store().tasks.get(task_id)
    prompt = store().prompts.get(task.prompt_id)
    return f"Task {task_id} · {len(task.response_ids)} responses · {short(prompt.text)}"


def _answer_key(task_id: int) -> str:
    return f"known-{task_id}"


def _save(task_id: int, shown: Sequence[int]) -> None:
    practice = st.session_state.get("known-use") == "practice"
    with failing_as("added"):
        answer = answer_given(_answer_key(task_id), shown, strengths=False)
        if answer is None:
            raise BadInput("choose the right answer first")
        new = lead_actions.add_known_answer(
            store(), token(), task_id, answer, practice,
            str(st.session_state.get(f"known-why-{task_id}") or ""))
        say(f"Added: task {new} has a known answer now"
            + (" and is practised." if practice else " and is hidden among the others."))
        st.session_state.pop("known-task", None)


def _in_use(labeler: Labeler) -> None:
    known = store().known.all()
    if not known:
        return
    st.markdown("#### In use")
    page = 1 if len(known) <= PAGE_SIZE else st.pagination(
        -(-len(known) // PAGE_SIZE), key="known-page")
    newest = known[::-1]
    for one in newest[(page - 1) * PAGE_SIZE:page * PAGE_SIZE]:
        _one(one, labeler)


def _one(known: KnownAnswer, labeler: Labeler) -> None:
    task = store().tasks.get(known.task_id)
    prompt = store().prompts.get(task.prompt_id)
    use = "practice" if known.practice else "hidden"
    title = f"{use.capitalize()} · {short(prompt.text)}"
    with st.expander(as_label(title), key=f"known-{known.task_id}", on_change="rerun") as fold:
        if not fold.open:
            return
        shown = store().assignments.order_for(task, labeler.id)
        show_task(prompt, shown)
        right = in_letters(known.answer, shown)
        st.html(f"<p><strong>Right answer: {escape(right)}.</strong> "
                f"{escape(known.explanation)}</p>")
        value, more = share(gold_accuracy(
            (c, known.answer) for c in store().comparisons.of_task(known.task_id)))
        who = "" if known.created_by is None else \
            f" by {store().people.get(known.created_by).name}"
        st.caption(as_label(f"Labelers have it right: {value} ({more}). If most do not, look at "
                            f"the answer again. Added {moment(known.created_at)}{who}."))
        st.button("Retire", key=f"retire-{known.task_id}", on_click=_retire,
                  args=(known.task_id,), help="Handed out no more; what was answered stays.")


def _retire(task_id: int) -> None:
    with failing_as("retired"):
        lead_actions.retire_known_answer(store(), token(), task_id)
        say(f"Retired: task {task_id} is handed out no more.")
