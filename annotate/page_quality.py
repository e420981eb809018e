"""The leads' page of numbers: how far a round is, how far labelers agree, which way they lean."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import streamlit as st

from annotate.figures import NOTHING, duration, facts_html, name_of, number, share, table_html
from annotate.session import guarded, store
from data.agreement import (
    REFERENCE_FIGURES,
    agreement_by_strength,
    first_shown_wins,
    krippendorff_alpha,
    percent_agreement,
    win_rate,
)
from data.records import STRENGTHS, Comparison, Labeler, Round

REFRESH_SECONDS = 10
#: A round with more labels is counted once a visit: the counting would slow the labelers down.
LARGE = 5000


@guarded("quality")
def page(labeler: Labeler) -> None:
    """Figures of one round, refreshed while the page is open."""
    rounds = store().rounds.all()
    if not rounds:
        st.subheader("Quality")
        st.write("No round has been opened yet.")
        return
    head, which, whose = st.columns([3, 2, 3], vertical_alignment="bottom")
    head.subheader("Quality")
    chosen = which.selectbox("Round", rounds[::-1], key="quality-round",
                             format_func=lambda turn: f"Round {turn.number}")
    kinds = sorted({person.kind for person in store().people.all()})
    kept = whose.pills("Whose answers", kinds, selection_mode="multi", default=kinds,
                       key="quality-kinds")
    if chosen is not None:
        large = store().tasks.progress(chosen.id)[0] > LARGE
        st.fragment(_figures, run_every=None if large else REFRESH_SECONDS)(
            chosen, tuple(kept or ()))


@guarded("quality")
def _figures(labeler: Labeler, turn: Round, kinds: tuple[str, ...]) -> None:
    people = {person.id: person for person in store().people.all()}
    answers = [c for c in store().comparisons.current(round_id=turn.id)
               if people[c.labeler_id].kind in kinds]
    given, wanted = store().tasks.progress(turn.id)
    win = win_rate(store(), turn.id, kinds)
    st.html(facts_html([
        ("Labels given", f"{given:,} of {wanted:,}",
         f"{100 * given / wanted:.0f} % of round {turn.number}" if wanted else "no pairs yet"),
        ("Agreement of two labelers", *share(percent_agreement(answers))),
        ("Krippendorff's alpha", *number(krippendorff_alpha(answers))),
        ("Shown first (A) wins", *share(first_shown_wins(answers))),
        ("New policy beats the reference", *(share(win) if win else (
            NOTHING, "this round samples the reference itself"
            if turn.policy_version_id == turn.reference_id else "no evaluation answered yet"))),
    ]))
    simulated = sorted({people[c.labeler_id].kind for c in answers} - {"human"})
    if simulated:
        st.caption(f"Includes answers that are not from people: {', '.join(simulated)}.")
    st.markdown("#### By labeler")
    _by_labeler(answers, people)
    st.markdown("#### Agreement by strength")
    _by_strength(answers)


def _by_labeler(answers: Sequence[Comparison], people: dict[int, Labeler]) -> None:
    rows = []
    for person in people.values():
        theirs = [c for c in answers if c.labeler_id == person.id]
        if theirs:
            seconds = [c.answer.seconds for c in theirs if c.answer.seconds > 0]
            ties = sum(c.answer.is_tie for c in theirs)
            value, more = share(first_shown_wins(theirs))
            rows.append((name_of(person), f"{len(theirs):,}", f"{100 * ties / len(theirs):.0f} %",
                         duration(median(seconds)) if seconds else NOTHING, f"{value} ({more})",
                         f"{sum(bool(c.answer.flags) for c in theirs):,}"))
    if rows:
        st.html(table_html(("Labeler", "Labels", "Ties", "Median time", "Shown first wins",
                            "With flags"), rows, numbers=(1, 2, 3, 5)))
    else:
        st.write("No answers yet.")


def _by_strength(answers: Sequence[Comparison]) -> None:
    rows = [(STRENGTHS[strength].capitalize(), *share(estimate))
            for strength, estimate in agreement_by_strength(answers).items()]
    if rows:
        st.html(table_html(("When one says", "another agrees", "over"), rows))
    else:
        st.write("No pair has two answers yet, so there is no agreement to measure.")
    published = "; ".join(f"{where}: {figure}" for where, figure in REFERENCE_FIGURES)
    st.caption(f"Published agreement, to compare with: {published}.")
