"""Answers that a file brings back to the workspace that exported it, in whatever tool's shape.

They are here already, as their labelers gave them, and must not become second answers by imported
labelers. An answer is known by its task (the number, the prompt and the responses), by who gave it
and by its ranking: formats leave out the rest. One that was changed or withdrawn since is known
too, by the earlier revision. So is, but for the task's number, one that has been in another
workspace in between, which exported it with its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from data.database import Database
from data.exchange.judgements import Judgement, Origin
from data.exchange.messages import Unusable
from data.exchange.own_comparisons import annotator_of, names_of_task
from data.prompts import fingerprint, without_nul


class Homecoming:
    """What this workspace holds of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def holds(self, judgement: Judgement) -> bool:
        """Whether an answer (settled) was given here."""
        origin = judgement.origin
        return origin is not None and any(
            self._in_task(judgement, origin, row["id"]) for row in self._database.rows(
                "SELECT t.id FROM tasks t JOIN prompts p ON p.id = t.prompt_id "
                "WHERE p.fingerprint = ?", [fingerprint(judgement.messages)])
            if origin.task in ("", *names_of_task(row["id"])))

    def _in_task(self, judgement: Judgement, origin: Origin, task_id: int) -> bool:
        texts = {row["id"]: without_nul(row["text"]) for row in self._database.rows(
            "SELECT r.id, r.text FROM task_responses t JOIN responses r ON r.id = t.response_id "
            "WHERE t.task_id = ?", [task_id])}
        return any(
            annotator_of(row["name"], row["kind"]) == origin.annotator
            and _says(judgement, texts, json.loads(row["ranking"]))
            for row in self._database.rows(
                "SELECT c.ranking, l.name, l.kind FROM comparisons c "
                "JOIN labelers l ON l.id = c.labeler_id WHERE c.task_id = ?", [task_id]))


def _says(judgement: Judgement, texts: dict[int, str], ranking: Sequence[Sequence[int]]) -> bool:
    """Whether a ranking of a task's responses orders those of the judgement as it does.

    The judgement may be of two of them: a pair of the preferences that we export.
    """
    places, wanted = {one: place for place, one in enumerate(texts)}, _plain(judgement)
    groups = (tuple(places[one] for one in group if texts[one].strip() in wanted)
              for group in ranking)
    ours = Judgement(judgement.messages, tuple(texts.values()), tuple(g for g in groups if g))
    try:
        settled = ours.settled()
    except Unusable:
        return False
    return (_plain(settled), settled.ranking) == (wanted, judgement.ranking)


def _plain(judgement: Judgement) -> list[str]:
    return [text.strip() for text in judgement.responses]
