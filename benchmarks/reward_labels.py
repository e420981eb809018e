"""How many labels a reward model needs, by the rule that chooses which pair is asked next.

UKPConvArg1: topics are split into four quarters, four times over, which makes 16 folds. A fold
asks about pairs of its training topics, each of which answers with one random vote of its crowd,
ties and all; after every ten answers the linear reward model (`reward.instant.linear`; features of
the embedded model) is fitted anew and tested against the gold labels of the strict pairs of the
other topics. `labels_RULE` is where the mean accuracy over folds and seeds (smoothed over three
points) first reaches .80; `saving_RULE` is random's number divided by the rule's, and `saving` that
of the product's default, which was chosen on these folds and on others (docs/reward-model.md).
Every rule takes a fifth of its pairs at random, as the product does. A rule that never gets there
stands with the most labels that were asked, and is named. Intervals: bootstrap over folds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchmarks.harness import Figure, flags, say, show
from benchmarks.human_data import COMPONENTS, SPREAD, arguments, feature_table
from benchmarks.plots import Line, Plot, keep
from data.measures.statistics import bootstrap
from reward.instant.davidson import Design, fit
from reward.instant.selection import RULES, Pool, Rule, select
from reward.instant.standard import prior_precision, standardise

Array = np.ndarray[Any, Any]
TARGET = 0.80
BATCH = 10
#: Of a batch, what chance chooses whatever the rule, as the product's settings have it.
RANDOM_SHARE = 0.2
ACCURACY_AFTER = (50, 100, 200)
#: The rule of the product's settings.
DEFAULT: Rule = "variance"
QUARTERS, REPEATS = 4, 4
#: log ν before there are answers: a tie is as likely as either side of an even pair.
LOG_TIE = 0.0


@dataclass(frozen=True)
class World:
    """What a simulated labeling job stands on; small enough to be sent to another process."""

    table: Array
    """[N, k] standardised features."""
    precision: Array
    """[k] of the prior."""
    first: Array
    second: Array
    groups: Array
    gold: Array
    strict: Array
    votes: tuple[Array, ...]
    """For each seed, [M] the outcome of one random vote on each pair."""
    folds: Array
    """[F, topics] whether a topic is held out."""
    most: int
    """Labels asked."""


def main() -> None:
    """Simulate every rule on every fold and seed."""
    asked = flags(__doc__ or "", curves=True)
    # One process a core, and one thread a process: products are small here.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    world = _world(seeds=1 if asked.quick else 3, most=200 if asked.quick else 300)
    folds, seeds = len(world.folds), len(world.votes)
    figures: dict[str, Figure] = {}
    curves: dict[Rule, Array] = {}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        for rule in RULES:
            say(f"{rule}: {folds} folds, {seeds} seeds, {world.most} labels ...")
            runs = list(pool.map(partial(_simulate, world, rule),
                                 *zip(*product(range(folds), range(seeds)), strict=True)))
            curves[rule] = np.array(runs).reshape(folds, seeds, -1).mean(axis=1)
            figures[f"labels_{rule}"] = _interval([curves[rule]], seeds)
            if labels_to(curves[rule].mean(axis=0)) is None:
                say(f"{rule}: not reached with {world.most} labels")
    for rule in RULES[1:]:  # 0 is random
        figures[f"saving_{rule}"] = _interval([curves["random"], curves[rule]], seeds)
    figures["saving"] = figures[f"saving_{DEFAULT}"]
    for rule, labels in product(RULES, ACCURACY_AFTER):
        figures[f"accuracy_{rule}_{labels}"] = _mean(curves[rule][:, labels // BATCH - 1], seeds)
    keep(asked.curves, {"labels": plot_of(curves)})
    words = {f"labels_{rule}": f"labels to {TARGET}: {rule}" for rule in RULES}
    words |= {f"accuracy_{rule}_{n}": f"accuracy after {n}: {rule}"
              for rule, n in product(RULES, ACCURACY_AFTER)}
    words |= {f"saving_{rule}": f"labels, random / {rule}" for rule in RULES[1:]}
    show(figures, words | {"saving": f"labels, random / {DEFAULT}"}, asked.json)


def plot_of(curves: Mapping[Rule, Array]) -> Plot:
    """Accuracy against the number of labels; the bands are intervals over folds."""
    lines = []
    for rule, curve in curves.items():
        found = [_mean(values, 1) for values in curve.T]
        value, low, high = ([each[end] for each in found] for end in ("value", "low", "high"))
        lines.append(Line(rule.replace("-", " "), [BATCH * (n + 1) for n in range(len(found))],
                          value, low, high))
    return Plot("UKPConvArg1: one random vote a pair, topics never asked about", "labels",
                "accuracy against the gold label", lines, {f"{TARGET:.2f}": TARGET})


def labels_to(curve: Sequence[float] | Array, target: float = TARGET) -> float | None:
    """Labels at which a curve (a point every `BATCH`) reaches the target; None where it does not.

    The curve is smoothed over three points, and read in between by a straight line.
    """
    padded = np.pad(np.asarray(curve, float), 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    reached = np.flatnonzero(smooth >= target)
    if not len(reached):
        return None
    place = int(reached[0])
    if place == 0:
        return float(BATCH)
    before, after = smooth[place - 1], smooth[place]
    return float(BATCH * (place + (target - before) / (after - before)))


def _interval(curves: Sequence[Array], seeds: int) -> Figure:
    """Labels of one rule's curves ([F, points]), or one's divided by another's."""
    folds, points = curves[0].shape

    def figure(drawn: Array) -> float:
        numbers = [labels_to(drawn @ curve / drawn.sum()) or BATCH * points for curve in curves]
        return numbers[0] / numbers[1] if len(numbers) > 1 else numbers[0]

    low, high = bootstrap(figure, folds)
    return {"value": figure(np.ones(folds)), "low": low, "high": high, "n": folds * seeds}


def _mean(values: Array, seeds: int) -> Figure:
    """The mean of a value a fold."""
    low, high = bootstrap(lambda drawn: float(drawn @ values / drawn.sum()), len(values))
    return {"value": float(values.mean()), "low": low, "high": high, "n": len(values) * seeds}


def _world(seeds: int, most: int) -> World:
    pairs = arguments()
    features = feature_table(pairs.texts)
    table = standardise(features, COMPONENTS).of(features)
    topics = int(pairs.groups.max()) + 1
    rng = np.random.default_rng(0)
    folds = np.zeros((QUARTERS * REPEATS, topics), bool)
    for repeat in range(REPEATS):
        order = rng.permutation(topics)
        for quarter in range(QUARTERS):
            folds[repeat * QUARTERS + quarter, order[quarter::QUARTERS]] = True
    votes = tuple(pairs.votes.outcome[pairs.one_vote_each(seed)] for seed in range(seeds))
    precision = prior_precision(features.shape[1], SPREAD)[:COMPONENTS]
    return World(table, precision, pairs.first, pairs.second, pairs.groups, pairs.gold,
                 pairs.strict, votes, folds, most)


def _simulate(world: World, rule: Rule, fold: int, seed: int) -> list[float]:
    """Accuracy on the held-out topics after each batch of answers."""
    rng = np.random.default_rng([seed, fold])
    held_out = world.folds[fold][world.groups]
    test = np.flatnonzero(held_out & world.strict)
    asked = np.zeros(0, int)
    coefficients, log_tie = np.zeros(len(world.precision)), LOG_TIE
    covariance = np.diag(1 / world.precision)
    free, curve = ~held_out, []
    while len(asked) < world.most:
        open_pairs = np.flatnonzero(free)
        pool = Pool(world.table, coefficients, covariance, world.first[open_pairs],
                    world.second[open_pairs], world.groups[open_pairs], log_tie,
                    asked=world.groups[asked])
        chosen = select(pool, BATCH, rule, rng, RANDOM_SHARE)
        asked = np.concatenate([asked, open_pairs[chosen]])
        free[asked] = False
        found = fit(Design(world.table, world.first[asked], world.second[asked]),
                    np.eye(3)[world.votes[seed][asked]], world.precision, True,
                    (coefficients, log_tie))
        coefficients, covariance, log_tie = found.coefficients, found.covariance, found.log_tie
        scores = world.table @ coefficients
        differences = scores[world.first[test]] - scores[world.second[test]]
        curve.append(float(((differences < 0) * 2 == world.gold[test]).mean()))
    return curve


if __name__ == "__main__":
    main()
