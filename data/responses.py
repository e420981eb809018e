"""Responses: samples of a policy version, or texts that came with imported preferences."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence

from data.database import Database, now
from data.errors import NotFound
from data.plain_json import to_json
from data.prompts import cluster_of
from data.records import NewResponse, Response


def _response(row: sqlite3.Row) -> Response:
    return Response(
        row["id"], row["prompt_id"], row["policy_version_id"], row["round_id"], row["text"],
        json.loads(row["token_ids"]), json.loads(row["sampling"]), row["seed"],
        row["sample_index"], row["finish_reason"], row["logprob"], row["source"],
        row["created_at"])


class Responses:
    """What models wrote."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, responses: Iterable[NewResponse]) -> list[int]:
        """Store responses in one transaction; returns their ids, in order.

        Raises:
            sqlite3.IntegrityError: one was stored before (same round, prompt, version, seed and
                sample index).
        """
        with self._database.write():
            return [self._database.insert("responses", {
                "prompt_id": r.prompt_id, "policy_version_id": r.policy_version_id,
                "round_id": r.round_id, "text": r.text, "token_ids": r.token_ids,
                "sampling": r.sampling, "seed": r.seed, "sample_index": r.sample_index,
                "finish_reason": r.finish_reason, "logprob": r.logprob, "source": r.source,
                "created_at": now()}) for r in responses]

    def get(self, ids: Sequence[int]) -> list[Response]:
        """Responses by id, in the order asked for. Raises NotFound."""
        found = {row["id"]: _response(row) for row in self._database.rows(
            "SELECT * FROM responses WHERE id IN (SELECT value FROM json_each(?))",
            [to_json(list(ids))])}
        missing = [i for i in ids if i not in found]
        if missing:
            raise NotFound(f"there is no response {missing[0]}")
        return [found[i] for i in ids]

    def stored_at(self, ids: Sequence[int]) -> dict[int, str]:
        """When each was stored, by id, of those that there are."""
        return {row["id"]: row["created_at"] for row in self._database.rows(
            "SELECT id, created_at FROM responses WHERE id IN (SELECT value FROM json_each(?))",
            [to_json(list(ids))])}

    def clusters(self, ids: Iterable[int]) -> dict[int, int]:
        """The cluster of each one's prompt (`data.prompts.cluster_of`), by id, of those that there
        are."""
        of_prompt: dict[int, int] = {}
        rows = self._database.rows(
            "SELECT id, prompt_id FROM responses WHERE id IN (SELECT value FROM json_each(?))",
            [to_json(list(ids))])
        for row in self._database.rows(
                "SELECT id, messages FROM prompts WHERE id IN (SELECT value FROM json_each(?))",
                [to_json(list({row["prompt_id"] for row in rows}))]):
            of_prompt[row["id"]] = cluster_of(json.loads(row["messages"]))
        return {row["id"]: of_prompt[row["prompt_id"]] for row in rows}

    def of_round(self, round_id: int, policy_version_id: int | None = None) -> list[Response]:
        """The responses sampled for a round (by one policy version), oldest first."""
        return [_response(row) for row in self._database.rows(
            "SELECT * FROM responses WHERE round_id = :round AND source = 'sample' "
            "AND (:version IS NULL OR policy_version_id = :version) ORDER BY id",
            {"round": round_id, "version": policy_version_id})]

    def lengths(self, ids: Collection[int]) -> dict[int, int]:
        """Characters of some responses, by id, without reading the texts."""
        return {row["id"]: row["length"] for row in self._database.rows(
            "SELECT id, length(text) AS length FROM responses "
            "WHERE id IN (SELECT value FROM json_each(?))", [to_json(sorted(ids))])}

    def all(self) -> list[Response]:
        """Every response, oldest first."""
        return [_response(row) for row in self._database.rows(
            "SELECT * FROM responses ORDER BY id")]
