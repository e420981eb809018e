"""A linear head on frozen features, fitted to the training comparisons of a job.

What it reads and its prior's spread are chosen within those comparisons. A reward model version
may be such a head (`reward.forms`), begin from one (`reward.tuning`), or have labelers' habits
estimated beside one (`reward.habits`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backbone.layouts import layer_count
from backbone.model import Backbone
from data.prompts import cluster_of
from reward.combined import LinearPart
from reward.examples import Example
from reward.instant.choosing import Candidate, choose_features, prepare_compared, tabled
from reward.instant.comparisons import Comparisons, comparisons_of
from reward.instant.features import EncodedResponse, compute, encode_response
from reward.instant.linear import LinearReward
from reward.instant.model import COMPONENTS, SPREADS
from reward.instant.response_features import FeatureTable
from reward.kinds import FeatureKind, feature_sets, kinds_of, question_of

Array = np.ndarray[Any, Any]
#: Features and spread of the head are chosen by so many of the newest pairs at the most: a fit of
#: 5,000 takes tenths of a second, and 2,000 were seen to choose what all of them would not.
_MOST_PAIRS = 20_000


@dataclass(frozen=True)
class LinearSetup:
    """What a linear head is fitted to, before it is: no label has moved a coefficient yet."""

    kinds: tuple[FeatureKind, ...]
    """What it reads, side by side."""
    table: Array
    """[N, k] those features of every response, as coefficients read them."""
    rows: dict[int, int]
    """Response id -> row."""
    answers: Comparisons
    best: Candidate
    """Features and spread that held-out folds of the answers preferred."""


def linear_setup(backbone: Backbone, max_length: int, question: str, train: Sequence[Example],
                 known: FeatureTable | None, on_batch: Callable[[float], None] | None,
                 among: Sequence[str] = (), preferred: str | None = None) -> LinearSetup:
    """Features of the training responses, and which of them and what spread to use.

    Chosen by the newest pairs where there are many, so memory grows with what is read of each
    response, and not with what choosing makes of it. Features of responses that are `known` (by
    id) are not computed again; `on_batch` hears the share of the others that is done. `among`
    names the feature sets to choose from, all where it names none, and `preferred` one that gives
    way only to what is clearly better (`choose_features`).

    Raises:
        BadInput: there is nothing to learn from.
    """
    rows = {i: row for row, i in enumerate(i for e in train for i in e.texts)}
    sets = {name: kinds
            for name, kinds in feature_sets(kinds_of(layer_count(backbone), question)).items()
            if not among or name in among}
    kinds = sorted({kind for several in sets.values() for kind in several})
    if (known is not None and known.rows.keys() >= rows.keys()
            and known.kinds.keys() >= set(kinds)):
        found = known
    else:
        found = FeatureTable(
            rows, compute(backbone, encoded(backbone, train, max_length, question_of(kinds)),
                          kinds, on_batch),
            np.array([e.prompt_id for e in train for _ in e.texts]),
            np.array([cluster_of(e.messages) for e in train for _ in e.texts]))
    newest = comparisons_of(_newest(train), found.rows)
    best = choose_features(*prepare_compared(found, sets, newest, COMPONENTS), spreads=SPREADS,
                           preferred=preferred)[0]
    chosen = sets[best.features.name]
    table = tabled(found, chosen, best.features.standard, np.array([found.rows[i] for i in rows]))
    return LinearSetup(chosen, table, rows, comparisons_of(train, rows), best)


def linear_part(backbone: Backbone, max_length: int, question: str, train: Sequence[Example],
                known: FeatureTable | None, on_batch: Callable[[float], None] | None,
                among: Sequence[str] = (), preferred: str | None = None
                ) -> tuple[LinearPart, dict[str, Any]]:
    """A head fitted to the training comparisons, and which `features` and `spread` were chosen for
    it within them; see `linear_setup`.

    Raises:
        BadInput: there is nothing to learn from.
    """
    found = linear_setup(backbone, max_length, question, train, known, on_batch, among,
                         preferred)
    best = found.best
    head = LinearReward.fitted(best.features.standard, found.table, found.answers, best.spread)
    return LinearPart(found.kinds, head), {"features": best.features.name, "spread": best.spread}


def encoded(backbone: Backbone, examples: Sequence[Example], max_length: int,
            question: str) -> list[EncodedResponse]:
    """All their responses, in their order."""
    return [encode_response(backbone, e.messages, text, max_length, question)
            for e in examples for text in e.texts.values()]


def _newest(examples: Sequence[Example]) -> list[Example]:
    """The examples with those pairs alone whose answers came last, so many at the most."""
    ids = sorted(pair.comparison_id for e in examples for pair in e.pairs)
    before = ids[-_MOST_PAIRS - 1] if len(ids) > _MOST_PAIRS else -1
    return [replace(e, pairs=tuple(p for p in e.pairs if p.comparison_id > before))
            for e in examples]
