"""What a run learns from, made ready once before it begins.

Held-out prompts, and those that are kept back to choose by, stay as they are: what is measured is
what labelers said, each answer as good as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backbone.model import Backbone
from data.progress import Progress, Silent
from reward.config import RewardConfig
from reward.examples import Example, Pair, PreferenceData, count_pairs, require_learnable
from reward.habits import without_habits
from reward.instant.response_features import FeatureTable


def prepared(backbone: Backbone, data: PreferenceData, config: RewardConfig,
             known: FeatureTable | None = None,
             progress: Progress | None = None) -> PreferenceData:
    """The data with its training answers discounted by the age of their rounds, and with what
    their labelers' habits make of them (`reward.habits`).

    Features of responses that are `known` (by id) are not computed again.

    Raises:
        BadInput: there is nothing to learn from.
        data.progress.Stopped: asked to stop.
    """
    require_learnable(data)
    heard = progress or Silent()
    return without_habits(backbone, discounted_by_round(data, config.round_weight), config, known,
                          lambda share: heard.update(share, "labelers' habits"))


def discounted_by_round(data: PreferenceData, round_weight: float) -> PreferenceData:
    """The data with every training answer of a round counting `round_weight` times an answer of
    the round after it.

        discount = w ^ (newest round's number − its round's number)

    among the training pairs; what was imported counts as the oldest of those rounds does. What is
    held out or kept back to choose by stays as it is.
    """
    rounds = {p.round_number for e in data.train for p in e.pairs if p.round_number is not None}
    if round_weight == 1 or not rounds:
        return data
    newest, oldest = max(rounds), min(rounds)

    def discounted(pair: Pair) -> Pair:
        number = oldest if pair.round_number is None else pair.round_number
        return replace(pair, discount=round_weight ** (newest - number))

    return replace(data, train=tuple(replace(e, pairs=tuple(map(discounted, e.pairs)))
                                     for e in data.train))


def mean_discount(examples: Sequence[Example]) -> float:
    """What the pairs count for on average beside their weights; 1 where none is discounted."""
    pairs = [pair for example in examples for pair in example.pairs]
    return sum(pair.counts for pair in pairs) / sum(pair.weight for pair in pairs)


def learned_from(data: PreferenceData) -> dict[str, Any]:
    """How much there was to learn from, and what was kept out of it, for the metrics."""
    return {"prompts": len(data.train),
            "responses": sum(len(example.texts) for example in data.train),
            "pairs": count_pairs(data.train),
            "ties": sum(p.is_tie for e in data.train for p in e.pairs),
            "comparisons": len({p.comparison_id for e in data.train for p in e.pairs}),
            "identical_pairs_left_out": data.identical,
            **({"habits": data.habits} if data.habits else {})}
