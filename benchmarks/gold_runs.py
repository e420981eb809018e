"""Runs of PPO in `benchmarks/gold_world.py`, with the gold that they never see; kept on disk."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frontier_curves import best_of_n_reward
from benchmarks.harness import say
from data.durable import whole

STEPS, RESPONSES = 100, 128
BEST_OF = (2, 4, 8, 16, 32, 64)
#: Steps that the gold is averaged over: a single step's mean is too noisy to tell 5 %.
SMOOTH = 7
FALLEN = 0.95
#: Standard errors by which a fall must be sure, for a run to count as over-optimising.
SURE = 3.0


@dataclass(frozen=True)
class Setting:
    """One kind of run."""

    labels: int
    """Comparisons that the proxy learned from; 0: the gold itself is optimised."""
    kl_coefficient: float
    learning_rate: float


@dataclass(frozen=True)
class Run:
    """What one run gave."""

    setting: Setting
    steps: list[dict[str, Any]]
    gold: list[float]
    """Mean gold of each step's responses, in standard deviations from the reference's."""
    gold_std: list[float]
    best_of: dict[int, tuple[float, float]]
    """For each n, what the proxy and the gold give the proxy's best of n reference texts."""

    @property
    def smooth(self) -> np.ndarray[Any, Any]:
        """The gold, averaged over neighbouring steps."""
        padded = np.pad(self.gold, SMOOTH // 2, mode="edge")
        return np.convolve(padded, np.ones(SMOOTH) / SMOOTH, "valid")

    @property
    def fallen_at(self) -> int | None:
        """The first step at which the gold was 5 % below its peak so far, in a stretch that leads
        to where that is sure; None for a healthy run."""
        gold = self.smooth
        peak = np.maximum.accumulate(gold)
        error = np.array(self.gold_std) / math.sqrt(RESPONSES * SMOOTH)
        sure = np.flatnonzero(gold < FALLEN * peak - SURE * error)
        if not len(sure):
            return None
        step = int(sure[0])
        while step > 0 and gold[step - 1] < FALLEN * peak[step - 1]:
            step -= 1
        return step

    def gold_of(self, step: int) -> float:
        """The gold of the policy that sampled a step."""
        return float(self.smooth[step])


def run(setting: Setting, seed: int, steps: int = STEPS) -> Run:
    """Train one policy, with everything that is measured on the way."""
    import torch

    from benchmarks.gold_world import TOKENS, World, ids_of
    from data.records import Message
    from policy.config import PPOConfig
    from policy.ppo import train
    from policy.rollout import Reward, Score

    torch.set_num_threads(1)  # quickest at this size
    config = PPOConfig(
        steps=steps, batch_size=RESPONSES, minibatch_size=RESPONSES // 2,
        microbatch_size=RESPONSES, epochs=1, max_new_tokens=TOKENS, temperature=1.0,
        learning_rate=setting.learning_rate, value_learning_rate=5e-3,
        learning_rate_decay="linear", kl_coefficient=setting.kl_coefficient, update_kl_stop=0.0,
        checkpoint_every=steps, probe_every=0, keep_every=0)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), seed)
        obeyed = world.proxy(setting.labels, 1) if setting.labels else world.gold
        judges = [world.proxy(max(10, (setting.labels or 1000) // 2), number) for number in (2, 3)]
        record, gold, spread = _Record(), [], []

        @torch.no_grad()
        def score(conversations: Sequence[Sequence[Message]]) -> list[float]:
            ids = ids_of([c[-1]["content"] for c in conversations])
            worth = world.gold(ids)
            gold.append(float(worth.mean()))
            spread.append(float(worth.std()))
            return [float(value) for value in obeyed(ids)]

        def asked(number: int) -> Score:
            @torch.no_grad()
            def opinion(conversations: Sequence[Sequence[Message]]) -> list[float]:
                ids = ids_of([c[-1]["content"] for c in conversations])
                return [float(value) for value in judges[number](ids)]
            return opinion

        train(world.roles, world.prompts, Reward(score), config, seed, record,
              Path(folder) / "checkpoint", judges=[Reward(asked(n)) for n in range(2)])
        with torch.no_grad():
            scores, worth = obeyed(world.texts).tolist(), world.gold(world.texts).tolist()
    best_of = {n: (best_of_n_reward(scores, n), best_of_n_reward(scores, n, worth))
               for n in BEST_OF}
    return Run(setting, record.steps, gold, spread, best_of)


class _Record:
    """Progress that keeps each step's figures."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def update(self, fraction: float, message: str) -> None:
        """Nothing to do."""

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep the numbers."""
        self.steps.append({"step": step, **{name: value for name, value in values.items()
                                            if isinstance(value, int | float)}})


def kept_runs(jobs: Iterable[tuple[Setting, int]], folder: Path) -> Iterator[Run]:
    """The runs in their order, each made now or by a call before.

    Raises:
        SystemExit: the folder's run of a seed is of another setting.
    """
    jobs = [*jobs]
    left = [job for job in jobs if not _file(folder, job[1]).exists()]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        made = [pool.submit(_make, *job, folder) for job in left]
        for number, done in enumerate(as_completed(made), len(jobs) - len(left) + 1):
            say(f"seed {done.result()}, {number} of {len(jobs)} runs")
    for setting, seed in jobs:
        path = _file(folder, seed)
        found = json.loads(path.read_text("utf-8"))
        if found["setting"] != asdict(setting):
            raise SystemExit(f"{path}: was made with other settings; name another folder")
        yield Run(setting, found["steps"], found["gold"], found["gold_std"],
                  {int(n): (proxy, gold) for n, (proxy, gold) in found["best_of"].items()})


def _file(folder: Path, seed: int) -> Path:
    return folder / f"{seed}.json"


def _make(setting: Setting, seed: int, folder: Path) -> int:
    with whole(_file(folder, seed)) as path:
        path.write_text(json.dumps(asdict(run(setting, seed))), "utf-8")
    return seed
