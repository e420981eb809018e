"""Policies on prompts that nothing was trained on: what they answer, what VADER says it is worth,
and how far they are from the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.config import ModelConfig

if TYPE_CHECKING:
    from backbone.model import Backbone
    from data.store import Store
    from policy.rollout import PromptItem


@dataclass(frozen=True)
class Sampled:
    """Of each held-out prompt the mean over one response or several."""

    gold: list[float]
    kl: list[float]


class HeldOut:
    """Held-out prompts, answered by whichever policy."""

    def __init__(self, store: Store, workspace: Path, models: ModelConfig, seed: int, *,
                 most: int, tokens: int, temperature: float) -> None:
        from backbone.text import prompt_ids
        from loop.models import policy_backbone
        from policy.rollout import PromptItem

        self.store, self.workspace, self.models = store, workspace, models
        self.seed, self.tokens, self.temperature = seed, tokens, temperature
        self.backbone: Backbone = policy_backbone(models)
        held_out = store.prompts.all(split="held_out")[:most or None]
        self.prompts: list[PromptItem] = [
            PromptItem(p.id, p.messages, prompt_ids(self.backbone.tokenizer, p.messages))
            for p in held_out]

    def folder(self, name: str) -> Path:
        """Where a policy version's adapter lies."""
        return self.workspace / str(self.store.versions.policy_named(name).path)

    def sample(self, adapter: Path | None, count: int = 1) -> Sampled:
        """So many responses to each prompt; without an adapter the reference's."""
        from policy.divergence import sampled_kl
        from policy.roles import POLICY, load_policy

        reference = load_policy(self.backbone, self.models, adapter, None, self.seed)
        name = None if adapter is None else POLICY
        samples = self._generate(name, count)
        kl = sampled_kl(self.backbone, name, reference,
                        [p.ids for p in self.prompts for _ in range(count)],
                        [s.ids for s in samples], self.temperature)
        return Sampled(*(np.reshape(values, (-1, count)).mean(1).tolist()
                         for values in ([_gold(s.text) for s in samples], kl)))

    def best_of_reference(self, reward_model: str, n: int) -> tuple[list[float], list[float]]:
        """The gold of the reward model's best of n of the reference's responses to each prompt,
        and the mean gold of all n."""
        from data.records import Message
        from loop.settings import read_settings
        from loop.stages.rewarding import load_reward_model

        samples = self._generate(None, n)
        version = self.store.versions.reward_model_named(reward_model)
        model = load_reward_model(read_settings(self.workspace), self.workspace, version)
        conversations = [[*self.prompts[row // n].messages,
                          Message(role="assistant", content=sample.text)]
                         for row, sample in enumerate(samples)]
        scores = np.array(model.score(conversations)).reshape(-1, n)
        gold = np.array([_gold(sample.text) for sample in samples]).reshape(-1, n)
        rows = np.arange(len(gold))
        return gold[rows, scores.argmax(1)].tolist(), gold.mean(1).tolist()

    def at_best_of(self, n: int, kept: Path, frontier: Sequence[Mapping[str, Any]],
                   start: Sequence[float], count: int) -> list[float]:
        """PPO's gold at the KL of best of n: on the straight line, in √KL, between the kept policy
        below it (or the reference, whose gold is `start`) and the one above, by what PPO measured
        on the way (`frontier`); as far as it went, where it never went so far."""
        from policy.frontier import best_of_n_kl

        below, above = around(frontier, best_of_n_kl(n))
        found = [Sampled(list(start), [0.0]) if step is None else
                 self.sample(kept / f"step-{step}", count) for step in (below, above)]
        return between(found[0], found[1], math.sqrt(best_of_n_kl(n)))

    def _generate(self, adapter: str | None, count: int) -> list[Any]:
        from policy.sampling import generate, uniform_draws

        asked = [(row, index) for row in range(len(self.prompts)) for index in range(count)]
        found = []
        for start in range(0, len(asked), 64):
            part = asked[start:start + 64]
            draws = uniform_draws([(self.seed, 77, self.prompts[row].id, index)
                                   for row, index in part], self.tokens)
            found += generate(self.backbone, adapter, [self.prompts[row].ids for row, _ in part],
                              draws, self.temperature)
        return found


def around(frontier: Sequence[Mapping[str, Any]], kl: float) -> tuple[int | None, int | None]:
    """The last step before the first one beyond a KL (None: the reference), and that one; the
    furthest for both, where none is beyond it."""
    below: int | None = None
    for point in sorted(frontier, key=lambda point: int(point["step"])):
        if point["kl"] >= kl:
            return below, int(point["step"])
        below = int(point["step"])
    furthest = max(frontier, key=lambda point: float(point["kl"]))["step"]
    return furthest, furthest


def between(below: Sampled, above: Sampled, distance: float) -> list[float]:
    """The gold at a √KL between two policies; that of the nearer one where it lies beyond both."""
    low, high = (math.sqrt(max(float(np.mean(each.kl)), 0.0)) for each in (below, above))
    share = 1.0 if high <= low else min(max((distance - low) / (high - low), 0.0), 1.0)
    return [(1 - share) * b + share * a for b, a in zip(below.gold, above.gold, strict=True)]


def _gold(text: str) -> float:
    from annotate.simulated import PREFERENCES

    return PREFERENCES["sentiment"](text)
