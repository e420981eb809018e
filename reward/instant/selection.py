"""Which pair to ask about next: pure functions of a posterior over rewards.

A rule orders candidate pairs by what an answer would tell; a batch is chosen greedily, each pair
as if those before it had been answered, so that a batch does not ask the same thing twice.

The rules, each with its source:

- `random`;
- `margin`: the smallest difference (Lewis & Gale 1994, uncertainty sampling);
- `variance`: the most uncertain difference;
- `d-optimal`: the greatest gain of log det of the Fisher information (Chaloner & Verdinelli 1995,
  "Bayesian experimental design: a review");
- `v-optimal`: the greatest fall of the mean variance over all candidates, where the model will be
  used (the same review, Bayes A-optimality for ψ-linear targets);
- `bal-pm`: information, and a term for prompts of which little was asked yet (after Melo et al.
  2024, "Deep Bayesian active learning for preference modeling in large language models");
- `double-thompson`: the best response of one draw from the posterior against the best other
  response of a second draw, for a prompt drawn at random (Wu & Liu 2016, "Double Thompson
  sampling").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from reward.instant.davidson import information

Array = np.ndarray[Any, Any]
Rule = Literal["random", "margin", "variance", "d-optimal", "v-optimal", "bal-pm",
               "double-thompson"]
RULES: tuple[Rule, ...] = get_args(Rule)
#: Weight of the prompts' entropy beside a pair's information, in `bal-pm`.
DENSITY_WEIGHT = 0.1
#: Prompts are close up to the distance of this many neighbours, or of a tenth of all prompts.
NEIGHBOURS = 3


@dataclass(frozen=True)
class Pool:
    """What can be asked about, and what is believed of it."""

    features: Array
    """[N, d] of every response, as the coefficients read them."""
    coefficients: Array
    """[d] mean of the posterior."""
    covariance: Array
    """[d, d] of the posterior."""
    first: Array
    """[M] row of the one response of each candidate pair."""
    second: Array
    """[M] row of the other."""
    prompts: Array
    """[M] number of each pair's prompt, from 0."""
    log_tie: float = -np.inf
    """log ν of Davidson's model; minus infinity for none."""
    asked: Array | None = None
    """[A] prompts of the pairs that were asked about before, for `bal-pm`."""
    centers: Array | None = None
    """[P, d] where each prompt lies, of candidates and asked ones alike, for `bal-pm`; None takes
    the mean of its candidates' features, by which a prompt without a candidate lies nowhere."""

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.prompts):
            raise ValueError("first, second and prompts must be of one length")


def select(pool: Pool, count: int, rule: Rule, rng: np.random.Generator,
           random_share: float = 0.0) -> list[int]:
    """The next pairs to ask about (indices among the candidates), in the order to ask them.

    Each place of the batch is a random one with probability `random_share`, so the share holds on
    average for batches of any size. No pair twice; fewer than `count` where the candidates run out.
    """
    by_chance = rng.random(min(count, len(pool.first))) < random_share
    batch = _Batch(pool, rng)
    found = []
    for chance in by_chance.tolist():
        found.append(_random(batch) if chance else _PICKS[rule](batch))
        batch.take(found[-1])
    return found


def prompt_centers(features: Array, prompts: Array, count: int) -> Array:
    """[count, d] the mean of the features ([N, d]) of each prompt's responses, of which `prompts`
    ([N]) has the number; not a number for a prompt without any."""
    centers = np.zeros((count, features.shape[1]))
    np.add.at(centers, prompts, features)
    known = np.bincount(prompts, minlength=count)
    return np.asarray(centers / np.where(known, known, np.nan)[:, None])


class _Batch:
    """A pool while a batch is being chosen: covariances as if the pairs so far were answered."""

    def __init__(self, pool: Pool, rng: np.random.Generator) -> None:
        self.pool, self.rng = pool, rng
        self.free = np.ones(len(pool.first), bool)
        self.scores = pool.features @ pool.coefficients
        self.means = self.scores[pool.first] - self.scores[pool.second]
        self.information = information(self.means, pool.log_tie)
        # [N, d] F with Cov(scores) = F Fᵀ
        values, vectors = np.linalg.eigh(pool.covariance)
        self.factor = pool.features @ (vectors * np.sqrt(np.maximum(values, 0)))
        self.variances = ((self.factor[pool.first] - self.factor[pool.second]) ** 2).sum(axis=1)
        prompts = 1 + max(int(pool.prompts.max(initial=0)),
                          0 if pool.asked is None else int(pool.asked.max(initial=0)))
        self.asked = np.zeros(prompts)
        if pool.asked is not None:
            self.asked += np.bincount(pool.asked, minlength=prompts)

    @property
    def gains(self) -> Array:
        """[M] log det(H + h z zᵀ) − log det H = log(1 + h zᵀ S z), in nats."""
        return np.asarray(np.log1p(self.information * self.variances))

    def take(self, pair: int) -> None:
        """Have a pair answered: its expected information lowers the covariances around it."""
        pool = self.pool
        self.free[pair] = False
        self.asked[pool.prompts[pair]] += 1
        along = self.factor[pool.first[pair]] - self.factor[pool.second[pair]]
        length = float(along @ along)
        if length <= 0:
            return
        # S' = S − S z zᵀ S g with g = h / (1 + h zᵀ S z); with u = Fᵀ z, F' = F (I − c u uᵀ) has
        # F' F'ᵀ = S' for c = (1 − √(1 − g |u|²)) / |u|²
        g = self.information[pair] / (1 + self.information[pair] * length)
        column = self.factor @ along
        self.variances = np.maximum(
            self.variances - g * (column[pool.first] - column[pool.second]) ** 2, 0)
        c = (1 - np.sqrt(max(1 - g * length, 0))) / length
        self.factor = self.factor - c * np.outer(column, along)
        if "moment" in self.__dict__:
            # G' = (I − c u uᵀ) G (I − c u uᵀ)
            half = self.moment - c * np.outer(along, along @ self.moment)
            self.moment = half - c * np.outer(half @ along, along)

    @cached_property
    def moment(self) -> Array:
        """[d, d] G, the mean outer product of the candidates' rows of F."""
        rows = self.factor[self.pool.first] - self.factor[self.pool.second]
        return np.asarray(rows.T @ rows / len(rows))

    @cached_property
    def close(self) -> Array:
        """[P, P] whether one prompt (2nd axis) lies near another: among its nearest, or itself."""
        pool, count = self.pool, len(self.asked)
        rows = np.concatenate([pool.first, pool.second])
        centers = pool.centers if pool.centers is not None else prompt_centers(
            pool.features[rows], np.concatenate([pool.prompts, pool.prompts]), count)
        squares = (centers**2).sum(axis=1)
        distances = squares[:, None] + squares[None, :] - 2 * centers @ centers.T
        distances[:, np.isnan(squares)] = np.inf
        np.fill_diagonal(distances, -np.inf)
        nearest = min(NEIGHBOURS, count // 10)
        radius = np.partition(distances, nearest, axis=1)[:, nearest]
        return np.asarray((distances <= radius[:, None]) & np.isfinite(radius)[:, None]
                          | np.eye(count, dtype=bool))

    def best(self, values: Array) -> int:
        """The free candidate with the greatest value; ties go to chance."""
        of_free = np.where(self.free, values, -np.inf)
        return int(self.rng.choice(np.flatnonzero(of_free == of_free.max())))

    def draw(self) -> Array:
        """[N] scores drawn from the posterior."""
        noise = self.rng.standard_normal(self.factor.shape[1])
        return np.asarray(self.scores + self.factor @ noise)


def _random(batch: _Batch) -> int:
    return int(batch.rng.choice(np.flatnonzero(batch.free)))


def _margin(batch: _Batch) -> int:
    return batch.best(-np.abs(batch.means))


def _variance(batch: _Batch) -> int:
    return batch.best(batch.variances)


def _d_optimal(batch: _Batch) -> int:
    return batch.best(batch.gains)


def _v_optimal(batch: _Batch) -> int:
    # An answer lowers the mean variance by g Σ_t (zᵀ S t)² / T = g uᵀ G u, with u = Fᵀ z.
    pool, moved = batch.pool, batch.factor @ batch.moment
    size = len(moved)
    if size * size < len(pool.first) * moved.shape[1]:  # many pairs of few responses: a table
        products = moved @ batch.factor.T
        own = products.diagonal()
        falls = own[pool.first] + own[pool.second] - 2 * products[pool.first, pool.second]
    else:
        falls = ((moved[pool.first] - moved[pool.second])
                 * (batch.factor[pool.first] - batch.factor[pool.second])).sum(axis=1)
    return batch.best(falls * batch.information / (1 + batch.information * batch.variances))


def _bal_pm(batch: _Batch) -> int:
    # Kraskov et al.'s entropy estimate (2004) falls by ψ(n + 1) with the n prompts asked nearby;
    # ψ(n + 1) ≈ log(n + ½).
    nearby = batch.close.astype(float) @ batch.asked
    return batch.best(batch.gains / 2
                      - DENSITY_WEIGHT * np.log(nearby + 0.5)[batch.pool.prompts])


def _thompson(batch: _Batch) -> int:
    pool = batch.pool
    prompt = batch.rng.choice(np.unique(pool.prompts[batch.free]))
    here = np.flatnonzero(batch.free & (pool.prompts == prompt))
    draws = batch.draw(), batch.draw()
    members = np.unique(np.concatenate([pool.first[here], pool.second[here]]))
    best = members[draws[0][members].argmax()]
    with_it = here[(pool.first[here] == best) | (pool.second[here] == best)]
    others = pool.first[with_it] + pool.second[with_it] - best
    return int(with_it[draws[1][others].argmax()])


_PICKS: dict[Rule, Callable[[_Batch], int]] = {
    "random": _random, "margin": _margin, "variance": _variance, "d-optimal": _d_optimal,
    "v-optimal": _v_optimal, "bal-pm": _bal_pm, "double-thompson": _thompson}
