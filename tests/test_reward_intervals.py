"""The intervals of a report on a reward model, where there is little to know them by."""

from __future__ import annotations

import math

import pytest
from reward_world import example

from reward.examples import Example
from reward.report.calibration import calibration
from reward.report.figures import report
from reward.report.votes import Votes


def test_an_interval_of_the_calibration_error_holds_the_error() -> None:
    """As often right as it says, in each of three bins: other draws of prompts are farther off."""
    examples: list[Example] = []
    scores: dict[int, float] = {}
    for number in range(120):
        in_bin, of = divmod(number, 40)
        share = (0.6, 0.75, 0.9)[in_bin]
        examples.append(example(number + 1, ["a", "b"], [(0, 1, 3)]))
        better, worse = list(examples[-1].texts)[::1 if of < 40 * share else -1]
        scores |= {better: math.log(share / (1 - share)), worse: 0.0}
    found = calibration(Votes.of(examples, scores))
    assert found
    error = found["error"]
    assert error["value"] == pytest.approx(0) and error["low"] <= error["value"] < error["high"]


def test_of_one_prompt_no_interval_is_known() -> None:
    texts = ["a", "long one", "the longest of all"]
    found = report([example(1, texts, [(0, 1, 3), (1, 2, 3), (0, 2, 1)] * 4)],
                   {100: 1.0, 101: 0.3, 102: 0.2})
    for of in (found["calibration"]["error"], found["cross_entropy"],
               found["length_correlation"]["pearson"], found["baselines"]["over_longer"]):
        assert of["low"] is None and of["high"] is None
