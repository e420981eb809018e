"""Tasks with a known answer: `gold` ones hidden among the others, and practice with feedback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from data.comparisons import check_answer
from data.database import Database, now
from data.errors import BadInput, NotFound
from data.records import Answer, KnownAnswer
from data.tasks import Tasks


def _known(row: sqlite3.Row) -> KnownAnswer:
    ranking = tuple(tuple(group) for group in json.loads(row["ranking"]))
    return KnownAnswer(row["task_id"], bool(row["practice"]),
                       Answer(ranking, row["strength"], row["verdict"]), row["explanation"],
                       row["created_by"], row["created_at"])


class KnownAnswers:
    """What a lead knows to be right, to measure labelers by or to train them with."""

    def __init__(self, database: Database, tasks: Tasks) -> None:
        self._database = database
        self._tasks = tasks

    def add(self, prompt_id: int, response_ids: Sequence[int], answer: Answer, *,
            practice: bool = False, explanation: str = "", by: int | None = None) -> int:
        """Add a task with its right answer; returns the task's id.

        Raises:
            BadInput: the answer does not fit the responses, or is withdrawn.
        """
        if answer.verdict == "withdrawn":
            raise BadInput("verdict: a known answer cannot be withdrawn")
        with self._database.write():
            task_id = self._tasks.add(prompt_id, response_ids, purpose="gold")
            check_answer(answer, self._tasks.get(task_id))
            self._database.insert("known_answers", {
                "task_id": task_id, "practice": int(practice), "verdict": answer.verdict,
                "ranking": answer.ranking, "strength": answer.strength,
                "explanation": explanation.strip(), "created_by": by, "created_at": now()})
            return task_id

    def get(self, task_id: int) -> KnownAnswer | None:
        """The right answer to a task, if it is known."""
        row = self._database.row("SELECT * FROM known_answers WHERE task_id = ?", [task_id])
        return None if row is None else _known(row)

    def all(self, practice: bool | None = None) -> list[KnownAnswer]:
        """Every known answer in use, oldest first."""
        return [_known(row) for row in self._database.rows(
            "SELECT * FROM known_answers WHERE NOT retired AND (:practice IS NULL "
            "OR practice = :practice) ORDER BY task_id", {"practice": practice})]

    def measures(self) -> dict[int, Answer]:
        """Hidden task id -> the right answer that answers to it are held against; of retired ones
        too, since what was answered stays.

        Where the same responses have been given a known answer anew, that holds for the retired one
        as well: what turned out wrong does not go on counting against whoever knew better.
        """
        rows = self._database.rows("""
            SELECT k.*, (SELECT group_concat(response_id) FROM (
                SELECT response_id FROM task_responses r WHERE r.task_id = k.task_id
                ORDER BY response_id)) AS responses
            FROM known_answers k ORDER BY k.task_id""")
        newest = {row["responses"]: row for row in rows}
        return {row["task_id"]: _known(newest[row["responses"]]).answer
                for row in rows if not row["practice"]}

    def count(self) -> int:
        """How many known answers were ever added: what `measures` depends on."""
        return int(self._database.value("SELECT count(*) FROM known_answers"))

    def retire(self, task_id: int) -> None:
        """Hand a task out no more; what was answered stays. Raises NotFound."""
        with self._database.write() as db:
            changed = db.conn.execute("UPDATE known_answers SET retired = 1 WHERE task_id = ?",
                                      [task_id]).rowcount
        if not changed:
            raise NotFound(f"task {task_id} has no known answer")
