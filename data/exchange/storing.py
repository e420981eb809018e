"""One answer of an import, out of the temporary tables and into the workspace's own.

Plain inserts instead of `Comparisons.submit`: nobody was shown these responses here, and tens of
thousands of answers share one transaction, which everybody's next answer waits for.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from data.answer_counts import IS_DECISION
from data.comparisons import comparison_of, pairs_of
from data.decisions import outcomes
from data.plain_json import to_json
from data.records import Answer


def store_answer(connection: sqlite3.Connection, row: sqlite3.Row, labeler_id: int,
                 moment: str) -> bool:
    """Insert an answer with the preferences that follow from it; of a decision also whose answers
    it overrides, so it comes after those.

    False, and nothing is stored, where the labeler has decided the task: an answer given blind does
    not undo that.
    """
    ids, said = json.loads(row["responses"]), json.loads(row["answer"])
    answer = Answer(tuple(tuple(ids[p] for p in group) for group in said["ranking"]),
                    said["strength"], said["verdict"])
    last = connection.execute(
        f"SELECT revision, {IS_DECISION} "
        "FROM comparisons c WHERE task_id = ? AND labeler_id = ? ORDER BY revision DESC LIMIT 1",
        [row["task_id"], labeler_id]).fetchone()
    if last is not None and last[1] and not said["decision"]:
        return False
    revision = 1 if last is None else last[0] + 1
    shown = to_json([ids[p] for p in said["shown"]])
    connection.execute(
        "INSERT OR IGNORE INTO assignments (task_id, labeler_id, shown, leased_at) "
        "VALUES (?, ?, ?, ?)", [row["task_id"], labeler_id, shown, moment])
    comparison_id = connection.execute(
        "INSERT INTO comparisons (task_id, labeler_id, revision, verdict, ranking, strength, "
        "flags, rationale, seconds, active_seconds, scores, shown, submission_key, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [
            row["task_id"], labeler_id, revision, answer.verdict, to_json(answer.ranking),
            answer.strength, _by_id(said["flags"], ids), said["rationale"], said["seconds"],
            said["active_seconds"], _by_id(said["scores"], ids), shown,
            row["key"] if revision == 1 else f"{row['key']}/{revision}", moment]).lastrowid
    connection.executemany(
        "INSERT INTO preferences (comparison_id, task_id, prompt_id, labeler_id, chosen_id, "
        "rejected_id, strength) VALUES (?, ?, ?, ?, ?, ?, ?)", [
            (comparison_id, row["task_id"], row["prompt_id"], labeler_id, *pair)
            for pair in pairs_of(answer)])
    if said["decision"]:
        _decide(connection, row["task_id"], labeler_id, comparison_id, answer, said["note"], moment)
    return True


def _decide(connection: sqlite3.Connection, task_id: int, labeler_id: int,
            comparison_id: int | None, answer: Answer, note: str, moment: str) -> None:
    """Let an answer stand for its task, as `Decisions.decide` does."""
    others = map(comparison_of, connection.execute(
        "SELECT * FROM current_comparisons WHERE task_id = ? AND labeler_id <> ? ORDER BY id",
        [task_id, labeler_id]))
    overrides = [c.id for c in others if outcomes(c.answer) != outcomes(answer)]
    connection.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?)", [
        comparison_id, task_id, to_json(overrides), note, moment])


def _by_id(values: dict[str, Any], ids: list[int]) -> str:
    """What was said of positions, of the responses' ids."""
    return to_json({str(ids[int(position)]): value for position, value in values.items()})
