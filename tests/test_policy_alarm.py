"""The alarm sounds on runs that were seen to collapse, and keeps still on those that went well."""

import math
from typing import Any

import numpy as np
import pytest

from policy.alarm import SIGNALS, Limits, check, first_alarm

Run = list[dict[str, Any]]


def _step(step: int, **figures: float) -> dict[str, Any]:
    return {"step": step, "reward": 0.0, "reward_std": 0.5, "responses": 32, "kl": 0.0,
            "length": 32.0, "entropy": 1.3, "repetition": 0.02, "reference_perplexity": 3.7,
            **figures}


def wonderful(rng: np.random.Generator) -> Run:
    """The embedded model straight on a sentiment score: .27 at the start, .42 at step 5 (KL 2),
    .89 at step 10 (KL 14), .98 at step 15 (KL 42), and at step 20 (KL 92) "wonderful wonderful
    wonderful …" (40 tokens)."""
    known = [0, 5, 10, 15, 20]
    run = []
    for step in range(21):
        def at(values: list[float], step: int = step) -> float:
            return float(np.interp(step, known, values))
        run.append(_step(
            step, reward=at([0.27, 0.42, 0.89, 0.98, 0.99]) + 0.03 * rng.normal(),
            reward_std=at([0.5, 0.5, 0.2, 0.05, 0.02]), kl=at([0, 2, 14, 42, 92]), length=40.0,
            entropy=at([1.3, 1.25, 1.1, 0.7, 0.1]) + 0.05 * rng.normal(),
            repetition=at([0.02, 0.02, 0.04, 0.3, 0.92])))
    return run


def healthy(rng: np.random.Generator, steps: int = 40) -> Run:
    """Reward along d (α − β log d), still rising, as noisy as batches of 32 responses are."""
    final, alpha = rng.uniform(4, 14), rng.uniform(0.3, 0.7)
    run = []
    for step in range(steps):
        d = math.sqrt(final * step / (steps - 1))
        reward = d * (alpha - 0.1 * math.log(max(d, 1e-9))) if d else 0.0
        run.append(_step(
            step, reward=reward + rng.normal() / math.sqrt(32), reward_std=1.0,
            kl=d * d * math.exp(0.1 * rng.normal()), entropy=1.3 * math.exp(0.06 * rng.normal()),
            length=31 + rng.normal(), repetition=max(0.0, 0.03 + 0.015 * rng.normal()),
            reference_perplexity=3.7 * math.exp(0.01 * d * d + 0.05 * rng.normal()),
            ensemble_spread=0.3 * math.exp(0.01 * d * d + 0.08 * rng.normal())))
    return run


@pytest.mark.parametrize("seed", range(20))
def test_the_collapse_that_was_seen_is_noticed_before_the_text_is_lost(seed: int) -> None:
    alarm = first_alarm(wonderful(np.random.default_rng(seed)))
    assert alarm is not None and 10 < alarm.step <= 15
    assert alarm.text


def test_healthy_runs_are_left_alone() -> None:
    fired = sum(first_alarm(healthy(np.random.default_rng(seed))) is not None
                for seed in range(200))
    assert fired <= 10


def overoptimised(rng: np.random.Generator, steps: int = 40) -> tuple[Run, list[float]]:
    """A proxy that rises along one of Gao et al.'s curves while the gold reward peaks on another;
    the reward models' spread follows the gap between the two. Returns the run and the gold."""
    final, alpha = rng.uniform(30, 80), rng.uniform(0.6, 1.0)
    bend = alpha / rng.uniform(1.8, 2.3)  # the gold peaks at d = exp(alpha / bend - 1)
    run, golds = [], []
    for step in range(steps):
        d = math.sqrt(final) * step / (steps - 1)
        gold, proxy = (d * (alpha - b * math.log(max(d, 1e-9))) for b in (bend, 0.3 * bend))
        golds.append(gold)
        run.append(_step(
            step, reward=proxy + rng.normal() / math.sqrt(128), reward_std=1.0, length=48.0,
            responses=128,
            kl=d * d * math.exp(0.1 * rng.normal()),
            judge_reward=gold + rng.normal() / math.sqrt(128), judge_std=1.0,
            ensemble_spread=math.hypot(0.4, 0.5 * (proxy - gold)) * math.exp(
                0.08 * rng.normal())))
    return run, golds


def test_over_optimisation_is_noticed_before_the_gold_reward_has_fallen() -> None:
    in_time = 0
    for seed in range(100):
        run, golds = overoptimised(np.random.default_rng(seed))
        peak = int(np.argmax(golds))
        assert peak < len(run) - 1, "a run that does not over-optimise proves nothing"
        fallen = next(n for n in range(peak, len(golds)) if golds[n] < 0.95 * golds[peak])
        alarm = first_alarm(run)
        in_time += alarm is not None and alarm.step <= fallen
    assert in_time >= 90


#: What the demonstration showed: reward, its spread, KL, entropy and length, 32 responses a step.
DEMONSTRATION = [
    [(0.049, 0.0, 1.295, 30.6), (-0.029, 1.069, 1.275, 29.7), (0.323, 3.42, 1.35, 30.3),
     (0.364, 3.523, 1.392, 31.4), (-0.189, 2.422, 1.305, 30.9), (0.259, 2.853, 1.327, 29.9),
     (0.253, 4.363, 1.391, 30.0)],
    [(0.481, 3.905, 1.323, 30.7), (0.597, 4.64, 1.255, 30.4), (0.783, 8.382, 1.271, 31.3),
     (0.777, 9.393, 1.407, 32.0), (1.145, 11.522, 1.354, 32.0), (1.134, 13.977, 1.188, 31.6)]]


@pytest.mark.parametrize("run", DEMONSTRATION, ids=["round 0", "round 1"])
def test_the_demonstrations_runs_are_healthy(run: list[tuple[float, float, float, float]]) -> None:
    steps = [_step(n, reward=r, reward_std=1.0, kl=k, entropy=e, length=length)
             for n, (r, k, e, length) in enumerate(run)]
    assert first_alarm(steps) is None


def _drifting(name: str, start: float, end: float, steps: int = 12) -> Run:
    return [_step(n, **{name: start + (end - start) * n / (steps - 1)}) for n in range(steps)]


@pytest.mark.parametrize(("name", "start", "end", "words"), [
    ("kl", 0.0, 40.0, "nats a token"), ("entropy", 1.3, 0.2, "entropy has fallen"),
    ("repetition", 0.02, 0.6, "3-grams are repeated"),
    ("repeated_tokens", 0.15, 0.4, "of tokens are repeated"), ("length", 30.0, 90.0, "tokens"),
    ("length", 60.0, 9.0, "tokens"), ("reference_perplexity", 4.0, 40.0, "perplexity"),
    ("ensemble_spread", 0.2, 0.9, "reward models' spread")])
def test_each_signal_alone_sounds_it_and_says_why(name: str, start: float, end: float,
                                                  words: str) -> None:
    alarm = first_alarm(_drifting(name, start, end))
    assert alarm is not None and len(alarm.reasons) == 1 and words in alarm.text
    assert first_alarm(_drifting(name, start, start)) is None


def _judged(share: float, noise: float = 0.5, steps: int = 20) -> Run:
    """Reward rises to 2; the judges grant a share of it."""
    return [_step(n, reward=0.1 * n, reward_std=noise, judge_reward=share * 0.1 * n,
                  judge_std=noise) for n in range(steps)]


@pytest.mark.parametrize(("name", "start", "end", "granted", "too_little"), [
    ("length", 25.0, 60.0, 0.75, 0.65), ("entropy", 3.0, 1.0, 0.75, 0.65),
    ("reference_perplexity", 4.0, 40.0, 0.75, 0.65), ("repetition", 0.0, 0.5, 1.1, 1.0),
    ("repeated_tokens", 0.15, 0.4, 1.1, 1.0)])
def test_new_looks_are_no_alarm_where_judges_grant_what_was_gained(
        name: str, start: float, end: float, granted: float, too_little: float) -> None:
    run = _drifting(name, start, end)

    def judged(share: float, gain: float) -> list[dict[str, Any]]:
        return [{**step, "reward": gain * n, "judge_reward": share * gain * n}
                for n, step in enumerate(run)]

    assert first_alarm(judged(granted, 0.2)) is None
    assert first_alarm(judged(too_little, 0.2)) is not None  # they share what it may have found
    assert first_alarm(judged(1.2, 0.001)) is not None  # nothing was gained that they could grant


def test_reward_that_further_reward_models_do_not_grant_is_noticed() -> None:
    alarm = first_alarm(_judged(0.1))
    assert alarm is not None and "further reward models grant" in alarm.text
    assert 3 < alarm.step < 9  # a gain of 0.3, over three steps, in two steps in a row
    assert first_alarm(_judged(0.7)) is None and first_alarm(_judged(1.2)) is None
    assert first_alarm(_judged(0.5, noise=5.0)) is None  # too noisy to be told
    assert first_alarm(_judged(0.1, steps=4)) is None  # nothing gained yet
    few = [{**step, "reward_error": 1.0, "judge_error": 1.0} for step in _judged(0.4)]
    assert first_alarm(_judged(0.4)) and first_alarm(few) is None  # the means of few prompts


@pytest.mark.parametrize(("name", "words"), [
    ("reward", "the reward by"), ("judge_reward", "the further reward models' opinion by")])
def test_kl_spent_for_nothing_is_noticed_and_noise_alone_is_not(name: str, words: str) -> None:
    def run(late_gain: float, noise: float) -> Run:
        gains = [0.2 * min(n, 8) + late_gain * max(n - 8, 0) for n in range(20)]
        rising = [_step(n, reward=0.1 * n, reward_std=noise, judge_std=noise, kl=0.9 * n)
                  for n in range(20)]
        return [{**step, name: gain} for step, gain in zip(rising, gains, strict=True)]

    alarm = first_alarm(run(0.0, 0.05))
    assert alarm is not None and alarm.step > 9
    assert len(alarm.reasons) == 1 and words in alarm.text
    assert first_alarm(run(0.2, 0.05)) is None
    assert first_alarm(run(0.0, 3.0)) is None  # too noisy to be told


def test_repeats_that_creep_up_or_have_stopped_are_no_alarm_until_they_are_many() -> None:
    def run(*shares: float) -> Run:
        return [_step(n, repeated_tokens=share) for n, share in enumerate(shares)]

    start = [0.15] * 5
    creeping = start + [0.15 + 0.005 * n for n in range(1, 60)]
    alarm = first_alarm(run(*creeping))
    assert first_alarm(run(*creeping[:44])) is None  # 0.195 above the start, 0.025 in five steps
    assert alarm is not None and 44 <= alarm.step <= 47
    fast = start + [0.15 + 0.02 * n for n in range(1, 6)]
    assert first_alarm(run(*fast)) is not None
    assert first_alarm(run(*start, *[0.25] * 20)) is not None  # as it rises
    stopped = [0.15 + 0.004 * min(n, 25) for n in range(60)]
    assert first_alarm(run(*stopped)) is None
    assert first_alarm(run(*start, *[0.15 + 0.02 * n for n in (1, 2)] * 20)) is None  # too little


def test_one_odd_step_is_not_enough() -> None:
    run = [_step(n, repetition=0.9 if n == 6 else 0.02) for n in range(12)]
    assert first_alarm(run) is None
    run[7]["repetition"] = 0.9
    alarm = first_alarm(run)
    assert alarm is not None and alarm.step == 7
    assert first_alarm(run, Limits(patience=3)) is None


def test_it_is_a_pure_function_of_what_it_names() -> None:
    run = wonderful(np.random.default_rng(0))
    bare = [{name: step[name] for name in SIGNALS if name in step} for step in run]
    kept = [dict(step) for step in run]
    assert check(run) == check(bare) == check(run) and run == kept
    assert check(run) is not None and check(run[:8]) is None
    assert check([]) is None and check(run[:1]) is None


def test_missing_and_broken_figures_sound_nothing() -> None:
    assert first_alarm([{"step": n} for n in range(20)]) is None
    broken = [dict.fromkeys(SIGNALS, math.nan) | {"step": n} for n in range(20)]
    assert first_alarm(broken) is None
    assert first_alarm([_step(n, entropy=0.0, length=0.0) for n in range(20)]) is None
