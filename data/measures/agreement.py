"""How far labelers agree, and which habits show in their answers: sides, length, new or old policy.

Every measure takes comparisons as the store hands them out (by response id, so sides are already
undone) and gives an estimate with its interval, or None where there is nothing to count. A K-way
ranking counts as all its pairs. Simulated labelers are not told from people here: the caller
chooses whose comparisons go in, and says so beside the figure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from data.measures.statistics import Estimate, bootstrap, clustered_mean
from data.measures.votes import (
    FIRST,
    SECOND,
    TIE,
    Vote,
    first_shown,
    longer,
    share,
    shared_votes,
)
from data.records import Comparison

if TYPE_CHECKING:
    from data.store import Store

#: Published figures to show beside ours: (where, what it says).
REFERENCE_FIGURES = (
    ("InstructGPT, training labelers", "72.6 ± 1.5 %"),
    ("InstructGPT, held-out labelers", "77.3 ± 1.3 %"),
    ("Stiennon et al. 2020, summaries", "73–77 %"),
    ("Anthropic HH", "about 63 %"),
)


def percent_agreement(comparisons: Iterable[Comparison],
                      of: Iterable[Comparison] | None = None) -> Estimate | None:
    """How often two labelers say the same of the same pair; n counts pairs of labelers.

    Two ties agree; a tie and a winner do not. Clustered by task, since a third labeler's answer
    meets both the others'. With `of`, some of the comparisons, only pairs of labelers with one of
    these in them: one labeler's answers against everybody else's, say.
    """
    agree, tasks = [], []
    for votes in _units(comparisons, of):
        for a, b in combinations(votes, 2):
            agree.append(float(a.outcome == b.outcome))
            tasks.append(a.task_id)
    return clustered_mean(agree, tasks)


def agreement_by_strength(comparisons: Iterable[Comparison]) -> dict[int, Estimate]:
    """For each strength: where one labeler said it, how often another agrees on the winner.

    n counts ordered pairs of labelers, so a pair that used two strengths counts under both.
    """
    found: dict[int, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
    for votes in shared_votes(comparisons):
        for a, b in permutations(votes, 2):
            found[a.strength][0].append(float(a.outcome == b.outcome))
            found[a.strength][1].append(a.task_id)
    estimates = {strength: clustered_mean(*found[strength]) for strength in sorted(found)}
    return {strength: e for strength, e in estimates.items() if e is not None}


def krippendorff_alpha(comparisons: Iterable[Comparison],
                       of: Iterable[Comparison] | None = None) -> Estimate | None:
    """Krippendorff's nominal alpha over pairs that several labelers judged; n counts their votes.

    Each pair is entered in both orders. Otherwise alpha would depend on which response happens to
    have the lower id: where the new policy's is always the higher, a policy that is truly better
    would look like disagreement. For two labelers without ties this is 2p − 1 of their agreement
    p, up to the small-sample term. The interval is a bootstrap over tasks. None where chance
    alone explains everything (a single outcome) or no pair was judged twice. With `of` as in
    `percent_agreement`: where others judged the same pair too, each two votes are a unit.
    """
    groups = list(_units(comparisons, of))
    if not groups:
        return None
    counts = np.zeros((2 * len(groups), 3))
    for row, votes in enumerate(groups):
        for vote in votes:
            counts[2 * row, vote.outcome] += 1
            counts[2 * row + 1, (SECOND, FIRST, TIE)[vote.outcome]] += 1
    value = _alpha(counts)
    if math.isnan(value):
        return None
    numbers: dict[int, int] = {}
    task = [numbers.setdefault(votes[0].task_id, len(numbers)) for votes in groups]
    by_task = np.zeros((len(numbers), 3, 3))
    np.add.at(by_task, np.repeat(task, 2), _coincidences(counts))
    kinds, copies = np.unique(by_task, axis=0, return_counts=True)
    low, high = bootstrap(lambda drawn: _alpha_of(np.tensordot(drawn, kinds, 1)), len(numbers),
                          copies=copies)
    return Estimate(value, len({vote for votes in groups for vote in votes}), low, high)


def first_shown_wins(comparisons: Iterable[Comparison]) -> Estimate | None:
    """The share of decided pairs won by the side shown first (left); half where nobody leans.

    Imported comparisons do not say what was shown first, and do not count.
    """
    return share(first_shown(comparisons))


def longer_wins(comparisons: Iterable[Comparison],
                lengths: Mapping[int, int]) -> Estimate | None:
    """The share of decided pairs won by the longer response; pairs of equal length do not count.

    `lengths` holds the characters of every response (see `Responses.lengths`).
    """
    return share(longer(comparisons, lengths))


def win_rate(store: Store, round_id: int,
             kinds: Collection[str] | None = None) -> Estimate | None:
    """How often the round's policy beats the reference in its `evaluate` tasks; ties count half.

    `kinds` keeps the answers of some kinds of labelers only (such as `("human",)`). Clustered by
    prompt, where those that begin alike are one. None where the round samples the reference itself
    or nothing is answered yet.
    """
    turn = store.rounds.get(round_id)
    if turn.policy_version_id == turn.reference_id:
        return None
    won, responses = [], []
    # Pair by pair in SQL: a round has tens of thousands, and pages show several rounds.
    for row in store.database.rows("""
            SELECT f.chosen_id, f.strength, l.kind, chosen.policy_version_id AS winner,
                rejected.policy_version_id AS loser
            FROM tasks t JOIN blind_comparisons c ON c.task_id = t.id
            JOIN labelers l ON l.id = c.labeler_id
            JOIN preferences f ON f.comparison_id = c.id
            JOIN responses chosen ON chosen.id = f.chosen_id
            JOIN responses rejected ON rejected.id = f.rejected_id
            WHERE t.round_id = ? AND t.purpose = 'evaluate'
            ORDER BY c.id, f.id""", [round_id]):
        if {row["winner"], row["loser"]} == {turn.policy_version_id, turn.reference_id} \
                and (kinds is None or row["kind"] in kinds):
            won.append(float(row["winner"] == turn.policy_version_id) if row["strength"] else 0.5)
            responses.append(row["chosen_id"])
    clusters = store.responses.clusters(set(responses))
    return clustered_mean(won, [clusters[i] for i in responses])


def _units(comparisons: Iterable[Comparison],
           of: Iterable[Comparison] | None) -> Iterator[Sequence[Vote]]:
    """What alpha calls units: the votes on each shared pair, as far as `of` takes part in them."""
    if of is None:
        yield from shared_votes(comparisons)
        return
    inside = {(c.task_id, c.labeler_id) for c in of}
    for votes in shared_votes(comparisons):
        ours = [(vote.task_id, vote.labeler_id) in inside for vote in votes]
        if all(ours):
            yield votes
        else:
            yield from ([votes[i], votes[j]] for i, j in combinations(range(len(votes)), 2)
                        if ours[i] or ours[j])


def _alpha(counts: np.ndarray[Any, Any]) -> float:
    """The library's nominal alpha of value counts, shape [units, 3]; nan where undefined."""
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return math.nan
    import krippendorff

    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _coincidences(counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Each unit's pairable values, shape [units, 3, 3]; they add up over units."""
    total = counts.sum(axis=1)[:, None, None]
    # o_ck = n_c (n_k − [c = k]) / (m − 1)  (Krippendorff 2011)
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(3))
    return np.asarray(pairs / (total - 1))


def _alpha_of(coincidences: np.ndarray[Any, Any]) -> float:
    """Nominal alpha from summed coincidences: 1 − (n − 1) Σ_{c≠k} o_ck / Σ_{c≠k} n_c n_k."""
    marginals = coincidences.sum(axis=1)
    n = marginals.sum()
    expected = n**2 - (marginals**2).sum()
    if expected == 0:
        return math.nan
    return float(1 - (n - 1) * (n - np.trace(coincidences)) / expected)
