"""Rounds: one turn of the loop each, one open at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from data.database import Database, now
from data.errors import BadInput, NotFound
from data.plain_json import to_json
from data.records import STAGES, Round


def _round(row: sqlite3.Row) -> Round:
    return Round(row["id"], row["number"], row["stage"], row["policy_version_id"],
                 row["reference_id"], row["created_at"], row["closed_at"])


class Rounds:
    """The turns of the loop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upcoming(self, policy_version_id: int, reference_id: int) -> Round:
        """The round that `open` would open now; nothing is stored."""
        row = self._database.row("SELECT coalesce(max(id) + 1, 1) AS id, "
                                 "coalesce(max(number) + 1, 0) AS number FROM rounds")
        assert row is not None  # an aggregate has a row
        return Round(row["id"], row["number"], "sampling", policy_version_id, reference_id,
                     now(), None)

    def open(self, policy_version_id: int, reference_id: int) -> Round:
        """Open the next round (numbers start at 0) and close the one before."""
        with self._database.write() as db:
            db.conn.execute("UPDATE rounds SET closed_at = ?, stage = 'done' "
                            "WHERE closed_at IS NULL", [now()])
            number = self._database.value("SELECT coalesce(max(number) + 1, 0) FROM rounds")
            return self.get(self._database.insert("rounds", {
                "number": number, "stage": "sampling", "policy_version_id": policy_version_id,
                "reference_id": reference_id, "created_at": now()}))

    def get(self, round_id: int) -> Round:
        """One round by id. Raises NotFound."""
        row = self._database.row("SELECT * FROM rounds WHERE id = ?", [round_id])
        if row is None:
            raise NotFound(f"there is no round with id {round_id}")
        return _round(row)

    def all(self) -> list[Round]:
        """All rounds, first to last."""
        return [_round(row) for row in self._database.rows("SELECT * FROM rounds ORDER BY number")]

    def current(self) -> Round | None:
        """The open round, if there is one."""
        row = self._database.row(
            "SELECT * FROM rounds WHERE closed_at IS NULL ORDER BY number DESC LIMIT 1")
        return None if row is None else _round(row)

    def newest_of(self, comparisons: Iterable[int]) -> int | None:
        """The id of the newest round that some comparisons are of; None where they are of none."""
        found: int | None = self._database.value(
            "SELECT max(t.round_id) FROM json_each(?) one JOIN comparisons c ON c.id = one.value "
            "JOIN tasks t ON t.id = c.task_id", [to_json(list(comparisons))])
        return found

    def stage_now(self, round_: Round) -> str:
        """What is happening to a round: a stage that is over, or that nothing works on, is not.

        `stopped`: the sampling of its responses ended before they were all written.
        """
        if round_.stage in ("labeling", "done"):
            return round_.stage
        jobs = self._database.rows("SELECT kind, status FROM jobs WHERE round_id = ?",
                                   [round_.id])
        if round_.stage == "sampling":
            ended = any(j["kind"] == "sample" and j["status"] in ("stopped", "failed")
                        for j in jobs)
            return "stopped" if ended else "sampling"
        works = any(j["status"] in ("queued", "running") for j in jobs)
        return round_.stage if works else "labeling"

    def set_stage(self, round_id: int, stage: str) -> None:
        """Say how far a round is."""
        if stage not in STAGES:
            raise BadInput(f"stage: {stage!r} is none of {', '.join(STAGES)}")
        with self._database.write() as db:
            db.conn.execute("UPDATE rounds SET stage = ? WHERE id = ?", [stage, round_id])
