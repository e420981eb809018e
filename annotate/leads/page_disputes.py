"""The leads' page of disputes: where labelers disagree most, and a lead's last word on it, which is
changed here too.

Who wrote the responses is not shown, so that a decision is as blind to it as any answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from uuid import uuid4

import streamlit as st

from annotate import notices
from annotate.answer_form import answer_given, answer_input, in_letters, show_task, turns_html
from annotate.choices import letter
from annotate.figures import (
    Linked,
    as_label,
    duration,
    moment,
    name_of,
    short,
    table_html,
    text_html,
)
from annotate.leads import lead_actions
from annotate.leads.leads_style import STYLE
from annotate.leads.quality_report import LARGE
from annotate.notices import failing_as, say
from annotate.permissions import permits
from annotate.session import guarded, store, token
from data.activity import latest_answer
from data.disputes import Dispute, any_answered_twice, disputes
from data.errors import BadInput
from data.measures.quality import seconds_of
from data.records import Answer, Comparison, Decision, Labeler, Round, Task

PAGE_SIZE = 20
LONGEST_NOTE = 4000
_REFRESH_SECONDS = 60
_ALL = "all"
_SIDES = ("for A", "for B", "tie", "both bad")


@guarded("quality")
def page(labeler: Labeler) -> None:
    """The disputed and the decided tasks of a round, the most disputed first."""
    st.html(STYLE)
    head, which, what = st.columns([3, 2, 3], vertical_alignment="bottom")
    head.subheader("Disputes")
    rounds: dict[str, Round | None] = {str(t.id): t for t in store().rounds.all()[::-1]}
    rounds[_ALL] = None
    chosen = rounds.get(which.selectbox(
        "Round", list(rounds), key="disputes-round", persist_state="session",
        format_func=lambda name: "All rounds" if (turn := rounds[name]) is None
        else f"Round {turn.number}") or _ALL)
    decided_too = what.checkbox("Show decided ones", key="disputes-decided",
                                persist_state="session")
    notices.show()
    st.caption("Disagreement is the entropy of the answers times their mean strength: near 0 where "
               "all but agree, 1 where half say “significantly better” of one side and half of the "
               "other. Everybody's answers are in view here: a task that you open is not blind for "
               "you any more.")
    found, undecided = _disputes(str(store().database.path), _id(chosen), _version(chosen))
    listed = found if decided_too else _in_view(found, undecided)
    st.caption(f"{len(undecided):,} open, {len(found) - len(undecided):,} decided.")
    if not listed:
        st.write("All disputes are decided." if found
                 else "Nobody disagrees here." if any_answered_twice(store(), _id(chosen))
                 else "No question has two answers yet, so nobody can disagree. *Wanted*, on Jobs "
                      "where the next round is opened, is how many labels each question gets.")
        return
    number = 1 if len(listed) <= PAGE_SIZE else st.pagination(
        -(-len(listed) // PAGE_SIZE), key="disputes-page")
    for dispute in listed[(number - 1) * PAGE_SIZE:number * PAGE_SIZE]:
        _entry(dispute, labeler)


def _in_view(found: Sequence[Dispute], undecided: Sequence[Dispute]) -> Sequence[Dispute]:
    """The undecided ones, and those that another lead has decided since one opened them: what one
    is about to decide does not go from under one's hands."""
    opened = {key for key, value in st.session_state.items()
              if str(key).startswith("dispute-") and value is True}
    return undecided if not opened else [
        dispute for dispute in found if not dispute.decided or _fold_key(dispute.task_id) in opened]


def _fold_key(task_id: int) -> str:
    return f"dispute-{task_id}"


def _id(turn: Round | None) -> int | None:
    return turn.id if turn else None


def _version(turn: Round | None) -> int:
    """What a list depends on; that of a large round is read again only after a while."""
    answers = latest_answer(store()) if turn is None else store().tasks.progress(turn.id)[0]
    return latest_answer(store()) if answers <= LARGE else 0


# Not `cache_data`, which copies what it gives: there may be tens of thousands.
@st.cache_resource(ttl=_REFRESH_SECONDS, max_entries=16, show_spinner="Comparing answers")
def _disputes(path: str, round_id: int | None,
              version: int) -> tuple[tuple[Dispute, ...], tuple[Dispute, ...]]:
    """All, and those that are undecided. Shared by all who look; `path` and `version` say of what
    and of when it is."""
    found = tuple(disputes(store(), round_id))
    return found, tuple(dispute for dispute in found if not dispute.decided)


def _entry(dispute: Dispute, labeler: Labeler) -> None:
    task = store().tasks.get(dispute.task_id)
    # Not the order of storing, which would tell who wrote what.
    shown = store().assignments.order_for(task, labeler.id)
    answers = store().comparisons.of_task(task.id)
    decision = store().decisions.of_task(task.id)
    blind = [c for c in answers if store().decisions.get(c.id) is None]
    tally = tally_of([c.answer for c in blind], shown) or "no other answer"
    prompt = store().prompts.get(task.prompt_id)
    state = ":green-badge[decided] " if decision else ""
    heat = as_label(f"disagreement {dispute.heat:.2f}, n = {dispute.answers}")
    title = f"{state}**{as_label(tally)}** · {heat} · {as_label(short(prompt.text, 70))}"
    with st.expander(_kept(task.id, title), key=_fold_key(task.id), on_change="rerun") as fold:
        if fold.open:
            show_task(prompt, shown)
            if blind:
                _answers(blind, shown)
            if decision is not None:
                _decided(decision, shown)
            if permits(labeler, "settings"):
                if decision is not None and decision.labeler_id == labeler.id:
                    _take_back_button(decision)
                _decide(task, shown, decision)
            st.html(f'<div class="pf-link"><a href="/browse?task={task.id}" target="_self">Where '
                    "this task comes from</a></div>")


def _kept(task_id: int, title: str) -> str:
    """The title of a fold; of one that is open, the title with which it was opened. To Streamlit, a
    fold of another title is another, and closed: who answers meanwhile would close it, and take
    what a lead has typed in it."""
    titles = st.session_state.setdefault("disputes-titles", {})
    if not st.session_state.get(_fold_key(task_id)):
        titles[task_id] = title
    return str(titles.setdefault(task_id, title))


def tally_of(answers: Sequence[Answer], shown: tuple[int, ...]) -> str:
    """`2 for A, 1 for B, 1 tie`: a pair's always in this order, rankings the commonest first."""
    said = Counter(_side(answer, shown) for answer in answers)
    listed = ([words for words in _SIDES if words in said] if len(shown) == 2
              else sorted(said, key=lambda words: (-said[words], words)))
    return ", ".join(f"{said[words]} {words}" for words in listed)


def _side(answer: Answer, shown: tuple[int, ...]) -> str:
    """What an answer speaks for, however strongly."""
    if answer.is_tie or len(shown) > 2:
        return in_letters(answer, shown)
    return f"for {letter(shown.index(answer.ranking[0][0]))}"


def _answers(answers: list[Comparison], shown: tuple[int, ...]) -> None:
    """Everybody's answers, in the letters of this page."""
    rows = []
    for c in answers:
        flags = "; ".join(f"{letter(shown.index(response))}: {', '.join(marks)}"
                          for response, marks in c.answer.flags.items())
        who = Linked(name_of(store().people.get(c.labeler_id)), f"/browse?of={c.labeler_id}")
        rows.append((who, in_letters(c.answer, shown),
                     c.answer.rationale or "–", flags or "–", duration(seconds_of(c.answer)),
                     moment(c.created_at)))
    st.html(table_html(("Who", "Says", "Reason", "Flags", "Time", "When"), rows, numbers=(4,)))


def _decided(decision: Decision, shown: tuple[int, ...]) -> None:
    comparison, over = store().comparisons.get(decision.comparison_id), _overridden(decision)
    st.html('<div class="pf-calm"><strong>'
            f"{escape(name_of(store().people.get(decision.labeler_id)))} decided: "
            f"{escape(in_letters(comparison.answer, shown))}.</strong> Overrides "
            f"{escape(', '.join(over)) or 'nobody'}. {text_html(moment(decision.created_at))}"
            + (turns_html("Note", decision.note) if decision.note else "") + "</div>")


def _overridden(decision: Decision) -> list[str]:
    """Whose answers a decision overrides."""
    return [name_of(store().people.get(store().comparisons.get(i).labeler_id))
            for i in decision.overrides]


def _take_back_button(decision: Decision) -> None:
    st.button("Take back", key=f"decide-back-{decision.task_id}", on_click=_take_back,
              args=(decision,),
              help="What stood before stands again: everybody's answers, or another lead's "
                   "decision, and an answer that you had given yourself before you decided.")


def _decide(task: Task, shown: tuple[int, ...], stands: Decision | None) -> None:
    st.markdown("**Decide**" if stands is None else "**Decide anew**")
    answer = answer_input(_answer_key(task.id), shown, strengths=True)
    st.text_area("Note", key=f"decide-note-{task.id}", max_chars=LONGEST_NOTE, height=70,
                 placeholder="Why (optional)")
    st.button("Record decision", type="primary", key=f"decide-save-{task.id}",
              disabled=answer is None, on_click=_save,
              args=(task.id, shown, None if stands is None else stands.comparison_id),
              help="From then on this answer alone stands for the task in training and in "
                   "exports of preferences. Everybody's answers stay, and still count as theirs "
                   "in agreement; an answer that you gave yourself becomes this one.")


def _answer_key(task_id: int) -> str:
    return f"decide-{task_id}"


def _save(task_id: int, shown: tuple[int, ...], began: int | None) -> None:
    note = str(st.session_state.get(f"decide-note-{task_id}") or "")
    with failing_as("decided"):
        answer = answer_given(_answer_key(task_id), shown, strengths=True)
        if answer is None:
            raise BadInput("choose an answer first")
        decision = lead_actions.decide(store(), token(), task_id, answer, uuid4().hex, note, began)
        _disputes.clear()
        over = _overridden(decision)
        words = f"Decided. Overrides {', '.join(over) or 'nobody'}."
        if not st.session_state.get("disputes-decided"):
            st.session_state[_fold_key(task_id)] = False  # off the list: see `_in_view`
            words += " To change it or take it back, tick Show decided ones."
        say(words)


def _take_back(decision: Decision) -> None:
    task_id = decision.task_id
    with failing_as("taken back"):
        lead_actions.take_back_decision(store(), token(), task_id, decision.comparison_id)
        _disputes.clear()
        st.session_state[_fold_key(task_id)] = False  # its title says that it is decided
        stands = store().decisions.of_task(task_id)
        say("Taken back. Everybody's answers stand again." if stands is None else
            f"Taken back. The decision of {name_of(store().people.get(stands.labeler_id))} stands "
            "again.")
