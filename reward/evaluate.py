"""Scores of held-out responses, and the report on a reward model that follows from them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from reward.batches import Encoder
from reward.examples import Example, PreferenceData
from reward.model import RewardModel
from reward.report.figures import cross_entropy, held_out_accuracy, longer_wins, report

__all__ = ["cross_entropy", "evaluate", "held_out_accuracy", "longer_wins", "report",
           "score_responses", "score_statistics"]

#: Responses over which mean and spread of the score are taken.
SCORED_RESPONSES = 256


def evaluate(model: RewardModel, data: PreferenceData, *, encoder: Encoder | None = None,
             on_batch: Callable[[float], None] | None = None) -> dict[str, Any]:
    """The report as JSON can hold it; what cannot be said (no held-out pairs) is None.

    The keys of `reward.report.figures.report`, as far as they follow from preferences and texts
    alone;
    `cut_responses`: held-out responses whose conversation was too long and lost its oldest turns;
    over training responses that the reference wrote, `score_mean`, `score_std` and `score_n`; and
    `held_out_scores`, every held-out response's score by its id, from which the report can be made
    again with what a store knows besides.
    """
    encoder = encoder or Encoder(model.backbone, model.max_length)
    scores = score_responses(model, data.held_out, encoder, on_batch)
    return {**report(data.held_out, scores),
            "cut_responses": len(encoder.cut.intersection(scores)),
            **score_statistics(model, data.train, encoder),
            "held_out_scores": scores}


def score_responses(model: RewardModel, examples: Sequence[Example],
                    encoder: Encoder | None = None,
                    on_batch: Callable[[float], None] | None = None) -> dict[int, float]:
    """Every response's score, by its id."""
    encoder = encoder or Encoder(model.backbone, model.max_length)
    ids = {i: encoder.ids(example, i) for example in examples for i in example.texts}
    return dict(zip(ids, model.score_ids(list(ids.values()), on_batch=on_batch), strict=True))


def score_statistics(model: RewardModel, examples: Sequence[Example], encoder: Encoder,
                     seed: int = 0) -> dict[str, Any]:
    """Mean and standard deviation of scores, for whoever centres and scales rewards.

    Over up to `SCORED_RESPONSES` responses of the reference, so that those average 0 (Stiennon et
    al. 2020), or where it wrote none (imported preferences only) over any.
    """
    written = [(e, i) for e in examples for i in e.sampled]
    written = written or [(e, i) for e in examples for i in e.texts]
    chosen = random.Random(seed).sample(written, min(len(written), SCORED_RESPONSES))
    scores = model.score_ids([encoder.ids(e, i) for e, i in chosen])
    return {"score_mean": statistics.fmean(scores) if scores else None,
            "score_std": statistics.stdev(scores) if len(scores) > 1 else None,
            "score_n": len(scores)}
