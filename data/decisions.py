"""A lead's last word on tasks that labelers disagree on, recorded with whose answers it overrides.

A decision is a comparison of the lead's own, so it has revisions and a display order like any
other; `current_preferences` lets it stand for its task alone, until it is taken back.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from data.assignments import Assignments
from data.comparisons import Comparisons, pairs_of
from data.database import Database, now
from data.errors import Conflict
from data.records import Answer, Comparison, Decision
from data.tasks import Tasks


def _decision(row: sqlite3.Row) -> Decision:
    return Decision(row["comparison_id"], row["task_id"], row["labeler_id"],
                    tuple(json.loads(row["overrides"])), row["note"], row["created_at"])


def outcomes(answer: Answer) -> set[tuple[int, int, bool]]:
    """What an answer says of each pair, whatever order the responses are named in."""
    return {(min(a, b), max(a, b), False) if strength == 0 else (a, b, True)
            for a, b, strength in pairs_of(answer)}


class Decisions:
    """The leads' decisions."""

    def __init__(self, database: Database, tasks: Tasks, assignments: Assignments,
                 comparisons: Comparisons) -> None:
        self._database = database
        self._tasks = tasks
        self._assignments = assignments
        self._comparisons = comparisons

    def decide(self, labeler_id: int, task_id: int, answer: Answer, submission_key: str,
               note: str = "") -> Decision:
        """Record a decision on a task; whoever's current answer says otherwise is overridden.

        An answer of one's own becomes the decision, with its flags, scores and rewrite. The same
        decision once more (a double click) is none, and returns the one that stands.

        Raises:
            BadInput: the answer does not fit the task.
            NotFound: there is no such task.
        """
        task = self._tasks.get(task_id)
        with self._database.write():
            self._assignments.assign(task_id, labeler_id)
            history = self._comparisons.history(task_id, labeler_id)
            last = history[-1] if history else None
            if last is not None and last.answer.verdict != "withdrawn":
                # A decision says nothing of single responses: what its lead has said of them stays.
                answer = replace(answer, flags=last.answer.flags, scores=last.answer.scores,
                                 rewrite=self._comparisons.rewrite_of(last.id))
            overrides = tuple(
                c.id for c in self._comparisons.of_task(task_id, set_aside=True)
                if c.labeler_id != labeler_id and outcomes(c.answer) != outcomes(answer))
            stands = self.of_task(task_id)
            if stands is not None and last is not None and stands.comparison_id == last.id \
                    and self._comparisons.says(last, answer) \
                    and (stands.overrides, stands.note) == (overrides, note.strip()):
                return stands
            stored = self._comparisons.submit(
                labeler_id, task, answer, submission_key,
                None if last is None else last.revision, decision=True)
            known = self.get(stored.id)
            if known is not None:
                return known
            self._database.insert("decisions", {
                "comparison_id": stored.id, "task_id": task_id,
                "overrides": overrides,
                "note": note.strip(), "created_at": now()})
        found = self.get(stored.id)
        assert found is not None  # it was written just above
        return found

    def take_back(self, labeler_id: int, task_id: int, began: int,
                  submission_key: str) -> Comparison | None:
        """Let a task be undecided by this lead, by a revision; None where they have no decision on
        it that stands.

        What stood before stands again: the labelers' answers, or another lead's decision; and as
        it was, an answer that this lead had given blind. Without one the task is left to others.
        `began` is the decision that one looked at, by its comparison.

        Raises:
            Conflict: they have decided anew since.
        """
        task = self._tasks.get(task_id)
        with self._database.write() as db:
            history = self._comparisons.history(task_id, labeler_id)
            if not history or self.get(history[-1].id) is None:
                return None
            last = history[-1]
            if last.id != began:
                raise Conflict("you have decided anew meanwhile (in another tab?): look again")
            blind = next((c for c in reversed(history) if self.get(c.id) is None), None)
            if blind is not None and blind.answer.verdict != "withdrawn":
                before = replace(blind.answer, rewrite=self._comparisons.rewrite_of(blind.id))
                return self._comparisons.submit(labeler_id, task, before, submission_key,
                                                last.revision, decision=True)
            withdrawn = Answer(last.answer.ranking, last.answer.strength, "withdrawn")
            stored = self._comparisons.submit(labeler_id, task, withdrawn, submission_key,
                                              last.revision, decision=True)
            db.conn.execute(
                "UPDATE assignments SET skipped_at = ?, skip_reason = 'decided' "
                "WHERE task_id = ? AND labeler_id = ?", [now(), task_id, labeler_id])
            return stored

    def get(self, comparison_id: int) -> Decision | None:
        """The decision that a comparison is, if it is one."""
        row = self._database.row(
            "SELECT d.*, c.labeler_id FROM decisions d JOIN comparisons c "
            "ON c.id = d.comparison_id WHERE d.comparison_id = ?", [comparison_id])
        return None if row is None else _decision(row)

    def of_task(self, task_id: int) -> Decision | None:
        """The decision that stands for a task: the newest of those that count."""
        row = self._database.row("SELECT * FROM counted_decisions WHERE task_id = ? "
                                 "ORDER BY comparison_id DESC LIMIT 1", [task_id])
        return None if row is None else _decision(row)
