"""Policies on prompts that nothing was trained on: what they answer, what VADER says it is worth,
and how far they are from the reference."""

from __future__ import annotations

import math
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
    """A response to each held-out prompt."""

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

    def sample(self, adapter: Path | None) -> Sampled:
        """One response to each prompt; without an adapter the reference's."""
        from policy.divergence import sampled_kl
        from policy.roles import POLICY, load_policy

        reference = load_policy(self.backbone, self.models, adapter, None, self.seed)
        name = None if adapter is None else POLICY
        samples = self._generate(name, 1)
        kl = sampled_kl(self.backbone, name, reference, [p.ids for p in self.prompts],
                        [s.ids for s in samples], self.temperature)
        return Sampled([_gold(s.text) for s in samples], kl)

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

    def at_best_of(self, n: int, kept: Path, reference: Sampled, policy: Sampled) -> list[float]:
        """PPO's gold at the KL of best of n: on the straight line, in √KL, between the two kept
        policies around it."""
        from policy.frontier import best_of_n_kl

        wanted = math.sqrt(best_of_n_kl(n))
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
                                   for row, index in part], self.tokens)
            found += generate(self.backbone, adapter, [self.prompts[row].ids for row, _ in part],
                              draws, self.temperature)
        return found


def _distance(sampled: Sampled) -> float:
    return math.sqrt(max(float(np.mean(sampled.kl)), 0.0))


def _gold(text: str) -> float:
    from annotate.simulated import PREFERENCES

    return PREFERENCES["sentiment"](text)
