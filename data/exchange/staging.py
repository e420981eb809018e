"""What an import has read, kept outside the workspace's tables until all of it is known to be good.

Two steps. While a file is read, its checked prompts and answers go into temporary tables of this
connection: on disk and not in memory, seen by nobody else, holding no lock, gone with the process.
Then `commit` copies them in one transaction, so that a failure at any moment (an error, a kill, a
full disk) leaves nothing of the import behind. Only that transaction makes others' writes wait;
readers never wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from data.database import Database, now
from data.exchange.judgements import Judgement
from data.exchange.storing import store_answer
from data.plain_json import to_json
from data.prompts import fingerprint, split_of
from data.records import Message

#: `n` numbers the rows; new responses and tasks get their ids by it, so that none is looked up.
_TABLES = {
    "staged_prompts": "mark TEXT NOT NULL UNIQUE, messages TEXT NOT NULL, split TEXT NOT NULL, "
                      "tags TEXT NOT NULL",
    "staged_texts": "prompt INTEGER NOT NULL, digest BLOB NOT NULL, text TEXT NOT NULL, "
                    "UNIQUE (prompt, digest)",
    "staged_known": "text INTEGER NOT NULL UNIQUE, response_id INTEGER NOT NULL",
    "staged_tasks": "record TEXT NOT NULL UNIQUE, prompt INTEGER NOT NULL, texts TEXT NOT NULL, "
                    "task_id INTEGER, fresh INTEGER NOT NULL DEFAULT 0",
    "staged_answers": "task INTEGER NOT NULL, annotator TEXT NOT NULL, key TEXT NOT NULL, "
                      "answer TEXT NOT NULL, UNIQUE (task, annotator)",
}
_DROP = [f"DROP TABLE IF EXISTS temp.{table}" for table in _TABLES]

# Answers that stand in the workspace already, from whatever file, then what only they needed. An
# answer that was changed since does not stand: who comes back to it says it anew, and the keys of
# later revisions have their number behind.
_PRUNE = """
    DELETE FROM temp.staged_answers WHERE EXISTS (
        SELECT 1 FROM comparisons c WHERE (c.submission_key = staged_answers.key
            OR (c.submission_key > staged_answers.key || '/'
                AND c.submission_key < staged_answers.key || '0'))
        AND NOT EXISTS (SELECT 1 FROM comparisons later WHERE later.task_id = c.task_id
            AND later.labeler_id = c.labeler_id AND later.revision > c.revision));
    DELETE FROM temp.staged_tasks WHERE n NOT IN (SELECT task FROM temp.staged_answers);
    DELETE FROM temp.staged_prompts WHERE n NOT IN (SELECT prompt FROM temp.staged_tasks)"""
_PROMPTS = """
    INSERT INTO prompts (messages, fingerprint, source, split, tags, created_at)
    SELECT messages, mark, :source, split, tags, :now FROM temp.staged_prompts s
    WHERE NOT EXISTS (SELECT 1 FROM prompts p WHERE p.fingerprint = s.mark) ORDER BY n"""
# A record that an earlier import brought keeps its task; its answers' keys begin with the record.
_TASKS_AND_RESPONSES = """
    UPDATE temp.staged_tasks SET task_id = (
        SELECT c.task_id FROM comparisons c WHERE c.submission_key > 'imported/' || record || '/'
        AND c.submission_key < 'imported/' || record || '0' LIMIT 1);
    UPDATE temp.staged_tasks SET fresh = 1, task_id = n + (SELECT coalesce(max(id), 0) FROM tasks)
    WHERE task_id IS NULL;
    INSERT INTO temp.staged_known (text, response_id)
    SELECT x.n, min(r.id) FROM temp.staged_texts x
    CROSS JOIN temp.staged_prompts s ON s.n = x.prompt
    CROSS JOIN prompts p ON p.fingerprint = s.mark
    CROSS JOIN responses r ON r.prompt_id = p.id AND r.source = 'import' AND r.text = x.text
    GROUP BY x.n;
    INSERT INTO responses (id, prompt_id, text, finish_reason, source, created_at)
    SELECT x.n + :last_response, p.id, x.text, 'import', 'import', :now FROM temp.staged_texts x
    CROSS JOIN temp.staged_prompts s ON s.n = x.prompt
    CROSS JOIN prompts p ON p.fingerprint = s.mark
    WHERE x.n NOT IN (SELECT text FROM temp.staged_known)
    AND x.n IN (SELECT j.value FROM temp.staged_tasks k, json_each(k.texts) j WHERE k.fresh)
    ORDER BY x.n;
    INSERT INTO tasks (id, prompt_id, purpose, wanted, labels, created_at)
    SELECT k.task_id, p.id, 'train', 1,
        (SELECT count(*) FROM temp.staged_answers a WHERE a.task = k.n), :now
    FROM temp.staged_tasks k CROSS JOIN temp.staged_prompts s ON s.n = k.prompt
    CROSS JOIN prompts p ON p.fingerprint = s.mark WHERE k.fresh ORDER BY k.n;
    INSERT INTO task_responses (task_id, position, response_id)
    SELECT k.task_id, j.key, coalesce(
        (SELECT response_id FROM temp.staged_known WHERE text = j.value),
        j.value + :last_response)
    FROM temp.staged_tasks k, json_each(k.texts) j WHERE k.fresh ORDER BY k.n, j.key"""
_ANSWERS = """
    SELECT a.annotator, a.key, a.answer, k.task_id, t.prompt_id, (
        SELECT json_group_array(response_id) FROM (
            SELECT response_id FROM task_responses r WHERE r.task_id = k.task_id
            ORDER BY position)) AS responses
    FROM temp.staged_answers a JOIN temp.staged_tasks k ON k.n = a.task
    JOIN tasks t ON t.id = k.task_id ORDER BY json_extract(a.answer, '$.decision'), a.n"""
# New tasks have counted all their answers, which is wrong where an annotator is set aside. (Where
# one is a decision, the trigger has uncounted it.)
_RECOUNT = """
    UPDATE tasks SET labels = (SELECT count(*) FROM placed_comparisons c
        WHERE c.task_id = tasks.id)
    WHERE id IN (SELECT task_id FROM temp.staged_tasks WHERE NOT fresh OR EXISTS (
        SELECT 1 FROM labelers l WHERE l.set_aside_at IS NOT NULL))"""


class Staging:
    """Prompts and answers on their way into the workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_prompt(self, messages: list[Message], tags: Sequence[str] = ()) -> int:
        """Keep a prompt (once); returns its number here."""
        mark = fingerprint(messages)
        return self._number(
            "INSERT OR IGNORE INTO temp.staged_prompts (mark, messages, split, tags) "
            "VALUES (?, ?, ?, ?)", [mark, to_json(messages), split_of(messages),
                                    to_json(list(tags))],
            "SELECT n FROM temp.staged_prompts WHERE mark = ?", [mark])

    def add(self, judgement: Judgement, key: str = "") -> Literal["new", "same", "later"]:
        """Keep an answer (settled). `same`: it was here; `later`: it replaces an earlier one of
        the same annotator. `key` is for answers whose annotators the file does not tell apart.
        """
        prompt = self.add_prompt(judgement.messages, judgement.tags)
        texts = []
        for text in judgement.responses:
            digest = hashlib.sha256(text.encode()).digest()
            texts.append(self._number(
                "INSERT OR IGNORE INTO temp.staged_texts (prompt, digest, text) VALUES (?, ?, ?)",
                [prompt, digest, text],
                "SELECT n FROM temp.staged_texts WHERE prompt = ? AND digest = ?",
                [prompt, digest]))
        record = key or judgement.record
        task = self._number(
            "INSERT OR IGNORE INTO temp.staged_tasks (record, prompt, texts) VALUES (?, ?, ?)",
            [record, prompt, to_json(texts)],
            "SELECT n FROM temp.staged_tasks WHERE record = ?", [record])
        key = f"imported/{key}" if key else f"imported/{record}/{judgement.said}"
        there = self._database.row(
            "SELECT n, key FROM temp.staged_answers WHERE task = ? AND annotator = ?",
            [task, judgement.annotator])
        if there is None:
            self._database.rows(
                "INSERT INTO temp.staged_answers (task, annotator, key, answer) "
                "VALUES (?, ?, ?, ?)", [task, judgement.annotator, key, _answer(judgement)])
            return "new"
        if there["key"] == key:
            return "same"
        self._database.rows("UPDATE temp.staged_answers SET key = ?, answer = ? WHERE n = ?",
                            [key, _answer(judgement), there["n"]])
        return "later"

    def holds(self, key: str) -> bool:
        """Whether an answer of such a key is here."""
        return bool(self._database.value(
            "SELECT count(*) FROM temp.staged_tasks WHERE record = ?", [key]))

    def prompts(self) -> int:
        """How many different ones are here."""
        return int(self._database.value("SELECT count(*) FROM temp.staged_prompts"))

    def answers(self) -> int:
        """How many are here."""
        return int(self._database.value("SELECT count(*) FROM temp.staged_answers"))

    def decisions(self) -> int:
        """How many of them are leads' decisions."""
        return int(self._database.value("SELECT count(*) FROM temp.staged_answers "
                                        "WHERE json_extract(answer, '$.decision')"))

    def annotators(self) -> list[str]:
        """Everybody who has an answer here that the workspace does not hold yet."""
        return [row["annotator"] for row in self._database.rows(
            "SELECT annotator FROM temp.staged_answers GROUP BY annotator ORDER BY min(n)")]

    def commit_prompts(self, source: str) -> int:
        """Copy the prompts; returns how many were new. In the caller's transaction."""
        with self._database.write() as db:
            return int(db.conn.execute(_PROMPTS, {"source": source, "now": now()}).rowcount)

    def prune(self) -> None:
        """Forget the answers that stand in the workspace. In the caller's transaction."""
        with self._database.write() as db:
            for statement in _PRUNE.split(";"):
                db.conn.execute(statement)

    def commit(self, source: str, labelers: dict[str, int]) -> int:
        """Copy prompts, responses, tasks and answers; returns how many answers were new.

        `labelers` gives each of `annotators` an id. In the caller's transaction, after `prune`.
        """
        moment = now()
        with self._database.write() as db:
            self.commit_prompts(source)
            last = self._database.value("SELECT coalesce(max(id), 0) FROM responses")
            for statement in _TASKS_AND_RESPONSES.split(";"):
                db.conn.execute(statement, {"last_response": last, "now": moment})
            count = 0
            for row in db.conn.execute(_ANSWERS):
                count += store_answer(db.conn, row, labelers[row["annotator"]], moment)
            db.conn.execute(_RECOUNT)
        return count

    def _number(self, insert: str, values: list[Any], select: str, key: list[Any]) -> int:
        found = self._database.value(select, key)
        if found is None:
            self._database.rows(insert, values)
            found = self._database.value(select, key)
        return int(found)


@contextmanager
def staging(database: Database) -> Iterator[Staging]:
    """Temporary tables for one import; they are gone afterwards, whatever happens."""
    try:
        for statement in _DROP:
            database.rows(statement)
        for table, columns in _TABLES.items():
            database.rows(f"CREATE TEMP TABLE {table} (n INTEGER PRIMARY KEY, {columns})")
        yield Staging(database)
    finally:
        for statement in _DROP:
            database.rows(statement)


def _answer(judgement: Judgement) -> str:
    return to_json({name: getattr(judgement, name) for name in (
        "ranking", "strength", "verdict", "rationale", "seconds", "active_seconds", "shown",
        "decision", "note")} | {
        "scores": {str(p): score for p, score in judgement.scores.items()},
        "flags": {str(p): flags for p, flags in judgement.flags.items()}})
