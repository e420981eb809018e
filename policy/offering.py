"""The checkpoint that a PPO run offers: kept along the way, measured alike, chosen by rule.

The last policy of a run is the one that has cheated its reward model the longest. So policies are
kept as the run goes along the reward/√KL curve, each is judged by the responses that it sampled
anyway, and `policy.frontier.choose` picks the one to go on with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

from safetensors.torch import load_file

from backbone.model import Backbone
from backbone.storage import WEIGHTS, save_adapter, write_folder
from policy.alarm import Alarm, Limits, first_alarm
from policy.config import PPOConfig
from policy.frontier import Point, choose, points_of
from policy.roles import POLICY

#: Below a run's checkpoints, and below what is recorded of it at its end.
FOLDER = "kept"


def is_kept(step: int, config: PPOConfig) -> bool:
    """Whether the policy is kept as it stands after `step` updates."""
    return config.keep_every > 0 and step > 0 and step % config.keep_every == 0


def keep(backbone: Backbone, checkpoint: Path, step: int) -> None:
    """Keep the policy as it stands after `step` updates, in PEFT's layout.

    A resumed run writes again what it wrote before: the same weights under the same name.
    """
    save_adapter(backbone, POLICY, _folder(checkpoint, step))


def offer(backbone: Backbone, checkpoint: Path, config: PPOConfig,
          history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make the policy the best of those that are kept; returns what there is to report.

    `history` holds what was measured of the policy after each number of updates (`step`).
    """
    kept = [step for step in history if _folder(checkpoint, step["step"]).exists()]
    points, alarm = points_of(kept), first_alarm(history)
    # It sounds when something has been wrong for `patience` steps.
    wrong = None if alarm is None else alarm.step - Limits.patience + 1
    chosen = choose(points, config.kl_budget or math.inf, wrong) \
        or min(points, key=lambda point: point.kl)
    backbone.load_adapter_state(POLICY, load_file(
        _folder(checkpoint, chosen.step) / WEIGHTS, str(backbone.device)))
    return {"offered_step": chosen.step, "offered_kl": chosen.kl,
            "offered_reward": chosen.score, "offered_uncertainty": chosen.uncertainty,
            "offered_because": _why(chosen, config, wrong, alarm),
            "frontier": [{"step": p.step, "kl": p.kl, "reward": p.score,
                          "uncertainty": p.uncertainty} for p in points]}


def _why(chosen: Point, config: PPOConfig, wrong: int | None, alarm: Alarm | None) -> str:
    """The rest of "this one, because", for people."""
    within = f" within {config.kl_budget:g} nats (kl_budget)" if config.kl_budget else ""
    if within and chosen.kl > config.kl_budget:
        return f"none of those kept is{within}, and it is the nearest to the reference"
    best = f"it is the best of those kept{within}"
    if wrong is None or alarm is None:
        return best
    before = f"before step {wrong}" if chosen.step < wrong else (
        f"and none of them is from before step {wrong}")
    return f"{best}, {before}, from which on the run looks over-optimised: {alarm.text}"


def copy_kept(checkpoint: Path, adapter: Path) -> None:
    """Put what a run kept beside the adapter that came of it, for whoever wants another one.

    The originals stay with the run's checkpoints: killed before these go, it chooses among the same
    again.
    """
    if (kept := checkpoint / FOLDER).exists():
        write_folder(adapter / FOLDER, lambda partial: copytree(kept, partial, dirs_exist_ok=True))


def _folder(checkpoint: Path, step: int) -> Path:
    return checkpoint / FOLDER / f"step-{step}"
