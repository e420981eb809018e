"""Estimates against tables and formulas from elsewhere, and their intervals against the truth."""

import json
import math

import numpy as np
import pytest

from data.measures.statistics import (
    Estimate,
    bootstrap,
    clustered_mean,
    mean,
    mean_of_means,
    median,
    percent,
    proportion,
    student_t,
)


def test_students_t_is_the_tables() -> None:
    # t tables, two-sided 95 %: NIST/SEMATECH e-Handbook, 1.3.6.7.2
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 10: 2.228, 29: 2.045,
             30: 2.042, 60: 2.000, 99: 1.984, 100: 1.984}
    for degrees, quantile in table.items():
        assert student_t(degrees) == pytest.approx(quantile, abs=6e-4)
    assert student_t(1000) == pytest.approx(student_t(1001), abs=1e-5)
    assert student_t(10**9) == pytest.approx(1.959964, abs=1e-6)


def test_students_t_is_the_integral_of_its_density() -> None:
    for degrees in (1, 2, 7, 24):
        grid = np.linspace(0, student_t(degrees), 200_001)
        density = (1 + grid**2 / degrees) ** (-(degrees + 1) / 2)
        scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
        area = float(np.trapezoid(density, grid)) * scale / math.sqrt(degrees * math.pi)
        assert area == pytest.approx(0.475, abs=1e-6)


def test_wilson_is_newcombes_published_intervals() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
    for successes, n, low, high in ((81, 263, .2553, .3662), (15, 148, .0624, .1605),
                                    (0, 20, 0, .1611), (1, 29, .0061, .1718)):
        found = proportion(successes, n)
        assert found is not None
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_a_tie_counts_half_and_nothing_counts_as_none() -> None:
    assert proportion(2.5, 5) == proportion(5 / 2, 5)
    assert proportion(0, 0) is None
    assert mean([]) is None
    assert clustered_mean([], []) is None
    with pytest.raises(ValueError):
        proportion(6, 5)


def test_mean_has_students_interval() -> None:
    found = mean([1.0, 2.0, 3.0, 4.0, 10.0])
    # s = 3.5355, half = 2.776 · s / √5 = 4.390
    assert found is not None
    assert (found.value, found.n) == (4.0, 5)
    assert (found.low, found.high) == pytest.approx((-0.390, 8.390), abs=1e-3)
    lone = mean([3.0])
    assert lone is not None and lone.low == -math.inf and lone.high == math.inf


def test_a_mean_of_means_counts_every_cluster_once() -> None:
    values, prompts = [1.0, 3.0, 4.0, 9.0], ["a", "a", "b", "c"]
    assert mean_of_means(values, prompts) == mean([2.0, 4.0, 9.0])
    assert mean_of_means(values * 2, prompts * 2) == mean([2.0, 4.0, 9.0])
    assert mean_of_means([], []) is None


def test_wilson_holds_what_it_promises() -> None:
    """Exact coverage, from the binomial itself: .95 on average, never far below."""
    for n in (10, 30, 100):
        intervals = [proportion(k, n) for k in range(n + 1)]
        coverage = []
        for p in np.linspace(.05, .95, 181):
            coverage.append(sum(math.comb(n, k) * p**k * (1 - p)**(n - k)
                                for k, e in enumerate(intervals)
                                if e is not None and e.low <= p <= e.high))
        assert np.mean(coverage) == pytest.approx(.95, abs=.01)
        assert min(coverage) > .83


@pytest.mark.parametrize(("clusters", "size", "p"), [(12, 4, .7), (40, 3, .5), (60, 6, .9)])
def test_clustered_intervals_hold_where_naive_ones_do_not(clusters: int, size: int,
                                                          p: float) -> None:
    rng = np.random.default_rng(2)
    inside = naive = 0
    index = np.repeat(np.arange(clusters), size).tolist()
    for _ in range(1000):
        # Beta-binomial clusters: intra-cluster correlation 1 / (1 + 1) = ½.
        shares = np.repeat(rng.beta(p, 1 - p, size=clusters), size)
        values = (rng.random(clusters * size) < shares).astype(float)
        found, wrong = clustered_mean(values.tolist(), index), proportion(values.sum(), len(values))
        assert found is not None and wrong is not None
        inside += found.low <= p <= found.high
        naive += wrong.low <= p <= wrong.high
    assert inside / 1000 > .92
    assert naive < inside - 30


def test_clusters_of_one_give_about_wilson() -> None:
    values = [1.0] * 140 + [0.0] * 60
    found, plain = clustered_mean(values, range(200)), proportion(140, 200)
    assert found is not None and plain is not None
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_repeating_every_value_adds_no_knowledge() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.5, 1.0, 0.0, 1.0]
    once, thrice = clustered_mean(values, range(8)), clustered_mean(values * 3, [*range(8)] * 3)
    assert once is not None and thrice is not None
    assert thrice.n == 24
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=0.02)


def test_agreeing_values_still_have_an_interval() -> None:
    found = clustered_mean([1.0] * 30, [0, 1, 2] * 10)
    assert found is not None
    assert found.value == found.high == 1.0
    assert found.low < .5
    lone = clustered_mean([1.0] * 30, [0] * 30)
    assert lone is not None and lone.low < .25


def test_clustered_mean_refuses_what_is_no_share() -> None:
    with pytest.raises(ValueError):
        clustered_mean([1.5], [0])
    with pytest.raises(ValueError):
        clustered_mean([0.5], [0, 1])


def test_bootstrap_repeats_itself_and_finds_the_standard_error() -> None:
    data = np.random.default_rng(3).normal(size=400)
    first, second = (bootstrap(lambda drawn: float(drawn @ data) / 400, 400) for _ in range(2))
    assert first == second
    half = 1.96 * data.std(ddof=1) / 20
    assert (first[1] - first[0]) / 2 == pytest.approx(half, rel=.1)


def test_bootstrap_of_kinds_is_that_of_their_units() -> None:
    data = np.repeat([0.0, 1.0, 3.0], [200, 120, 80])
    units = bootstrap(lambda drawn: float(drawn @ data) / 400, 400)
    kinds = bootstrap(lambda drawn: float(drawn @ [0.0, 1.0, 3.0]) / 400, 400,
                      copies=np.array([200, 120, 80]))
    assert kinds == pytest.approx(units, abs=.02)


def test_one_unit_alone_bounds_nothing() -> None:
    assert bootstrap(lambda drawn: float(drawn.sum()), 1) == (-math.inf, math.inf)
    assert bootstrap(lambda drawn: 1.0, 1, copies=np.array([1])) == (-math.inf, math.inf)


def test_what_is_not_all_is_not_rounded_to_all() -> None:
    assert [percent(value) for value in (0, 0.004, 0.5, 0.994, 0.996, 0.99996, 1)] == [
        "0 %", "0.4 %", "50 %", "99 %", "99.6 %", "99.996 %", "100 %"]
    assert percent(1 - 1e-16) == "100 %", "rounding of sums is no part"
    assert Estimate(2999 / 3000, 3000, .99, 1.0).percent() == "99.97 % (99.0–100.0 %, n = 3,000)"


def test_the_medians_ranks_are_the_tables() -> None:
    # Conover 1999, table A3 at ½: 95 % intervals for the median lie between these order statistics.
    for n, rank in ((6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6), (25, 8), (50, 18)):
        found = median(list(range(1, n + 1))[::-1])
        assert found is not None
        assert (found.value, found.n) == ((n + 1) / 2, n)
        assert (found.low, found.high) == (rank, n + 1 - rank)
    few = median([1.0, 2.0, 3.0])
    assert few is not None and (few.low, few.high) == (-math.inf, math.inf)
    assert median([]) is None


def test_the_medians_interval_covers_and_is_smooth_in_n() -> None:
    rng, inside = np.random.default_rng(4), 0
    for _ in range(1000):
        found = median(rng.lognormal(size=40).tolist())
        assert found is not None
        inside += found.low <= 1 <= found.high
    assert .94 < inside / 1000 < .985
    exact, rough = median(range(1000)), median(range(1001))
    assert exact is not None and rough is not None
    assert abs(exact.low - rough.low) <= 1


def test_estimates_read_well_and_survive_json() -> None:
    found = Estimate(.712, 120, .62, .791)
    assert found.percent() == "71.2 % (62.0–79.1 %, n = 120)"
    assert str(found) == "0.712 (0.620 to 0.791, n = 120)"
    for estimate in (found, mean([3.0])):
        assert estimate is not None
        text = json.dumps(estimate.as_dict(), allow_nan=False)
        assert Estimate.from_dict(json.loads(text)) == estimate
