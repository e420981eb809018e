"""How much each person has done, and when they were last here."""

from __future__ import annotations

from dataclasses import dataclass

from data.database import now
from data.store import Store


@dataclass(frozen=True)
class Activity:
    """One person's. `in_round` counts the open round; `today` counts UTC's day."""

    answers: int = 0
    in_round: int = 0
    today: int = 0
    last_seen: str | None = None


def activity(store: Store) -> dict[int, Activity]:
    """Everybody's, by labeler id."""
    turn = store.rounds.current()
    today = {row["labeler_id"]: row["n"] for row in store.database.rows(
        "SELECT labeler_id, count(*) AS n FROM comparisons WHERE created_at >= ? "
        "AND revision = 1 GROUP BY labeler_id", [now()[:10]])}
    seen = {row["labeler_id"]: row["seen"] for row in store.database.rows(
        "SELECT labeler_id, max(seen_at) AS seen FROM sessions GROUP BY labeler_id")}
    return {person.id: Activity(
        store.comparisons.count(person.id),
        store.comparisons.count(person.id, turn.id) if turn else 0,
        today.get(person.id, 0), seen.get(person.id)) for person in store.people.all()}


def latest_answer(store: Store) -> int:
    """A number that grows with every answer, revision and decision: what figures depend on."""
    return int(store.database.value("SELECT coalesce(max(id), 0) FROM comparisons"))
