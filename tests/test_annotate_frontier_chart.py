"""The plot of reward against distance holds every step that has both, and marks what is offered."""

import math
from typing import Any

from annotate.engineers.frontier_chart import figure, offered_words

STEPS: list[dict[str, Any]] = [
    {"step": 0, "kl": -0.01, "reward": 0.0}, {"step": 1, "kl": 4.0, "reward": 1.0},
    {"step": 2, "kl": 9.0, "reward": 1.5, "judge_reward": 0.5}, {"step": 3, "loss": 1.0}]


def test_rewards_stand_against_the_root_of_the_kl() -> None:
    ours, theirs = figure(STEPS, None)["data"]
    assert ours["x"] == [0.0, 2.0, 3.0] and ours["y"] == [0.0, 1.0, 1.5]
    assert theirs["x"] == [math.sqrt(9.0)] and theirs["y"] == [0.5]
    assert ours["marker"]["size"] == [4, 4, 4]


def test_what_was_no_number_is_left_out() -> None:
    steps = [*STEPS[:2], {"step": 2, "kl": None, "reward": 1.0}, {"step": 3, "kl": 9.0,
                                                                  "reward": None}]
    assert figure(steps, None)["data"][0]["x"] == [0.0, 2.0]


def test_the_offered_policy_is_marked_and_nothing_is_drawn_of_nothing() -> None:
    assert figure(STEPS, 1)["data"][0]["marker"]["size"] == [4, 12, 4]
    assert figure([{"step": 0, "loss": 1.0}], None)["data"] == []


def test_what_is_offered_is_said_with_the_reason() -> None:
    assert offered_words({}) == ""
    old = offered_words({"offered_step": 5})  # of a run of before the reason was kept
    assert "after 5 updated steps" in old and "because it is the best of those kept." in old
    assert "because none is within." in offered_words(
        {"offered_step": 5, "offered_because": "none is within"})
