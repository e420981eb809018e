"""Which form a reward model version takes: the LoRA model, a linear head, or both together.

A linear head on frozen features (`reward.instant`) takes seconds, and with few labels it is often
as good as a LoRA model, or sees something else. So a part of the *training* prompts is kept from
both, and says which of three forms is used: each part by itself, and their sum with weights ≥ 0
(`reward.combined`). A form's weights are fitted to the other folds of that part, by prompt, for
each fold that they are judged on (dialogues that begin alike are in one fold): a form of two parts
pays for its second weight, and one that is too sure of itself is not punished for its scale, which
rewards have none of. The least cross-entropy is chosen. Held-out prompts, which reports are on,
have no say.

Where there are too few prompts to choose by, the version is the linear head alone, which has so few
labels do more than a LoRA model has (docs/reward-model.md), and no LoRA model is trained.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backbone.model import Backbone
from data.errors import BadInput
from data.measures.statistics import Estimate
from data.progress import Part, Progress, Silent
from data.prompts import cluster_of, opening_of
from reward.batches import Encoder
from reward.combined import CombinedReward, fit_weights
from reward.config import RewardConfig
from reward.evaluate import evaluate, score_responses
from reward.examples import Example, PreferenceData
from reward.heads import linear_part
from reward.instant.choosing import grouped_folds
from reward.instant.response_features import FeatureTable
from reward.model import RewardModel
from reward.preparing import learned_from, prepared
from reward.report.votes import Array, Votes, as_dict, ratio
from reward.train import TrainedReward

#: The parts of each form: 0 is the linear head, 1 the LoRA model. The first of equals is chosen.
FORMS = {"lora": (1,), "linear": (0,), "combined": (0, 1)}
#: Prompts with a decided pair that the choice needs at least, of which those that begin alike count
#: as one: fewer cannot tell forms apart.
LEAST_PROMPTS = 10
FOLDS = 5
#: Precision of the prior on a weight, of parts whose differences have a mean square of 1: against
#: an infinite weight where a part happens to be right about all pairs.
_PRECISION = 0.04
#: Where on the progress bar a version that is a linear head is fitted.
_FITTED = 0.7


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


def keep_back(data: PreferenceData, config: RewardConfig, seed: int) -> PreferenceData:
    """The data with a part of the training prompts kept from training, for the choice.

    Drawn for each prompt by itself, so that labels which arrive later move none from part to part;
    by its opening, as the held-out split is, so that a dialogue stays on one side at every length.
    Nothing is kept back where nothing is to be chosen, or where either part would be too small.
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
    """The document of a version that nothing was kept back for: what it is, and why."""
    if config.members > 1:
        return {"form": "lora", "why": "an ensemble is used as it is"}
    if config.form != "best":
        return {"form": config.form, "why": "asked for by the setting `form`"}
    if config.corrects:
        return {"form": "lora", "why": (
            "labelers' habits are kept out of the reward, and answers that have them cannot "
            "choose between rewards that have not")}
    return {"form": "linear", "why": (
        f"too few labeled training prompts to choose by: {LEAST_PROMPTS} with a decided pair have "
        "to be in the part that is kept back")}


def train_linear(backbone: Backbone, data: PreferenceData, config: RewardConfig, *,
                 progress: Progress | None = None,
                 known: FeatureTable | None = None) -> TrainedReward:
    """A version that is a linear head on frozen features alone: no gradient is taken.

    Features and spread are chosen within the training prompts (`reward.heads`), and what is `known`
    of them (by response id) is not computed again. The metrics' `train` names them.

    Raises:
        BadInput: there is nothing to learn from.
        data.progress.Stopped: asked to stop; nothing is kept, since there is little to do again.
    """
    progress = progress or Silent()
    fitting, measuring = Part(progress, 0.0, _FITTED), Part(progress, _FITTED, 1.0)

    def hear(share: float) -> None:
        fitting.update(share, "a linear head")

    hear(0.0)
    data = prepared(backbone, data, config, known, fitting)
    part, about = linear_part(backbone, config.max_length, config.question, data.train, known,
                              hear)
    model = CombinedReward(backbone, [part], None, [1.0], config.max_length)
    encoder = Encoder(backbone, config.max_length)
    found = evaluate(model, data, encoder=encoder,
                     on_batch=lambda share: measuring.update(share, "measuring"))
    return TrainedReward(model, {**found, "train": {
        "steps": 0, "planned_steps": 0, "curve": [], **learned_from(data),
        "cut_responses": _cut(data.train, encoder), **about}}, data)


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
    return {"form": best, "why": "the least cross-entropy on training prompts that were kept back",
            "prompts": len({pair.prompt_id for pair in votes.pairs}), "pairs": len(votes.pairs),
            "forms": forms,
            "over": {form: as_dict(_mean(losses[form] - losses[best], votes))
                     for form in FORMS if form != best}}


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


def _cut(examples: Sequence[Example], encoder: Encoder) -> int:
    """How many of their responses' conversations are too long to be read whole."""
    responses = [i for example in examples for i in example.texts if encoder.ids(example, i)]
    return len(encoder.cut.intersection(responses))


def _decided_prompts(examples: Sequence[Example]) -> int:
    return len({cluster_of(example.messages) for example in examples
                if any(not pair.is_tie for pair in example.pairs)})
