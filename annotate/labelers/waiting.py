"""Why there is nothing to label, in plain words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from data.heartbeat import heard
from data.records import Job, Labeler
from data.store import Store

#: Seconds of a worker's silence before labelers are told; it says nothing while a job ends.
_SILENCE = 60.0


def why_nothing(store: Store, labeler: Labeler) -> dict[str, Any]:
    """`title`, `text` and `share` (0 to 1, where samples are being made; else None)."""
    title, text, share = _why(store, labeler)
    return {"title": title, "text": text, "share": share}


def sampling(store: Store) -> Job | None:
    """The job that writes responses now, or will when its turn comes."""
    return next(iter(store.jobs.unfinished("sample")), None)


def _why(store: Store, labeler: Labeler) -> tuple[str, str, float | None]:
    job = sampling(store)
    if job is not None:
        began = store.assignments.last_done(labeler.id) is not None
        return _samples_on_their_way(store, job, "next" if began else "first")
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
    # How many are in, the bar says, which runs ahead by one's hidden tasks: a count beside it would
    # tell how many these were.
    rest = f"The labels that round {current.number} still wants are"
    if store.assignments.open_for(labeler.id):
        return ("Others have the last pairs",
                f"{rest} with other labelers right now. If one comes free, it appears here.", None)
    return "You have answered all of yours", f"{rest} for other labelers. Thank you!", None


def _samples_on_their_way(store: Store, job: Job, which: str) -> tuple[str, str, float | None]:
    if job.status == "queued":
        return ("Responses are about to be written",
                f"{_queue(store)} This page goes on by itself.", 0.0)
    comes = f"The {which} pair appears here by itself as soon as it exists."
    done = f"{job.progress:.0%} done."
    if job.seconds_left:
        how_long = f"About {_duration(job.seconds_left)} left in all."
    else:  # no pace yet, which on a slow machine takes minutes
        how_long = f"Begun {_duration(_seconds_since(job.started_at))} ago; how long it takes is " \
            "known soon after the first are written."
    return "Responses are being written", f"{done} {how_long} {comes}", job.progress


def _queue(store: Store) -> str:
    """What a job that is queued waits for."""
    if not heard(store.setting("worker"), _SILENCE):
        return "The job is queued, and no worker is running to do it: tell your lead."
    running = next(iter(store.jobs.all("running")), None)
    if running is None:
        return "The job is queued."
    left = f", with about {_duration(running.seconds_left)} left" if running.seconds_left else ""
    return f"The job is queued behind another{left}."


def _seconds_since(iso: str | None) -> float:
    began = datetime.fromisoformat(iso) if iso else datetime.now(UTC)
    return max(0.0, (datetime.now(UTC) - began).total_seconds())


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
