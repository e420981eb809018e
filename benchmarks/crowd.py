"""What each term of the crowd's likelihood is worth on real votes (`reward.instant.crowd`).

UKPConvArg1: a linear reward on features of the embedded model is learned from *one* random vote on
each pair of the training topics, ties and all, and tested against the gold label of the strict
pairs of topics that it has not seen. Published with one vote a pair: .77 (GPPL) and .79
(crowdGPPL; Simpson & Gurevych 2020). Accuracies are means over draws of the votes, with intervals
by bootstrap over topics; `*_gain` is the paired difference to the likelihood without any term.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Figure, exact, flags, say, show
from benchmarks.human_data import (
    COMPONENTS,
    SPREAD,
    TIE,
    Pairs,
    arguments,
    feature_table,
)
from data.measures.statistics import bootstrap
from reward.instant.choosing import grouped_folds
from reward.instant.crowd import CrowdFit, Terms, Votes, fit_crowd
from reward.instant.standard import standardise

Array = np.ndarray[Any, Any]
TERMS = {"plain": Terms(ties=False), "ties": Terms(), "side": Terms(ties=False, side=True),
         "length": Terms(ties=False, length=True),
         "reliability": Terms(ties=False, reliability=True),
         "all": Terms(reliability=True, side=True, length=True, ties=True)}
WORDS = {"plain": "ties as half a vote each", "ties": "+ ties", "side": "+ side shown first",
         "length": "+ length, removed", "reliability": "+ reliability", "all": "all of them"}


def main() -> None:
    """Fit every set of terms on every fold and draw."""
    asked = flags(__doc__ or "")
    pairs = arguments()
    table = feature_table(pairs.texts)
    standard = standardise(table, COMPONENTS).of(table)
    folds, seeds = (4, 2) if asked.quick else (int(pairs.groups.max()) + 1, 3)
    right = {name: np.zeros((seeds, len(pairs.first))) for name in TERMS}
    fits: dict[str, list[CrowdFit]] = {name: [] for name in TERMS}
    split = grouped_folds(pairs.groups, folds)
    for seed in range(seeds):
        votes = _votes(pairs, pairs.one_vote_each(seed))
        for fold in range(folds):
            say(f"draw {seed + 1} of {seeds}, fold {fold + 1} of {folds} ...")
            for name, terms in TERMS.items():
                found = fit_crowd(standard, votes.take(split != fold), terms, spread=SPREAD,
                                  log_lengths=pairs.log_lengths)
                fits[name].append(found)
                rewards = found.rewards(standard)
                of_fold = split == fold
                differences = rewards[pairs.first] - rewards[pairs.second]
                right[name][seed, of_fold] = ((differences < 0) * 2 == pairs.gold)[of_fold]
    shown = {f"crowd_{name}": _accuracy(pairs, right[name].mean(axis=0)) for name in TERMS}
    shown |= {f"crowd_{name}_gain": _accuracy(pairs, (right[name] - right["plain"]).mean(axis=0))
              for name in TERMS if name != "plain"}
    words = {f"crowd_{name}": text for name, text in WORDS.items()}
    words |= {f"crowd_{name}_gain": f"{text}: gain" for name, text in WORDS.items()}
    habits = {"side": "logits for being shown first", "length": "logits for a deviation of length"}
    for habit, text in habits.items():
        values = [getattr(fitted, habit) for fitted in fits["all"]]
        words[f"crowd_{habit}_logits"] = text
        shown[f"crowd_{habit}_logits"] = {
            "value": float(np.mean(values)), "low": min(values), "high": max(values),
            "n": len(values)}
    words["crowd_published"] = "published: crowdGPPL"
    show({**shown, "crowd_published": exact(0.79)}, words, asked.json)


def _votes(pairs: Pairs, chosen: Array) -> Votes:
    votes = pairs.votes
    return Votes(pairs.first[votes.pair[chosen]], pairs.second[votes.pair[chosen]],
                 votes.outcome[chosen], votes.labeler[chosen], np.ones(len(chosen), int))


def _accuracy(pairs: Pairs, right: Array) -> Figure:
    """Mean over the strict pairs, with a bootstrap interval over topics."""
    used = pairs.strict & (pairs.gold != TIE)
    sums = np.bincount(pairs.groups[used], right[used])
    counts = np.bincount(pairs.groups[used])
    low, high = bootstrap(lambda drawn: float(drawn @ sums / (drawn @ counts)), len(counts))
    return {"value": float(sums.sum() / counts.sum()), "low": low, "high": high,
            "n": int(counts.sum())}


if __name__ == "__main__":
    main()
