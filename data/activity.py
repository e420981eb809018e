"""How much each person has done, and when they were last here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from data.database import now
from data.store import Store


@dataclass(frozen=True)
class Activity:
    """One person's answers: in all, of the open round, first given today by UTC.

    Hidden known answers that were handed out since the round was opened count as of it, as they do
    in the person's own bar. Leads' decisions are left out, as in all figures: they were not given
    blind.
    """

    answers: int = 0
    in_round: int = 0
    today: int = 0
    last_seen: str | None = None


def activity(store: Store) -> dict[int, Activity]:
    """Everybody's, by labeler id."""
    turn = store.rounds.current()
    today = store.comparisons.given_since(now()[:10])
    in_round = Counter(store.comparisons.by_labeler(turn.id) if turn else ())
    in_round.update(store.comparisons.known_since(turn.id) if turn else ())
    seen = {row["labeler_id"]: row["seen"] for row in store.database.rows(
        "SELECT labeler_id, max(seen_at) AS seen FROM sessions GROUP BY labeler_id")}
    return {person.id: Activity(
        store.comparisons.count(person.id), in_round[person.id], today.get(person.id, 0),
        seen.get(person.id)) for person in store.people.all()}


def latest_answer(store: Store) -> int:
    """A number that grows with every answer, revision and decision, and whenever anybody's answers
    are set aside or count again: what figures depend on."""
    return int(store.database.value(
        "SELECT coalesce(max(id), 0) + (SELECT n FROM counting_changes) FROM comparisons"))
