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
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from data.comparisons import pairs_of
from data.records import Comparison
from data.statistics import Estimate, bootstrap, clustered_mean

if TYPE_CHECKING:
    from data.store import Store

#: Published figures to show beside ours: (where, what it says).
REFERENCE_FIGURES = (
    ("InstructGPT, training labelers", "72.6 ± 1.5 %"),
    ("InstructGPT, held-out labelers", "77.3 ± 1.3 %"),
    ("Stiennon et al. 2020, summaries", "73–77 %"),
    ("Anthropic HH", "about 63 %"),
)

_FIRST, _SECOND, _TIE = range(3)


@dataclass(frozen=True)
class Vote:
    """One labeler's word on one pair of responses; `first` is the lower response id."""

    task_id: int
    labeler_id: int
    first: int
    second: int
    outcome: int
    strength: int

    @property
    def winner(self) -> int | None:
        """The response id that won, None for a tie."""
        return (self.first, self.second, None)[self.outcome]


def votes_of(comparison: Comparison) -> list[Vote]:
    """All pairs of one comparison (both bad is a tie; a withdrawn answer has none)."""
    return [Vote(comparison.task_id, comparison.labeler_id, min(chosen, rejected),
                 max(chosen, rejected),
                 _TIE if strength == 0 else _FIRST if chosen < rejected else _SECOND, strength)
            for chosen, rejected, strength in pairs_of(comparison.answer)]


def percent_agreement(comparisons: Iterable[Comparison]) -> Estimate | None:
    """How often two labelers say the same of the same pair; n counts pairs of labelers.

    Two ties agree; a tie and a winner do not. Clustered by task, since a third labeler's answer
    meets both the others'.
    """
    agree, tasks = [], []
    for votes in _shared(comparisons):
        for a, b in combinations(votes, 2):
            agree.append(float(a.outcome == b.outcome))
            tasks.append(a.task_id)
    return clustered_mean(agree, tasks)


def agreement_by_strength(comparisons: Iterable[Comparison]) -> dict[int, Estimate]:
    """For each strength: where one labeler said it, how often another agrees on the winner.

    n counts ordered pairs of labelers, so a pair that used two strengths counts under both.
    """
    found: dict[int, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
    for votes in _shared(comparisons):
        for a, b in permutations(votes, 2):
            found[a.strength][0].append(float(a.outcome == b.outcome))
            found[a.strength][1].append(a.task_id)
    estimates = {strength: clustered_mean(*found[strength]) for strength in sorted(found)}
    return {strength: e for strength, e in estimates.items() if e is not None}


def krippendorff_alpha(comparisons: Iterable[Comparison]) -> Estimate | None:
    """Krippendorff's nominal alpha over pairs that several labelers judged; n counts their votes.

    Each pair is entered in both orders. Otherwise alpha would depend on which response happens to
    have the lower id: where the new policy's is always the higher, a policy that is truly better
    would look like disagreement. For two labelers without ties this is 2p − 1 of their agreement
    p, up to the small-sample term. The interval is a bootstrap over tasks. None where chance
    alone explains everything (a single outcome) or no pair was judged twice.
    """
    groups = list(_shared(comparisons))
    if not groups:
        return None
    counts = np.zeros((2 * len(groups), 3))
    for row, votes in enumerate(groups):
        for vote in votes:
            counts[2 * row, vote.outcome] += 1
            counts[2 * row + 1, (_SECOND, _FIRST, _TIE)[vote.outcome]] += 1
    value = _alpha(counts)
    if math.isnan(value):
        return None
    numbers: dict[int, int] = {}
    task = [numbers.setdefault(votes[0].task_id, len(numbers)) for votes in groups]
    by_task = np.zeros((len(numbers), 3, 3))
    np.add.at(by_task, np.repeat(task, 2), _coincidences(counts))
    low, high = bootstrap(lambda drawn: _alpha_of(np.tensordot(drawn, by_task, 1)), len(numbers))
    return Estimate(value, int(counts.sum()) // 2, low, high)


def first_shown_wins(comparisons: Iterable[Comparison]) -> Estimate | None:
    """The share of decided pairs won by the side shown first (left); half where nobody leans.

    Imported comparisons do not say what was shown first, and do not count.
    """
    won, tasks = [], []
    for comparison in comparisons:
        if not comparison.shown:
            continue
        place = {response: i for i, response in enumerate(comparison.shown)}
        for vote in votes_of(comparison):
            if vote.winner is not None:
                first = min(vote.first, vote.second, key=place.__getitem__)
                won.append(float(vote.winner == first))
                tasks.append(vote.task_id)
    return clustered_mean(won, tasks)


def longer_wins(comparisons: Iterable[Comparison],
                lengths: Mapping[int, int]) -> Estimate | None:
    """The share of decided pairs won by the longer response; pairs of equal length do not count.

    `lengths` holds the characters of every response (see `Responses.lengths`).
    """
    won, tasks = [], []
    for vote in _votes(comparisons):
        if vote.winner is not None and lengths[vote.first] != lengths[vote.second]:
            longer = max(vote.first, vote.second, key=lengths.__getitem__)
            won.append(float(vote.winner == longer))
            tasks.append(vote.task_id)
    return clustered_mean(won, tasks)


def win_rate(store: Store, round_id: int,
             kinds: Collection[str] | None = None) -> Estimate | None:
    """How often the round's policy beats the reference in its `evaluate` tasks; ties count half.

    `kinds` keeps the answers of some kinds of labelers only (such as `("human",)`). Clustered by
    prompt. None where the round samples the reference itself or nothing is answered yet.
    """
    turn = store.rounds.get(round_id)
    if turn.policy_version_id == turn.reference_id:
        return None
    asked = {labeler.id for labeler in store.people.all()
             if kinds is None or labeler.kind in kinds}
    version = {row["id"]: row["policy_version_id"] for row in store.database.rows(
        "SELECT DISTINCT r.id, r.policy_version_id FROM responses r "
        "JOIN task_responses tr ON tr.response_id = r.id JOIN tasks t ON t.id = tr.task_id "
        "WHERE t.round_id = ? AND t.purpose = 'evaluate'", [round_id])}
    prompt = {task.id: task.prompt_id for task in store.tasks.of_round(round_id, "evaluate")}
    won, prompts = [], []
    for vote in _votes(c for c in store.comparisons.current(round_id=round_id, purpose="evaluate")
                       if c.labeler_id in asked):
        versions = (version[vote.first], version[vote.second])
        if set(versions) == {turn.policy_version_id, turn.reference_id}:
            won.append(0.5 if vote.winner is None
                       else float(version[vote.winner] == turn.policy_version_id))
            prompts.append(prompt[vote.task_id])
    return clustered_mean(won, prompts)


def _votes(comparisons: Iterable[Comparison]) -> Iterator[Vote]:
    for comparison in comparisons:
        yield from votes_of(comparison)


def _shared(comparisons: Iterable[Comparison]) -> Iterator[Sequence[Vote]]:
    """The votes of each pair of responses that two labelers or more judged in one task."""
    groups: dict[tuple[int, int, int], list[Vote]] = defaultdict(list)
    for vote in _votes(comparisons):
        groups[vote.task_id, vote.first, vote.second].append(vote)
    return (votes for votes in groups.values() if len(votes) > 1)


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
