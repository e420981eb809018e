"""How much each person has done, and when they were last here."""

from __future__ import annotations

from dataclasses import dataclass

from data.database import now
from data.store import Store


@dataclass(frozen=True)
class Activity:
    """One person's answers: in all, of the open round, first given today by UTC.

    Leads' decisions are left out, as in all figures: they were not given blind.
    """

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
    decided = _decided(store, turn.id if turn else None)
    found = {}
    for person in store.people.all():
        in_all, in_round, since = decided.get(person.id, (0, 0, 0))
        found[person.id] = Activity(
            store.comparisons.count(person.id) - in_all,
            store.comparisons.count(person.id, turn.id) - in_round if turn else 0,
            today.get(person.id, 0) - since, seen.get(person.id))
    return found


def _decided(store: Store, round_id: int | None) -> dict[int, tuple[int, int, int]]:
    """How many of each labeler's standing answers are decisions: in all, of the round, and of
    tasks that they first answered today."""
    return {row["labeler_id"]: (row["n"], row["in_round"], row["today"])
            for row in store.database.rows("""
        SELECT d.labeler_id, count(*) AS n, sum(coalesce(t.round_id = :round, 0)) AS in_round,
        sum((SELECT min(c.created_at) FROM comparisons c WHERE c.task_id = d.task_id
             AND c.labeler_id = d.labeler_id) >= :day) AS today
        FROM current_decisions d JOIN tasks t ON t.id = d.task_id GROUP BY d.labeler_id""",
        {"round": round_id, "day": now()[:10]})}


def latest_answer(store: Store) -> int:
    """A number that grows with every answer, revision and decision: what figures depend on."""
    return int(store.database.value("SELECT coalesce(max(id), 0) FROM comparisons"))
