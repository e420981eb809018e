"""The instant reward model of a workspace, kept up to date while people label. Numpy only.

A linear head (`reward.instant.linear`) on features of the frozen backbone. An answer moves it by
the exact rank-one update, a millisecond or so; when answers were changed or taken back, and every
so often, it is fitted anew. Once there are labels enough, cross-validation over prompts says which
features and which prior it stands on, again whenever they have doubled. It never learns from
held-out prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.asking import AskedPair
from data.measures.statistics import Estimate, clustered_mean
from reward.instant.choosing import choose_features, prepare_compared, tabled
from reward.instant.comparisons import FIRST, TIE, Comparisons
from reward.instant.davidson import Design, Fit, fit
from reward.instant.linear import LinearReward
from reward.instant.response_features import FeatureTable
from reward.instant.standard import Standard, prior_precision, some_prompts, standardise
from reward.kinds import feature_sets

Array = np.ndarray[Any, Any]
#: Leading directions that are kept, and the prior's spread until there are labels to choose it by.
COMPONENTS, SPREAD = 120, 0.5
#: log ν before there are answers: a tie is as likely as either side of an even pair.
LOG_TIE = 0.0
SPREADS = (0.25, 0.5, 0.7, 1.0)
#: Answers from which on features and prior are chosen by held-out prompts, and the prompts needed.
CHOOSE_FROM, CHOOSE_PROMPTS = 64, 8
#: The choice looks at so many of the newest pairs at most, and directions at so many responses.
_MOST_PAIRS, _MOST_TEXTS = 2000, 2000
#: Updates between two exact fits, as a share of the answers so far.
_REFIT_AFTER = 0.1


@dataclass(frozen=True)
class Setup:
    """What the model stands on."""

    features: str = "asked"
    """Of `reward.kinds.feature_sets`; where nothing is asked, `basic`."""
    spread: float = SPREAD
    chosen_at: int = 0
    """Answers there were when held-out prompts chose it; 0: they have not."""


@dataclass(frozen=True)
class Learned:
    """Pairs as rows of a feature table; the chosen response is the first."""

    comparisons: Comparisons
    answers: Array
    """[M] the comparison (id) that each pair is of."""
    pairs: tuple[AskedPair, ...]


def learnable(pairs: Sequence[AskedPair], features: FeatureTable) -> Learned:
    """The pairs whose features are known; a ranking's pairs weigh as much as one answer."""
    rows = features.rows
    known = [p for p in pairs if p.chosen_id in rows and p.rejected_id in rows]
    size = Counter(p.comparison_id for p in known)
    outcomes = np.zeros((len(known), 3))
    for number, pair in enumerate(known):
        outcomes[number, TIE if pair.tie else FIRST] = 1 / size[pair.comparison_id]
    first, second = (np.array([rows[i] for i in ids], int) for ids in (
        [p.chosen_id for p in known], [p.rejected_id for p in known]))
    return Learned(
        Comparisons(first, second, outcomes, features.clusters[first]),
        np.array([p.comparison_id for p in known], int), tuple(known))


def fit_rows(rows: Array, outcomes: Array, precision: Array,
             start: tuple[Array, float] | None = None) -> Fit:
    """The fit of differences ([M, k] rows) under a normal prior, ties modelled.

    Each row is a response of its own against the origin, which `Design` sums up at a cost that
    grows with the answers and not with the responses squared.
    """
    if not len(rows):
        return Fit(np.zeros(len(precision)), LOG_TIE, np.diag(1 / precision), 0.0)
    table = np.vstack([rows, np.zeros((1, rows.shape[1]))])
    design = Design(table, np.arange(len(rows)), np.full(len(rows), len(rows)))
    return fit(design, outcomes, precision, True, start)


class InstantModel:
    """The model, and what it has learned so far."""

    def __init__(self, features: FeatureTable, setup: Setup | None = None) -> None:
        self.setup = setup or Setup()
        self._exact = 0  # answers at the last exact fit
        self.learned: dict[int, tuple[AskedPair, ...]] = {}
        """Comparison id -> its pairs, of every answer that the posterior holds."""
        self.use(features)

    def use(self, features: FeatureTable) -> None:
        """Stand on these features; what was learned is fitted anew at the next `learn`."""
        self.features = features
        sets = feature_sets(features.kinds)
        kinds = sets.get(self.setup.features, sets["basic"])
        part = some_prompts(features.prompts, _MOST_TEXTS)
        self.standard = standardise(features.side_by_side(kinds, part), COMPONENTS,
                                    groups=features.prompts[part])
        self.table = tabled(features, kinds, self.standard, np.arange(len(features.prompts)))
        self.precision = prior_precision(len(self.standard.center), self.setup.spread)[
            :self.table.shape[1]]
        self.posterior = fit_rows(np.zeros((0, self.table.shape[1])), np.zeros((0, 3)),
                                  self.precision)
        self.learned, self._exact = {}, 0

    def learn(self, pairs: Sequence[AskedPair]) -> int:
        """Take in all answers that stand; returns how many were taken in by quick updates.

        The others (0 is returned) went through an exact fit.
        """
        taught = [p for p in pairs if not p.held_out]
        found = learnable(taught, self.features)
        answers: dict[int, list[AskedPair]] = {}
        for pair in found.pairs:
            answers.setdefault(pair.comparison_id, []).append(pair)
        now = {i: tuple(members) for i, members in answers.items()}
        new = [i for i in now if i not in self.learned]
        only_more = all(now.get(i) == known for i, known in self.learned.items())
        if only_more and len(now) - self._exact <= max(4, _REFIT_AFTER * self._exact):
            for i in new:
                self._take_in(now[i])
            self.learned = now
            return len(new)
        if self._may_choose(found, len(now)):
            self._choose(found, len(now))
        self._fit(found)
        self.learned, self._exact = now, len(now)
        return 0

    def differences(self, first: Array, second: Array) -> tuple[Array, Array]:
        """[M] mean and variance of the reward difference of rows of the table."""
        return self.posterior.differences(self.table[first] - self.table[second])

    def accuracy(self, pairs: Sequence[AskedPair]) -> Estimate | None:
        """`instant_accuracy`: of decided pairs whose features are known, over prompts (those that
        begin alike are one)."""
        known = learnable(pairs, self.features).comparisons
        scores = self.table @ self.posterior.coefficients
        right = (np.sign(scores[known.first] - scores[known.second]) + 1) / 2
        return clustered_mean(right.tolist(), known.groups.tolist())

    def _take_in(self, members: Sequence[AskedPair]) -> None:
        """One answer, exactly along each direction that it sees."""
        rows = self.features.rows
        for pair in members:
            here = LinearReward(_as_it_is(self.table.shape[1]), self.setup.spread, self.posterior)
            self.posterior = here.updated(
                self.table[rows[pair.chosen_id]], self.table[rows[pair.rejected_id]],
                TIE if pair.tie else FIRST, 1 / len(members)).posterior

    def _fit(self, found: Learned) -> None:
        data = found.comparisons
        self.posterior = fit_rows(self.table[data.first] - self.table[data.second],
                                  data.outcomes, self.precision,
                                  (self.posterior.coefficients, self.posterior.log_tie))

    def _may_choose(self, found: Learned, answers: int) -> bool:
        decided = found.comparisons.groups[[not p.tie for p in found.pairs]]
        return (answers >= max(CHOOSE_FROM, 2 * self.setup.chosen_at)
                and len(set(decided.tolist())) >= CHOOSE_PROMPTS)

    def _choose(self, found: Learned, answers: int) -> None:
        """Features and prior by cross-validation over prompts."""
        newest = found.comparisons.take(np.arange(len(found.pairs))[-_MOST_PAIRS:])
        prepared, data = prepare_compared(self.features, feature_sets(self.features.kinds), newest,
                                          COMPONENTS)
        best = choose_features(prepared, data, spreads=SPREADS)[0]
        self.setup = Setup(best.features.name, best.spread, answers)
        self.use(self.features)


def _as_it_is(width: int) -> Standard:
    """Rows of the table are standardised already."""
    return Standard(np.zeros(width), np.ones(width), np.eye(width))
