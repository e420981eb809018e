"""Which form a reward model version takes: the LoRA model, a linear head, or both together.

A linear head on frozen features (`reward.instant`) takes seconds, and with few labels it is often
as good as a LoRA model, or sees something else. So a part of the *training* prompts is kept from
both, and says which of three forms is used: each part by itself, and their sum with weights ≥ 0
(`reward.combined`). A form's weights are fitted to the other folds of that part, by prompt, for
each fold that they are judged on (dialogues that begin alike are in one fold): a form of two parts
pays for its second weight, and one that is too sure of itself is not punished for its scale, which
rewards have none of. The least cross-entropy is chosen. Held-out prompts, which reports are on,
have no say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backbone.layouts import layer_count
from backbone.model import Backbone
from data.errors import BadInput
from data.measures.statistics import Estimate
from data.prompts import cluster_of, opening_of
from reward.combined import CombinedReward, LinearPart, fit_weights
from reward.config import RewardConfig
from reward.evaluate import score_responses
from reward.examples import Example, PreferenceData
from reward.instant.choosing import (
    Candidate,
    choose_features,
    grouped_folds,
    prepare_compared,
    tabled,
)
from reward.instant.comparisons import Comparisons, comparisons_of
from reward.instant.features import EncodedResponse, compute, encode_response
from reward.instant.linear import LinearReward
from reward.instant.model import COMPONENTS, SPREADS
from reward.instant.response_features import FeatureTable
from reward.kinds import FeatureKind, feature_sets, kinds_of, question_of
from reward.model import RewardModel
from reward.report.votes import Array, Votes, as_dict, ratio

#: The parts of each form: 0 is the linear head, 1 the LoRA model. The first of equals is chosen.
FORMS = {"lora": (1,), "linear": (0,), "combined": (0, 1)}
#: Prompts with a decided pair that the choice needs at least, of which those that begin alike count
#: as one: fewer cannot tell forms apart.
LEAST_PROMPTS = 10
FOLDS = 5
#: Features and spread of the head are chosen by so many of the newest pairs at the most: a fit of
#: 5,000 takes tenths of a second, and 2,000 were seen to choose what all of them would not.
_MOST_PAIRS = 20_000
#: Precision of the prior on a weight, of parts whose differences have a mean square of 1: against
#: an infinite weight where a part happens to be right about all pairs.
_PRECISION = 0.04


@dataclass(frozen=True)
class Chosen:
    """What a version is to be, and why."""

    scorer: RewardModel | CombinedReward
    document: dict[str, Any]
    """As JSON can hold it: `form`, `why`, `prompts` and `pairs` judged on, and of `forms` each
    one's `accuracy`, `cross_entropy` and `weights`; `over`, by how much less cross-entropy the
    chosen one has than each other, on the same pairs; `features` and `spread` of the head."""

    @property
    def form(self) -> str:
        """The name of the form."""
        return str(self.document["form"])


def set_aside(data: PreferenceData, config: RewardConfig, seed: int) -> PreferenceData:
    """The data with a part of the training prompts kept from training, for the choice.

    Drawn for each prompt by itself, so that labels which arrive later move none from part to part;
    by its opening, as the held-out split is, so that a dialogue stays on one side at every length.
    Nothing is set aside where nothing is to be chosen, or where either part would be too small.
    """
    if config.form != "best" or config.members > 1 or config.corrects:
        return data
    aside = {e.prompt_id for e in data.train if random.Random(
        f"selection/{seed}/{opening_of(e.messages)}").random() < config.selection_share}
    kept, selection = (tuple(e for e in data.train if (e.prompt_id in aside) == chosen)
                       for chosen in (False, True))
    if min(_decided_prompts(kept), _decided_prompts(selection)) < LEAST_PROMPTS:
        return data
    return replace(data, train=kept, selection=selection)


def unchosen(config: RewardConfig) -> dict[str, Any]:
    """The document of a version that nothing was set aside for: what it is, and why."""
    if config.members > 1:
        why = "an ensemble is used as it is"
    elif config.form != "best":
        why = "asked for by the setting `form`"
    elif config.corrects:
        why = ("labelers' habits are kept out of the reward, and answers that have them cannot "
               "choose between rewards that have not")
    else:
        why = (f"too few labeled training prompts to choose by: {LEAST_PROMPTS} with a decided "
               "pair have to be in the part that is set aside")
    return {"form": "tuned" if config.form == "tuned" else "lora", "why": why}


def choose_form(lora: RewardModel, train: Sequence[Example], selection: Sequence[Example],
                seed: int = 0, known: FeatureTable | None = None,
                on_batch: Callable[[float], None] | None = None,
                question: str = RewardConfig.question) -> Chosen:
    """Fit a linear head to what a LoRA model learned from, and choose by what neither did.

    The head reads what the checkpoint makes of the `question` about each response, too. Features
    of responses that are `known` (by id) are not computed again; `on_batch` hears the share of the
    others that is done.

    Raises:
        BadInput: the linear head has nothing to learn from.
    """
    part, about = linear_part(lora.backbone, lora.max_length, question, train, known, on_batch)
    linear = CombinedReward(lora.backbone, [part], None, [1.0], lora.max_length)
    votes = [Votes.of(selection, score_responses(model, selection)) for model in (linear, lora)]
    odds = np.stack([vote.differences for vote in votes], axis=1)
    document = {**compare(votes[0], odds, seed), **about}
    best = document["form"]
    scorer = lora if best == "lora" else CombinedReward(
        lora.backbone, [part], lora, list(document["forms"][best]["weights"].values()),
        lora.max_length)
    return Chosen(scorer, document)


def compare(votes: Votes, odds: Array, seed: int = 0) -> dict[str, Any]:
    """Which form has the least cross-entropy; see `Chosen.document`.

    Args:
        votes: decided pairs that no part has learned from.
        odds: [P, 2] score differences, chosen − rejected, of the linear head and the LoRA model.
        seed: of the folds, which part no cluster of prompts.
    """
    clusters = set(votes.clusters.tolist())
    folds = grouped_folds(votes.clusters, min(FOLDS, len(clusters)), seed)
    losses: dict[str, Array] = {}
    forms: dict[str, dict[str, Any]] = {}
    for form, columns in FORMS.items():
        judged = replace(votes, differences=_unseen(odds, folds, columns))
        losses[form] = np.logaddexp(0, -judged.differences)
        forms[form] = {"accuracy": as_dict(judged.accuracy()),
                       "cross_entropy": as_dict(_mean(losses[form], judged)),
                       "weights": dict(zip(("linear", "lora"), _weights(odds, columns).tolist(),
                                           strict=True))}
    able = [form for form in FORMS if form == "lora" or any(forms[form]["weights"].values())]
    best = min(able, key=lambda form: float(losses[form].mean()))
    return {"form": best, "why": "the least cross-entropy on training prompts that were set aside",
            "prompts": len({pair.prompt_id for pair in votes.pairs}), "pairs": len(votes.pairs),
            "forms": forms,
            "over": {form: as_dict(_mean(losses[form] - losses[best], votes))
                     for form in FORMS if form != best}}


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


def _unseen(odds: Array, folds: Array, columns: Sequence[int]) -> Array:
    """[P] log odds of a form on each pair, with weights that the pair's fold had no part in."""
    found = np.zeros(len(odds))
    for fold in range(int(folds.max(initial=0)) + 1):
        found[folds == fold] = odds[folds == fold] @ _weights(odds[folds != fold], columns)
    return found


def _weights(odds: Array, columns: Sequence[int]) -> Array:
    """[2] weights of both parts with the greatest likelihood of the pairs ([P, 2] differences,
    chosen − rejected); 0 for parts that the form has not, and where no part agrees with them."""
    found = np.zeros(odds.shape[1])
    scale = np.sqrt((odds**2).mean(axis=0)) if len(odds) else np.zeros(odds.shape[1])
    used = [column for column in columns if scale[column] > 0]
    decided = np.tile([1.0, 0.0], (len(odds), 1))
    with suppress(BadInput):
        found[used] = fit_weights(odds[:, used] / scale[used], decided, _PRECISION) / scale[used]
    return found


def _mean(values: Array, votes: Votes) -> Estimate:
    """The mean over pairs, its interval over clusters of prompts."""
    return ratio(values, np.ones(len(values)), votes.clusters)


def _decided_prompts(examples: Sequence[Example]) -> int:
    return len({cluster_of(example.messages) for example in examples
                if any(not pair.is_tie for pair in example.pairs)})
