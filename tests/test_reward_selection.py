"""Which pair is asked next: each rule against what it says it does, worked out the long way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.errors import BadInput
from reward.instant.davidson import information
from reward.instant.selection import RULES, Pool, priorities, prompt_centers, select

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
    return [c.pair for c in select(p, count, rule, np.random.default_rng(seed), share)]


@pytest.mark.parametrize("log_tie", [-np.inf, 0.3])
@pytest.mark.parametrize("responses", [4, 24])  # few pairs a response, and many
@pytest.mark.parametrize("rule", ["d_optimal", "v_optimal"])
def test_greedy_batches_by_brute_force(rule: str, responses: int, log_tie: float) -> None:
    p = replace(pool(24 // responses, responses), log_tie=log_tie,
                targets=(np.array([0, 5, 9]), np.array([12, 14, 20])))
    assert p.targets is not None
    targets = p.features[p.targets[0]] - p.features[p.targets[1]]
    covariance, expected = p.covariance, []
    for _ in range(8):
        def worth(pair: int, now: Array) -> float:
            then = after(p, now, pair)
            if rule == "d_optimal":
                return float(np.linalg.slogdet(now)[1] - np.linalg.slogdet(then)[1])
            return float(np.trace(targets @ (now - then) @ targets.T))

        best = max((i for i in range(len(p.first)) if i not in expected),
                   key=lambda i: worth(i, covariance))
        expected.append(best)
        covariance = after(p, covariance, best)
    assert chosen(p, 8, rule) == expected


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
    found = [i % len(p.first) for i in chosen(tripled, 5, "d_optimal")]
    assert len(set(found)) == 5


def test_thompson_prefers_the_best_and_never_pairs_a_response_with_itself() -> None:
    p = pool(prompts=1, responses=6)
    scores = p.features @ p.coefficients
    sure = replace(p, covariance=p.covariance * 1e-12)
    best, next_best = (-scores).argsort()[:2]
    pair = chosen(sure, 1, "thompson")[0]
    assert {p.first[pair], p.second[pair]} == {best, next_best}
    # The rest comes too, once the best pairs are gone.
    assert sorted(chosen(sure, 99, "thompson")) == list(range(len(p.first)))


def test_thompson_draws_twice_for_a_prompt_that_is_as_likely_as_any() -> None:
    """Three responses of one prompt and two of another, whose scores are normal by themselves."""
    mean, deviation = np.array([0.5, 0.0, 0.3, 0.0, 0.0]), np.array([0.1, 3.0, 1.0, 1.0, 1.0])
    p = Pool(np.eye(5), mean, np.diag(deviation**2), np.array([0, 0, 1, 3]),
             np.array([1, 2, 2, 4]), np.array([0, 0, 0, 1]))
    rng = np.random.default_rng(0)
    found = np.bincount([select(p, 1, "thompson", rng, 0.0)[0].pair for _ in range(4000)],
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
    assert chosen(replace(p, covariance=p.covariance * 0.3), 12, "bal_pm") == expected


def test_bal_pm_turns_to_prompts_that_were_not_asked_about() -> None:
    rng = np.random.default_rng(0)
    centers = np.repeat(rng.normal(size=(8, 5)) * 20, 4, axis=0)
    p = pool(prompts=8)
    far = replace(p, features=p.features * 0.01 + centers)
    asked = np.repeat(np.arange(7), 50)
    found = chosen(replace(far, asked=asked), 1, "bal_pm")
    assert far.prompts[found[0]] == 7
    counts = np.bincount(far.prompts[chosen(far, 16, "bal_pm")], minlength=8)
    assert counts.min() >= 1


def test_bal_pm_counts_what_was_asked_of_prompts_without_a_candidate() -> None:
    """All prompts but four that lie apart have a twin that was asked about, and is no more."""
    p = pool(prompts=40)
    far = replace(p, features=p.features * 0.01 + np.repeat(np.arange(40) >= 36, 4)[:, None] * 100)
    centers = prompt_centers(far.features, np.repeat(np.arange(40), 4), 40)
    twins = replace(far, asked=np.repeat(np.arange(40, 76), 50),
                    centers=np.concatenate([centers, centers[:36]]))
    assert min(far.prompts[chosen(twins, 8, "bal_pm")]) >= 36


def test_a_prompt_lies_where_the_mean_of_its_responses_does() -> None:
    found = prompt_centers(np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([2, 0, 2]), 3)
    assert found[[0, 2]].tolist() == [[3, 4], [3, 4]] and np.isnan(found[1]).all()


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_goes_through_all_candidates_once_and_marks_chance(rule: Any) -> None:
    p = pool()
    found = select(p, 1000, rule, np.random.default_rng(1))
    assert sorted(c.pair for c in found) == list(range(len(p.first)))
    assert select(p, 7, rule, np.random.default_rng(1)) == select(
        p, 7, rule, np.random.default_rng(1))
    if rule == "random":
        assert all(c.random for c in found)


def test_the_random_share_is_what_was_asked_for_and_uniform() -> None:
    p = pool(prompts=3)
    rng = np.random.default_rng(0)
    drawn = [c for _ in range(3000) for c in select(p, 1, "d_optimal", rng, 0.2)]
    by_chance = [c.pair for c in drawn if c.random]
    assert len(by_chance) / 3000 == pytest.approx(0.2, abs=0.03)
    counts = np.bincount(by_chance, minlength=len(p.first))
    expected = len(by_chance) / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 45  # χ² with 17 degrees, p < 0.001
    assert len({c.pair for c in drawn if not c.random}) == 1


def test_priorities_fall_in_the_order_chosen() -> None:
    p = pool()
    found = select(p, 3, "d_optimal", np.random.default_rng(0))
    values = priorities(found, len(p.first))
    assert (-values).argsort()[:3].tolist() == [c.pair for c in found]
    assert (values > 0).sum() == 3


def test_wrong_use_is_said() -> None:
    with pytest.raises(BadInput, match="best_guess"):
        select(pool(), 1, "best_guess", np.random.default_rng(0))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="share"):
        select(pool(), 1, "margin", np.random.default_rng(0), 1.5)
    assert select(replace(pool(), first=np.zeros(0, int), second=np.zeros(0, int),
                          prompts=np.zeros(0, int)), 3, "margin", np.random.default_rng(0)) == []
