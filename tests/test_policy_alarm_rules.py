"""Each of the alarm's rules at its limits: over many runs that are made up it sounds just where the
rule, written down once more in plain numpy, holds in two steps in a row."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from policy.alarm import Limits, check

Array = np.ndarray[Any, np.dtype[np.float64]]
Run = dict[str, Array]
#: What no rule minds.
QUIET = {"reward": 0.0, "kl": 0.0, "length": 32.0, "entropy": 100.0, "repetition": 0.3,
         "repeated_tokens": 0.4, "reference_perplexity": 9.0, "responses": 32.0}


def _steps(run: Run) -> list[dict[str, float]]:
    length = len(next(iter(run.values())))
    return [{"step": n, **QUIET, **{name: float(values[n]) for name, values in run.items()}}
            for n in range(length)]


def _judges(run: Run) -> bool:
    """The judges grant less than 57 % of what was gained, one standard error granted."""
    reward, judge = (run[name][-3:].mean() for name in ("reward", "judge_reward"))
    of_reward, of_judge = ((run[name][-3:] ** 2).sum() ** 0.5 / 3
                           for name in ("reward_error", "judge_error"))
    error = (of_judge ** 2 + (0.57 * of_reward) ** 2) ** 0.5
    return len(run["reward"]) > 3 and reward > 0.3 and judge + error < 0.57 * reward


def _wasted(run: Run) -> bool:
    """A nat or more of KL for less than a tenth of what the √nats before it have brought each."""
    reward, kl = run["reward"], run["kl"]
    if len(kl) < 7 or kl[-6:-3].mean() <= 0 or kl[-3:].mean() - kl[-6:-3].mean() < 1:
        return False
    error = (run["reward_error"][-6:] ** 2).sum() ** 0.5 / 3
    before, now = kl[-6:-3].mean() ** 0.5, kl[-3:].mean() ** 0.5
    rate = (reward[-6:-3].mean() - reward[0]) / before
    gained = reward[-3:].mean() - reward[-6:-3].mean()
    return bool(rate > 0 and gained + 2 * error < 0.1 * rate * (now - before))


def _repeats(run: Run) -> bool:
    """Repeated tokens have risen by 6 points and by 3 of them lately, or by 20 at any pace."""
    share = run["repeated_tokens"]
    if len(share) <= 3:
        return False
    rise = share[-1] - np.median(share[:3])
    earlier = share[-8:-5] if len(share) > 5 else share[:1]
    lately = share[-3:].mean() - earlier.mean()
    return bool((rise > 0.06 and lately > 0.03) or rise > 0.2)


def _since(name: str, beyond: Callable[[float, float], bool]) -> Callable[[Run], bool]:
    """A signal now against the median of the run's first three steps."""
    def rule(run: Run) -> bool:
        values = run[name]
        return len(values) > 3 and beyond(float(np.median(values[:3])), float(values[-1]))

    return rule


def _made(name: str, rng: np.random.Generator, steps: int) -> Run:
    def near(middle: float, spread: float) -> Array:
        return middle + spread * rng.normal(size=steps)

    if name == "judges":
        return {"reward": near(0.4, 0.15), "judge_reward": near(0.15, 0.1),
                "reward_error": near(0.1, 0.02), "judge_error": near(0.05, 0.02)}
    if name == "wasted":
        kl = rng.uniform(-2, 1) + np.cumsum(rng.uniform(0, 1.0, steps))
        until, n = rng.integers(1, 6), np.arange(steps)
        reward = (rng.normal() + rng.normal(0.6, 0.5) * np.sqrt(n.clip(max=until))
                  - rng.choice([0.0, 0.2]) * (n - until).clip(min=0))
        return {"kl": kl, "reward": reward + near(0, 0.01), "reward_error": near(0.01, 0.003)}
    if name == "repeated_tokens":
        return {name: 0.4 + np.cumsum(near(0.012, 0.03))}
    beyond = {"repetition": 0.16, "entropy": -0.5, "length": rng.choice([1.0, -0.5]),
              "reference_perplexity": 1.5, "ensemble_spread": 0.8}[name]
    scale = {"repetition": 1.0, "entropy": 2.0, "length": 30.0, "reference_perplexity": 4.0,
             "ensemble_spread": 3.0}[name]
    start = 0.3 if name == "repetition" else 1.0
    values = start + beyond * np.clip(near(0.9, 0.5), 0, 1.9)
    values[:3] = start * np.clip(near(1.0, 0.3), 0.1, 2)[:3]
    return {name: scale * values}


RULES = {
    "judges": _judges, "wasted": _wasted, "repeated_tokens": _repeats,
    "repetition": _since("repetition", lambda begun, now: now - begun > 0.15),
    "entropy": _since("entropy", lambda begun, now: now < 0.5 * begun),
    "length": _since("length", lambda begun, now: now > 2 * begun or now < begun / 2),
    "reference_perplexity": _since("reference_perplexity", lambda b, now: now > 2.5 * b),
    "ensemble_spread": _since("ensemble_spread", lambda begun, now: now > 1.8 * begun)}


@pytest.mark.parametrize("name", list(RULES))
def test_the_alarm_sounds_where_the_rule_holds_twice_in_a_row(name: str) -> None:
    rng, rule = np.random.default_rng(0), RULES[name]
    sounded = 0
    for _ in range(600):
        run = _made(name, rng, int(rng.integers(2, 12)))
        before = {key: values[:-1] for key, values in run.items()}
        expected = rule(run) and rule(before)
        alarm = check(_steps(run))
        assert (alarm is not None) == expected, run
        assert alarm is None or len(alarm.reasons) == 1
        sounded += expected
    assert 40 < sounded < 560, "both ways"


def test_judges_are_heard_where_they_granted_it_in_either_of_the_last_steps() -> None:
    """A text that is another and better: while they have said so, it is no alarm."""
    steps = 12
    granted = np.full(steps, 1.6)
    granted[-1] = 0.3  # mean over three steps: 1.17 of 2
    run = {"length": np.linspace(30, 120, steps), "reward": np.full(steps, 2.0),
           "judge_reward": granted, "reward_error": np.full(steps, 0.01),
           "judge_error": np.full(steps, 0.01)}
    assert Limits().judged_most * 2 > granted[-3:].mean() > Limits().judge_share * 2
    assert check(_steps(run)) is None
    later = {name: np.append(values, values[-1]) for name, values in run.items()}
    later["judge_reward"][-3:] = 1.17
    found = check(_steps(later))
    assert found is not None and "tokens" in found.text
