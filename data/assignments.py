"""Who answers which task next.

Each labeler gets a task at most once. Tasks come by priority, then those that fewer labelers have
answered, then the oldest. Where an instant model orders them (`data.asking`), a priority is a place
in its order minus the labels that the task has, so there too no task is asked a second time while
others wait for their first. The order in which the responses are shown is drawn once per labeler
and task and kept, so that a reload shows the same sides. Among the others come hidden tasks, as
often as the lead has set: `gold` ones with a known answer, and `repeat`s of what this labeler
answered earlier, with the sides swapped. Who wrote a response, and why a task is asked, is not part
of anything handed out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from data.answer_counts import has_decided
from data.database import Database, now
from data.errors import BadInput, NotFound
from data.records import SKIP_REASONS, Assignment, Task
from data.settings import put_setting, setting
from data.tasks import ENDED, Tasks

#: So many answers of one's own lie between a task and its repeat.
REPEAT_AFTER = 10
#: A repeat is of one of so many answers before those: what was answered long ago is not looked at.
REPEAT_AMONG = 200
_SETTING = "assignment"
#: A task that is held by this labeler's unexpired lease, or was skipped by them, is not theirs.
_NOT_TAKEN_BY_ME = """
    AND NOT EXISTS (SELECT 1 FROM assignments mine WHERE mine.task_id = t.id
        AND mine.labeler_id = :me AND (mine.skipped_at IS NOT NULL OR mine.leased_at > :stale))
    AND NOT EXISTS (SELECT 1 FROM current_comparisons c
        WHERE c.task_id = t.id AND c.labeler_id = :me)"""


@dataclass(frozen=True)
class AssignmentRules:
    """How tasks are handed out; a lead sets it per workspace.

    Raises:
        BadInput: a field is out of its bounds; the message names it.
    """

    gold_share: float = 0.0
    """Share of hidden tasks with a known answer, where there are any."""
    repeat_share: float = 0.0
    """Share of hidden repeats, with sides swapped, of what the labeler answered earlier."""
    practice: int = 0
    """So many practice tasks, with feedback, come before anything else."""
    lease_minutes: int = 15
    """A task that was opened and left counts as taken for so long."""
    daily_goal: int = 0
    """Answers a day that a labeler's progress is shown against; 0 shows none."""

    def __post_init__(self) -> None:
        for name in ("gold_share", "repeat_share"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise BadInput(f"{name}: must lie from 0 to 0.5, not {getattr(self, name)}")
        for name, low, high in (("practice", 0, 50), ("lease_minutes", 1, 24 * 60),
                                ("daily_goal", 0, 1000)):
            if not low <= getattr(self, name) <= high:
                raise BadInput(f"{name}: must lie from {low} to {high}, not {getattr(self, name)}")


class Assignments:
    """Which labeler was, is or will be shown which task."""

    def __init__(self, database: Database, tasks: Tasks) -> None:
        self._database = database
        self._tasks = tasks

    def rules(self) -> AssignmentRules:
        """The rules in force."""
        return AssignmentRules(**setting(self._database, _SETTING, {}))

    def set_rules(self, rules: AssignmentRules) -> None:
        """Put rules in force, for every task handed out from now on."""
        put_setting(self._database, _SETTING, asdict(rules))

    def next_for(self, labeler_id: int, skip_task: int | None = None) -> Assignment | None:
        """Lease the next task to a labeler; what they left open comes back first, in its order.

        `skip_task` asks for the one after it (to fetch ahead). None: nothing is left for them.
        """
        # A lease that a power cut undoes is handed out again, with the same sides.
        with self._database.write(durable=False):
            rules = self.rules()
            values = {"me": labeler_id, "skip": skip_task,
                      "stale": now(-timedelta(minutes=rules.lease_minutes))}
            if left_open := self._left_open(values):
                # All of them anew: a lease renewed alone would fall behind the others, and the next
                # reload would show another task.
                leases = [self._lease(each, labeler_id) for each in left_open]
                return leases[0]
            task_id = self._practice(values, rules.practice) if rules.practice else None
            if task_id is None:
                task_id = self._open(values)
                # Hidden tasks hide among others: where nothing else is left, none come.
                if task_id is not None:
                    task_id = self._hidden(values, rules) or task_id
            return None if task_id is None else self._lease(task_id, labeler_id)

    def assign(self, task_id: int, labeler_id: int) -> Assignment:
        """Lease one given task to a labeler (for simulated labelers and a lead's decisions)."""
        self._tasks.get(task_id)
        with self._database.write():
            return self._lease(task_id, labeler_id)

    def get(self, task_id: int, labeler_id: int) -> Assignment | None:
        """What a labeler was shown for a task, if they ever were."""
        row = self._database.row(
            "SELECT * FROM assignments WHERE task_id = ? AND labeler_id = ?",
            [task_id, labeler_id])
        return None if row is None else Assignment(
            self._tasks.get(task_id), labeler_id, tuple(json.loads(row["shown"])))

    def order_for(self, task: Task, labeler_id: int) -> tuple[int, ...]:
        """The order in which a task is shown to a labeler, or would be."""
        given = self.get(task.id, labeler_id)
        return given.shown if given else tuple(self._order(
            task.repeat_of, task.id, labeler_id, list(task.response_ids)))

    def skip(self, task_id: int, labeler_id: int, reason: str, key: str | None = None) -> None:
        """Give a task back, for somebody else, once for each key; this labeler sees it no more."""
        if reason not in SKIP_REASONS:
            raise BadInput(f"reason: {reason!r} is none of {', '.join(SKIP_REASONS)}")
        if self.get(task_id, labeler_id) is None:
            raise NotFound(f"task {task_id} is not assigned to labeler {labeler_id}")
        self._once("skipped_at = :now, skip_reason = :reason", {
            "task": task_id, "me": labeler_id, "reason": reason, "key": key})

    def is_skipped(self, task_id: int, labeler_id: int) -> bool:
        """Whether a labeler has given a task back, and not answered it since."""
        return self._database.value(
            "SELECT skipped_at FROM assignments WHERE task_id = ? AND labeler_id = ?",
            [task_id, labeler_id]) is not None

    def unskip(self, task_id: int, labeler_id: int, key: str | None = None) -> None:
        """Take a skip back, once for each key: this labeler has the task at hand again."""
        self._once("skipped_at = NULL, skip_reason = NULL, leased_at = :now", {
            "task": task_id, "me": labeler_id, "key": key})

    def _once(self, change: str, values: Mapping[str, Any]) -> None:
        with self._database.write() as db:
            db.conn.execute(
                f"UPDATE assignments SET {change}, skip_keys = json_insert(skip_keys, '$[#]', :key)"
                " WHERE task_id = :task AND labeler_id = :me AND NOT EXISTS ("
                "SELECT 1 FROM json_each(skip_keys) WHERE value = :key)", {**values, "now": now()})

    def last_done(self, labeler_id: int) -> tuple[int, bool] | None:
        """The task that a labeler answered or skipped last, and whether it was a skip.

        By the time it was handed out, so that a later revision of an old answer changes nothing.
        None that they have ever decided: it would come back to be answered as if blind.
        """
        row = self._database.row(f"""
            SELECT a.task_id, a.skipped_at IS NOT NULL AS skipped FROM assignments a
            WHERE a.labeler_id = :me AND NOT {has_decided("a")}
            AND (a.skipped_at IS NOT NULL OR EXISTS (SELECT 1 FROM current_comparisons c
                WHERE c.task_id = a.task_id AND c.labeler_id = :me))
            ORDER BY a.leased_at DESC LIMIT 1""", {"me": labeler_id})
        return None if row is None else (row["task_id"], bool(row["skipped"]))

    def open_for(self, labeler_id: int) -> int:
        """How many tasks still wait for this labeler in open rounds (hidden ones not counted)."""
        return int(self._database.value("""
            SELECT count(*) FROM rounds r CROSS JOIN tasks t INDEXED BY tasks_open
            ON t.round_id = r.id
            WHERE r.closed_at IS NULL AND t.labels < t.wanted
            AND t.purpose IN ('train', 'evaluate')
            AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.task_id = t.id
                AND a.labeler_id = :me AND a.skipped_at IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM current_comparisons c
                WHERE c.task_id = t.id AND c.labeler_id = :me)""", {"me": labeler_id}))

    def _left_open(self, values: Mapping[str, Any]) -> list[int]:
        return [row["id"] for row in self._database.rows(f"""
            SELECT t.id FROM assignments a JOIN tasks t ON t.id = a.task_id
            WHERE a.labeler_id = :me AND a.skipped_at IS NULL AND a.leased_at > :stale
            AND (t.round_id IS NOT NULL OR t.purpose = 'gold') AND NOT {ENDED}
            AND t.id IS NOT :skip AND NOT EXISTS (
                SELECT 1 FROM current_comparisons c
                WHERE c.task_id = t.id AND c.labeler_id = :me)
            ORDER BY a.leased_at""", values)]

    def _practice(self, values: Mapping[str, Any], needed: int) -> int | None:
        """The next practice task, until `needed` were handed out (or there are no more)."""
        handed = self._database.value(
            "SELECT count(*) FROM known_answers k WHERE k.practice AND (k.task_id IS :skip "
            "OR EXISTS (SELECT 1 FROM current_comparisons c "
            "WHERE c.task_id = k.task_id AND c.labeler_id = :me))", values)
        if handed >= needed:
            return None
        found: int | None = self._database.value(
            "SELECT t.id FROM known_answers k JOIN tasks t ON t.id = k.task_id "
            f"WHERE k.practice AND NOT k.retired AND t.id IS NOT :skip {_NOT_TAKEN_BY_ME} "
            "ORDER BY t.id LIMIT 1", values)
        return found

    def _open(self, values: Mapping[str, Any]) -> int | None:
        """The best ordinary task: by priority, then fewest labels, then oldest.

        One query an open round, so that each walks the index of open tasks in its order and ends
        at the first task that will do. What is of no round came from a file and is asked of nobody,
        however few of its answers count.
        """
        rounds = [row["id"] for row in self._database.rows(
            "SELECT id FROM rounds WHERE closed_at IS NULL ORDER BY id")]
        found = [row for round_id in rounds if (row := self._database.row(f"""
            SELECT t.id, t.priority, t.labels FROM tasks t
            WHERE t.round_id = :round AND t.labels < t.wanted
            AND t.purpose IN ('train', 'evaluate') AND t.id IS NOT :skip
            AND t.labels + (SELECT count(*) FROM assignments a WHERE a.task_id = t.id
                AND a.skipped_at IS NULL AND a.leased_at > :stale AND NOT EXISTS (
                    SELECT 1 FROM current_comparisons c WHERE c.task_id = a.task_id
                    AND c.labeler_id = a.labeler_id)) < t.wanted {_NOT_TAKEN_BY_ME}
            ORDER BY t.priority DESC, t.labels, t.id LIMIT 1""", {**values, "round": round_id}))]
        best = min(found, key=lambda row: (-row["priority"], row["labels"], row["id"]),
                   default=None)
        return None if best is None else int(best["id"])

    def _hidden(self, values: Mapping[str, Any], rules: AssignmentRules) -> int | None:
        """Sometimes a gold task or a repeat; drawn once for each task handed out."""
        if not rules.gold_share and not rules.repeat_share:
            return None
        handed = self._database.value(
            "SELECT count(*) FROM assignments WHERE labeler_id = ?", [values["me"]])
        draw = random.Random(f"hidden/{values['me']}/{handed}")
        share = draw.random()
        if share < rules.gold_share:
            gold: int | None = self._database.value(
                "SELECT t.id FROM known_answers k JOIN tasks t ON t.id = k.task_id "
                "WHERE NOT k.practice AND NOT k.retired AND k.created_by IS NOT :me "
                f"AND t.id IS NOT :skip {_NOT_TAKEN_BY_ME} ORDER BY t.id LIMIT 1", values)
            return gold
        if share < rules.gold_share + rules.repeat_share:
            return self._repeat(values, draw)
        return None

    def _repeat(self, values: Mapping[str, Any], draw: random.Random) -> int | None:
        """A task anew, for this labeler alone, of one of an open round they answered a while ago:
        the repeat is of its round, and ends with it. One that they left open comes first."""
        left: int | None = self._database.value(
            "SELECT t.id FROM tasks t JOIN rounds r ON r.id = t.round_id "
            "WHERE t.only_for = :me AND t.purpose = 'repeat' AND r.closed_at IS NULL "
            f"AND t.id IS NOT :skip {_NOT_TAKEN_BY_ME} ORDER BY t.id LIMIT 1", values)
        if left is not None:
            return left
        earlier = [row["task_id"] for row in self._database.rows(f"""
            SELECT c.task_id FROM current_comparisons c JOIN tasks t ON t.id = c.task_id
            JOIN rounds r ON r.id = t.round_id
            WHERE c.labeler_id = :me AND r.closed_at IS NULL
            AND t.purpose IN ('train', 'evaluate') AND c.shown <> '[]'
            AND NOT {has_decided("c")} AND NOT EXISTS (SELECT 1 FROM tasks again
                WHERE again.repeat_of = t.id AND again.only_for = :me)
            ORDER BY c.id DESC LIMIT :among OFFSET :after""",
            {**values, "after": REPEAT_AFTER, "among": REPEAT_AMONG})]
        if not earlier:
            return None
        task = self._tasks.get(draw.choice(earlier))
        return self._tasks.add(task.prompt_id, task.response_ids, round_id=task.round_id,
                               purpose="repeat", repeat_of=task.id,
                               only_for=values["me"])

    def _lease(self, task_id: int, labeler_id: int) -> Assignment:
        task = self._tasks.get(task_id)
        with self._database.write() as db:
            is_first = self.get(task_id, labeler_id) is None
            db.conn.execute(
                "INSERT INTO assignments (task_id, labeler_id, shown, leased_at) "
                "VALUES (?, ?, ?, ?) ON CONFLICT (task_id, labeler_id) "
                "DO UPDATE SET leased_at = excluded.leased_at",
                [task_id, labeler_id, str(self._order(task.repeat_of, task_id, labeler_id,
                                                      list(task.response_ids))), now()])
        found = self.get(task_id, labeler_id)
        assert found is not None  # it was written just above
        return replace(found, is_first=is_first)

    def _order(self, repeat_of: int | None, task_id: int, labeler_id: int,
               responses: list[int]) -> list[int]:
        """The display order: drawn, but the reverse of the first time for a repeat."""
        if repeat_of is not None:
            before = self.get(repeat_of, labeler_id)
            if before is not None:
                return list(reversed(before.shown))
        # Not security, only balance; seeded by what it is for, so that it cannot be drawn again.
        random.Random(f"{task_id}/{labeler_id}/{responses}").shuffle(responses)
        return responses

