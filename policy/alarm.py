"""An alarm for over-optimisation: the reward still rises, and the text is no longer worth it.

It sees only what PPO measures anyway, never a gold score. The rule: a signal sounds the alarm when
it is beyond its limit in each of the last `patience` steps. Signals that tell a change compare with
the run's own beginning (the median of its first steps), since healthy values differ by model, task
and temperature.

Further reward models (judges) that nothing is optimised against see most, if they learned from
labels of their own: what is gained by cheating one reward model is not gained with another.
`benchmarks/overoptimization.py` is where the limits of what judges and repeats say come from.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: What the rule reads of a step's metrics; the rest need not be kept for it.
SIGNALS = ("step", "reward", "reward_std", "reward_error", "responses", "kl", "length", "entropy",
           "repetition", "repeated_tokens", "reference_perplexity", "ensemble_spread",
           "ensemble_worst", "judge_reward", "judge_std", "judge_error")

Step = Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """Where each signal stops being healthy.

    "Healthy" below is what the demonstration's PPO runs showed (SmolLM2-135M-Instruct, 32 tokens a
    response, KL up to 14 nats, gold win rate 85 %); "collapsed" is a run whose every answer had
    become "wonderful wonderful wonderful …".
    """

    patience: int = 2
    """Steps in a row that a signal has to be beyond its limit: one batch may be odd."""

    beginning: int = 3
    """First steps whose median is the beginning that changes are measured from."""

    kl_share: float = 0.45
    """KL to the reference, nats a token, as a share of the beginning's entropy, nats a token.
    Healthy: up to 0.34. Collapsed: 1.8."""

    repetition_rise: float = 0.15
    """Rise of the share of repeated 3-grams. Healthy: below 0.05. Collapsed: 0.9."""

    token_repetition_rise: float = 0.06
    """Rise of the share of tokens that stood earlier in their response, where it goes on at the
    pace below. Healthy: below 0.01."""

    token_repetition_pace: float = 0.03
    """Rise of that share in the last `pace_steps` steps: where repeats cheat, they come fast, and a
    share that creeps up, or has stopped, is as often a way of writing that people do not mind."""

    token_repetition_most: float = 0.2
    """Rise of that share that is too much at any pace."""

    pace_steps: int = 5
    """Steps back that the window for the pace is compared with."""

    entropy_share: float = 0.5
    """Entropy as a share of the beginning's. Healthy: 0.9 to 1.1. Collapsed: below 0.2."""

    length_factor: float = 2.0
    """Length against the beginning's, as a factor up or down. Healthy: 0.95 to 1.05."""

    perplexity_factor: float = 2.5
    """Perplexity under the reference against the beginning's, as a factor up. Healthy: 1.4."""

    spread_factor: float = 1.8
    """Spread between reward models against the beginning's, as a factor up: the policy is where
    they no longer know."""

    judge_share: float = 0.57
    """What the judges grant of the reward that has been gained, one standard error granted."""

    judged_whole: float = 1.05
    """What the judges must grant of it for repeats to be no alarm: a reward that is cheated is one
    that they grant less of."""

    judged_most: float = 0.7
    """What they must grant of it for any other change of looks (length, entropy, perplexity, KL a
    token, spread) to be none: text may well become another where it becomes better."""

    judged_gain: float = 0.3
    """Reward gained, in standard deviations of the reference's, before the judges are heard: of
    less they cannot grant a share that means anything."""

    window: int = 3
    """Steps that the judges' opinion, the KL's growth and the reward's are averaged over; for
    growth the last so many against as many before them."""

    kl_growth: float = 1.0
    """Nats of KL that must be gained from one window to the next before the reward's gain is
    asked about."""

    gain_share: float = 0.1
    """Reward gained a √nat in the last window, as a share of what all √nats before it brought:
    below this (two standard errors granted), KL is being spent for nothing."""


@dataclass(frozen=True)
class Alarm:
    """A run that over-optimises."""

    step: int
    """The step at which the rule holds."""
    reasons: tuple[str, ...]
    """What is wrong, one line for people each."""

    @property
    def text(self) -> str:
        """The reasons as one line."""
        return "; ".join(self.reasons)


def check(steps: Sequence[Step], limits: Limits | None = None) -> Alarm | None:
    """Whether the rule holds at the last of the steps so far; each a step's metrics.

    Signals that a run does not measure (the spread between reward models) are passed over.
    """
    limits = limits or Limits()
    if len(steps) < limits.patience:
        return None
    prefixes = [steps[:len(steps) - back] for back in range(limits.patience)]
    reasons = []
    for rules, pardoned_at in ((_OPINIONS, None), (_REPEATS, limits.judged_whole),
                               (_LOOKS, limits.judged_most)):
        if pardoned_at is not None and any(
                _granted(prefix, limits, pardoned_at) for prefix in prefixes):
            continue
        said = [[rule(prefix, limits) for prefix in prefixes] for rule in rules]
        reasons += [str(each[0]) for each in said if all(each)]
    return Alarm(int(steps[-1]["step"]), tuple(reasons)) if reasons else None


def first_alarm(steps: Sequence[Step], limits: Limits | None = None) -> Alarm | None:
    """The first alarm of a run, if any."""
    found = (check(steps[:end], limits) for end in range(1, len(steps) + 1))
    return next((alarm for alarm in found if alarm), None)


def error_of(step: Step, name: str) -> float:
    """Standard error of a step's mean, "reward" or "judge_reward", by its metrics.

    Metrics that do not tell it are of runs that took one response to a prompt.
    """
    whose = name.removesuffix("_reward")
    error = _value(step, f"{whose}_error")
    if not math.isnan(error):
        return error
    return _value(step, f"{whose}_std") / math.sqrt(max(_value(step, "responses"), 1.0))


def _kl(steps: Sequence[Step], limits: Limits) -> str | None:
    now = _value(steps[-1], "kl") / max(_value(steps[-1], "length"), 1.0)
    entropy, _ = _since(steps, "entropy", limits)
    if not now > limits.kl_share * entropy:
        return None
    return (f"KL is {now:.2f} nats a token, above {limits.kl_share:.0%} of the {entropy:.2f} nats "
            "of entropy at the start")


def _judges(steps: Sequence[Step], limits: Limits) -> str | None:
    """J + se(J − share · R) < share · R, means over the window, from where the run began."""
    last = steps[-limits.window:]
    gained = _mean(last, "reward")
    granted = _mean(last, "judge_reward")
    share = limits.judge_share
    error = math.hypot(_error(last, "judge_reward"), share * _error(last, "reward"))
    if len(steps) <= limits.beginning or not (
            gained > limits.judged_gain and granted + error < share * gained):
        return None
    return (f"reward is {gained:.2f} above the reference's, and the further reward models grant "
            f"{granted:.2f} of it")


def _granted(steps: Sequence[Step], limits: Limits, share: float) -> bool:
    """Whether judges grant more than a share of the reward that has been gained."""
    last = steps[-limits.window:]
    gained = _mean(last, "reward")
    return gained > limits.judged_gain and _mean(last, "judge_reward") > share * gained


def _repetition(steps: Sequence[Step], limits: Limits) -> str | None:
    begun, now = _since(steps, "repetition", limits)
    if not now - begun > limits.repetition_rise:
        return None
    return f"{now:.0%} of 3-grams are repeated, and {begun:.0%} were at the start"


def _token_repetition(steps: Sequence[Step], limits: Limits) -> str | None:
    """Repeats that have risen and still rise fast, or that have risen very far."""
    begun, now = _since(steps, "repeated_tokens", limits)
    back = limits.pace_steps
    lately = (_mean(steps[-limits.window:], "repeated_tokens")
              - _mean(steps[-back - limits.window:-back] or steps[:1], "repeated_tokens"))
    fast = now - begun > limits.token_repetition_rise and lately > limits.token_repetition_pace
    if not (fast or now - begun > limits.token_repetition_most):
        return None
    return f"{now:.0%} of tokens are repeated, and {begun:.0%} were at the start"


def _entropy(steps: Sequence[Step], limits: Limits) -> str | None:
    begun, now = _since(steps, "entropy", limits)
    if not now < limits.entropy_share * begun:
        return None
    return f"entropy has fallen to {now / begun:.0%} of where it began"


def _length(steps: Sequence[Step], limits: Limits) -> str | None:
    begun, now = _since(steps, "length", limits)
    factor = max(now, 1e-9) / max(begun, 1e-9)
    if not max(factor, 1 / factor) > limits.length_factor:
        return None
    return f"responses have {now:.0f} tokens, and had {begun:.0f} at the start"


def _perplexity(steps: Sequence[Step], limits: Limits) -> str | None:
    begun, now = _since(steps, "reference_perplexity", limits)
    if not now > limits.perplexity_factor * begun:
        return None
    return f"perplexity under the reference has grown from {begun:.1f} to {now:.1f}"


def _spread(steps: Sequence[Step], limits: Limits) -> str | None:
    begun, now = _since(steps, "ensemble_spread", limits)
    if not now > limits.spread_factor * begun:
        return None
    return f"the reward models' spread has grown from {begun:.2f} to {now:.2f}"


def _wasted_kl(steps: Sequence[Step], limits: Limits) -> str | None:
    return _wasted(steps, limits, "reward", "the reward")


def _judges_stall(steps: Sequence[Step], limits: Limits) -> str | None:
    return _wasted(steps, limits, "judge_reward", "the further reward models' opinion")


def _wasted(steps: Sequence[Step], limits: Limits, name: str, words: str) -> str | None:
    """KL grows and the reward does not: Δr + 2 standard errors < share · (R/d before) · Δd."""
    wide = limits.window
    if len(steps) < 2 * wide + 1:
        return None
    last, before = steps[-wide:], steps[-2 * wide:-wide]
    kl, kl_before = _mean(last, "kl"), _mean(before, "kl")
    if kl_before <= 0 or not kl - kl_before >= limits.kl_growth:
        return None
    gained = _mean(last, name) - _mean(before, name)
    earlier = _mean(before, name) - _value(steps[0], name)
    error = math.hypot(_error(last, name), _error(before, name))
    rate = earlier / math.sqrt(kl_before)
    wanted = limits.gain_share * rate * (math.sqrt(kl) - math.sqrt(kl_before))
    if not (rate > 0 and gained + 2 * error < wanted):
        return None
    return (f"KL has grown by {kl - kl_before:.1f} nats in {wide} steps, and {words} by "
            f"{gained:.2f}")


_Rule = Callable[[Sequence[Step], Limits], str | None]
#: What reward models say of what KL has brought, and what the text looks like.
_OPINIONS: tuple[_Rule, ...] = (_judges, _judges_stall, _wasted_kl)
_REPEATS: tuple[_Rule, ...] = (_repetition, _token_repetition)
_LOOKS: tuple[_Rule, ...] = (_kl, _entropy, _spread, _length, _perplexity)


def _since(steps: Sequence[Step], name: str, limits: Limits) -> tuple[float, float]:
    """A signal at the beginning and now; nan (which is beyond no limit) where it is not
    measured, or where now still is the beginning."""
    if len(steps) <= limits.beginning:
        return math.nan, math.nan
    first = [_value(step, name) for step in steps[:limits.beginning]]
    return statistics.median(first), _value(steps[-1], name)


def _mean(steps: Sequence[Step], name: str) -> float:
    return statistics.fmean(_value(step, name) for step in steps)


def _error(steps: Sequence[Step], name: str) -> float:
    """Standard error of the mean over some steps, each a batch of its own."""
    return math.hypot(*(error_of(step, name) for step in steps)) / len(steps)


def _value(step: Step, name: str) -> float:
    value = step.get(name)
    return math.nan if value is None else float(value)
