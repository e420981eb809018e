"""Ziegler et al. 2019's sentiment task, from labels to a better policy, with simulated labelers.

They rank four responses each by VADER's compound score, with noise at which two of them agree 75 %
of the time; that score without noise is the gold. Every stage is a job of a real workspace:
sampling, labeling, the reward model, PPO, and best-of-16 with fine-tuning on its winners. Measured
on prompts that nothing was trained on: gold win rate against the start, KL, and what PPO and
fine-tuning gain of what choosing the best of 16 gains. In full it is for hours, or for a GPU.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.config import ModelConfig
from benchmarks.harness import Figure, exact, flags, say, show
from data.measures.statistics import Estimate, bootstrap, clustered_mean, mean

if TYPE_CHECKING:
    from backbone.model import Backbone
    from data.store import Store
    from policy.rollout import PromptItem

BEST_OF = 16
#: Responses that are ranked in one answer.
RESPONSES = 4


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    seeds: int = 3
    prompts: int = 250
    """Training prompts whose responses are labeled."""
    labelers: int = 4
    """Each ranks the responses to every labeled prompt: prompts × labelers labels at most."""
    tokens: int = 32
    reward_epochs: int = 2
    ppo_steps: int = 40
    batch: int = 32
    learning_rate: float = 3e-4
    kl_stop: float = 14.0
    """PPO ends above this KL."""
    best_of_prompts: int = 200
    held_out: int = 0
    """Held-out prompts that are measured; 0: all of them."""
    temperature: float = 0.7


QUICK = Scale(seeds=1, prompts=48, labelers=2, tokens=24, reward_epochs=2, ppo_steps=6, batch=16,
              learning_rate=1e-3, best_of_prompts=24, held_out=24)


@dataclass(frozen=True)
class Measured:
    """What one seed gave, a value a held-out prompt: gold scores and the KL."""

    labels: int
    agreement: float | None
    reference: list[float]
    """Of one response."""
    start: list[float]
    """The mean of 16 responses of the reference."""
    policy: list[float]
    kl: list[float]
    best: list[float]
    """The gold of the reward model's best of 16 responses of the reference."""
    tuned: list[float]
    """Of the policy that was fine-tuned on such winners."""
    ppo_at_equal_kl: list[float]
    """Of PPO's kept policies, at best-of-16's KL, between the two kept ones around it."""


def main() -> None:
    """Run every seed."""
    asked = flags(__doc__ or "")
    scale = QUICK if asked.quick else Scale()
    found = []
    for seed in range(scale.seeds):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(Path(folder) / "workspace", ModelConfig(), scale, seed))
    show(figures_of(found), UNITS, asked.json)


def measure(workspace: Path, models: ModelConfig, scale: Scale, seed: int) -> Measured:
    """One seed: label, learn, improve, and hold the results against each other."""
    from data.measures.agreement import percent_agreement
    from data.store import Store
    from loop.workspace import Plan, make_workspace

    make_workspace(workspace, Plan(models=models, seed=seed))
    store = Store.of_workspace(workspace)
    jobs = _Jobs(store, workspace)
    sampled: dict[str, Any] = {"temperature": scale.temperature, "max_new_tokens": scale.tokens}
    jobs.run("sample", {**sampled, "prompts": scale.prompts, "responses": RESPONSES,
                        "wanted": scale.labelers, "batch_size": 64, "evaluate_share": 0.0})
    jobs.run("simulate", {"labelers": scale.labelers})
    jobs.run("train-reward", {"epochs": scale.reward_epochs, "learning_rate": 1e-3,
                              "responses_per_step": 8})
    # The kept policies are what is set against best-of-16 at its KL.
    ppo = jobs.run("ppo", {**sampled, "steps": scale.ppo_steps, "batch_size": scale.batch,
                           "minibatch_size": scale.batch // 2, "epochs": 1, "keep_every": 1,
                           "learning_rate": scale.learning_rate, "kl_stop": scale.kl_stop,
                           "value_learning_rate": scale.learning_rate, "probe_every": 0,
                           "kl_budget": scale.kl_stop, "force": True})
    tuned = jobs.run("best-of-n", {**sampled, "n": BEST_OF, "prompts": scale.best_of_prompts,
                                   "policy": store.versions.policies()[0].name, "force": True})
    comparisons = store.comparisons.current()
    agreement = percent_agreement(comparisons)
    bench = _Bench(store, workspace, models, scale, seed)
    reference = bench.sample(None)
    policy = bench.sample(bench.folder(ppo["policy"]))
    best, start = bench.best_of_reference(ppo["reward_model"])
    return Measured(
        len(comparisons), None if agreement is None else agreement.value, reference.gold, start,
        policy.gold, policy.kl, best, bench.sample(bench.folder(tuned["policy"])).gold,
        bench.at_kl(bench.folder(ppo["policy"]) / "kept", reference, policy))


@dataclass(frozen=True)
class _Jobs:
    store: Store
    workspace: Path

    def run(self, kind: str, config: dict[str, Any]) -> dict[str, Any]:
        """A job of the workspace, to its end."""
        from loop.runs import result_of, run_or_follow
        from loop.stages.handlers import HANDLERS

        say(f"{kind} ...")
        return result_of(run_or_follow(self.store, self.workspace,
                                       self.store.jobs.add(kind, config), HANDLERS))


@dataclass(frozen=True)
class _Sampled:
    """A response to each held-out prompt."""

    gold: list[float]
    kl: list[float]


class _Bench:
    """Held-out prompts, answered by whichever policy."""

    def __init__(self, store: Store, workspace: Path, models: ModelConfig, scale: Scale,
                 seed: int) -> None:
        from backbone.text import prompt_ids
        from loop.models import policy_backbone
        from policy.rollout import PromptItem

        self.store, self.workspace, self.models = store, workspace, models
        self.scale, self.seed = scale, seed
        self.backbone: Backbone = policy_backbone(models)
        held_out = store.prompts.all(split="held_out")[:scale.held_out or None]
        self.prompts: list[PromptItem] = [
            PromptItem(p.id, p.messages, prompt_ids(self.backbone.tokenizer, p.messages))
            for p in held_out]

    def folder(self, name: str) -> Path:
        """Where a policy version's adapter lies."""
        return self.workspace / str(self.store.versions.policy_named(name).path)

    def sample(self, adapter: Path | None) -> _Sampled:
        """One response to each prompt; without an adapter the reference's."""
        from policy.divergence import sampled_kl
        from policy.roles import POLICY, load_policy

        reference = load_policy(self.backbone, self.models, adapter, None, self.seed)
        name = None if adapter is None else POLICY
        samples = self._generate(name, 1)
        kl = sampled_kl(self.backbone, name, reference, [p.ids for p in self.prompts],
                        [s.ids for s in samples], self.scale.temperature)
        return _Sampled([_gold(s.text) for s in samples], kl)

    def best_of_reference(self, reward_model: str) -> tuple[list[float], list[float]]:
        """The gold of the reward model's best of 16 of the reference's responses to each prompt,
        and the mean gold of all 16."""
        from data.records import Message
        from loop.settings import read_settings
        from loop.stages.rewarding import load_reward_model

        samples = self._generate(None, BEST_OF)
        version = self.store.versions.reward_model_named(reward_model)
        model = load_reward_model(read_settings(self.workspace), self.workspace, version)
        conversations = [[*self.prompts[row // BEST_OF].messages,
                          Message(role="assistant", content=sample.text)]
                         for row, sample in enumerate(samples)]
        scores = np.array(model.score(conversations)).reshape(-1, BEST_OF)
        gold = np.array([_gold(sample.text) for sample in samples]).reshape(-1, BEST_OF)
        rows = np.arange(len(gold))
        return gold[rows, scores.argmax(1)].tolist(), gold.mean(1).tolist()

    def at_kl(self, kept: Path, reference: _Sampled, policy: _Sampled) -> list[float]:
        """PPO's gold at best-of-16's KL: on the straight line, in √KL, between the two kept
        policies around it."""
        from policy.frontier import best_of_n_kl

        wanted = math.sqrt(best_of_n_kl(BEST_OF))
        below, above = (0.0, reference.gold), (_distance(policy), policy.gold)
        for folder in sorted(kept.iterdir(), key=lambda path: int(path.name.split("-")[1])):
            found = self.sample(folder)
            if _distance(found) >= wanted:
                above = (_distance(found), found.gold)
                break
            below = (_distance(found), found.gold)
        if above[0] <= wanted:  # it never went so far: as far as it went
            return list(above[1])
        share = (wanted - below[0]) / (above[0] - below[0])
        return [(1 - share) * b + share * a for b, a in zip(below[1], above[1], strict=True)]

    def _generate(self, adapter: str | None, count: int) -> list[Any]:
        from policy.sampling import generate, uniform_draws

        asked = [(row, index) for row in range(len(self.prompts)) for index in range(count)]
        found = []
        for start in range(0, len(asked), 64):
            part = asked[start:start + 64]
            draws = uniform_draws([(self.seed, 77, self.prompts[row].id, index)
                                   for row, index in part], self.scale.tokens)
            found += generate(self.backbone, adapter, [self.prompts[row].ids for row, _ in part],
                              draws, self.scale.temperature)
        return found


def _distance(sampled: _Sampled) -> float:
    return math.sqrt(max(float(np.mean(sampled.kl)), 0.0))


def _gold(text: str) -> float:
    from annotate.simulated import PREFERENCES

    return PREFERENCES["sentiment"](text)


def figures_of(found: Sequence[Measured]) -> dict[str, Figure]:
    """All seeds together; prompts are the clusters, shared by the seeds."""
    prompts = [number for each in found for number in range(len(each.policy))]
    won = [0.5 if mine == its else float(mine > its) for each in found
           for mine, its in zip(each.policy, each.reference, strict=True)]
    figures = {"win_rate": _figure(clustered_mean(won, prompts)),
               "kl": _figure(mean([value for each in found for value in each.kl])),
               "labels": exact(max(each.labels for each in found), len(found)),
               "ppo_vs_bon16": _gain(found, [each.ppo_at_equal_kl for each in found]),
               "bon16_sft_share": _gain(found, [each.tuned for each in found])}
    agreed = mean([each.agreement for each in found if each.agreement is not None])
    return figures | ({} if agreed is None else {"agreement": _figure(agreed)})


def _gain(found: Sequence[Measured], theirs: Sequence[Sequence[float]]) -> Figure:
    """What another method gains over the reference, as a share of what best-of-16 gains; the
    interval is a bootstrap over prompts."""
    start, best, other = (np.mean(values, axis=0) for values in (
        [each.start for each in found], [each.best for each in found], theirs))

    def share(drawn: Any) -> float:
        gained = float(drawn @ (best - start))
        return float(drawn @ (other - start)) / gained if gained else math.nan

    low, high = bootstrap(share, len(start))
    return {"value": share(np.ones(len(start))), "low": low, "high": high,
            "n": len(start) * len(found)}


def _figure(estimate: Estimate | None) -> Figure:
    assert estimate is not None  # there are held-out prompts
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


UNITS = {"win_rate": "gold win rate against the start", "kl": "KL, nats",
         "labels": "labels (four-way)", "agreement": "labelers agree",
         "ppo_vs_bon16": "PPO's gain / best-of-16's, equal KL",
         "bon16_sft_share": "fine-tuning's gain / best-of-16's"}


if __name__ == "__main__":
    main()
