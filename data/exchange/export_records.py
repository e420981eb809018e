"""What an export holds: the query behind each kind, and the record that a row becomes.

Readers such as `datasets` take a column's type from the first rows that they see. So every list has
a type to show, and `ordered` puts, for each column that may be empty, a row where it is not in
front. Only ids are sorted; texts are read one row at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from sqlite3 import Row
from typing import Any

from data.database import Database
from data.exchange.own_comparisons import joined

Record = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """One kind of export. `select` has {rows} where the table of its rows stands, as `c`."""

    select: str
    record: Callable[[Row], Record]
    view: str
    """The rows there are to export; they have an `id`, which is their table's."""
    table: str
    nullable: tuple[str, ...] = ()
    """Expressions over `view` (as v) that give the columns which may be empty."""

    @property
    def query(self) -> str:
        """All rows, in no order, with their `id`."""
        return self.select.format(rows=f"{self.view} c")

    def ordered(self, database: Database, by_task: bool = False) -> Iterator[Row]:
        """All rows by their ids, after those that show the columns' types; or strictly by task."""
        first, order = [], "task_id, id" if by_task else "id"
        if self.nullable and not by_task:
            shows = ", ".join(f"min(CASE WHEN {column} IS NOT NULL THEN v.id END)"
                              for column in self.nullable)
            found = database.row(f"SELECT {shows} FROM {self.view} v")
            first = sorted({number for number in tuple(found or ()) if number is not None})
        marks = ", ".join(map(str, first)) or "NULL"
        # With a limit, SQLite keeps the order of a part of a query; the loops over it keep it too.
        rows = f"ids CROSS JOIN {self.table} c ON c.id = ids.id"
        yield from database.each(
            f"WITH ids AS MATERIALIZED (SELECT id FROM {self.view} v "
            f"ORDER BY id IN ({marks}) DESC, {order} LIMIT -1) {self.select.format(rows=rows)}")


_ROUND = "(SELECT t.round_id FROM tasks t WHERE t.id = v.task_id)"

_PREFERENCES = """
    SELECT c.*, p.messages, p.split, chosen.text AS chosen_text, rejected.text AS rejected_text,
        coalesce(chosen_by.name, chosen.source) AS chosen_policy,
        coalesce(rejected_by.name, rejected.source) AS rejected_policy,
        l.name AS labeler, l.kind AS labeler_kind,
        l.set_aside_at IS NOT NULL AS set_aside, t.purpose, r.number AS round
    FROM {rows} CROSS JOIN prompts p ON p.id = c.prompt_id
    CROSS JOIN tasks t ON t.id = c.task_id CROSS JOIN labelers l ON l.id = c.labeler_id
    CROSS JOIN responses chosen ON chosen.id = c.chosen_id
    CROSS JOIN responses rejected ON rejected.id = c.rejected_id
    LEFT JOIN policy_versions chosen_by ON chosen_by.id = chosen.policy_version_id
    LEFT JOIN policy_versions rejected_by ON rejected_by.id = rejected.policy_version_id
    LEFT JOIN rounds r ON r.id = t.round_id"""


def _preference(row: Row) -> Record:
    return {
        "prompt": json.loads(row["messages"]),
        "chosen": [{"role": "assistant", "content": row["chosen_text"]}],
        "rejected": [{"role": "assistant", "content": row["rejected_text"]}],
        "strength": row["strength"], "labeler": row["labeler"],
        "labeler_kind": row["labeler_kind"], "set_aside": bool(row["set_aside"]),
        "purpose": row["purpose"], "split": row["split"],
        "round": row["round"], "chosen_policy": row["chosen_policy"],
        "rejected_policy": row["rejected_policy"], "prompt_id": row["prompt_id"],
        "task_id": row["task_id"], "comparison_id": row["comparison_id"],
        "chosen_id": row["chosen_id"], "rejected_id": row["rejected_id"]}


_COMPARISONS = """
    SELECT c.*, t.purpose, t.prompt_id, p.messages, p.split, l.name AS labeler,
        l.kind AS labeler_kind, l.set_aside_at IS NOT NULL AS set_aside, r.number AS round,
        d.comparison_id IS NOT NULL AS decision, coalesce(d.overrides, '[]') AS overrides,
        coalesce(d.note, '') AS note, (
            SELECT max(k.comparison_id) FROM counted_decisions k WHERE k.task_id = c.task_id
        ) AS decided_by, (
            SELECT json_group_array(json_object('id', s.id, 'text', s.text, 'policy',
                coalesce(v.name, s.source), 'position', tr.position))
            FROM task_responses tr JOIN responses s ON s.id = tr.response_id
            LEFT JOIN policy_versions v ON v.id = s.policy_version_id
            WHERE tr.task_id = c.task_id) AS responses
    FROM {rows} CROSS JOIN tasks t ON t.id = c.task_id
    CROSS JOIN prompts p ON p.id = t.prompt_id CROSS JOIN labelers l ON l.id = c.labeler_id
    LEFT JOIN decisions d ON d.comparison_id = c.id
    LEFT JOIN rounds r ON r.id = t.round_id"""


def _comparison(row: Row) -> Record:
    flags, scores = json.loads(row["flags"]), json.loads(row["scores"])
    found = sorted(json.loads(row["responses"]), key=lambda r: int(r.pop("position")))
    responses = [{**r, "flags": joined(flags.get(str(r["id"]), [])),
                  "score": scores.get(str(r["id"]))} for r in found]
    return {
        "prompt": json.loads(row["messages"]), "responses": responses,
        "ranking": json.loads(row["ranking"]), "strength": row["strength"],
        "verdict": row["verdict"], "rationale": row["rationale"],
        "shown": json.loads(row["shown"]), "seconds": row["seconds"],
        "active_seconds": row["active_seconds"], "revision": row["revision"],
        "question_version": row["question_version"],
        "guidelines_version": row["guidelines_version"], "labeler": row["labeler"],
        "labeler_kind": row["labeler_kind"], "set_aside": bool(row["set_aside"]),
        "decision": bool(row["decision"]), "overrides": json.loads(row["overrides"]),
        "note": row["note"],
        "purpose": row["purpose"], "split": row["split"],
        "round": row["round"], "prompt_id": row["prompt_id"], "task_id": row["task_id"],
        "comparison_id": row["id"], "created_at": row["created_at"]}


_RESPONSES = """
    SELECT c.*, p.messages, p.split, v.name AS policy, r.number AS round
    FROM {rows} CROSS JOIN prompts p ON p.id = c.prompt_id
    LEFT JOIN policy_versions v ON v.id = c.policy_version_id
    LEFT JOIN rounds r ON r.id = c.round_id"""


def _response(row: Row) -> Record:
    return {
        "prompt": json.loads(row["messages"]), "text": row["text"],
        "policy": row["policy"] or row["source"], "source": row["source"],
        "finish_reason": row["finish_reason"], "logprob": row["logprob"],
        "token_ids": json.loads(row["token_ids"]), "sampling": row["sampling"],
        "seed": row["seed"], "sample_index": row["sample_index"], "split": row["split"],
        "round": row["round"], "prompt_id": row["prompt_id"], "response_id": row["id"],
        "created_at": row["created_at"]}


_DEMONSTRATIONS = """
    SELECT c.*, p.messages, p.split, s.text AS rewritten, coalesce(v.name, s.source) AS policy,
        l.name AS labeler, l.kind AS labeler_kind, l.set_aside_at IS NOT NULL AS set_aside,
        t.purpose, t.id AS task_id, r.number AS round
    FROM {rows} CROSS JOIN comparisons k ON k.id = c.comparison_id
    CROSS JOIN tasks t ON t.id = k.task_id CROSS JOIN prompts p ON p.id = c.prompt_id
    CROSS JOIN responses s ON s.id = c.response_id CROSS JOIN labelers l ON l.id = c.labeler_id
    LEFT JOIN policy_versions v ON v.id = s.policy_version_id
    LEFT JOIN rounds r ON r.id = t.round_id"""


def _demonstration(row: Row) -> Record:
    return {
        "prompt": json.loads(row["messages"]),
        "completion": [{"role": "assistant", "content": row["text"]}],
        "rewritten": row["rewritten"], "policy": row["policy"], "labeler": row["labeler"],
        "labeler_kind": row["labeler_kind"], "set_aside": bool(row["set_aside"]),
        "purpose": row["purpose"], "split": row["split"],
        "round": row["round"], "prompt_id": row["prompt_id"], "response_id": row["response_id"],
        "task_id": row["task_id"], "comparison_id": row["comparison_id"],
        "demonstration_id": row["id"], "created_at": row["created_at"]}


SOURCES: dict[str, Source] = {
    "preferences": Source(_PREFERENCES, _preference, "current_preferences", "preferences",
                          (_ROUND,)),
    "comparisons": Source(
        _COMPARISONS, _comparison, "current_comparisons", "comparisons",
        (_ROUND, "v.active_seconds", "v.question_version", "v.guidelines_version",
         "nullif(v.scores, '{}')", "nullif(v.shown, '[]')",
         "(SELECT nullif(d.overrides, '[]') FROM decisions d WHERE d.comparison_id = v.id)")),
    "responses": Source(_RESPONSES, _response, "responses", "responses",
                        ("v.round_id", "v.logprob", "nullif(v.token_ids, '[]')")),
    "demonstrations": Source(
        _DEMONSTRATIONS, _demonstration, "current_demonstrations", "demonstrations",
        ("(SELECT t.round_id FROM comparisons k JOIN tasks t ON t.id = k.task_id "
         "WHERE k.id = v.comparison_id)",))}
