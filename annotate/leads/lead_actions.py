"""What leads write: the question, the guidelines, known answers, decisions, people's roles, whose
answers count.

As in `annotate.actions`, each takes the session's token and checks who that is, and leaves an
entry in the audit log that stands or falls with the change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

from annotate.actions import require, require_unchanged
from data.assignments import AssignmentRules
from data.errors import BadInput, Conflict, PrefloopError
from data.people import alike
from data.questions import Question
from data.records import Answer, Decision, Labeler
from data.store import Store

#: More people than this at once is a file pasted into the wrong box.
MOST_PEOPLE = 200


def change_question(store: Store, token: str | None, question: Question, began: Question) -> int:
    """Put a question in force; returns its version (the same one, if nothing changed).

    Raises:
        Conflict: what was in force when one `began` is so no more.
    """
    me = require(store, token, "settings")
    with store.database.write():
        before, in_force = store.questions.current()
        if question != in_force:
            require_unchanged(store, "change question", began, in_force)
        version = store.questions.change(question, me.id)
        if version != before:
            store.audit.record(me.id, "change question", f"version {version}", **asdict(question))
        return version


def write_guidelines(store: Store, token: str | None, text: str, began: int) -> int:
    """Put guidelines in force; returns their version; see `Questions.write_guidelines`.

    Raises:
        Conflict: the version that was in force when one `began` (0: none) is so no more.
    """
    me = require(store, token, "settings")
    with store.database.write():
        before = store.questions.guidelines()
        if before is None or text != before.text:
            require_unchanged(store, "write guidelines", began, before.version if before else 0)
        version = store.questions.write_guidelines(text, me.id)
        if before is None or version != before.version:
            store.audit.record(me.id, "write guidelines", f"version {version}",
                               characters=len(text))
        return version


def set_rules(store: Store, token: str | None, rules: AssignmentRules,
              began: AssignmentRules) -> None:
    """Put assignment rules in force.

    Raises:
        Conflict: those that were in force when one `began` are so no more.
    """
    me = require(store, token, "settings")
    with store.database.write():
        in_force = store.assignments.rules()
        if rules != in_force:
            require_unchanged(store, "change assignment", began, in_force)
            store.assignments.set_rules(rules)
            store.audit.record(me.id, "change assignment", **asdict(rules))


def add_known_answer(store: Store, token: str | None, task_id: int, answer: Answer,
                     practice: bool, explanation: str) -> int:
    """Ask a task's prompt and responses again with a known answer; returns the new task's id.

    Raises:
        BadInput: the answer does not fit; practice without an explanation teaches nothing; the
            same responses have a known answer already.
        NotFound: there is no such task.
    """
    me = require(store, token, "settings")
    if practice and not explanation.strip():
        raise BadInput("explanation: practice shows it after the answer, so it may not be empty")
    with store.database.write():
        task = store.tasks.get(task_id)
        for known in store.known.all():
            if set(store.tasks.get(known.task_id).response_ids) == set(task.response_ids):
                raise BadInput("these responses have a known answer already: retire that one "
                               "first")
        new = store.known.add(task.prompt_id, task.response_ids, answer, practice=practice,
                              explanation=explanation, by=me.id)
        store.audit.record(me.id, "add known answer", f"task {new}", from_task=task_id,
                           practice=practice)
        return new


def retire_known_answer(store: Store, token: str | None, task_id: int) -> None:
    """Hand a task with a known answer out no more; NotFound where it has none."""
    me = require(store, token, "settings")
    with store.database.write():
        store.known.retire(task_id)
        store.audit.record(me.id, "retire known answer", f"task {task_id}")


def decide(store: Store, token: str | None, task_id: int, answer: Answer, submission_key: str,
           note: str = "", began: int | None = None) -> Decision:
    """Record a lead's last word on a task that labelers disagree on; see `Decisions.decide`.

    `began` is the decision that stood when one looked, by its comparison; None: there was none.

    Raises:
        Conflict: another lead's stands by now, which one has not seen.
    """
    me = require(store, token, "settings")
    guidelines = store.questions.guidelines()
    answer = replace(answer, question_version=store.questions.current()[0],
                     guidelines_version=None if guidelines is None else guidelines.version)
    with store.database.write():
        before = store.decisions.of_task(task_id)
        if before is not None and before.labeler_id != me.id and before.comparison_id != began:
            who = store.people.get(before.labeler_id).name
            raise Conflict(f"{who} has decided it meanwhile: look again")
        decision = store.decisions.decide(me.id, task_id, answer, submission_key, note)
        if decision != before:
            store.audit.record(me.id, "decide", f"task {task_id}",
                               comparison=decision.comparison_id,
                               overrides=list(decision.overrides))
        return decision


def take_back_decision(store: Store, token: str | None, task_id: int, began: int) -> None:
    """Take one's own decision on a task back; see `Decisions.take_back`."""
    me = require(store, token, "settings")
    with store.database.write():
        if store.decisions.take_back(me.id, task_id, began, uuid4().hex) is not None:
            store.audit.record(me.id, "take back decision", f"task {task_id}", comparison=began)


def add_labelers(store: Store, token: str | None, names: Sequence[str],
                 role: str) -> list[tuple[Labeler, str]]:
    """Add several people, all or none; returns each with their one-time code.

    `names` are the lines of a list, of which empty ones are passed over.

    Raises:
        BadInput: no name, too many, or one that cannot be taken or stands there twice; it names
            the lines.
    """
    me = require(store, token, "people")
    lines = {number: name for number, name in enumerate(names, 1) if name.strip()}
    if not lines:
        raise BadInput("names: give at least one, each on a line of its own")
    if len(lines) > MOST_PEOPLE:
        raise BadInput(f"names: at most {MOST_PEOPLE} at once, not {len(lines)}")
    first: dict[str, int] = {}
    for number, name in lines.items():
        before = first.setdefault(alike(name), number)
        if before != number:
            raise BadInput(f"{' '.join(name.split())!r} stands in the list twice (lines {before} "
                           f"and {number}); nobody was added")
    added = []
    with store.database.write():
        for number, name in lines.items():
            try:
                person = store.people.add(name, role)
            except BadInput as error:
                raise BadInput(f"line {number}: {error}; nobody was added") from None
            store.audit.record(me.id, "add person", person.name, role=role)
            added.append((person, store.people.create_code(person.id)))
    return added


def change_role(store: Store, token: str | None, labeler_id: int, role: str) -> None:
    """Give a person another role.

    Raises:
        BadInput: an unknown role, one's own (a workspace must not lose its last lead by a slip),
            or of somebody who is no person.
    """
    me = require(store, token, "people")
    if labeler_id == me.id:
        raise BadInput("role: you cannot change your own: ask another lead")
    with store.database.write():
        person = store.people.get(labeler_id)
        if person.role == role:
            return
        store.people.set_role(labeler_id, role)
        store.audit.record(me.id, "change role", person.name, before=person.role, after=role)


def set_aside(store: Store, token: str | None, labeler_id: int, aside: bool) -> None:
    """Let all answers of a labeler count no longer, or again; see `People.set_aside`.

    Raises:
        BadInput: they are one's own.
    """
    me = require(store, token, "people")
    if labeler_id == me.id:
        raise BadInput("your own answers are for another lead to set aside, or to count again")
    with store.database.write():
        if store.people.set_aside(labeler_id, aside):
            store.audit.record(me.id, "set answers aside" if aside else "count answers again",
                               store.people.get(labeler_id).name)


def note_download(store: Store, token: str | None, subject: str, rows: int,
                  filters: Mapping[str, Any] | None = None) -> None:
    """Leave a trace of who took which answers with them."""
    me = require(store, token, "quality")
    try:
        store.audit.record(me.id, "download", subject, rows=rows,
                           **({"filtered_by": dict(filters)} if filters else {}))
    except PrefloopError:
        # A full disk must not keep people from taking their data out.
        return
