"""The engineers' page of jobs: start a stage, watch it, stop it, read what came out."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from annotate import actions, notices
from annotate.engineers import charts, job_form
from annotate.engineers.frontier_chart import frontier
from annotate.engineers.refusals import flagged, in_titles
from annotate.figures import as_label, duration, moment, text_html
from annotate.launch import workspace_of_environment
from annotate.picking import pick, pick_from_address
from annotate.rendering import to_html
from annotate.session import guarded, store, token
from data.errors import PrefloopError, workspace_flag
from data.heartbeat import heard
from data.records import Job, Labeler

REFRESH_SECONDS = 2
#: Seconds of a worker's silence before people are told. Longer than commands wait, since they ask
#: for the lock too; a worker that waits for a locked database or for a job to end says nothing
#: meanwhile.
_WORKER_SILENCE = 60.0
#: Under which the session keeps what became of the last press on a job, where that was nothing: the
#: jobs are drawn again by themselves, and no notice of theirs would last.
_REFUSED = "job-refused"
_COLOURS = {"queued": "gray", "running": "blue", "done": "green", "failed": "red",
            "stopped": "orange"}


@guarded("rounds")
def page(labeler: Labeler) -> None:
    """The stages as tabs, then the jobs."""
    st.subheader("Jobs")
    error, told = (st.session_state.pop(f"jobs-{kind}", None) for kind in ("error", "notice"))
    notices.lay(error or told)
    kinds = store().setting("job_kinds", [])
    st.fragment(_worker_state, run_every=10)()
    if kinds:
        titles = {entry["title"]: entry for entry in kinds}
        chosen = st.segmented_control("Stage", list(titles), key="jobs-stage",
                                      label_visibility="collapsed")
        if chosen:
            with st.container(border=True):
                job_form.show(titles[chosen])
    st.fragment(_jobs, run_every=REFRESH_SECONDS)()


@guarded("rounds")
def _worker_state(labeler: Labeler) -> None:
    if not heard(store().setting("worker"), _WORKER_SILENCE):
        workspace = workspace_flag(workspace_of_environment())
        st.warning("No worker is running, so queued jobs wait. Start one with "
                   f"`prefloop worker {workspace}`, or run `prefloop up`, which starts "
                   "one.")


@guarded("rounds")
def _jobs(labeler: Labeler) -> None:
    jobs, titles = store().jobs.listed(), _titles()
    if not jobs:
        st.write("No job has been started yet.")
        return
    names = {job.id: f"{job.id} · {titles.get(job.kind, job.kind)} · {job.status}" for job in jobs}
    pick_from_address("job", names, job_form.CHOSEN)
    chosen = pick("Job", names, job_form.CHOSEN, default=next(
        (job.id for job in jobs if job.status == "running"), jobs[0].id))
    if chosen is not None:
        _job(store().jobs.get(chosen), titles,
             next((job.id for job in jobs if job.status == "running"), None))


def _titles() -> dict[str, str]:
    """What the worker calls each kind of job, also those that are started elsewhere."""
    return {**{entry["kind"]: entry["title"] for entry in store().setting("job_kinds", [])},
            **store().setting("job_titles", {})}


def _job(job: Job, titles: Mapping[str, str], running: int | None) -> None:
    """All of one job; `running` is the one that others wait for."""
    with st.container(border=True):
        head, stop = st.columns([6, 1], vertical_alignment="center")
        head.markdown(f"**{titles.get(job.kind, job.kind)}** "
                      f":{_COLOURS[job.status]}-badge[{job.status}]")
        if job.status in ("queued", "running"):
            stop.button("Stopping" if job.stop_requested else "Stop", key=f"stop-{job.id}",
                        disabled=job.stop_requested, on_click=_stop, args=(job.id,),
                        width="stretch")
            left = "" if job.seconds_left is None else f" · {duration(job.seconds_left)} left"
            st.progress(min(max(job.progress, 0.0), 1.0))
            waits = "" if job.status == "running" or running is None else \
                f" · waits until job {running} has ended"
            st.text(f"{job.progress:.0%}{left}{' · ' if job.message else ''}{job.message}{waits}")
        elif job.status != "done":
            if not _config_refused(job):
                stop.button("Go on", key=f"resume-{job.id}", on_click=_resume, args=(job.id,),
                            help="From its last checkpoint, with the configuration it was started "
                                 "with.", width="stretch")
            st.text(f"{job.status.capitalize()} at {job.progress:.0%}")
        of, refused = st.session_state.get(_REFUSED, (0, ""))
        if of == job.id:
            st.error(as_label(refused))
        if job.error:
            st.html(f'<div class="pf-status pf-bad">{html.escape(_in_titles(job))}</div>')
        if job.result:
            charts.result(job.kind, job.result)
            if job.kind in ("train-reward", "eval-reward"):
                st.caption("The Reward model page has the whole report.")
        metrics = store().jobs.metrics(job.id)
        if metrics:
            if metrics[-1].get("alarm"):
                st.warning(f"This run looks over-optimised: {metrics[-1]['alarm']}.")
            charts.curves(job.id, job.kind, metrics)
            if job.kind == "ppo":
                frontier(job.id, metrics, job.result)
            _samples(metrics)
            _probes(metrics)
        _particulars(job)


def _config_refused(job: Job) -> bool:
    """Whether a job never began, for what it itself asks: it could only be refused again."""
    return job.status == "failed" and job.resolved is None and flagged(job.error) in job.config


def _in_titles(job: Job) -> str:
    """A job's error in the words of its form."""
    return in_titles(job.error or "", {
        field["name"] for entry in store().setting("job_kinds", [])
        if entry["kind"] == job.kind for field in entry["fields"]})


def _samples(metrics: Sequence[Mapping[str, Any]]) -> None:
    """What the policy writes by now: the one thing that curves cannot show."""
    latest = next((entry for entry in reversed(metrics) if entry.get("samples")), None)
    if latest is None:
        return
    st.markdown(f"**Samples at step {latest['step']}**")
    for sample in latest["samples"][:4]:
        prompt, text = (sample.get("prompt", ""), sample.get("text", "")) \
            if isinstance(sample, Mapping) else ("", str(sample))
        head = f'<div class="pf-role">{html.escape(str(prompt))}</div>' if prompt else ""
        st.html(f'<div class="pf-conversation">{head}<div class="pf-text" dir="auto">'
                f"{to_html(str(text))}</div></div>")


def _probes(metrics: Sequence[Mapping[str, Any]]) -> None:
    """The policy's answers beside the reference's, to the same prompts at every look."""
    latest = next((entry for entry in reversed(metrics) if entry.get("probes")), None)
    if latest is None:
        return
    st.markdown(f"**The same prompts, step {latest['step']} beside the reference**")
    for probe in latest["probes"]:
        st.html(f'<div class="pf-role">{html.escape(str(probe["prompt"]))}</div>')
        for column, who, key in zip(st.columns(2), ("Policy", "Reference"), ("text", "reference"),
                                    strict=True):
            column.html(f'<div class="pf-conversation"><div class="pf-role">{who}</div>'
                        f'<div class="pf-text" dir="auto">{to_html(str(probe[key]))}</div></div>')


def _particulars(job: Job) -> None:
    asked = "" if job.requested_by is None else \
        f" by {store().people.get(job.requested_by).name}"
    again = f" · attempt {job.attempts}" if job.attempts > 1 else ""
    st.html('<p class="pf-about">' + text_html(
        f"Asked for {moment(job.created_at)}{asked} · started {moment(job.started_at)} · "
        f"ended {moment(job.finished_at)}{again}") + "</p>")
    with st.expander("Configuration", key=f"config-{job.id}", on_change="rerun") as fold:
        if fold.open:
            # Without colours, which are too pale to be read by everybody.
            st.code(json.dumps(job.resolved or job.config, indent=2, ensure_ascii=False),
                    language=None, wrap_lines=True)


def _stop(job_id: int) -> None:
    try:
        actions.stop_job(store(), token(), job_id)
        st.session_state.pop(_REFUSED, None)
    except PrefloopError as error:
        st.session_state[_REFUSED] = job_id, f"NOT stopped: {error}"


def _resume(job_id: int) -> None:
    try:
        actions.resume_job(store(), token(), job_id)
        st.session_state.pop(_REFUSED, None)
    except PrefloopError as error:
        st.session_state[_REFUSED] = job_id, f"NOT queued again: {error}"
