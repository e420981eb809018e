"""Exact tests against enumeration in whole numbers, and corrections against worked examples."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from data.measures.significance import Counts, binomial, counts_of, fisher, holm, information


def hypergeometric(ours: Counts, theirs: Counts) -> dict[int, Fraction]:
    """The chance of each number of our successes, given all margins."""
    won, total = ours.successes + theirs.successes, ours.n + theirs.n
    return {k: Fraction(math.comb(won, k) * math.comb(total - won, ours.n - k),
                        math.comb(total, ours.n))
            for k in range(ours.n + 1) if k <= won and ours.n - k <= total - won}


def test_fishers_tea() -> None:
    # Fisher 1935: three of four cups right; P = 17/70 for this or better.
    found = fisher([(Counts(3, 4), Counts(1, 4))])
    assert found.many == pytest.approx(17 / 70)
    assert found.few == pytest.approx(69 / 70)


@pytest.mark.parametrize(("strata", "weights"), [
    ([(Counts(7, 9), Counts(5, 20))], (1,)),
    ([(Counts(0, 5), Counts(3, 3)), (Counts(2, 2), Counts(4, 9))], (1, 1)),
    ([(Counts(4, 6), Counts(10, 12)), (Counts(1, 3), Counts(2, 2)), (Counts(3, 8), Counts(6, 7))],
     (2, 1, 1)),
    # 14 of 20, 19 of 20 and all of 40: twice the log-odds is 1.6, 5.1 and, but for its end, 8.8
    ([(Counts(2, 5), Counts(12, 15)), (Counts(3, 4), Counts(16, 16)),
      (Counts(4, 4), Counts(36, 36))], (2, 5, 8)),
])
def test_fisher_over_strata_is_the_weighted_sum_over_all_tables(
        strata: list[tuple[Counts, Counts]], weights: tuple[int, ...]) -> None:
    assert tuple(information(*stratum) for stratum in strata) == weights
    seen = sum(w * ours.successes for w, (ours, _) in zip(weights, strata, strict=True))
    few = many = Fraction(0)
    for tables in product(*(hypergeometric(*stratum).items() for stratum in strata)):
        chance = math.prod((p for _, p in tables), start=Fraction(1))
        said = sum(w * k for w, (k, _) in zip(weights, tables, strict=True))
        few += chance if said <= seen else 0
        many += chance if said >= seen else 0
    found = fisher(strata)
    assert (found.few, found.many) == pytest.approx((float(few), float(many)))


def test_coins_outcomes_weigh_alike_for_a_crew_and_its_mirror_image() -> None:
    assert information(Counts(30, 40), Counts(45, 60)) == 2  # 2 log 3 = 2.2
    assert information(Counts(10, 40), Counts(15, 60)) == 2
    assert information(Counts(20, 40), Counts(30, 60)) == 1  # never nothing


def test_an_empty_side_says_nothing() -> None:
    assert fisher([(Counts(5, 5), Counts(0, 0))]).many == pytest.approx(1)
    assert fisher([]).few == pytest.approx(1)


def test_large_counts_do_not_overflow() -> None:
    found = fisher([(Counts(60_000, 100_000), Counts(1_000_000, 2_000_000))])
    assert 0 <= found.many < 1e-100
    assert found.few == pytest.approx(1)


def test_binomial_is_the_sum_of_its_terms() -> None:
    for successes, n, share in ((46, 50, .5), (0, 7, .5), (7, 7, .5), (3, 20, .3)):
        terms = [math.comb(n, k) * share**k * (1 - share)**(n - k) for k in range(n + 1)]
        found = binomial(Counts(successes, n), share)
        assert found.few == pytest.approx(sum(terms[:successes + 1]))
        assert found.many == pytest.approx(sum(terms[successes:]), rel=1e-9)


def test_holm_is_his_example_and_never_falls() -> None:
    # 4 · .005, 3 · .01, 2 · .03, then .04 no lower than the one before.
    assert holm([.01, .04, .03, .005], [1] * 4) == pytest.approx([.03, .06, .06, .02])
    assert holm([.9, .6], [1, 1]) == [1.0, 1.0]
    assert holm([], []) == []
    # Weights 3 and 1: .03 / 3 · 4, then .01 / 1 · 1, but first the smaller ratio.
    assert holm([.03, .02], [3, 1]) == pytest.approx([.04, .04])
    assert holm([.03, .001], [3, 1]) == pytest.approx([.03, .004])


def test_clusters_count_for_what_they_are_worth() -> None:
    rng = np.random.default_rng(1)
    values = (rng.random(40) < .6).astype(float)
    alone = counts_of(values, np.arange(40))
    assert alone == Counts(int(values.sum()), 40)
    thrice = counts_of(np.repeat(values, 3), np.repeat(np.arange(40), 3))
    assert thrice == alone
    assert counts_of(np.ones(12), np.repeat(np.arange(4), 3)) == Counts(4, 4)
    assert counts_of(np.ones(0), np.ones(0, dtype=int)) == Counts(0, 0)
    # Within a cluster one wins and one loses: more than independent, but no more than there are.
    assert counts_of(np.array([1., 0.] * 5 + [1.]), np.repeat(np.arange(6), 2)[:11]).n <= 11
