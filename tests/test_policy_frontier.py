"""Reward against √KL: planted curves are found again, and estimators agree with brute force."""

import math
from itertools import combinations

import numpy as np
import pytest

from benchmarks.frontier_curves import best_of_n_reward, fit_best_of_n, fit_rl
from policy.frontier import Point, best_of_n_kl, choose, points_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("ties", [False, True])
def test_the_best_of_n_is_the_mean_over_all_subsets(n: int, ties: bool) -> None:
    scores = RNG.integers(0, 4, 8).tolist() if ties else RNG.normal(size=8).tolist()
    values = RNG.normal(size=8).tolist()

    def picked(subset: tuple[int, ...]) -> float:
        best = max(scores[i] for i in subset)
        return float(np.mean([values[i] for i in subset if scores[i] == best]))

    subsets = list(combinations(range(8), n))
    assert best_of_n_reward(scores, n) == pytest.approx(
        np.mean([max(scores[i] for i in s) for s in subsets]))
    assert best_of_n_reward(scores, n, values) == pytest.approx(np.mean([picked(s)
                                                                         for s in subsets]))


def test_the_best_of_n_is_unbiased() -> None:
    # The expected maximum of n uniform numbers is n / (n + 1).
    found = [best_of_n_reward(RNG.random(20).tolist(), 4) for _ in range(3000)]
    assert np.mean(found) == pytest.approx(4 / 5, abs=4 * np.std(found) / math.sqrt(3000))


def test_the_best_of_more_than_there_are_is_refused() -> None:
    for n in (0, 4):
        with pytest.raises(ValueError, match="cannot be told from 3"):
            best_of_n_reward([1.0, 2.0, 3.0], n)


@pytest.mark.parametrize("n", [2, 4, 16])
def test_the_kl_of_best_of_n_is_that_of_its_density(n: int) -> None:
    # By rank u of the score, uniform in [0, 1]: the best of n has density n u^(n − 1).
    u = (np.arange(400_000) + 0.5) / 400_000
    density = n * u ** (n - 1)
    assert best_of_n_kl(n) == pytest.approx(float(np.mean(density * np.log(density))), abs=1e-4)
    assert best_of_n_kl(16) == pytest.approx(1.835, abs=1e-3)
    assert best_of_n_kl(1) == 0


def test_planted_curves_are_found_again() -> None:
    kl = np.linspace(0.0, 40.0, 30)
    d = np.sqrt(kl)
    bon = fit_best_of_n(kl.tolist(), (d * (1.3 - 0.15 * d)).tolist())
    assert (bon.alpha, bon.beta, bon.r2, bon.n) == pytest.approx((1.3, 0.15, 1.0, 30))
    logs = np.log(np.maximum(d, 1e-12))
    rl = fit_rl(kl.tolist(), (d * (0.9 - 0.4 * logs)).tolist())
    assert (rl.alpha, rl.beta, rl.r2) == pytest.approx((0.9, 0.4, 1.0))
    # The other form does not explain them as well.
    assert fit_best_of_n(kl.tolist(), (d * (0.9 - 0.4 * logs)).tolist()).r2 < 0.999


def test_noise_lowers_r2_and_moves_the_fit_little() -> None:
    kl = np.linspace(0.2, 30.0, 200)
    d = np.sqrt(kl)
    clean = d * (1.0 - 0.3 * np.log(d))
    noisy = clean + RNG.normal(size=200) * 0.1
    fit = fit_rl(kl.tolist(), noisy.tolist())
    assert fit.alpha == pytest.approx(1.0, abs=0.06) and fit.beta == pytest.approx(0.3, abs=0.05)
    residual = noisy - d * (fit.alpha - fit.beta * np.log(d))
    assert fit.r2 == pytest.approx(1 - residual.var() / noisy.var(), abs=1e-3) and fit.r2 < 0.99
    # No other coefficients do better.
    for alpha, beta in RNG.normal((fit.alpha, fit.beta), 0.05, (50, 2)):
        assert ((noisy - d * (alpha - beta * np.log(d))) ** 2).sum() >= (residual ** 2).sum()


def test_odd_points() -> None:
    assert fit_rl([-0.1, 4.0], [0.0, 1.0]).n == 2  # an estimate of no KL may be negative
    assert math.isnan(fit_best_of_n([1.0, 2.0], [1.0, 1.0]).r2)
    with pytest.raises(ValueError, match="2 points or more"):
        fit_best_of_n([1.0], [1.0])
    with pytest.raises(ValueError, match="3 with 2 rewards"):
        fit_rl([1.0, 2.0, 3.0], [1.0, 1.0])


def test_the_checkpoint_is_chosen_by_rule() -> None:
    points = [Point(0, 0.0, 0.0), Point(5, 4.0, 1.0, 0.2), Point(10, 9.0, 1.5, 0.9),
              Point(15, 30.0, 9.0)]
    assert choose(points, 15.0) == points[1]  # 1.5 ± 0.9 is less to count on than 1.0 ± 0.2
    assert choose(points, 100.0) == points[3]
    assert choose(points, -1.0) is None
    assert choose(points[2:], 9.0) == points[2] and choose(points[2:], 8.99) is None
    even = [Point(8, 5.0, 1.0), Point(2, 3.0, 1.0), Point(1, 3.0, 1.0)]
    assert choose(even, 10.0) == even[2]
    within = [Point(s, float(k), float(r), float(u)) for s, (k, r, u) in
              enumerate(RNG.random((200, 3)))]
    best = choose(within, 0.5)
    assert best is not None and best.kl <= 0.5
    assert all(p.score - p.uncertainty <= best.conservative for p in within if p.kl <= 0.5)


def test_a_runs_metrics_are_points_to_choose_from() -> None:
    steps = [{"step": n, "kl": float(n), "reward": r, "reward_std": 2.0, "responses": 16}
             for n, r in enumerate((0.0, 3.0, 9.0))]
    points = points_of(steps)
    assert [(p.step, p.kl, p.score) for p in points] == [(0, 0, 0), (1, 1, 3), (2, 2, 9)]
    assert points[0].uncertainty == pytest.approx(1.96 * 2.0 / 4)
    assert choose(points, 10.0) == points[2]
    worst = [{**step, "ensemble_worst": w} for step, w in zip(steps, (-0.1, 2.0, -5.0),
                                                             strict=True)]
    assert choose(points_of(worst), 10.0) == points_of(worst)[1]  # one judge disagrees at the end
