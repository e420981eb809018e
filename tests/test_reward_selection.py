"""Which pair is asked next: each rule against what it says it does, worked out the long way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reward.instant.davidson import information
from reward.instant.selection import RULES, Pool, prompt_centers, select

Array = np.ndarray[Any, Any]


def pool(prompts: int = 6, responses: int = 4, width: int = 5, seed: int = 0) -> Pool:
    """All pairs of each prompt's responses under a made-up posterior."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(prompts * responses, width))
    square = rng.normal(size=(width, width))
    pairs = [(p * responses + i, p * responses + j, p) for p in range(prompts)
             for i in range(responses) for j in range(i)]
    first, second, prompt = np.array(pairs).T
    return Pool(features, rng.normal(size=width), square @ square.T / width, first, second, prompt)


def after(p: Pool, covariance: Array, pair: int) -> Array:
    """Covariance after one answer, by inverting the precision."""
    row = p.features[p.first[pair]] - p.features[p.second[pair]]
    h = information(np.array([row @ p.coefficients]), p.log_tie)[0]
    return np.asarray(np.linalg.inv(np.linalg.inv(covariance) + h * np.outer(row, row)))


def chosen(p: Pool, count: int, rule: Any, share: float = 0.0, seed: int = 0) -> list[int]:
    return select(p, count, rule, np.random.default_rng(seed), share)


@pytest.mark.parametrize("log_tie", [-np.inf, 0.3])
@pytest.mark.parametrize("responses", [4, 24])  # few pairs a response, and many
@pytest.mark.parametrize("rule", ["d-optimal", "v-optimal"])
def test_greedy_batches_by_brute_force(rule: str, responses: int, log_tie: float) -> None:
    p = replace(pool(24 // responses, responses), log_tie=log_tie)
    rows = p.features[p.first] - p.features[p.second]
    covariance, expected = p.covariance, []
    for _ in range(8):
        def worth(pair: int, now: Array) -> float:
            then = after(p, now, pair)
            if rule == "d-optimal":
                return float(np.linalg.slogdet(now)[1] - np.linalg.slogdet(then)[1])
            return float(np.einsum("md,de,me->", rows, now - then, rows))

        best = max((i for i in range(len(p.first)) if i not in expected),
                   key=lambda i: worth(i, covariance))
        expected.append(best)
        covariance = after(p, covariance, best)
    assert chosen(p, 8, rule) == expected


@pytest.mark.parametrize("rule", ["margin", "variance", "d-optimal", "v-optimal", "bal-pm"])
def test_what_is_equally_worth_asking_is_asked_by_chance(rule: Any) -> None:
    """As at the beginning, when nothing is known: not what was made first."""
    p = Pool(np.eye(12), np.zeros(12), np.eye(12), np.arange(0, 12, 2), np.arange(1, 12, 2),
             np.arange(6))
    firsts = [chosen(p, 1, rule, seed=seed)[0] for seed in range(300)]
    assert np.bincount(firsts, minlength=6).min() > 20  # 50 expected, with a deviation of 6.5


def test_margin_and_variance_by_brute_force() -> None:
    p = pool()
    rows = p.features[p.first] - p.features[p.second]
    assert chosen(p, 5, "margin") == np.abs(rows @ p.coefficients).argsort()[:5].tolist()
    assert chosen(p, 1, "variance") == [int(np.einsum("md,de,me->m", rows, p.covariance,
                                                      rows).argmax())]


def test_a_batch_does_not_ask_the_same_thing_twice() -> None:
    p = pool()
    # Every pair stands there three times; the best one's copies are worth less once it is asked.
    tripled = replace(p, first=np.tile(p.first, 3), second=np.tile(p.second, 3),
                      prompts=np.tile(p.prompts, 3), covariance=p.covariance * 100)
    found = [i % len(p.first) for i in chosen(tripled, 5, "d-optimal")]
    assert len(set(found)) == 5


def test_thompson_prefers_the_best_and_never_pairs_a_response_with_itself() -> None:
    p = pool(prompts=1, responses=6)
    scores = p.features @ p.coefficients
    sure = replace(p, covariance=p.covariance * 1e-12)
    best, next_best = (-scores).argsort()[:2]
    pair = chosen(sure, 1, "double-thompson")[0]
    assert {p.first[pair], p.second[pair]} == {best, next_best}
    # The rest comes too, once the best pairs are gone.
    assert sorted(chosen(sure, 99, "double-thompson")) == list(range(len(p.first)))


def test_thompson_draws_twice_for_a_prompt_that_is_as_likely_as_any() -> None:
    """Three responses of one prompt and two of another, whose scores are normal by themselves."""
    mean, deviation = np.array([0.5, 0.0, 0.3, 0.0, 0.0]), np.array([0.1, 3.0, 1.0, 1.0, 1.0])
    p = Pool(np.eye(5), mean, np.diag(deviation**2), np.array([0, 0, 1, 3]),
             np.array([1, 2, 2, 4]), np.array([0, 0, 0, 1]))
    rng = np.random.default_rng(0)
    found = np.bincount([select(p, 1, "double-thompson", rng)[0] for _ in range(4000)],
                        minlength=4) / 4000
    assert found[3] == pytest.approx(0.5, abs=0.03), "not by how many pairs it has"
    one, other = (mean + deviation * rng.normal(size=(100_000, 5)) for _ in range(2))
    best = one[:, :3].argmax(axis=1)
    other[np.arange(len(other)), best] = -np.inf
    left_out = 3 - best - other[:, :3].argmax(axis=1)
    expected = np.bincount(left_out, minlength=3)[::-1] / len(left_out)
    assert found[:3] * 2 == pytest.approx(expected, abs=0.05)


def test_bal_pm_by_brute_force() -> None:
    """Half the fall of log det, less a tenth of the logarithm of how often its prompt was asked."""
    p = replace(pool(), asked=np.repeat(np.arange(6), [0, 40, 3, 9, 1, 0]))
    covariance, counts, expected = p.covariance * 0.3, np.array([0, 40, 3, 9, 1, 0]), []
    for _ in range(12):
        worth = {i: (np.linalg.slogdet(covariance)[1]
                     - np.linalg.slogdet(after(p, covariance, i))[1]) / 2
                 - 0.1 * np.log(counts[p.prompts[i]] + 0.5)
                 for i in range(len(p.first)) if i not in expected}
        expected.append(max(worth, key=lambda i: worth[i]))
        covariance = after(p, covariance, expected[-1])
        counts[p.prompts[expected[-1]]] += 1
    assert chosen(replace(p, covariance=p.covariance * 0.3), 12, "bal-pm") == expected


def test_bal_pm_turns_to_prompts_that_were_not_asked_about() -> None:
    rng = np.random.default_rng(0)
    centers = np.repeat(rng.normal(size=(8, 5)) * 20, 4, axis=0)
    p = pool(prompts=8)
    far = replace(p, features=p.features * 0.01 + centers)
    asked = np.repeat(np.arange(7), 50)
    found = chosen(replace(far, asked=asked), 1, "bal-pm")
    assert far.prompts[found[0]] == 7
    counts = np.bincount(far.prompts[chosen(far, 16, "bal-pm")], minlength=8)
    assert counts.min() >= 1


def test_bal_pm_counts_what_was_asked_of_prompts_without_a_candidate() -> None:
    """All prompts but four that lie apart have a twin that was asked about, and is no more."""
    p = pool(prompts=40)
    far = replace(p, features=p.features * 0.01 + np.repeat(np.arange(40) >= 36, 4)[:, None] * 100)
    centers = prompt_centers(far.features, np.repeat(np.arange(40), 4), 40)
    twins = replace(far, asked=np.repeat(np.arange(40, 76), 50),
                    centers=np.concatenate([centers, centers[:36]]))
    assert min(far.prompts[chosen(twins, 8, "bal-pm")]) >= 36


@pytest.mark.parametrize("count", [9, 25, 60])
def test_bal_pm_counts_what_was_asked_of_a_prompts_own_neighbours(count: int) -> None:
    """Three of them at the most, or as many as a tenth of all prompts, whoever else counts it among
    theirs; what was asked of a prompt that lies nowhere counts for that one alone."""
    rng = np.random.default_rng(count)
    crowded = rng.normal(size=(count, 1)) ** 3  # so that nearness is not mutual
    p = Pool(np.concatenate([crowded, crowded]), np.zeros(1), np.eye(1) * 1e-9, np.arange(count),
             np.arange(count, 2 * count), np.arange(count),
             asked=np.repeat(np.arange(count + 2), rng.integers(0, 60, count + 2)))
    assert p.asked is not None
    often = np.bincount(p.asked, minlength=count + 2)
    gaps = np.abs(crowded - crowded.T)
    # the prompt itself and its neighbours, of `count` and the two that no candidate is of
    nearest = [gaps[i].argsort()[:1 + min(3, (count + 2) // 10)] for i in range(count)]
    nearby = [often[:count][mine].sum() for mine in nearest]
    assert nearby[chosen(p, 1, "bal-pm")[0]] == min(nearby)
    fullest_first = sorted(range(count), key=lambda i: -nearby[i])
    for left in (fullest_first[:2], fullest_first[1:4]):  # among few, the least asked of them
        some = replace(p, first=p.first[left], second=p.second[left], prompts=p.prompts[left],
                       centers=np.append(crowded, np.full((2, 1), np.nan), axis=0))
        assert nearby[left[chosen(some, 1, "bal-pm")[0]]] == min(nearby[i] for i in left)


def test_a_prompt_lies_where_the_mean_of_its_responses_does() -> None:
    found = prompt_centers(np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([2, 0, 2]), 3)
    assert found[[0, 2]].tolist() == [[3, 4], [3, 4]] and np.isnan(found[1]).all()


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_goes_through_all_candidates_once(rule: Any) -> None:
    p = pool()
    assert sorted(chosen(p, 1000, rule, 0.2)) == list(range(len(p.first)))
    assert chosen(p, 7, rule, 0.2) == chosen(p, 7, rule, 0.2)


def test_the_random_share_is_what_was_asked_for_and_uniform() -> None:
    p = pool(prompts=3)
    rng, (best,) = np.random.default_rng(0), chosen(p, 1, "d-optimal")
    drawn = [pair for _ in range(3000) for pair in select(p, 1, "d-optimal", rng, 0.2)]
    counts = np.delete(np.bincount(drawn, minlength=len(p.first)), best)
    expected = 0.2 * 3000 / len(p.first)
    assert ((counts - expected) ** 2 / expected).sum() < 45  # χ² with 17 degrees, p < 0.001


def test_without_candidates_nothing_is_chosen() -> None:
    assert chosen(replace(pool(), first=np.zeros(0, int), second=np.zeros(0, int),
                          prompts=np.zeros(0, int)), 3, "margin") == []
