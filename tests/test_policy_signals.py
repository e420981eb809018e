"""The signals of cheating, against counting by hand."""

import math

import numpy as np
import pytest
import torch

from policy.signals import (
    deviation,
    distinct,
    perplexity,
    repetition,
    spread,
    standard_error,
    worst_case,
)


def test_repetition_is_the_share_of_n_grams_that_came_before() -> None:
    assert repetition([[1, 2, 3, 4, 5]]) == 0
    # 7, 7, 7, 7, 7: three 3-grams, all the same, so two of three came before.
    assert repetition([[7] * 5]) == pytest.approx(2 / 3)
    assert repetition([[7] * 40]) > 0.97
    # 1 2 3 1 2 3: the 3-grams 123, 231, 312, 123.
    assert repetition([[1, 2, 3, 1, 2, 3]]) == pytest.approx(1 / 4)
    assert repetition([[1, 2, 3, 1, 2, 3], [4, 5], []]) == pytest.approx(1 / 12)
    assert repetition([]) == 0


def test_repetition_within_a_response_does_not_see_the_others() -> None:
    assert repetition([[1, 2, 3, 4]] * 10) == 0
    assert distinct([[1, 2, 3, 4]] * 10, 1) == pytest.approx(0.1)


@pytest.mark.parametrize("n", [1, 2])
def test_distinct_counts_over_all_responses(n: int) -> None:
    rng = np.random.default_rng(0)
    responses = [rng.integers(0, 9, size).tolist() for size in (12, 5, 1, 30)]
    counted: dict[tuple[int, ...], int] = {}
    for ids in responses:
        for start in range(len(ids)):
            gram = tuple(ids[start:start + n])
            if len(gram) == n:
                counted[gram] = counted.get(gram, 0) + 1
    assert distinct(responses, n) == pytest.approx(len(counted) / sum(counted.values()))
    assert distinct([[]], n) == 1


def test_perplexity_is_over_real_tokens() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, 99.0], [-3.0, 99.0, 99.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert perplexity(logprobs, mask) == pytest.approx(math.exp(2.0))


def test_judges_spread_and_worst_case() -> None:
    opinions = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    assert spread(opinions) == pytest.approx(0.5)  # deviations of 1 and 0
    assert worst_case(opinions) == pytest.approx(0.5)


@pytest.mark.filterwarnings("error")
def test_one_response_alone_has_no_spread() -> None:
    alone = torch.tensor([2.0])
    assert math.isnan(deviation(alone)) and math.isnan(standard_error(alone, [7]))
    assert deviation(torch.tensor([1.0, 3.0])) == pytest.approx(math.sqrt(2))


def test_the_error_of_a_mean_knows_which_responses_share_a_prompt() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 9.0, -1.0, 0.5])
    alone = float(values.std()) / math.sqrt(6)
    assert standard_error(values, [5, 3, 9, 1, 2, 8]) == pytest.approx(alone)
    assert standard_error(values, [7] * 6) == pytest.approx(alone)  # nothing to compare with
    means = values.reshape(3, 2).mean(1)
    assert standard_error(values, [4, 4, 1, 1, 6, 6]) == pytest.approx(
        float(means.std()) / math.sqrt(3))


def test_the_error_of_a_mean_is_how_far_means_are_apart() -> None:
    rng = np.random.default_rng(0)
    prompts = np.repeat(np.arange(8), 4)
    drawn = [torch.from_numpy(rng.normal(size=8)[prompts] + rng.normal(size=32))
             for _ in range(2000)]
    apart = float(np.std([float(values.mean()) for values in drawn]))
    found = math.sqrt(np.mean([standard_error(v, prompts.tolist()) ** 2 for v in drawn]))
    assert found == pytest.approx(apart, rel=0.05)
    assert float(drawn[0].std()) / math.sqrt(32) < 0.75 * apart  # as if independent
