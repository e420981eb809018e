"""The report on a reward model, over prompts that it was never trained on.

Every figure has its n and a 95 % interval that knows that pairs of one prompt belong together.
Accuracy is over decided pairs; ties are counted, and enter cross-entropy with a label of ½.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from data.measures.statistics import Estimate, bootstrap, clustered_mean
from reward.batches import Encoder
from reward.examples import Example, Pair, PreferenceData
from reward.losses import bradley_terry_loss
from reward.model import RewardModel

Array = np.ndarray[Any, Any]
Scores = Mapping[int, float]
BINS = 10
#: Responses over which mean and spread of the score are taken.
SCORED_RESPONSES = 256


def evaluate(model: RewardModel, data: PreferenceData, *, encoder: Encoder | None = None,
             on_batch: Callable[[float], None] | None = None) -> dict[str, Any]:
    """The report as JSON can hold it; what cannot be said (no held-out pairs) is None.

    Keys: `held_out_accuracy`, `cross_entropy`, `baselines` (`longer`: the longer response wins, in
    characters; `chance`), `calibration` (`error`, `n`, `bins`), `length_correlation` (`pearson`,
    `spearman`), `by_strength`, `pairs`, `ties`, `cut_responses` and, over training responses that
    the reference wrote, `score_mean`, `score_std` and `score_n`.
    """
    encoder = encoder or Encoder(model.backbone, model.max_length)
    scores = score_responses(model, data.held_out, encoder, on_batch)
    return {**report(data.held_out, scores),
            "cut_responses": len(encoder.cut.intersection(scores)),
            **score_statistics(model, data.train, encoder)}


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


def report(examples: Sequence[Example], scores: Scores) -> dict[str, Any]:
    """All figures that follow from the scores of the examples' responses."""
    pairs = [pair for example in examples for pair in example.pairs]
    ties = sum(pair.is_tie for pair in pairs)
    return {
        "held_out_accuracy": _dict(held_out_accuracy(examples, scores)),
        "cross_entropy": _dict(cross_entropy(examples, scores)),
        "baselines": {"longer": _dict(longer_wins(examples)), "chance": 0.5},
        "calibration": calibration(pairs, scores),
        "length_correlation": length_correlation(examples, scores),
        "by_strength": {str(s): _dict(held_out_accuracy(examples, scores, s))
                        for s in sorted({p.strength for p in pairs if not p.is_tie})},
        "prompts": len(examples), "pairs": len(pairs), "ties": ties,
        "comparisons": len({pair.comparison_id for pair in pairs})}


def held_out_accuracy(examples: Sequence[Example], scores: Scores,
                      strength: int | None = None) -> Estimate | None:
    """How often the chosen response scores higher (of a strength); equal scores count half."""
    return _accuracy(examples, scores, strength)


def longer_wins(examples: Sequence[Example]) -> Estimate | None:
    """The accuracy of "the longer response wins", in characters; equal lengths count half."""
    return _accuracy(examples, {i: float(len(text)) for e in examples for i, text in
                                e.texts.items()})


def cross_entropy(examples: Sequence[Example], scores: Scores) -> Estimate | None:
    """Mean −log likelihood of the pairs in nats, ties at ½; ln 2 = 0.693 is knowing nothing.

    The interval is a bootstrap over prompts.
    """
    groups = [e for e in examples if e.pairs]
    if not groups:
        return None
    sums = np.array([_losses(e.pairs, scores).sum() for e in groups])
    counts = np.array([len(e.pairs) for e in groups])
    low, high = bootstrap(lambda drawn: float(drawn @ sums / (drawn @ counts)), len(groups))
    return Estimate(float(sums.sum() / counts.sum()), int(counts.sum()), low, high)


def calibration(pairs: Sequence[Pair], scores: Scores) -> dict[str, Any] | None:
    """Expected calibration error (Guo et al. 2017) and the bins of a reliability diagram.

    Predicted is the probability max(σ(Δ), 1 − σ(Δ)) of the response that scores higher, in bins of
    equal width from ½ to 1; observed is how often labelers did choose it. Decided pairs only.
    """
    decided = [pair for pair in pairs if not pair.is_tie]
    if not decided:
        return None
    difference = np.array([scores[p.chosen_id] - scores[p.rejected_id] for p in decided])
    predicted = 1 / (1 + np.exp(-np.abs(difference)))
    right = np.where(difference == 0, 0.5, difference > 0)
    edges = np.linspace(0.5, 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for number in range(BINS):
        inside = place == number
        n = int(inside.sum())
        bins.append({"low": float(edges[number]), "high": float(edges[number + 1]), "n": n,
                     "predicted": float(predicted[inside].mean()) if n else None,
                     "observed": float(right[inside].mean()) if n else None})
        if n:
            # ECE = Σ_b n_b/n · |observed_b − predicted_b|
            error += n / len(decided) * abs(float(right[inside].mean() - predicted[inside].mean()))
    return {"error": error, "n": len(decided), "bins": bins}


def length_correlation(examples: Sequence[Example],
                       scores: Scores) -> dict[str, dict[str, Any] | None]:
    """Pearson's and Spearman's correlation of score and length in characters, over responses."""
    rows = [(number, scores[i], float(len(text))) for number, e in enumerate(examples)
            for i, text in e.texts.items()]
    if len(rows) < 3:
        return {"pearson": None, "spearman": None}
    prompt = np.array([row[0] for row in rows])
    score, length = (np.array([row[k] for row in rows]) for k in (1, 2))
    return {"pearson": _dict(_correlation(score, length, prompt)),
            "spearman": _dict(_correlation(_ranks(score), _ranks(length), prompt))}


def _accuracy(examples: Sequence[Example], scores: Scores,
              strength: int | None = None) -> Estimate | None:
    right, prompts = [], []
    for example in examples:
        for pair in example.pairs:
            if not pair.is_tie and strength in (None, pair.strength):
                difference = scores[pair.chosen_id] - scores[pair.rejected_id]
                right.append(0.5 if difference == 0 else float(difference > 0))
                prompts.append(example.prompt_id)
    return clustered_mean(right, prompts)


def _losses(pairs: Sequence[Pair], scores: Scores) -> Array:
    differences = torch.tensor([scores[p.chosen_id] - scores[p.rejected_id] for p in pairs],
                               dtype=torch.float64)
    strengths = torch.tensor([p.strength for p in pairs])
    return np.asarray(bradley_terry_loss(differences, strengths))


def _correlation(x: Array, y: Array, prompt: Array) -> Estimate | None:
    """Pearson's r with a bootstrap interval over prompts; None where one of the two is constant."""
    def weighted(drawn: Array) -> float:
        weights = drawn[prompt] / max(drawn[prompt].sum(), 1)
        dx, dy = x - weights @ x, y - weights @ y
        spread = float(np.sqrt((weights @ dx**2) * (weights @ dy**2)))
        if spread <= 1e-9 * np.abs(x).max() * np.abs(y).max():  # rounding, no spread
            return float("nan")
        return float(weights @ (dx * dy)) / spread

    groups = int(prompt.max()) + 1
    value = weighted(np.ones(groups))
    if np.isnan(value):
        return None
    low, high = bootstrap(weighted, groups)
    return Estimate(value, len(x), low, high)


def _ranks(values: Array) -> Array:
    """Ranks from 0, ties sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return np.asarray(((ends - counts + ends - 1) / 2)[place])


def _dict(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.as_dict()
