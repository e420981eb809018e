"""Two programs trained in turns: what is counted, what is not, and how they end."""

import sys
from pathlib import Path

import pytest

from benchmarks.reward_speed import RESPONSES_PER_STEP, UNITS, _figures, _sides, _task
from benchmarks.turns import Contender, Turn

ROOT = Path(__file__).parents[1]
#: A program that "trains" in steps of 10 ms and 3 pairs, once or again and again. Its clock shows
#: nothing but these steps, whatever else the machine does.
PROGRAM = """
import sys
from types import SimpleNamespace
sys.path.insert(0, {root!r})
from benchmarks import turns
clock = [0.0]
turns.time = SimpleNamespace(perf_counter=lambda: clock[0])
worker = turns.Worker()
print("a library chatters")
while True:
    for step in range(1, {steps} + 1):
        clock[0] += 0.2 if step == 1 else 0.01
        worker.mark() if step == 1 else worker.step_done(3, 100)
    if worker.over or not {again}:
        break
worker.finish({{"scores": [1.0]}})
"""


def contender(steps: int, again: bool) -> Contender:
    return Contender([sys.executable, "-c", PROGRAM.format(
        root=str(ROOT), steps=steps, again=again)])


def test_turns_end_with_a_step_and_the_first_step_is_not_counted() -> None:
    side = contender(11, again=False)
    side.start()
    while side.result is None:
        side.turn(0.035)
    assert [turn.pairs for turn in side.turns] == [3 * 4, 3 * 4, 3 * 2]
    assert [turn.tokens for turn in side.turns] == [100 * 4, 100 * 4, 100 * 2]
    assert [turn.seconds for turn in side.turns] == pytest.approx([0.04, 0.04, 0.02])
    assert side.result == {"scores": [1.0]} and side.peak_gb > 0
    side.stop()


def test_what_trains_again_and_again_ends_when_told_and_counts_no_more() -> None:
    side = contender(4, again=True)
    side.start()
    side.turn(0.045)
    assert side.result is None and side.turns[0].pairs == 3 * 5
    # the second run's first step takes 0.2 s, which are nobody's
    assert side.turns[0].seconds == pytest.approx(0.05)
    side.end()
    assert side.result == {"scores": [1.0]} and len(side.turns) == 1
    side.stop()


def test_a_program_that_dies_is_named() -> None:
    side = Contender([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(SystemExit, match="ended with 3"):
        side.start()
    side.stop()
    Contender(["nothing"]).stop()  # one that never began


def test_rates_and_accuracy_come_from_what_both_hand_over() -> None:
    import numpy as np

    from benchmarks.human_data import Pairs, Text, Votes

    texts = [Text((("user", f"p{i // 2}"),), f"r{i}") for i in range(8)]
    nobody = np.zeros(0, int)
    pairs = Pairs(texts, np.array([0, 2, 4, 6]), np.array([1, 3, 5, 7]), np.arange(4),
                  np.array([0, 2, 0, 2]), np.ones(4, bool), Votes(nobody, nobody, nobody))
    assert _sides(pairs, np.arange(4)) == [(0, 1), (3, 2), (4, 5), (7, 6)]
    task = _task("hh", pairs, [0, 1], [2, 3], True)
    assert (task.trained, task.tested, task.groups) == ([(0, 1), (3, 2)], [(4, 5), (7, 6)], [2, 3])
    job = {"scored": [4, 5, 6, 7]}
    ours = Contender([], [Turn(60, 600, 2.0)] * 3, 1.0, {"scores": [1.0, 0.0, 0.0, 1.0]})
    theirs = Contender([], [Turn(10, 100, 2.0)] * 3, 4.0, {"scores": [0.0, 1.0, 0.5, 0.5]})
    slower = Contender([], [Turn(40, 400, 2.0)] * 3, 0.5, ours.result)
    found = _figures(task, job, {"": ours, "_recomputed": slower, "_trl": theirs})
    assert found["hh_ratio"]["value"] == 6 and found["hh_ratio_recomputed"]["value"] == 4
    assert found["hh_recomputed_peak_gb"]["value"] == 0.5 and found.keys() <= UNITS.keys()
    assert found["hh_accuracy"]["value"] == 1 and found["hh_trl_accuracy"]["value"] == 0.25
    assert found["hh_tokens_per_s"]["value"] == 300 and found["hh_trl_pairs_per_s"]["value"] == 5
    assert found["hh_peak_gb"]["value"] == 1 and found["hh_accuracy"]["n"] == 2
    assert set(RESPONSES_PER_STEP) == {"hh", "ukp"}
