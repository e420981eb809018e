"""In which order open tasks are asked: what an instant model needs to choose it, and its choice.

A task's priority is its place in the order, a number from 0 to below 1, minus the labels it has. So
every task gets its first label before any gets its second, as without an order; among tasks with as
many labels the order decides, and a task that is in no order has the place 0. `chosen_by` says what
put a task where it is: a rule's name, `random`, `arrival` for what was handed out before there was
an order, or `rest` for what a rule has passed over before the settings left all to chance or to the
order of making. It stays what it was once the task has been handed out, so that what chance chose
remains a sample of all.

Beside the order stands how uncertain the instant model is of each open task, for leads to see.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from data.database import Database
from data.plain_json import to_json

RANDOM = "random"
#: What chose a task that was handed out before there was an order: the order of its making.
ARRIVAL = "arrival"
#: What chose a task that a rule has passed over before it was switched off: by now chance or the
#: order of making, but what a rule leaves is no sample of all.
REST = "rest"
#: Choosers that know nothing of the task, so that figures over what they chose are of the whole.
BLIND = (None, ARRIVAL, RANDOM)
#: Settings that the process which orders tasks keeps: the state of it, and the learning curve.
STATE, CURVE = "asking", "learning_curve"
#: What came from a file is of no round, and is asked of nobody.
_IN_OPEN_ROUND = "(t.round_id IS NOT NULL AND r.closed_at IS NULL)"
_ASKED = f"t.purpose IN ('train', 'evaluate') AND {_IN_OPEN_ROUND}"


@dataclass(frozen=True)
class AskedTask:
    """An ordinary task of an open round, as far as its place in the order goes."""

    id: int
    prompt_id: int
    response_ids: tuple[int, ...]
    labels: int
    open: bool
    """Whether it wants more labels."""
    measures: bool
    """Whether its answers measure rather than teach: head to head, or of a held-out prompt."""
    handed_out: bool
    """Whether any labeler was ever given it."""
    priority: float
    chosen_by: str | None


@dataclass(frozen=True)
class AskedPair:
    """One pair of an answer that stands, as the instant model learns it."""

    comparison_id: int
    prompt_id: int
    chosen_id: int
    rejected_id: int
    tie: bool
    held_out: bool
    """Whether its prompt is never trained on."""
    chosen_by: str | None
    """What chose its task to be asked."""


class Asking:
    """The order of open tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def moment(self) -> tuple[int, int, int, int]:
        """A stamp that changes with every answer, new task, closed round, and change of whose
        answers count; cheap to ask for."""
        row = self._database.row(
            "SELECT coalesce((SELECT max(id) FROM comparisons), 0) AS answers, "
            "coalesce((SELECT max(id) FROM tasks), 0) AS tasks, "
            "(SELECT count(*) FROM rounds WHERE closed_at IS NOT NULL) AS closed, "
            "(SELECT n FROM counting_changes) AS changes")
        assert row is not None  # an aggregate always has a row
        return row["answers"], row["tasks"], row["closed"], row["changes"]

    def tasks(self) -> list[AskedTask]:
        """Every ordinary task of the open rounds that is open or was put in order, by id."""
        return [AskedTask(row["id"], row["prompt_id"], tuple(json.loads(row["responses"])),
                          row["labels"], row["labels"] < row["wanted"], bool(row["measures"]),
                          bool(row["handed_out"]), row["priority"], row["chosen_by"])
                for row in self._database.rows(f"""
            SELECT t.*, t.purpose = 'evaluate' OR p.split = 'held_out' AS measures,
                EXISTS (SELECT 1 FROM assignments a WHERE a.task_id = t.id) AS handed_out,
                (SELECT json_group_array(tr.response_id) FROM (SELECT response_id
                    FROM task_responses WHERE task_id = t.id ORDER BY position) tr) AS responses
            FROM tasks t JOIN prompts p ON p.id = t.prompt_id
            LEFT JOIN rounds r ON r.id = t.round_id
            WHERE (t.labels < t.wanted OR t.chosen_by IS NOT NULL) AND {_ASKED}
            ORDER BY t.id""")]

    def pairs(self, among: Iterable[int] | None = None) -> list[AskedPair]:
        """The pairs of all answers that count, in the order in which they came.

        With `among` those alone whose responses are both among these: whoever stands on a part of
        many answers need not read them all.
        """
        return [AskedPair(row["comparison_id"], row["prompt_id"], row["chosen_id"],
                          row["rejected_id"], row["strength"] == 0, row["split"] == "held_out",
                          row["chosen_by"])
                for row in self._database.rows("""
            SELECT f.comparison_id, f.prompt_id, f.chosen_id, f.rejected_id, f.strength, p.split,
                t.chosen_by
            FROM counted_preferences f JOIN prompts p ON p.id = f.prompt_id
            JOIN tasks t ON t.id = f.task_id
            WHERE :among IS NULL OR f.chosen_id IN (SELECT value FROM json_each(:among))
                AND f.rejected_id IN (SELECT value FROM json_each(:among))
            ORDER BY f.comparison_id, f.id""",
            {"among": None if among is None else to_json(list(among))})]

    def responses(self, most: int | None = None) -> list[int]:
        """Responses that stand in ordinary tasks: those of open tasks first, then the newest.

        Of no more than `most`, half are those that were answered last, and half wait for an answer;
        where there are fewer of the one kind, there are more of the other.
        """
        rows = self._database.rows(f"""
            SELECT tr.response_id, max(t.labels < t.wanted AND {_IN_OPEN_ROUND}) AS waits,
                max(CASE WHEN t.labels THEN (SELECT max(c.id) FROM comparisons c
                    WHERE c.task_id = t.id) ELSE 0 END) AS answer
            FROM task_responses tr JOIN tasks t ON t.id = tr.task_id
            LEFT JOIN rounds r ON r.id = t.round_id
            WHERE t.purpose IN ('train', 'evaluate')
            GROUP BY tr.response_id ORDER BY waits DESC, tr.response_id DESC""")
        every = [row["response_id"] for row in rows]
        if most is None or len(every) <= most:
            return every
        waiting = [row["response_id"] for row in rows if row["waits"]]
        answered = [row["response_id"] for row in sorted(rows, key=lambda row: -row["answer"])
                    if row["answer"]]
        kept = {*islice(dict.fromkeys((*answered[:most // 2], *waiting, *answered, *every)), most)}
        return [i for i in every if i in kept]

    def newest_response(self) -> int:
        """The greatest id of a response; 0 where there is none."""
        return int(self._database.value("SELECT coalesce(max(id), 0) FROM responses"))

    def rule_has_chosen(self) -> bool:
        """Whether a rule has chosen any task of the open rounds that was handed out: what it passed
        over is no sample of all any more."""
        return bool(self._database.value(f"""
            SELECT EXISTS (SELECT 1 FROM tasks t JOIN rounds r ON r.id = t.round_id
                WHERE t.chosen_by NOT IN (?, ?) AND {_IN_OPEN_ROUND}
                AND EXISTS (SELECT 1 FROM assignments a WHERE a.task_id = t.id))""",
            [RANDOM, ARRIVAL]))

    def put_order(self, order: Mapping[int, tuple[float, str]]) -> None:
        """Put tasks in order: task id -> its place (0 to 1, the greater the sooner) and chooser.

        The labels that a task has by now are subtracted here, in the same transaction, so that an
        answer which came meanwhile counts. Who chose a task that was handed out stays.
        """
        with self._database.write(durable=False) as db:
            db.conn.executemany(
                "UPDATE tasks SET priority = ? - labels, chosen_by = CASE WHEN EXISTS ("
                "SELECT 1 FROM assignments a WHERE a.task_id = tasks.id) "
                "THEN coalesce(chosen_by, ?) ELSE ? END WHERE id = ?",
                [(place, ARRIVAL, chooser, task_id) for task_id, (place, chooser) in order.items()])

    def variances(self) -> dict[int, float]:
        """Task id -> posterior variance of its responses' reward difference, as last written.

        For leads alone: no labeler's page asks for it.
        """
        return {row["task_id"]: row["variance"] for row in self._database.rows(
            "SELECT task_id, variance FROM task_variances")}

    def variance_of(self, task_id: int) -> float | None:
        """The same of one task, while it is open; None where the instant model knows nothing."""
        row = self._database.row(
            "SELECT v.variance FROM task_variances v JOIN tasks t ON t.id = v.task_id "
            "LEFT JOIN rounds r ON r.id = t.round_id WHERE v.task_id = ? AND t.labels < t.wanted "
            f"AND {_IN_OPEN_ROUND}", [task_id])
        return None if row is None else float(row["variance"])

    def put_variances(self, changed: Mapping[int, float], gone: Iterable[int] = ()) -> None:
        """Write the variances of some tasks, and forget those of others."""
        with self._database.write(durable=False) as db:
            db.conn.executemany(
                "INSERT INTO task_variances VALUES (?, ?) ON CONFLICT (task_id) DO UPDATE "
                "SET variance = excluded.variance", list(changed.items()))
            db.conn.executemany("DELETE FROM task_variances WHERE task_id = ?",
                                [(task_id,) for task_id in gone])

    def forget_order(self) -> None:
        """Back to the order in which tasks were made, fewest labels first; nothing is known of
        how uncertain they are. What a rule has passed over is marked as the rest."""
        with self._database.write(durable=False) as db:
            db.conn.execute("DELETE FROM task_variances")
            db.conn.execute(
                "UPDATE tasks SET priority = -labels, chosen_by = CASE WHEN EXISTS ("
                "SELECT 1 FROM assignments a WHERE a.task_id = tasks.id) THEN chosen_by "
                "WHEN ? AND chosen_by <> ? THEN ? END "
                "WHERE chosen_by IS NOT NULL AND labels < wanted",
                [self.rule_has_chosen(), RANDOM, REST])
