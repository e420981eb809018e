"""Every write that a page can cause, each checked here against who is signed in.

An action takes the session's token, never a labeler's id: the labeler is read from the store each
time, so a page that was rendered before a sign-out, a disabling or a change of role cannot act.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate.permissions import Permission, permits
from data.errors import BadInput, NotAllowed
from data.records import Answer, Assignment, Comparison, Job, Labeler, Task
from data.store import Store


def require(store: Store, token: str | None, permission: Permission) -> Labeler:
    """Who is signed in, if they may do this.

    Raises:
        NotAllowed: nobody is signed in any more, or their role does not permit it.
    """
    labeler = store.people.of_session(token) if token else None
    if labeler is None:
        raise NotAllowed("your session has ended: ask for a new sign-in link")
    if not permits(labeler, permission):
        raise NotAllowed(f"a {labeler.role} may not do this")
    return labeler


def next_task(store: Store, token: str | None) -> Assignment | None:
    """Lease the next task to the person; None when nothing is left for them."""
    me = require(store, token, "answer")
    return store.assignments.next_for(me.id)


def submit(store: Store, token: str | None, task_id: int, answer: Answer, submission_key: str,
           replaces: int | None = None) -> Comparison:
    """Store an answer, or (with `replaces`) a revision of one; see `Comparisons.submit`."""
    me = require(store, token, "answer")
    task = _shown_to(store, me, task_id)
    return store.comparisons.submit(me.id, task, answer, submission_key, replaces)


def skip(store: Store, token: str | None, task_id: int, reason: str) -> None:
    """Give a task back, with a reason."""
    me = require(store, token, "answer")
    _shown_to(store, me, task_id)
    store.assignments.skip(task_id, me.id, reason)


def undo(store: Store, token: str | None, submission_key: str) -> Assignment:
    """Take back what the person answered or skipped last; returns the task, theirs again.

    Raises:
        BadInput: there is nothing to take back.
    """
    me = require(store, token, "answer")
    last = store.assignments.last_done(me.id)
    if last is None:
        raise BadInput("there is nothing to undo")
    task_id, was_skipped = last
    if was_skipped:
        store.assignments.unskip(task_id, me.id)
    else:
        store.comparisons.undo_last(me.id, store.tasks.get(task_id), submission_key)
    assignment = store.assignments.get(task_id, me.id)
    assert assignment is not None  # only what was assigned can have been done
    return assignment


def add_labeler(store: Store, token: str | None, name: str, role: str) -> tuple[Labeler, str]:
    """Add a person; returns them with the one-time code, which cannot be read again."""
    require(store, token, "people")
    labeler = store.people.add(name, role)
    return labeler, store.people.create_code(labeler.id)


def new_link(store: Store, token: str | None, labeler_id: int) -> str:
    """A new one-time code for a person; their older unused one stops working."""
    require(store, token, "people")
    return store.people.create_code(labeler_id)


def set_disabled(store: Store, token: str | None, labeler_id: int, disabled: bool) -> None:
    """Disable (and sign out) or enable a person.

    Raises:
        BadInput: a lead would lock themselves out.
    """
    me = require(store, token, "people")
    if disabled and labeler_id == me.id:
        raise BadInput("you cannot disable yourself: ask another lead")
    store.people.set_disabled(labeler_id, disabled)


def start_job(store: Store, token: str | None, kind: str,
              config: Mapping[str, Any] | None = None) -> Job:
    """Queue a job for the worker.

    Raises:
        BadInput: the kind or a field of its config is unknown.
    """
    me = require(store, token, "rounds")
    known = {entry["kind"]: entry for entry in store.setting("job_kinds", [])}
    if kind not in known:
        raise BadInput(f"job: {kind!r} is none of {', '.join(known) or 'the known kinds'}")
    strangers = set(config or {}) - {field["name"] for field in known[kind]["fields"]}
    if strangers:
        raise BadInput(f"job: {kind} has no field {sorted(strangers)[0]!r}")
    return store.jobs.add(kind, config, me.id)


def stop_job(store: Store, token: str | None, job_id: int) -> None:
    """Ask a job to stop."""
    require(store, token, "rounds")
    store.jobs.get(job_id)
    store.jobs.request_stop(job_id)


def sign_out(store: Store, token: str | None) -> None:
    """End the session; anybody may end their own."""
    if token:
        store.people.end_session(token)


def _shown_to(store: Store, me: Labeler, task_id: int) -> Task:
    """A task that was assigned to this person, which is all they may touch."""
    assignment = store.assignments.get(task_id, me.id)
    if assignment is None:
        raise NotAllowed("this task was not given to you")
    return assignment.task
