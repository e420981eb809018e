"""Whether over-optimisation is seen in time: PPO against proxies of a gold model (Gao et al. 2022).

Runs of our PPO in `benchmarks/gold_world.py`: against proxies of 50 to 1,000 noisy labels, with and
without a KL penalty, and, so that some are healthy, against the gold itself or with small steps;
each setting with seven seeds, one process a core. Each run has two judges, trained on half as many
labels each, of their own. The alarm sees what PPO reports and never the gold. Nothing was tuned on
the seeds that are used here. With `--keep FOLDER` each run is kept there, and one that was ended
goes on.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frontier_curves import Fit, fit_best_of_n, fit_rl
from benchmarks.gold_runs import BEST_OF, Run, Setting, kept_runs
from benchmarks.harness import Figure, flags, percentile, say, show
from benchmarks.plots import Line, Plot, keep
from data.measures.statistics import mean, proportion
from policy.alarm import first_alarm
from policy.frontier import best_of_n_kl, choose, points_of

KEEP_EVERY = 5
FIRST_SEED = 50_000
#: So that a share of 90 % is told to within some 6 %.
SEEDS = 7
#: What a run without further reward models does not report.
OF_JUDGES = ("judge_reward", "judge_std", "ensemble_mean", "ensemble_spread", "ensemble_worst")
SETTINGS = (*(Setting(labels, kl, 4e-4) for labels in (50, 100, 200, 500, 1000)
              for kl in (0.0, 0.05)),
            Setting(0, 0.0, 3e-4), Setting(0, 0.05, 4e-4), Setting(0, 0.1, 4e-4),
            Setting(1000, 0.0, 2e-4), Setting(500, 0.05, 2e-4), Setting(1000, 0.3, 4e-4))
QUICK = tuple(SETTINGS[number] for number in (0, 3, 4, 7, 8, 10, 12, 13))


def fits(of: Run) -> dict[str, Fit]:
    """Gao et al.'s forms, fitted to one run."""
    kl = [step["kl"] for step in of.steps]
    bon = [best_of_n_kl(n) for n in BEST_OF]
    return {"ppo_gold": fit_rl(kl, of.gold),
            "ppo_proxy": fit_rl(kl, [step["reward"] for step in of.steps]),
            "bon_gold": fit_best_of_n(bon, [gold for _, gold in of.best_of.values()]),
            "bon_proxy": fit_best_of_n(bon, [proxy for proxy, _ in of.best_of.values()])}


def offered(of: Run) -> int:
    """The step of the policy that the rule of `policy.offering` would offer, of those kept."""
    from policy.alarm import Limits

    kept = [step for step in of.steps if step["step"] and step["step"] % KEEP_EVERY == 0]
    alarm = first_alarm(of.steps)
    wrong = None if alarm is None else alarm.step - Limits.patience + 1
    found = choose(points_of(kept), math.inf, wrong)
    assert found is not None  # no budget, so every point is within
    return found.step


def figures_of(runs: Sequence[Run]) -> dict[str, Figure]:
    """Everything that the runs say together."""
    cheated = [each for each in runs if each.fallen_at is not None]
    healthy = [each for each in runs if each.fallen_at is None]
    fitted = [fits(each) for each in runs]
    found = {f"r2_{name}": percentile([fit[key].r2 for fit in fitted], 0.5)
             for name, key in (("bon", "bon_gold"), ("bon_proxy", "bon_proxy"),
                               ("ppo", "ppo_gold"), ("ppo_proxy", "ppo_proxy"))}
    for suffix, unseen in (("", ()), ("_alone", OF_JUDGES)):
        alarms = [_alarm(each, unseen) for each in cheated]
        in_time = sum(at is not None and at < (each.fallen_at or 0)
                      for at, each in zip(alarms, cheated, strict=True))
        found |= _share(f"alarm_recall{suffix}", in_time, len(cheated))
        found |= _share(f"alarm_seen{suffix}", sum(at is not None for at in alarms), len(cheated))
        found |= _share(f"alarm_false{suffix}", sum(
            _alarm(each, unseen) is not None for each in healthy), len(healthy))
    for name, step in (("offered", offered), ("last", lambda each: len(each.gold) - 1)):
        gained = mean([each.gold_of(step(each)) for each in cheated])
        if gained is not None:
            found[f"gold_{name}"] = _figure(gained)
    best = mean([float(each.smooth.max()) for each in cheated])
    if best is not None:
        found["gold_peak"] = _figure(best)
    return found


def _alarm(of: Run, unseen: Sequence[str]) -> int | None:
    """The step at which the alarm sounds, if it does, where some signals are not measured."""
    found = first_alarm([{name: value for name, value in step.items() if name not in unseen}
                         for step in of.steps])
    return None if found is None else found.step


def _share(name: str, count: int, of: int) -> dict[str, Figure]:
    estimate = proportion(count, of)
    return {} if estimate is None else {name: _figure(estimate)}


def _figure(estimate: Any) -> Figure:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


UNITS = {
    "r2_bon": "R2 of d (a - b d), gold, best of n", "r2_bon_proxy": "the same, proxy",
    "r2_ppo": "R2 of d (a - b log d), gold, PPO", "r2_ppo_proxy": "the same, proxy",
    "alarm_recall": "alarm before gold fell 5 %", "alarm_seen": "alarm at any time",
    "alarm_false": "alarm in healthy runs",
    "alarm_recall_alone": "without judges: before gold fell 5 %",
    "alarm_seen_alone": "without judges: at any time",
    "alarm_false_alone": "without judges: in healthy runs",
    "gold_offered": "gold of the offered policy", "gold_last": "gold of the last policy",
    "gold_peak": "gold at its peak"}


def main() -> None:
    """Every setting with every seed."""
    asked = flags(__doc__ or "", curves=True, keep=True)
    jobs = [(setting, FIRST_SEED + 100 * repeat + number)
            for repeat in range(1 if asked.quick else SEEDS)
            for number, setting in enumerate(QUICK if asked.quick else SETTINGS)]
    with tempfile.TemporaryDirectory() as name:
        kept: Path = asked.keep or Path(name)
        kept.mkdir(parents=True, exist_ok=True)
        runs = list(kept_runs(jobs, kept))
    for each in runs:
        say(_line(each))
    keep(asked.curves, plots_of(runs))
    show(figures_of(runs), UNITS, asked.json)


def plots_of(runs: Sequence[Run]) -> dict[str, Plot]:
    """Reward against the distance √KL of one run of each number of labels without a KL penalty,
    PPO's and best of n's, with Gao et al.'s forms fitted to them."""
    found = {}
    for each in runs:
        name = f"overoptimization-{each.setting.labels}"
        if each.setting.labels and not each.setting.kl_coefficient and name not in found:
            found[name] = _plot_of(each)
    return found


def _plot_of(of: Run) -> Plot:
    distance = [math.sqrt(max(step["kl"], 0.0)) for step in of.steps]
    near = [math.sqrt(best_of_n_kl(n)) for n in BEST_OF]
    fitted = fits(of)
    lines = [Line("PPO, proxy", distance, [step["reward"] for step in of.steps], points=True),
             Line("PPO, gold", distance, of.gold, points=True)]
    far = np.linspace(0.01, max(distance), 100).tolist()
    for who in ("proxy", "gold"):
        fit = fitted[f"ppo_{who}"]
        lines.append(Line(f"α d − β d log d, {who}, R² {fit.r2:.2f}", far, [
            fit.alpha * d - fit.beta * d * math.log(d) for d in far]))
    lines += [Line(f"best of n, {who}", near, [values[place] for values in of.best_of.values()])
              for place, who in enumerate(("proxy", "gold"))]
    return Plot(f"A proxy of {of.setting.labels} noisy comparisons, optimised", "√KL, √nats",
                "reward, standard deviations of the reference's", lines)


def _line(of: Run) -> str:
    alarm, fallen, s = first_alarm(of.steps), of.fallen_at, of.setting
    best = statistics.fmean(gold for _, gold in of.best_of.values())
    return (f"labels {s.labels or 'gold'}, beta {s.kl_coefficient:g}, rate {s.learning_rate:g}: "
            f"KL {of.steps[-1]['kl']:.1f}, gold at most {of.smooth.max():.2f}, at the end "
            f"{of.smooth[-1]:.2f}, best of n {best:.2f}; "
            + (f"fell at step {fallen}" if fallen is not None else "healthy") + "; "
            + (f"alarm at {alarm.step}: {alarm.text}" if alarm else "no alarm")
            + f"; offered {offered(of)}")


if __name__ == "__main__":
    main()
