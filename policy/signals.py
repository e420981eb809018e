"""What responses look like, whatever their reward: the signals by which engineers see cheating.

Pure functions of token ids and log-probabilities, cheap enough for every step. The token that
ends a response counts as one of its tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def repetition(responses: Sequence[Sequence[int]], n: int = 3) -> float:
    """Mean over responses of the share of n-grams that stood earlier in the same response.

    0 says nothing repeats; "wonderful wonderful wonderful …" comes near 1. A response of fewer
    than n tokens repeats nothing.
    """
    if not responses:
        return 0.0
    return sum(_repeated(_ngrams(ids, n)) for ids in responses) / len(responses)


def distinct(responses: Sequence[Sequence[int]], n: int) -> float:
    """Share of different n-grams among all n-grams of the responses together (Li et al. 2016).

    Falls with the number of tokens, so only batches of like size compare. 1 where there are none.
    """
    grams = [gram for ids in responses for gram in _ngrams(ids, n)]
    return len(set(grams)) / len(grams) if grams else 1.0


def perplexity(logprobs: Tensor, mask: Tensor) -> float:
    """exp of the mean negative log-probability a real token: exp(−Σ log p / Σ mask)."""
    return float(torch.exp(-(logprobs * mask).sum() / mask.sum().clamp_min(1)))


def spread(opinions: Tensor) -> float:
    """Mean over responses of the standard deviation between judges; `opinions` is [K, B], K ≥ 2,
    each judge's scores in its own units of spread around its own mean."""
    return float(opinions.std(0).mean())


def worst_case(opinions: Tensor) -> float:
    """Mean over responses of the least of the judges' scores (Coste et al. 2024, eq. 3)."""
    return float(opinions.min(0).values.mean())


def deviation(values: Tensor) -> float:
    """Standard deviation of [B] values; one alone has none: NaN."""
    return float(values.std()) if len(values) > 1 else math.nan


def standard_error(values: Tensor, prompts: Sequence[int]) -> float:
    """Of the mean of [B] values, those of one prompt counting as dependent on each other.

    With residuals e and G prompts: √(G / (G − 1) Σ_g (Σ_{i ∈ g} e_i)²) / B (Liang & Zeger 1986).
    Where each prompt has one response it is std / √B, and so it is taken where there is one prompt.
    One response alone has none: NaN.
    """
    of: dict[int, list[float]] = {}
    for value, prompt in zip((values - values.mean()).tolist(), prompts, strict=True):
        of.setdefault(prompt, []).append(value)
    if len(of) < 2:
        return deviation(values) / math.sqrt(len(prompts))
    between = sum(sum(residuals) ** 2 for residuals in of.values())
    return math.sqrt(len(of) / (len(of) - 1) * between) / len(prompts)


def _ngrams(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(ids[start:start + n]) for start in range(len(ids) - n + 1)]


def _repeated(grams: Sequence[tuple[int, ...]]) -> float:
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
