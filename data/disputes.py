"""The tasks on which labelers disagree most, for a lead to decide, and those that one has decided.

Only what was answered blind counts, and not what was set aside: a decision is no further witness.
Tasks with a known answer and repeats (one labeler's own) are no disputes.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from data.store import Store

#: What a tie or "both bad" weighs beside a winner, who weighs the strength, 1 to 4.
TIE_WEIGHT = 1.0
_STRONGEST = 4.0


@dataclass(frozen=True)
class Dispute:
    """A task that labelers answered differently, or that a lead has decided.

    `heat` runs from 0 (all agreed) up: see `heat_of`. `answers` counts the blind ones, of which a
    task that was decided may have none.
    """

    task_id: int
    heat: float
    answers: int
    decided: bool


def disputes(store: Store, round_id: int | None = None) -> list[Dispute]:
    """Every task (of a round) that two labelers or more answered differently, hottest first.

    What is decided stays among them, however the answers stand by now: a decision is changed here
    alone.
    """
    values = {"round": round_id}
    votes: dict[int, dict[tuple[int, int], dict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(float)))
    said: Counter[int] = Counter()
    for row in store.database.each(_VOTES, values):
        votes[row["task_id"]][row["first"], row["second"]][row["outcome"]] += row["weight"]
        said[row["task_id"]] += 1
    decided = {row["task_id"] for row in store.database.each(_DECIDED, values)}
    found = []
    for task_id in votes.keys() | decided:
        pairs = votes.get(task_id, {})
        answers = said[task_id] // max(1, len(pairs))  # each says something of every pair
        heat = sum(heat_of(outcomes, answers) for outcomes in pairs.values()) / max(1, len(pairs))
        if heat > 0 or task_id in decided:
            found.append(Dispute(task_id, heat, answers, task_id in decided))
    return sorted(found, key=lambda dispute: (-dispute.heat, dispute.task_id))


def any_answered_twice(store: Store, round_id: int | None = None) -> bool:
    """Whether there is a task (of a round) with two answers that could differ."""
    return store.database.row(f"SELECT 1 {_BLIND} GROUP BY c.task_id HAVING count(*) > 1 LIMIT 1",
                              {"round": round_id}) is not None


def heat_of(outcomes: Mapping[str, float], answers: int) -> float:
    """How hot one pair of responses is, from the weight that each outcome got.

    The entropy of the outcomes in bits, −Σ p log₂ p with p an outcome's share of the weight, times
    the mean weight of an answer over the greatest possible: two who say "significantly better" of
    different sides (1.0) contradict each other more than two who say "negligibly" (0.25). Three
    outcomes can pass 1.
    """
    total = sum(outcomes.values())
    shares = [weight / total for weight in outcomes.values() if weight > 0]
    return entropy(shares) * total / answers / _STRONGEST


def entropy(shares: Iterable[float]) -> float:
    """−Σ p log₂ p, in bits; exactly 0 where all is one."""
    return sum(-p * math.log2(p) for p in shares if p < 1)


_OF_ROUND = "t.purpose IN ('train', 'evaluate') AND (:round IS NULL OR t.round_id = :round)"
_DECIDED = f"""
    SELECT DISTINCT d.task_id FROM counted_decisions d JOIN tasks t ON t.id = d.task_id
    WHERE {_OF_ROUND}"""
# Pairs are entered by response id, so sides are undone. A task needs two answers to be disputed,
# and `labels` (which counts them) is cheap to ask first; one that is decided may have fewer.
_BLIND = f"""
    FROM tasks t JOIN blind_comparisons c ON c.task_id = t.id
    WHERE (t.labels > 1 OR t.id IN ({_DECIDED})) AND {_OF_ROUND}"""
_VOTES = f"""
    SELECT f.task_id, min(f.chosen_id, f.rejected_id) AS first,
        max(f.chosen_id, f.rejected_id) AS second,
        CASE WHEN f.strength = 0 THEN 'tie' WHEN f.chosen_id < f.rejected_id THEN 'first'
            ELSE 'second' END AS outcome,
        CASE WHEN f.strength = 0 THEN {TIE_WEIGHT} ELSE f.strength END AS weight
    FROM preferences f WHERE f.comparison_id IN (SELECT c.id {_BLIND})"""
