"""Policy versions and reward model versions, and the walk back from one to its labelers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from data.database import Database, now
from data.errors import NotFound
from data.plain_json import finite
from data.records import PolicyVersion, RewardModel


def _policy(row: sqlite3.Row) -> PolicyVersion:
    return PolicyVersion(
        row["id"], row["name"], row["base"], row["path"], row["method"], row["parent_id"],
        row["reward_model_id"], row["round_id"], row["job_id"], json.loads(row["config"]),
        json.loads(row["metrics"]), row["created_at"])


def _reward_model(row: sqlite3.Row) -> RewardModel:
    return RewardModel(
        row["id"], row["name"], row["base"], row["path"], row["round_id"], row["job_id"],
        json.loads(row["config"]), json.loads(row["metrics"]), row["created_at"])


class Versions:
    """What was trained, from what, into what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_policy(self, *, name: str, base: str, method: str, path: str | None = None,
                   parent_id: int | None = None, reward_model_id: int | None = None,
                   round_id: int | None = None, job_id: int | None = None,
                   config: Mapping[str, Any] | None = None,
                   metrics: Mapping[str, Any] | None = None) -> PolicyVersion:
        """Record a policy version. `path` is relative to the workspace; a metric that is no number
        (NaN, infinity) is kept as None."""
        return self.policy(self._database.insert("policy_versions", {
            "name": name, "base": base, "path": path, "method": method, "parent_id": parent_id,
            "reward_model_id": reward_model_id, "round_id": round_id, "job_id": job_id,
            "config": dict(config or {}), "metrics": finite(metrics or {}), "created_at": now()}))

    def policy(self, version_id: int) -> PolicyVersion:
        """One policy version. Raises NotFound."""
        row = self._database.row("SELECT * FROM policy_versions WHERE id = ?", [version_id])
        if row is None:
            raise NotFound(f"there is no policy version {version_id}")
        return _policy(row)

    def policy_named(self, name: str) -> PolicyVersion:
        """A policy version by name. Raises NotFound, naming those there are."""
        row = self._database.row("SELECT * FROM policy_versions WHERE name = ?", [name])
        if row is None:
            raise NotFound(f"there is no policy version {name!r}; there are: "
                           + ", ".join(v.name for v in self.policies()))
        return _policy(row)

    def policy_of_job(self, job_id: int) -> PolicyVersion | None:
        """What a job made, if it came so far before it was killed."""
        row = self._database.row("SELECT * FROM policy_versions WHERE job_id = ?", [job_id])
        return None if row is None else _policy(row)

    def policies(self) -> list[PolicyVersion]:
        """All policy versions, oldest first; the first is the frozen reference."""
        return [_policy(row) for row in self._database.rows(
            "SELECT * FROM policy_versions ORDER BY id")]

    def add_reward_model(self, *, name: str, base: str, path: str,
                         comparisons: Mapping[int, str], round_id: int | None = None,
                         job_id: int | None = None, config: Mapping[str, Any] | None = None,
                         metrics: Mapping[str, Any] | None = None) -> RewardModel:
        """Record a reward model with the comparisons it learned from (id -> split), at once; its
        metrics are kept as a policy version's are."""
        with self._database.write() as db:
            new = self._database.insert("reward_models", {
                "name": name, "base": base, "path": path, "round_id": round_id,
                "job_id": job_id, "config": dict(config or {}), "metrics": finite(metrics or {}),
                "created_at": now()})
            db.conn.executemany("INSERT INTO reward_model_comparisons VALUES (?, ?, ?)",
                                [(new, i, split) for i, split in comparisons.items()])
            return self.reward_model(new)

    def reward_model(self, version_id: int) -> RewardModel:
        """One reward model version. Raises NotFound."""
        row = self._database.row("SELECT * FROM reward_models WHERE id = ?", [version_id])
        if row is None:
            raise NotFound(f"there is no reward model version {version_id}")
        return _reward_model(row)

    def reward_model_named(self, name: str) -> RewardModel:
        """A reward model version by name. Raises NotFound, naming those there are."""
        row = self._database.row("SELECT * FROM reward_models WHERE name = ?", [name])
        if row is None:
            known = ", ".join(v.name for v in self.reward_models()) or "none yet"
            raise NotFound(f"there is no reward model {name!r}; there are: {known}")
        return _reward_model(row)

    def reward_model_of_job(self, job_id: int) -> RewardModel | None:
        """What a job made, if it came so far before it was killed."""
        row = self._database.row("SELECT * FROM reward_models WHERE job_id = ?", [job_id])
        return None if row is None else _reward_model(row)

    def reward_models(self) -> list[RewardModel]:
        """All reward model versions, oldest first."""
        return [_reward_model(row) for row in self._database.rows(
            "SELECT * FROM reward_models ORDER BY id")]

    def answers_since(self, reward_model_id: int | None, round_id: int) -> int:
        """How many of a round's answers that count in training a reward model has not learned from:
        they came after it began, or were changed or decided since. Without a model, all of them."""
        return int(self._database.value("""
            SELECT count(DISTINCT f.comparison_id) FROM tasks t
            CROSS JOIN comparisons c ON c.task_id = t.id
            CROSS JOIN counted_preferences f ON f.comparison_id = c.id
            JOIN prompts p ON p.id = t.prompt_id AND p.split = 'train'
            JOIN responses chosen ON chosen.id = f.chosen_id
            JOIN responses rejected ON rejected.id = f.rejected_id
            WHERE t.round_id = :round AND chosen.text <> rejected.text AND NOT EXISTS (
                SELECT 1 FROM reward_model_comparisons rc
                WHERE rc.reward_model_id = :model AND rc.comparison_id = f.comparison_id)""",
            {"round": round_id, "model": reward_model_id}))

    def labelers_behind(self, policy_version_id: int) -> dict[str, int]:
        """Comparisons by labeler that shaped a policy version, through all its ancestors."""
        return {row["name"]: row["n"] for row in self._database.rows("""
            WITH RECURSIVE line(id) AS (
                SELECT ? UNION SELECT p.parent_id FROM policy_versions p
                JOIN line ON p.id = line.id WHERE p.parent_id IS NOT NULL)
            SELECT l.name, count(DISTINCT c.id) AS n FROM line
            JOIN policy_versions p ON p.id = line.id
            JOIN reward_model_comparisons rc ON rc.reward_model_id = p.reward_model_id
            JOIN comparisons c ON c.id = rc.comparison_id
            JOIN labelers l ON l.id = c.labeler_id
            WHERE rc.split = 'train' GROUP BY l.id ORDER BY l.id""", [policy_version_id])}
