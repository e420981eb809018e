"""Scores of held-out responses, and the report on a reward model that follows from them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reward.batches import Encoder
from reward.combined import CombinedReward
from reward.ensemble import Array, Ensemble
from reward.examples import Example, PreferenceData
from reward.report.ensemble import ensemble_report, score_scale
from reward.report.figures import report
from reward.scorer import Scorer
from reward.tuned import TunedReward

#: Responses over which mean and spread of the score are taken.
SCORED_RESPONSES = 256


def evaluate(model: Scorer, data: PreferenceData, *, encoder: Encoder | None = None,
             on_batch: Callable[[float], None] | None = None,
             known: dict[int, float] | None = None) -> dict[str, Any]:
    """The report as JSON can hold it; what cannot be said (no held-out pairs) is None.

    The keys of `reward.report.figures.report`, as far as they follow from preferences and texts
    alone; `cut_responses`: held-out responses whose conversation was too long and lost its oldest
    turns; over training responses that the reference wrote, `score_mean`, `score_std` and
    `score_n`; of an ensemble, `ensemble` (`reward.report.ensemble`, with the `scale` of each rule's
    scores); and `held_out_scores`, every held-out response's score by its id, from which the report
    can be made again with what a store knows besides. `known` are these, where they are.
    """
    encoder = encoder or Encoder(model.backbone, model.max_length)
    if isinstance(model, Ensemble):
        members = member_scores(model, data.held_out, encoder, on_batch)
        scores = {i: float(values.mean()) for i, values in members.items()}
        table = _table(member_scores(model, _scored(data.train), encoder))
        found = {**_mean_and_spread(table.mean(axis=0).tolist() if len(table) else []),
                 "ensemble": {**ensemble_report(data.held_out, members),
                              "members": len(model.members), "scale": score_scale(table)}}
    else:
        scores = (score_responses(model, data.held_out, encoder, on_batch) if known is None
                  else known)
        found = score_statistics(model, data.train, encoder)
    return {**report(data.held_out, scores), **found,
            "cut_responses": len(encoder.cut.intersection(scores)),
            "held_out_scores": scores}


def epoch_chosen(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Under `epoch_chosen`, which `epoch` `of` how many was kept for its held-out loss, for the
    metrics: a report on the same pairs flatters what they chose. Nothing where one was all."""
    if len(curve) < 2:
        return {}
    best = min(curve, key=lambda epoch: epoch["held_out_loss"])
    return {"epoch_chosen": {"epoch": best["epoch"], "of": len(curve)}}


def score_responses(model: Scorer, examples: Sequence[Example], encoder: Encoder | None = None,
                    on_batch: Callable[[float], None] | None = None) -> dict[int, float]:
    """Every response's score, by its id."""
    encoder = encoder or Encoder(model.backbone, model.max_length)
    ids = {i: encoder.ids(example, i) for example in examples for i in example.texts}
    if isinstance(model, CombinedReward | TunedReward):
        scores = model.score([example.conversation(i) for example in examples
                              for i in example.texts], on_batch=on_batch)
    else:
        scores = model.score_ids(list(ids.values()), on_batch=on_batch)
    return dict(zip(ids, scores, strict=True))


def member_scores(model: Ensemble, examples: Sequence[Example], encoder: Encoder,
                  on_batch: Callable[[float], None] | None = None) -> dict[int, Array]:
    """[M] every member's score of each response, by its id."""
    ids = {i: encoder.ids(example, i) for example in examples for i in example.texts}
    table = model.member_scores_of_ids(list(ids.values()), on_batch=on_batch)
    return dict(zip(ids, table.T, strict=True))


def score_statistics(model: Scorer, examples: Sequence[Example],
                     encoder: Encoder) -> dict[str, Any]:
    """Mean and standard deviation of scores, for whoever centres and scales rewards.

    Over up to `SCORED_RESPONSES` responses of the reference, so that those average 0 (Stiennon et
    al. 2020), or where it wrote none (imported preferences only) over any.
    """
    return _mean_and_spread(list(score_responses(model, _scored(examples), encoder).values()))


def _mean_and_spread(scores: list[float]) -> dict[str, Any]:
    return {"score_mean": statistics.fmean(scores) if scores else None,
            "score_std": statistics.stdev(scores) if len(scores) > 1 else None,
            "score_n": len(scores)}


def _scored(examples: Sequence[Example], seed: int = 0) -> list[Example]:
    """The responses whose scores say where a score's zero lies and how wide they spread."""
    written = [(e, i) for e in examples for i in e.sampled]
    written = written or [(e, i) for e in examples for i in e.texts]
    chosen = random.Random(seed).sample(written, min(len(written), SCORED_RESPONSES))
    return [replace(e, texts={i: e.texts[i]}, pairs=()) for e, i in chosen]


def _table(members: dict[int, Array]) -> Array:
    """[M, n]"""
    return np.stack(list(members.values()), axis=1) if members else np.zeros((0, 0))
