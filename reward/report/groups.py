"""Accuracy by anything that may make pairs easy or hard, and drift with the newest policy."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data.records import STRENGTHS
from data.store import Store
from reward.examples import Pair
from reward.report.votes import Said, Votes, Word, as_dict, both

#: |Δ log(1 + words)| below this: the two responses are about as long.
MATCHED = 0.2
#: So many groups of a kind are kept, those with the most pairs.
MOST_GROUPS = 30


@dataclass(frozen=True)
class Facts:
    """What a report needs to know of pairs besides what was said: all of it from the store."""

    rounds: Mapping[int, str] = field(default_factory=dict)
    """Of a comparison: `round 0`, or `imported`. Whichever comes first here is told of first."""
    tags: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Of a prompt."""
    labelers: Mapping[int, str] = field(default_factory=dict)
    """A labeler's name, with their kind unless they are a person."""
    kinds: Mapping[int, str] = field(default_factory=dict)
    """Of a labeler: human, ai, simulated or imported."""
    writers: Mapping[int, str] = field(default_factory=dict)
    """Name of the policy version that wrote a response; imported texts have none."""
    newest: str = ""
    """The newest policy version that has been sampled for labelers."""
    said: Said = field(default_factory=dict)
    """What labelers said blind, on held-out prompts; a lead's decision is none of it."""

    @classmethod
    def from_store(cls, store: Store) -> Facts:
        """What the store knows today."""
        rounds = {row["id"]: "imported" if row["number"] is None else f"round {row['number']}"
                  for row in store.database.rows(
            "SELECT c.id, r.number FROM current_comparisons c JOIN tasks t ON t.id = c.task_id "
            "LEFT JOIN rounds r ON r.id = t.round_id ORDER BY r.number DESC")}
        writers = {row["id"]: row["name"] for row in store.database.rows(
            "SELECT s.id, p.name FROM responses s JOIN policy_versions p "
            "ON p.id = s.policy_version_id WHERE s.round_id IS NOT NULL")}
        asked = set(writers.values())
        sampled = [v.name for v in store.versions.policies() if v.name in asked]
        people = store.people.all()
        said: dict[tuple[int, int], list[Word]] = defaultdict(list)
        for p in store.comparisons.preferences("held_out", blind=True):
            said[both(p)].append(Word(p.labeler_id, p.chosen_id if p.strength else None))
        return cls(rounds, {p.id: p.tags for p in store.prompts.all()},
                   {p.id: p.name if p.kind == "human" else f"{p.name} ({p.kind})" for p in people},
                   {p.id: p.kind for p in people}, writers, sampled[-1] if sampled else "",
                   said)


def groups(votes: Votes, facts: Facts) -> dict[str, dict[str, Any]]:
    """Each breakdown with its `rows`, and how many groups beyond them there are (`left_out`).

    A row has a `name`, the model's `accuracy`, and `longer`: how often the longer response wins in
    the same pairs. A pair may be in several groups (tags) or none.
    """
    strengths = {STRENGTHS.get(s, str(s)): s for s in sorted(
        {pair.strength for pair in votes.pairs}, reverse=True)}
    ways: dict[str, tuple[Callable[[int, Pair], Iterable[str]], Iterable[str]]] = {
        "strength": (lambda i, p: [STRENGTHS.get(p.strength, str(p.strength))], strengths),
        "agreement": (lambda i, p: agreement_of(facts.said.get(both(p), ())), AGREEMENT),
        "length": (lambda i, p: [_length(votes.log_lengths[i])], LENGTHS),
        "tag": (lambda i, p: facts.tags.get(p.prompt_id, ()), ()),
        "round": (lambda i, p: _known(facts.rounds, p.comparison_id),
                  dict.fromkeys(facts.rounds.values())),
        "policy": (lambda i, p: _written_by(p, facts), ()),
        "labeler": (lambda i, p: _known(facts.labelers, p.labeler_id), ())}
    return {name: _rows(votes, keys, order) for name, (keys, order) in ways.items()}


AGREEMENT = ("all labelers agree", "labelers differ", "one labeler")
LENGTHS = ("about the same length", "longer wins", "shorter wins")


def agreement_of(said: Sequence[Word]) -> list[str]:
    """How far the labelers of two responses agree, ties counting as another opinion; nothing where
    nobody is known to have judged them."""
    if len({word.labeler_id for word in said}) < 2:
        return [AGREEMENT[2]] if said else []
    return [AGREEMENT[len({word.winner for word in said}) > 1]]


def votes_by_kind(votes: Votes, facts: Facts) -> dict[str, int]:
    """How many votes came from people, and how many from other kinds of labelers."""
    return dict(Counter(facts.kinds[p.labeler_id] for p in votes.pairs
                        if p.labeler_id in facts.kinds).most_common())


def drift(votes: Votes, facts: Facts) -> dict[str, Any] | None:
    """The accuracy where the newest policy wrote both responses, beside all other pairs.

    A policy that has learned from the reward model writes what that model likes; whether it still
    ranks *these* as people do is what the next improvement rests on. None where nothing was
    sampled (imported preferences alone).
    """
    if not facts.newest:
        return None
    new = votes.mask(lambda pair: all(facts.writers.get(i) == facts.newest for i in both(pair)))
    return {"policy": facts.newest, "accuracy": as_dict(votes.accuracy(new)),
            "others": as_dict(votes.accuracy(~new))}


def _rows(votes: Votes, keys: Callable[[int, Pair], Iterable[str]],
          order: Iterable[str]) -> dict[str, Any]:
    members: dict[str, list[int]] = {name: [] for name in order}
    fixed = bool(members)
    for i, pair in enumerate(votes.pairs):
        for key in dict.fromkeys(keys(i, pair)):
            members.setdefault(key, []).append(i)
    names = [name for name, inside in members.items() if inside]
    if not fixed:
        names.sort(key=lambda name: -len(members[name]))
    rows = []
    for name in names[:MOST_GROUPS]:
        inside = np.zeros(len(votes.pairs), dtype=bool)
        inside[members[name]] = True
        rows.append({"name": name, "accuracy": as_dict(votes.accuracy(inside)),
                     "longer": as_dict(votes.share(votes.longer, inside))})
    return {"rows": rows, "left_out": max(0, len(names) - MOST_GROUPS)}


def _length(difference: float) -> str:
    return LENGTHS[0] if abs(difference) < MATCHED else LENGTHS[1 if difference > 0 else 2]


def _known(names: Mapping[int, str], key: int) -> list[str]:
    return [names[key]] if key in names else []


def _written_by(pair: Pair, facts: Facts) -> list[str]:
    writers = sorted({facts.writers[i] for i in both(pair) if i in facts.writers})
    return [" and ".join(writers)] if writers else []
