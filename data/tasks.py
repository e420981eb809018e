"""Tasks and who is to answer them next.

Each labeler gets a task at most once; tasks that fewer labelers have answered come first; the
order in which the responses are shown is drawn once per labeler and task and kept, so that a
reload shows the same sides. Who wrote a response is not part of anything handed out here.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Sequence
from datetime import timedelta

from data.database import Database, now
from data.errors import BadInput, NotFound
from data.records import PURPOSES, SKIP_REASONS, Assignment, Task

#: A task that was opened and left counts as taken for this long.
LEASE = timedelta(minutes=15)


def _task(row: sqlite3.Row, response_ids: Sequence[int]) -> Task:
    return Task(row["id"], row["round_id"], row["prompt_id"], row["purpose"], row["wanted"],
                row["priority"], tuple(response_ids), row["created_at"])


class Tasks:
    """The questions put to labelers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, prompt_id: int, response_ids: Sequence[int], *, round_id: int | None = None,
            purpose: str = "train", wanted: int = 1, priority: float = 0.0) -> int:
        """Add a task; returns its id.

        Raises:
            BadInput: fewer than two responses, the same twice, one of another prompt, an unknown
                purpose, or wanted < 1.
        """
        if len(response_ids) < 2 or len(set(response_ids)) != len(response_ids):
            raise BadInput(f"responses: a task needs 2 or more different ones, not {response_ids}")
        if purpose not in PURPOSES:
            raise BadInput(f"purpose: {purpose!r} is none of {', '.join(PURPOSES)}")
        if wanted < 1:
            raise BadInput(f"wanted: a task needs at least 1 label, not {wanted}")
        with self._database.write():
            marks = ",".join("?" * len(response_ids))
            of_prompt = self._database.value(
                f"SELECT count(*) FROM responses WHERE prompt_id = ? AND id IN ({marks})",
                [prompt_id, *response_ids])
            if of_prompt != len(response_ids):
                raise BadInput(f"responses: {list(response_ids)} are not all of prompt {prompt_id}")
            task_id = self._database.insert("tasks", {
                "round_id": round_id, "prompt_id": prompt_id, "purpose": purpose,
                "wanted": wanted, "priority": priority, "created_at": now()})
            for position, response_id in enumerate(response_ids):
                self._database.insert("task_responses", {
                    "task_id": task_id, "position": position, "response_id": response_id})
            return task_id

    def get(self, task_id: int) -> Task:
        """One task. Raises NotFound."""
        row = self._database.row("SELECT * FROM tasks WHERE id = ?", [task_id])
        if row is None:
            raise NotFound(f"there is no task {task_id}")
        return _task(row, self._responses_of(task_id))

    def of_round(self, round_id: int, purpose: str | None = None) -> list[Task]:
        """A round's tasks (of one purpose), oldest first."""
        rows = self._database.rows(
            "SELECT * FROM tasks WHERE round_id = :round "
            "AND (:purpose IS NULL OR purpose = :purpose) ORDER BY id",
            {"round": round_id, "purpose": purpose})
        members: dict[int, list[int]] = {}
        for row in self._database.rows(
                "SELECT tr.* FROM task_responses tr JOIN tasks t ON t.id = tr.task_id "
                "WHERE t.round_id = ? ORDER BY tr.task_id, tr.position", [round_id]):
            members.setdefault(row["task_id"], []).append(row["response_id"])
        return [_task(row, members[row["id"]]) for row in rows]

    def next_for(self, labeler_id: int, skip_task: int | None = None) -> Assignment | None:
        """Lease the next task to a labeler; the one they left open comes back first.

        `skip_task` asks for the one after it (to fetch ahead). None: nothing is left for them.
        """
        with self._database.write() as db:
            row = db.conn.execute("""
                SELECT t.* FROM assignments a JOIN tasks t ON t.id = a.task_id
                LEFT JOIN rounds r ON r.id = t.round_id
                WHERE a.labeler_id = :me AND a.skipped_at IS NULL AND a.leased_at > :stale
                AND (t.round_id IS NULL OR r.closed_at IS NULL)
                AND t.id IS NOT :skip AND NOT EXISTS (
                    SELECT 1 FROM current_comparisons c
                    WHERE c.task_id = t.id AND c.labeler_id = :me)
                ORDER BY a.leased_at LIMIT 1""",
                {"me": labeler_id, "stale": now(-LEASE), "skip": skip_task}).fetchone()
            if row is None:
                row = db.conn.execute("""
                    SELECT t.*, t.labels + (
                        SELECT count(*) FROM assignments a WHERE a.task_id = t.id
                        AND a.skipped_at IS NULL AND a.leased_at > :stale AND NOT EXISTS (
                            SELECT 1 FROM current_comparisons c WHERE c.task_id = a.task_id
                            AND c.labeler_id = a.labeler_id)) AS taken
                    FROM tasks t LEFT JOIN rounds r ON r.id = t.round_id
                    WHERE t.labels < t.wanted AND taken < t.wanted
                    AND (t.round_id IS NULL OR r.closed_at IS NULL) AND t.id IS NOT :skip
                    AND NOT EXISTS (SELECT 1 FROM assignments mine WHERE mine.task_id = t.id
                        AND mine.labeler_id = :me AND (mine.skipped_at IS NOT NULL
                            OR mine.leased_at > :stale))
                    AND NOT EXISTS (SELECT 1 FROM current_comparisons c
                        WHERE c.task_id = t.id AND c.labeler_id = :me)
                    ORDER BY t.priority DESC, t.labels, taken, t.id LIMIT 1""",
                    {"me": labeler_id, "stale": now(-LEASE), "skip": skip_task}).fetchone()
            return None if row is None else self._lease(row["id"], labeler_id)

    def assign(self, task_id: int, labeler_id: int) -> Assignment:
        """Lease one given task to a labeler (for simulated labelers and imports)."""
        self.get(task_id)
        with self._database.write():
            return self._lease(task_id, labeler_id)

    def assignment(self, task_id: int, labeler_id: int) -> Assignment | None:
        """What a labeler was shown for a task, if they ever were."""
        row = self._database.row(
            "SELECT * FROM assignments WHERE task_id = ? AND labeler_id = ?",
            [task_id, labeler_id])
        return None if row is None else Assignment(
            self.get(task_id), labeler_id, tuple(json.loads(row["shown"])), row["leased_at"])

    def skip(self, task_id: int, labeler_id: int, reason: str) -> None:
        """Give a task back, for somebody else; this labeler does not see it again."""
        if reason not in SKIP_REASONS:
            raise BadInput(f"reason: {reason!r} is none of {', '.join(SKIP_REASONS)}")
        with self._database.write() as db:
            changed = db.conn.execute(
                "UPDATE assignments SET skipped_at = ?, skip_reason = ? "
                "WHERE task_id = ? AND labeler_id = ?",
                [now(), reason, task_id, labeler_id]).rowcount
            if not changed:
                raise NotFound(f"task {task_id} is not assigned to labeler {labeler_id}")

    def unskip(self, task_id: int, labeler_id: int) -> None:
        """Take a skip back: the task returns to this labeler as the one at hand."""
        with self._database.write() as db:
            db.conn.execute(
                "UPDATE assignments SET skipped_at = NULL, skip_reason = NULL, leased_at = ? "
                "WHERE task_id = ? AND labeler_id = ?", [now(), task_id, labeler_id])

    def last_done(self, labeler_id: int) -> tuple[int, bool] | None:
        """The task that a labeler answered or skipped last, and whether it was a skip.

        By the time it was handed out, so that a later revision of an old answer changes nothing.
        """
        row = self._database.row("""
            SELECT a.task_id, a.skipped_at IS NOT NULL AS skipped FROM assignments a
            WHERE a.labeler_id = :me AND (a.skipped_at IS NOT NULL OR EXISTS (
                SELECT 1 FROM current_comparisons c
                WHERE c.task_id = a.task_id AND c.labeler_id = :me))
            ORDER BY a.leased_at DESC LIMIT 1""", {"me": labeler_id})
        return None if row is None else (row["task_id"], bool(row["skipped"]))

    def open_for(self, labeler_id: int) -> int:
        """How many tasks still wait for this labeler in open rounds."""
        return int(self._database.value("""
            SELECT count(*) FROM tasks t LEFT JOIN rounds r ON r.id = t.round_id
            WHERE t.labels < t.wanted AND (t.round_id IS NULL OR r.closed_at IS NULL)
            AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.task_id = t.id
                AND a.labeler_id = :me AND a.skipped_at IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM current_comparisons c
                WHERE c.task_id = t.id AND c.labeler_id = :me)""", {"me": labeler_id}))

    def labels_missing(self) -> int:
        """How many labels the tasks of open rounds still want, whoever gives them."""
        return int(self._database.value(
            "SELECT coalesce(sum(t.wanted - t.labels), 0) FROM tasks t "
            "LEFT JOIN rounds r ON r.id = t.round_id WHERE t.labels < t.wanted "
            "AND (t.round_id IS NULL OR r.closed_at IS NULL)"))

    def open_pairs(self) -> list[tuple[str, str]]:
        """The texts of the first two responses of every task that wants labels."""
        return [(row["a"], row["b"]) for row in self._database.rows("""
            SELECT ra.text AS a, rb.text AS b FROM tasks t
            JOIN task_responses ta ON ta.task_id = t.id AND ta.position = 0
            JOIN task_responses tb ON tb.task_id = t.id AND tb.position = 1
            JOIN responses ra ON ra.id = ta.response_id
            JOIN responses rb ON rb.id = tb.response_id
            LEFT JOIN rounds r ON r.id = t.round_id
            WHERE t.labels < t.wanted AND r.closed_at IS NULL ORDER BY t.id""")]

    def uses_of_prompts(self, before_round: int) -> dict[int, int]:
        """In how many tasks of rounds before this one each prompt stands."""
        return {row["prompt_id"]: row["n"] for row in self._database.rows(
            "SELECT prompt_id, count(*) AS n FROM tasks WHERE round_id < ? GROUP BY prompt_id",
            [before_round])}

    def progress(self, round_id: int) -> tuple[int, int]:
        """Labels given and labels wanted in a round; more than wanted on a task counts once."""
        row = self._database.row(
            "SELECT coalesce(sum(min(labels, wanted)), 0) AS given, "
            "coalesce(sum(wanted), 0) AS wanted FROM tasks WHERE round_id = ?", [round_id])
        assert row is not None  # an aggregate always gives a row
        return int(row["given"]), int(row["wanted"])

    def _lease(self, task_id: int, labeler_id: int) -> Assignment:
        shown = self._responses_of(task_id)
        # Not security, only balance; seeded by what it is for, so that it cannot be drawn again.
        random.Random(f"{task_id}/{labeler_id}/{shown}").shuffle(shown)
        with self._database.write() as db:
            db.conn.execute(
                "INSERT INTO assignments (task_id, labeler_id, shown, leased_at) "
                "VALUES (?, ?, ?, ?) ON CONFLICT (task_id, labeler_id) "
                "DO UPDATE SET leased_at = excluded.leased_at",
                [task_id, labeler_id, str(shown), now()])
        found = self.assignment(task_id, labeler_id)
        assert found is not None  # it was written two lines above
        return found

    def _responses_of(self, task_id: int) -> list[int]:
        return [row["response_id"] for row in self._database.rows(
            "SELECT response_id FROM task_responses WHERE task_id = ? ORDER BY position",
            [task_id])]
