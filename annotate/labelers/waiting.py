"""Why there is nothing to label, in plain words."""

from __future__ import annotations

from typing import Any

from data.records import Job, Labeler
from data.store import Store


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
        return _samples_on_their_way(job, "next" if began else "first")
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


def _samples_on_their_way(job: Job, which: str) -> tuple[str, str, float | None]:
    if job.status == "queued":
        return ("Responses are about to be written",
                "The job is queued. This page goes on by itself.", 0.0)
    left = "" if not job.seconds_left else f" About {_duration(job.seconds_left)} left in all."
    return ("Responses are being written",
            f"{job.progress:.0%} done.{left} The {which} pair appears here by itself as soon as "
            "it exists.", job.progress)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
