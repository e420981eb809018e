"""Why there is nothing to label, and the wait for the first pair, which ends by itself."""

from __future__ import annotations

import html

import streamlit as st

from annotate.desk import Desk
from annotate.session import guarded
from data.records import Job, Labeler
from data.store import Store

REFRESH_SECONDS = 1.5


def show(desk: Desk) -> None:
    """Say why, look again by itself, and go on as soon as there is a question."""
    st.fragment(_wait, run_every=REFRESH_SECONDS)(desk)


@guarded("answer")
def _wait(labeler: Labeler, desk: Desk) -> None:
    desk.take()
    if desk.question is not None:
        st.rerun()
    title, text, progress = why_nothing(desk.store, labeler)
    bar = "" if progress is None else (
        f'<div class="pf-track" style="height: .5rem; margin: 1rem 0">'
        f'<div style="width: {100 * progress:.0f}%"></div></div>')
    st.html(f'<div class="pf-note"><h2>{html.escape(title)}</h2>{bar}<p>{html.escape(text)}</p>'
            "</div>")
    if desk.notice:
        with st.container(horizontal_alignment="center"):
            status(desk)
    if desk.store.assignments.last_done(labeler.id) is not None:
        st.container(horizontal_alignment="center").button(
            "Undo", shortcut="U", key="undo", on_click=desk.undo,
            args=(desk.submission_key,), help="Take back your last answer or skip")
    desk.rendered()


def why_nothing(store: Store, labeler: Labeler) -> tuple[str, str, float | None]:
    """A title, a sentence and (where samples are being made) how far they are."""
    sampling = _sampling(store)
    if sampling is not None:
        return _samples_on_their_way(sampling)
    current = store.rounds.current()
    if current is None:
        return ("Nothing to label yet",
                "No round is open. This page goes on by itself when one is.", None)
    given, wanted = store.tasks.progress(current.id)
    if wanted == 0:
        return (f"Round {current.number} has no pairs yet",
                "They have not been sampled. This page goes on by itself when they are.", None)
    if given >= wanted:
        return (f"Round {current.number} is complete",
                f"All {wanted:,} labels are in. Thank you! This page goes on by itself "
                "when the next round opens.", None)
    if store.assignments.open_for(labeler.id):
        return ("Others have the last pairs",
                f"{given:,} of {wanted:,} labels of round {current.number} are in, and the rest "
                "are with other labelers right now. If one comes free, it appears here.", None)
    return ("You have answered all of yours",
            f"{given:,} of {wanted:,} labels of round {current.number} are in; the rest are for "
            "other labelers. Thank you!", None)


def _sampling(store: Store) -> Job | None:
    waiting = [job for status in ("running", "queued") for job in store.jobs.all(status)
               if job.kind == "sample"]
    return waiting[0] if waiting else None


def _samples_on_their_way(job: Job) -> tuple[str, str, float | None]:
    if job.status == "queued":
        return ("Responses are about to be written",
                "The job is queued. This page goes on by itself.", 0.0)
    left = "" if not job.seconds_left else f" About {_duration(job.seconds_left)} left in all."
    return ("Responses are being written",
            f"{job.progress:.0%} done.{left} The first pair appears here by itself as soon as "
            "it exists.", job.progress)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def status(desk: Desk) -> None:
    """What became of the last press, always in the same place."""
    bad = " pf-bad" if desk.failed else ""
    st.html(f'<div class="pf-status{bad}" role="status">{html.escape(desk.notice) or "&nbsp;"}'
            "</div>")
