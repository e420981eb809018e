"""The questions put to labelers; `data.assignments` says who answers which, and when."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from data.database import Database, now
from data.errors import BadInput, NotFound
from data.records import PURPOSES, Round, Task

#: A labeler's page ranks so many responses: a key and a letter each. A file may hold more, but what
#: is of a file alone is asked of nobody.
MOST_RANKED = 9
#: Whether a task `t` has ended for whom an assignment `a` gave it to: when its round is closed, and
#: hidden gold, which is of none, when the round is that it was handed out in. If it alone were
#: left, all would see that it is gold. Practice, which everybody knows, stays.
ENDED = """EXISTS (SELECT 1 FROM rounds over WHERE over.closed_at IS NOT NULL
    AND (over.id = t.round_id OR t.purpose = 'gold' AND over.closed_at > a.leased_at
        AND NOT EXISTS (SELECT 1 FROM known_answers k WHERE k.task_id = t.id AND k.practice)))"""


def _task(row: sqlite3.Row, response_ids: Sequence[int]) -> Task:
    return Task(row["id"], row["round_id"], row["prompt_id"], row["purpose"], row["wanted"],
                row["priority"], tuple(response_ids), row["created_at"], row["repeat_of"],
                row["only_for"], row["chosen_by"])


class Tasks:
    """The questions put to labelers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, prompt_id: int, response_ids: Sequence[int], *, round_id: int | None = None,
            purpose: str = "train", wanted: int = 1, priority: float = 0.0,
            repeat_of: int | None = None, only_for: int | None = None) -> int:
        """Add a task; returns its id.

        Raises:
            BadInput: fewer than two responses or more than can be ranked, the same twice, one of
                another prompt, an unknown purpose, or wanted < 1.
        """
        if len(response_ids) < 2 or len(set(response_ids)) != len(response_ids):
            raise BadInput(f"responses: a task needs 2 or more different ones, not {response_ids}")
        if len(response_ids) > MOST_RANKED:
            raise BadInput(f"responses: labelers rank at most {MOST_RANKED}, "
                           f"and this task would have {len(response_ids)}")
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
                "wanted": wanted, "priority": priority, "repeat_of": repeat_of,
                "only_for": only_for, "created_at": now()})
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

    def has_ended(self, task_id: int, labeler_id: int) -> bool:
        """Whether a task that was handed to a labeler is asked of them no more: see `ENDED`."""
        return self._database.value(
            "SELECT 1 FROM assignments a JOIN tasks t ON t.id = a.task_id "
            f"WHERE t.id = ? AND a.labeler_id = ? AND {ENDED}", [task_id, labeler_id]) is not None

    def labels_missing(self) -> int:
        """How many labels the tasks of open rounds still want, whoever gives them."""
        return int(self._database.value(
            "SELECT coalesce(sum(t.wanted - t.labels), 0) FROM rounds r "
            "CROSS JOIN tasks t INDEXED BY tasks_open ON t.round_id = r.id "
            "WHERE r.closed_at IS NULL AND t.labels < t.wanted "
            "AND t.purpose IN ('train', 'evaluate')"))

    def open_pairs(self) -> list[tuple[str, str]]:
        """The texts of the first two responses of every task of open rounds that wants labels."""
        return [(row["a"], row["b"]) for row in self._database.rows("""
            SELECT ra.text AS a, rb.text AS b FROM rounds r
            CROSS JOIN tasks t INDEXED BY tasks_open ON t.round_id = r.id
            JOIN task_responses ta ON ta.task_id = t.id AND ta.position = 0
            JOIN task_responses tb ON tb.task_id = t.id AND tb.position = 1
            JOIN responses ra ON ra.id = ta.response_id
            JOIN responses rb ON rb.id = tb.response_id
            WHERE r.closed_at IS NULL AND t.labels < t.wanted
            AND t.purpose IN ('train', 'evaluate') ORDER BY t.id""")]

    def uses_of_prompts(self, before_round: int) -> dict[int, int]:
        """In how many tasks of rounds before this one each prompt stands."""
        return {row["prompt_id"]: row["n"] for row in self._database.rows(
            "SELECT prompt_id, count(*) AS n FROM tasks WHERE round_id < ? "
            "AND purpose IN ('train', 'evaluate') GROUP BY prompt_id",
            [before_round])}

    def progress(self, round_id: int) -> tuple[int, int]:
        """Labels given and labels wanted in a round; more than wanted on a task counts once."""
        row = self._database.row("SELECT * FROM round_progress WHERE round_id = ?", [round_id])
        return (0, 0) if row is None else (int(row["given"]), int(row["wanted"]))

    def unfinished_words(self, current: Round | None) -> str:
        """What opening the next round would leave unfinished of this one; empty: nothing."""
        given, wanted = self.progress(current.id) if current else (0, 0)
        if current is None or given >= wanted:
            return ""
        return (f"Round {current.number} still waits for {wanted - given:,} of {wanted:,} labels. "
                "Opening the next round closes it; the labels given stay.")

    def ask_anybody(self, round_id: int) -> bool:
        """Whether anybody could still give a label that a round wants: a person who may come in,
        whose answers count, and who has neither answered nor skipped one of its open tasks.

        Where there are no people yet, somebody will come.
        """
        people = "kind = 'human' AND NOT disabled AND set_aside_at IS NULL"
        return bool(self._database.value(f"""
            SELECT NOT EXISTS (SELECT 1 FROM labelers WHERE {people}) OR EXISTS (
                SELECT 1 FROM tasks t CROSS JOIN labelers l
                WHERE t.round_id = :round AND t.labels < t.wanted
                AND t.purpose IN ('train', 'evaluate') AND {people}
                AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.task_id = t.id
                    AND a.labeler_id = l.id AND a.skipped_at IS NOT NULL)
                AND NOT EXISTS (SELECT 1 FROM current_comparisons c
                    WHERE c.task_id = t.id AND c.labeler_id = l.id))""", {"round": round_id}))

    def _responses_of(self, task_id: int) -> list[int]:
        return [row["response_id"] for row in self._database.rows(
            "SELECT response_id FROM task_responses WHERE task_id = ? ORDER BY position",
            [task_id])]
