"""From how many labels on fine-tuning is worth its time: UKPConvArg1, topics that nothing saw.

Of the training topics' pairs some are drawn at random, and the committee of linear heads and a
model that is fine-tuned from one head learn from the same ones, as in `benchmarks.reward_accuracy`.
`gain_N` is the accuracy of the fine-tuned model less the committee's at N labels,
`gain_both_N` that of their average less the committee's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Figure, flags, say, show
from benchmarks.held_out_odds import Split, of_committee, of_tuned
from benchmarks.human_data import FIRST, Pairs, arguments
from benchmarks.reward_accuracy import ASKED, CONVINCING, SETS, TUNED, bootstrapped, measure

Array = np.ndarray[Any, Any]
SIZES, FOLDS, QUICK_SIZES, QUICK_FOLDS = (300, 1000, 3000, 0), 4, (300, 1000), 1
KINDS = {"linear": "committee", "lora": "fine-tuned", "both": "their average"}
WORDS = {**{kind: f"{text}: accuracy" for kind, text in KINDS.items()},
         **{f"{kind}_ce": f"{text}: cross-entropy" for kind, text in KINDS.items()},
         "gain": "fine-tuned over the committee", "gain_both": "their average over the committee"}


def main() -> None:
    """Every number of labels, and all of them."""
    asked = flags(__doc__ or "")
    pairs = arguments()
    figures: dict[str, Figure] = {}
    words: dict[str, str] = {}
    for labels in QUICK_SIZES if asked.quick else SIZES:
        say(f"{labels or 'all'} labels ...")
        split = replace(Split.of(pairs, FOLDS), labels=labels)
        found = figures_of(pairs, odds_of(split, QUICK_FOLDS if asked.quick else FOLDS))
        figures |= {f"{name}_{labels or 'all'}": figure for name, figure in found.items()}
        words |= {f"{name}_{labels or 'all'}": f"{labels or 'all'} labels: {WORDS[name]}"
                  for name in found}
    show(figures, words, asked.json)


def odds_of(split: Split, most: int) -> dict[str, Array]:
    """[M] log odds of each kind of model, NaN outside the first `most` folds."""
    committee, _ = of_committee(split, [f"{name}+{ASKED}{CONVINCING}" for name in SETS], most)
    tuned = of_tuned(split, TUNED[0], most, split.seed)
    return {"linear": committee, "lora": tuned, "both": (committee + tuned) / 2}


def figures_of(pairs: Pairs, odds: dict[str, Array]) -> dict[str, Figure]:
    """Accuracy and cross-entropy of each, and what fine-tuning gains."""
    tested = replace(pairs, strict=pairs.strict & np.isfinite(odds["linear"]))
    found: dict[str, Figure] = {}
    for kind, values in odds.items():
        measured = measure(kind, tested, values)
        found |= {name: measured[name] for name in (kind, f"{kind}_ce")}
    right = {kind: np.where(tested.strict, np.sign(values), 0) for kind, values in odds.items()}
    for name, kind in (("gain", "lora"), ("gain_both", "both")):
        more = (right[kind] - right["linear"]) * np.where(pairs.gold == FIRST, 0.5, -0.5)
        found[name] = bootstrapped(
            partial(_mean, more, tested), int(pairs.groups.max()) + 1, int(tested.strict.sum()))
    return found


def _mean(values: Array, tested: Pairs, drawn: Array) -> float:
    """Over the tested pairs, each as often as its topic was drawn."""
    weights = drawn[tested.groups] * tested.strict
    return float(weights @ values / weights.sum())


if __name__ == "__main__":
    main()
