"""How well reward models predict real people's preferences, on prompts they have not seen.

`ukp_*`: UKPConvArg1, leave-topics-out, trained on the gold labels of all decided pairs and tested
on the strict ones: each topic alone, with `--quick` four folds of six topics. `hh_*`: HH-RLHF
harmless, 10 folds by first prompt; with `--quick` every sixth dialogue. The linear model
(`reward.linear`): features, the prior's spread and lean, and the temperature are chosen anew in
every fold, by cross-validation over the fold's own training topics, judged by their strict pairs.
Beside it: the longer response wins (in words).

`_matched`: accuracy where |Δ log(1 + words)| < 0.2; `_shorter`: where the shorter one won; `_ce`:
cross-entropy in nats; `_ece`: expected calibration error in ten bins. Intervals are of topics (of
first prompts): each is one cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.harness import Figure, flags, say, show
from benchmarks.human_data import FIRST, SECOND, Pairs, arguments, features, harmless
from data.measures.statistics import bootstrap, clustered_mean
from reward.choosing import choose_features, grouped_folds, prepare
from reward.comparisons import Comparisons
from reward.linear import fit_linear

Array = np.ndarray[Any, Any]
#: Feature sets to choose among: kinds side by side.
SETS = ("layer16.mean", "layer20.mean", "layer24.mean", "layer20.last", "layer30.last",
        "layer20.mean+layer20.last", "layer20.mean+layer30.last",
        "layer16.mean+layer20.mean+layer24.mean+layer16.last+layer20.last+layer30.last")
#: Of those, what needs only the first two thirds of the layers.
SHALLOW = ("layer16.mean", "layer20.mean", "layer20.last", "layer20.mean+layer20.last")
SPREADS, POWERS = (0.5, 0.7, 1.0), (1.0, 1.25)
COMPONENTS = 200
BINS = 10
QUICK_DIALOGUES = 245
WORDS = {"": "accuracy", "_matched": "accuracy, length matched", "_shorter": "where shorter won",
         "_ce": "cross-entropy, nats", "_ece": "calibration error"}


def main() -> None:
    """Both data sets, with the linear model and with length alone."""
    asked = flags(__doc__ or "")
    figures: dict[str, Figure] = {}
    words: dict[str, str] = {}
    ukp, hh = arguments(), harmless(QUICK_DIALOGUES if asked.quick else None)
    for name, pairs, sets, folds in (("ukp", ukp, SETS, 4 if asked.quick else 24),
                                     ("hh", hh, SHALLOW, 10)):
        table = _sets(pairs, sets)
        say(f"{name}: {int(pairs.strict.sum()):,} pairs, {folds} folds ...")
        figures |= measure(f"{name}_linear", pairs, linear(pairs, table, folds))
        words |= {f"{name}_linear{end}": f"{name} linear: {text}" for end, text in WORDS.items()}
        longer = pairs.log_lengths[pairs.first] - pairs.log_lengths[pairs.second]
        figures[f"{name}_length"] = _accuracy(pairs, np.sign(longer), pairs.strict)
        words[f"{name}_length"] = f"{name} longer wins: accuracy"
    show(figures, words, asked.json)


def linear(pairs: Pairs, table: dict[str, Array], folds: int, seed: int = 0) -> Array:
    """[M] log odds that the first wins each decided pair, from models that never saw its group."""
    used = np.flatnonzero((pairs.gold == FIRST) | (pairs.gold == SECOND))
    strict = pairs.strict[used]
    whole = Comparisons(pairs.first[used], pairs.second[used], np.eye(3)[pairs.gold[used]],
                        pairs.groups[used])
    split = grouped_folds(whole.groups, folds, seed)
    prepared = prepare(table, POWERS, COMPONENTS)
    odds = np.full(len(pairs.first), np.nan)
    chosen: Counter[str] = Counter()
    for fold in range(folds):
        train, test = whole.take(split != fold), whole.take(split == fold)
        best = choose_features(prepared, train, spreads=SPREADS, seed=seed,
                               judged=strict[split != fold])[0]
        features = best.features
        chosen[f"{features.name}, spread {best.spread}, power {features.power}"] += 1
        values = table[features.name]
        model = fit_linear(values, train, spread=best.spread, standard=features.standard)
        p = model.predictions(values[test.first], values[test.second])
        odds[used[split == fold]] = best.temperature * (np.log(p[:, 0]) - np.log(p[:, 2]))
    for text, times in chosen.most_common():
        say(f"  chosen {times} of {folds} times: {text}")
    return odds


def measure(name: str, pairs: Pairs, odds: Array) -> dict[str, Figure]:
    """All figures that follow from the log odds of the strict pairs."""
    won = np.where(pairs.gold == FIRST, 1, -1)
    longer = pairs.log_lengths[pairs.first] - pairs.log_lengths[pairs.second]
    toward = np.where(pairs.strict, odds * won, 0.0)  # log odds of what people said
    groups, count = pairs.groups, int(pairs.groups.max()) + 1

    def cross_entropy(drawn: Array) -> float:
        weights = drawn[groups] * pairs.strict
        return float(weights @ np.logaddexp(0, -toward) / weights.sum())

    def calibration(drawn: Array) -> float:
        weights = drawn[groups] * pairs.strict
        confidence = 1 / (1 + np.exp(-np.abs(toward)))
        place = np.clip(((confidence - 0.5) * 2 * BINS).astype(int), 0, BINS - 1)
        gaps = np.bincount(place, weights * ((toward > 0) - confidence), BINS)
        return float(np.abs(gaps).sum() / weights.sum())

    n = int(pairs.strict.sum())
    return {name: _accuracy(pairs, odds, pairs.strict),
            f"{name}_matched": _accuracy(pairs, odds, pairs.strict & (np.abs(longer) < 0.2)),
            f"{name}_shorter": _accuracy(pairs, odds, pairs.strict & (longer * won < 0)),
            f"{name}_ce": _bootstrapped(cross_entropy, count, n),
            f"{name}_ece": _bootstrapped(calibration, count, n)}


def _accuracy(pairs: Pairs, odds: Array, used: Array) -> Figure:
    """How often the sign of the odds is what people said; 0 counts half."""
    right = (np.sign(odds[used]) * np.where(pairs.gold[used] == FIRST, 1, -1) + 1) / 2
    found = clustered_mean(right.tolist(), pairs.groups[used].tolist())
    assert found is not None
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _bootstrapped(statistic: Callable[[Array], float], groups: int, n: int) -> Figure:
    low, high = bootstrap(statistic, groups)
    return {"value": statistic(np.ones(groups)), "low": low, "high": high, "n": n}


def _sets(pairs: Pairs, names: tuple[str, ...]) -> dict[str, Array]:
    """[N, d] of each feature set."""
    kinds = sorted({kind for name in names for kind in name.split("+")})
    split = [kind.removeprefix("layer").split(".") for kind in kinds]
    found = features(pairs.texts, [(int(layer), pooling) for layer, pooling in split])
    return {name: np.hstack([found[kind] for kind in name.split("+")]) for name in names}


if __name__ == "__main__":
    main()
