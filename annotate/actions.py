"""Every write that a page can cause, each checked here against who is signed in.

An action takes the session's token, never a labeler's id: the labeler is read from the store each
time, so a page that was rendered before a sign-out, a disabling or a change of role cannot act.
What is more than answering leaves an entry in the audit log, in the same transaction; an answer
is its own record. What only leads write stands in `annotate.leads.lead_actions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from annotate.permissions import Permission, permits, roles_with
from data.errors import BadInput, Conflict, NotAllowed
from data.limits import is_finite, too_low
from data.people import sign_in_address
from data.records import Answer, Assignment, Comparison, Job, Labeler, Task
from data.sessions import SessionRules
from data.store import Store


def require(store: Store, token: str | None, permission: Permission) -> Labeler:
    """Who is signed in, if they may do this.

    Raises:
        NotAllowed: nobody is signed in any more, or their role does not permit it.
    """
    labeler = store.people.of_session(token) if token else None
    if labeler is None:
        raise NotAllowed("your session has ended: sign in again, by single sign-on or a new link")
    if not permits(labeler, permission):
        allowed = " or ".join(_one(role) for role in roles_with(permission))
        raise NotAllowed(f"{_one(labeler.role)} may not do this: it is for {allowed}")
    return labeler


def next_task(store: Store, token: str | None, skip_task: int | None = None) -> Assignment | None:
    """Lease the next task to the person (or the one after `skip_task`); None: nothing is left."""
    me = require(store, token, "answer")
    return store.assignments.next_for(me.id, skip_task)


def submit(store: Store, token: str | None, task_id: int, answer: Answer, submission_key: str,
           replaces: int | None = None) -> Comparison:
    """Store an answer, or (with `replaces`) a revision of one; see `Comparisons.submit`."""
    me = require(store, token, "answer")
    task = _shown_to(store, me, task_id)
    return store.comparisons.submit(me.id, task, answer, submission_key, replaces)


def skip(store: Store, token: str | None, task_id: int, reason: str, submission_key: str) -> None:
    """Give a task back, with a reason; done twice with the same key, it does nothing again."""
    me = require(store, token, "answer")
    _shown_to(store, me, task_id)
    store.assignments.skip(task_id, me.id, reason, submission_key)


def take_back(store: Store, token: str | None, task_id: int, submission_key: str,
              skipped: bool = False) -> None:
    """Take back the person's answer to a task (or that they skipped it); the task is theirs again.

    Done twice with the same key, it does nothing the second time.

    Raises:
        BadInput: there is nothing to take back, or the task's round has ended: nobody is asked it
            any more, so that an answer taken back would be lost.
    """
    me = require(store, token, "answer")
    task = _shown_to(store, me, task_id)
    with store.database.write():  # no round ends between the look and the act
        if skipped:
            if store.tasks.has_ended(task_id, me.id):
                raise BadInput("the round has ended: this question is asked no more")
            store.assignments.unskip(task_id, me.id, submission_key)
            return
        history = store.comparisons.history(task_id, me.id)
        if not history:
            raise BadInput("there is nothing to take back")
        if submission_key not in {comparison.submission_key for comparison in history}:
            if history[-1].answer.verdict == "withdrawn":
                raise BadInput("this answer was taken back already")
            if store.tasks.has_ended(task_id, me.id):
                raise BadInput("the round has ended; you can still change the answer in My answers")
            store.comparisons.undo_last(me.id, task, submission_key)


def add_labeler(store: Store, token: str | None, name: str, role: str) -> tuple[Labeler, str]:
    """Add a person; returns them with the one-time code, which cannot be read again."""
    me = require(store, token, "people")
    with store.database.write():
        labeler = store.people.add(name, role)
        store.audit.record(me.id, "add person", labeler.name, role=role)
        return labeler, store.people.create_code(labeler.id)


def new_link(store: Store, token: str | None, labeler_id: int) -> str:
    """A new one-time code for a person; their older unused one stops working."""
    me = require(store, token, "people")
    with store.database.write():
        code = store.people.create_code(labeler_id)
        store.audit.record(me.id, "make sign-in link", store.people.get(labeler_id).name)
        return code


def set_email(store: Store, token: str | None, labeler_id: int, email: str) -> None:
    """Let a person sign in through the organisation's page with this address; empty: no more.

    Nothing is written where it signs them in already: also one that is their name.
    """
    me = require(store, token, "people")
    with store.database.write():
        if email.strip().lower() == sign_in_address(store.people.get(labeler_id)):
            return
        store.people.set_email(labeler_id, email)
        store.audit.record(me.id, "change e-mail", store.people.get(labeler_id).name,
                           email=email.strip())


def set_disabled(store: Store, token: str | None, labeler_id: int, disabled: bool) -> None:
    """Disable (and sign out) or enable a person.

    Raises:
        BadInput: a lead would lock themselves out.
    """
    me = require(store, token, "people")
    if disabled and labeler_id == me.id:
        raise BadInput("you cannot disable yourself: ask another lead")
    with store.database.write():
        if store.people.set_disabled(labeler_id, disabled):
            store.audit.record(me.id, "disable person" if disabled else "enable person",
                               store.people.get(labeler_id).name)


def require_unchanged(store: Store, action: str, began: object, in_force: object) -> None:
    """Refuse to save settings over what somebody else has saved since a form was filled with them.

    `began` is what the form was filled with, `action` what the audit log calls a change of it. To
    be asked within the `write` that saves.

    Raises:
        Conflict: something else is in force by now; it says who changed it.
    """
    if began != in_force:
        by = [f" by {store.people.get(entry.labeler_id).name}"
              for entry in store.audit.entries(action=action, limit=1) if entry.labeler_id]
        raise Conflict(f"changed meanwhile{''.join(by)}: look again")


def set_sign_in(store: Store, token: str | None, rules: SessionRules, domains: Sequence[str],
                began: tuple[SessionRules, Sequence[str]]) -> None:
    """How long people stay signed in, and whose e-mail addresses may join by themselves.

    Raises:
        Conflict: what was in force when one `began` is so no more.
    """
    me = require(store, token, "settings")
    with store.database.write():
        before = (store.people.sessions.rules(), store.people.domains())
        store.people.sessions.set_rules(rules)
        store.people.set_domains(domains)
        if before != (rules, store.people.domains()):
            require_unchanged(store, "change sign-in", began, before)
            store.audit.record(me.id, "change sign-in", **asdict(rules),
                               domains=list(store.people.domains()))


def start_job(store: Store, token: str | None, kind: str,
              config: Mapping[str, Any] | None = None) -> Job:
    """Queue a job for the worker.

    Raises:
        BadInput: the kind or a field of its config is unknown, a number is infinite, NaN or below
            what the field takes, or a round is to be sampled while another is.
    """
    me = require(store, token, "rounds")
    known = {entry["kind"]: entry for entry in store.setting("job_kinds", [])}
    if not known:
        raise BadInput("job: no worker has run over this workspace yet, so nothing would do it: "
                       "start one with `prefloop up` or `prefloop worker`")
    if kind not in known:
        raise BadInput(f"job: {kind!r} is none of {', '.join(known) or 'the known kinds'}")
    fields = {field["name"]: field for field in known[kind]["fields"]}
    strangers = set(config or {}) - fields.keys()
    if strangers:
        raise BadInput(f"job: {kind} has no field {sorted(strangers)[0]!r}")
    for name, value in (config or {}).items():
        if isinstance(value, float) and not is_finite(value):
            raise BadInput(f"job: {name}: wanted a finite number, not {value}")
        if isinstance(value, int | float) and (wrong := too_low(
                value, fields[name].get("least"), fields[name].get("above"))):
            raise BadInput(f"job: {name}: {wrong}")
    with store.database.write():
        job = store.jobs.add(kind, config, me.id)
        store.audit.record(me.id, "start job", f"job {job.id}", kind=kind)
        return job


def stop_job(store: Store, token: str | None, job_id: int) -> None:
    """Ask a job to stop."""
    me = require(store, token, "rounds")
    with store.database.write():
        job = store.jobs.get(job_id)
        store.jobs.request_stop(job_id)
        store.audit.record(me.id, "stop job", f"job {job_id}", kind=job.kind)


def resume_job(store: Store, token: str | None, job_id: int) -> None:
    """Queue a stopped or failed job again, to go on from its last checkpoint; see `Jobs.resume`."""
    me = require(store, token, "rounds")
    with store.database.write():
        job = store.jobs.resume(job_id)
        store.audit.record(me.id, "resume job", f"job {job_id}", kind=job.kind)


def sign_out(store: Store, token: str | None) -> None:
    """End the session; anybody may end their own."""
    me = store.people.of_session(token) if token else None
    if token and me is not None:
        with store.database.write():
            store.people.end_session(token)
            store.audit.record(me.id, "sign out")


def sign_out_everywhere(store: Store, token: str | None) -> int:
    """End all sessions of one's own, this one too; returns how many there were."""
    me = require(store, token, "answer")
    with store.database.write():
        ended = store.people.sessions.end_all(me.id)
        store.audit.record(me.id, "sign out everywhere", sessions=ended)
        return ended


def _shown_to(store: Store, me: Labeler, task_id: int) -> Task:
    """A task that was assigned to this person, which is all they may touch."""
    assignment = store.assignments.get(task_id, me.id)
    if assignment is None:
        raise NotAllowed("this task was not given to you")
    return assignment.task


def _one(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
