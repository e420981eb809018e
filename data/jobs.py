"""Jobs: queued by anybody who may, run one at a time by whoever holds the workspace's lock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.database import Database, now
from data.errors import BadInput, NotFound
from data.plain_json import finite, to_json
from data.progress import ALMOST
from data.records import Job

_LARGEST = 2**63 - 1  # SQLite's largest number


def _job(row: sqlite3.Row) -> Job:
    def parsed(text: str | None) -> Any:
        return None if text is None else json.loads(text)

    return Job(
        row["id"], row["kind"], row["status"], json.loads(row["config"]), parsed(row["resolved"]),
        row["round_id"], row["requested_by"], row["progress"], row["message"],
        row["seconds_left"], row["attempts"], bool(row["stop_requested"]), parsed(row["result"]),
        row["error"], row["created_at"], row["started_at"], row["finished_at"])


@dataclass(frozen=True)
class ListedJob:
    """What a list of jobs shows of one."""

    id: int
    kind: str
    status: str


class Jobs:
    """The work that takes long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kind: str, config: Mapping[str, Any] | None = None,
            requested_by: int | None = None) -> Job:
        """Queue a job; `config` holds what differs from the workspace's settings.

        Raises:
            BadInput: it is to sample a round, and another one is to already.
        """
        with self._database.write():
            if kind == "sample":
                self._require_no_sampling()
            return self.get(self._database.insert("jobs", {
                "kind": kind, "config": dict(config or {}), "requested_by": requested_by,
                "created_at": now()}))

    def get(self, job_id: int) -> Job:
        """One job. Raises NotFound."""
        row = None if abs(job_id) > _LARGEST else self._database.row(
            "SELECT * FROM jobs WHERE id = ?", [job_id])
        if row is None:
            raise NotFound(f"there is no job {job_id}")
        return _job(row)

    def all(self, status: str | None = None, limit: int = 1000) -> list[Job]:
        """Jobs (of one status), newest first."""
        return [_job(row) for row in self._database.rows(
            "SELECT * FROM jobs WHERE :status IS NULL OR status = :status "
            "ORDER BY id DESC LIMIT :limit", {"status": status, "limit": limit})]

    def listed(self) -> list[ListedJob]:
        """Every job, newest first, without what it was asked and what came out, which is long."""
        return [ListedJob(**dict(row)) for row in self._database.rows(
            "SELECT id, kind, status FROM jobs ORDER BY id DESC")]

    def unfinished(self, kind: str) -> list[Job]:
        """Jobs of a kind that run or wait for their turn; one that runs comes first."""
        return [job for status in ("running", "queued") for job in self.all(status)
                if job.kind == kind]

    def claim(self, job_id: int | None = None) -> Job | None:
        """Take the oldest queued job (or the given one) and mark it running; None if none."""
        with self._database.write() as db:
            row = db.conn.execute(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, "
                "started_at = coalesce(started_at, :now) WHERE id = (SELECT id FROM jobs "
                "WHERE status = 'queued' AND (:job IS NULL OR id = :job) ORDER BY id LIMIT 1) "
                "RETURNING *", {"job": job_id, "now": now()}).fetchone()
            return None if row is None else _job(row)

    def set_resolved(self, job_id: int, resolved: Mapping[str, Any]) -> None:
        """Keep the full config that the job really runs with."""
        self._set(job_id, resolved=to_json(finite(resolved)))

    def set_round(self, job_id: int, round_id: int) -> None:
        """Keep which round a job works for, so that it goes on with that one if it is resumed."""
        self._set(job_id, round_id=round_id)

    def set_progress(self, job_id: int, progress: float, message: str,
                     seconds_left: float | None = None) -> bool:
        """Say how far a job is, which is not done before `finish`; returns whether it was asked to
        stop."""
        self._set(job_id, progress=min(progress, ALMOST), message=message,
                  seconds_left=seconds_left)
        return self.get(job_id).stop_requested

    def add_metrics(self, job_id: int, step: int, metrics: Mapping[str, Any]) -> None:
        """Store a step's metrics, in the place of those that a run which was killed stored of it
        and of later steps: a resumed one has not done those yet, and may end before them."""
        with self._database.write() as db:
            db.conn.execute("DELETE FROM job_metrics WHERE job_id = ? AND step >= ?",
                            [job_id, step])
            db.conn.execute(
                "INSERT INTO job_metrics VALUES (?, ?, ?, ?)",
                [job_id, step, to_json(finite(metrics)), now()])

    def metrics(self, job_id: int) -> list[dict[str, Any]]:
        """A job's metrics, one dict a step (with `step`), in order."""
        return [{"step": row["step"], **json.loads(row["metrics"])} for row in self._database.rows(
            "SELECT * FROM job_metrics WHERE job_id = ? ORDER BY step", [job_id])]

    def finish(self, job_id: int, result: Mapping[str, Any]) -> None:
        """Mark a job done."""
        self._set(job_id, status="done", progress=1.0, seconds_left=0.0, finished_at=now(),
                  result=to_json(finite(result)), error=None)

    def fail(self, job_id: int, error: str) -> None:
        """Mark a job failed, with the reason in one line."""
        self._set(job_id, status="failed", seconds_left=None, finished_at=now(), error=error)

    def stopped(self, job_id: int) -> None:
        """Mark a job stopped on request."""
        self._set(job_id, status="stopped", seconds_left=None, finished_at=now())

    def requeue(self, job_id: int, message: str, died: bool = False) -> None:
        """Put a job back into the queue, to go on from its last checkpoint; how it ended before is
        forgotten.

        `died`: its process ended without being asked to, so that its attempts go on counting.
        """
        attempts = {} if died else {"attempts": 0}
        self._set(job_id, status="queued", message=message, seconds_left=None, stop_requested=0,
                  finished_at=None, error=None, **attempts)

    def put_back(self, job_id: int, message: str, died: bool = False) -> bool:
        """Queue a job again whose process is gone, or mark it stopped, if it was asked to stop.

        Returns whether it was queued. One that has ended stays as it ended.
        """
        with self._database.write():
            job = self.get(job_id)
            if job.status != "running":
                return False
            if job.stop_requested:
                self.stopped(job_id)
                return False
            self.requeue(job_id, message, died)
            return True

    def resume(self, job_id: int, changes: Mapping[str, Any] | None = None) -> Job:
        """Queue a stopped or failed job again, to go on from its last checkpoint; one that is
        queued or runs is left as it is, and no longer asked to stop. With `changes` to its config.

        Raises:
            NotFound: there is no such job.
            BadInput: it is done, or it is to open a round, and another one is to already.
        """
        with self._database.write():
            job = self.get(job_id)
            if job.status == "done":
                raise BadInput(f"job {job.id} is done")
            if job.status in ("failed", "stopped"):
                if job.kind == "sample" and job.round_id is None:
                    self._require_no_sampling()
                self.requeue(job.id, "goes on from its last checkpoint")
            elif job.stop_requested:  # where it was killed since, it would end as it is taken up
                self._set(job.id, stop_requested=0)
            if changes:
                self._set(job.id, config=to_json({**job.config, **changes}))
                if job.resolved is not None:
                    self.set_resolved(job.id, {**job.resolved, **changes})
            return self.get(job_id)

    def request_stop(self, job_id: int) -> None:
        """Ask a running job to stop at its next step; a queued one is stopped at once."""
        with self._database.write() as db:
            db.conn.execute(
                "UPDATE jobs SET stop_requested = 1, "
                "finished_at = CASE status WHEN 'queued' THEN ? ELSE finished_at END, "
                "status = CASE status WHEN 'queued' THEN 'stopped' ELSE status END "
                "WHERE id = ? AND status IN ('queued', 'running')", [now(), job_id])

    def _require_no_sampling(self) -> None:
        """Refuse to sample a new round while another one's sampling waits or goes on: the new one
        would close that round before anybody has labeled it."""
        if unfinished := self.unfinished("sample"):
            job = unfinished[0]
            raise BadInput(f"job {job.id} is to sample a round already, which another one would "
                           f"close unlabeled: go on with job {job.id}, by `prefloop sample "
                           f"--resume {job.id}`, or stop it first, by `prefloop stop {job.id}` or "
                           "on the Jobs page")

    def _set(self, job_id: int, **columns: Any) -> None:
        names = ", ".join(f"{name} = :{name}" for name in columns)
        with self._database.write() as db:
            db.conn.execute(f"UPDATE jobs SET {names} WHERE id = :id", {**columns, "id": job_id})
