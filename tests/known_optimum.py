"""Small problems whose optimum is known: π* ∝ π_ref exp(r/β) maximises E[r] − β KL(π‖π_ref).

Responses of one or two tokens over a small vocabulary, all of which can be listed, so that the
distribution that PPO ends with can be held against the optimum itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backbone.config import ModelConfig
from backbone.model import Backbone
from backbone.text import prompt_ids
from backbone.tiny import make_tiny_checkpoint
from data.progress import Silent
from data.records import Message
from policy.config import PPOConfig
from policy.ppo import train
from policy.roles import POLICY, Roles, load_policy, load_value
from policy.rollout import PromptItem, Reward

MODELS = ModelConfig(lora_rank=16, lora_alpha=32, precision="fp32")
ASK = [Message(role="user", content="tell me")]
_CONFIG = PPOConfig(batch_size=256, minibatch_size=128, microbatch_size=512, epochs=2,
                    temperature=1.0, kl_coefficient=0.5, learning_rate_decay="linear",
                    value_learning_rate=2e-2, whiten_advantages=False, reward_clip=0.0,
                    update_kl_stop=0.0, checkpoint_every=1000, probe_every=0, keep_every=0)
#: What PPO solves them with, by the number of tokens a response.
CONFIGS = {1: replace(_CONFIG, steps=40, max_new_tokens=1, learning_rate=1e-2),
           2: replace(_CONFIG, steps=60, max_new_tokens=2, learning_rate=8e-3, batch_size=512,
                      minibatch_size=256, value_learning_rate=1e-2)}


@dataclass(frozen=True)
class Outcome:
    """Total variation to the optimum, before and after training."""

    before: float
    after: float


class Problem:
    """A tiny random model, a reward for every text it can write in `tokens` tokens, and β."""

    def __init__(self, folder: Path, tokens: int, beta: float, seed: int) -> None:
        # Wider than its vocabulary, so that every distribution is within its reach.
        path = make_tiny_checkpoint(folder / "tiny", ["tell me"], hidden_size=64, layers=1,
                                    seed=seed)
        self.backbone = Backbone(str(path), torch.device("cpu"), torch.float32)
        self.tokens, self.beta, self.seed = tokens, beta, seed
        self.prompt = PromptItem(0, ASK, prompt_ids(self.backbone.tokenizer, ASK))
        self.responses = self._responses()
        texts = [self.text(ids) for ids in self.responses]
        # Each word is worth something, and so is its place: what a text is worth is their sum.
        words = sorted({word for text in texts for word in text.split()})
        worth = np.random.default_rng([seed, 7]).uniform(-1, 1, (len(words), tokens))
        self.reward = {text: float(sum(worth[words.index(word), place] for place, word in
                                       enumerate(text.split()))) for text in set(texts)}
        self._worth = torch.tensor([self.reward[text] for text in texts], dtype=torch.float64)

    def solve(self, config: PPOConfig, checkpoint: Path) -> Outcome:
        """Train a fresh policy with PPO; returns how far it ends from the optimum."""
        load_policy(self.backbone, MODELS, None, seed=self.seed)
        head = load_value(self.backbone, MODELS, None, seed=self.seed)
        roles = Roles(self.backbone, self.backbone, head, None)
        start, optimum = self.distribution(None), self.optimum()
        train(roles, [self.prompt], Reward(self.score), config, self.seed, Silent(), checkpoint)
        return Outcome(*(float((p - optimum).abs().sum() / 2)
                         for p in (start, self.distribution(POLICY))))

    def optimum(self) -> Tensor:
        """The probability of every response under π*."""
        tilted = self.distribution(None) * (self._worth / self.beta).exp()
        return tilted / tilted.sum()

    @torch.no_grad()
    def distribution(self, adapter: str | None) -> Tensor:
        """The probability of every response."""
        return self._logprobs(adapter).exp()

    def objective(self) -> Tensor:
        """E[r] − β KL(π‖π_ref) of the policy as it stands, with its gradient."""
        log_p = self._logprobs(POLICY)
        log_q = self._logprobs(None).detach()
        return (log_p.exp() * (self._worth - self.beta * (log_p - log_q))).sum()

    def _logprobs(self, adapter: str | None) -> Tensor:
        """In plain transformers' arithmetic."""
        self.backbone.switch_to(adapter)
        logprobs: dict[tuple[int, ...], Tensor] = {}
        prefixes = {tuple(ids[:t]) for ids in self.responses for t in range(len(ids))}
        for length in sorted({len(p) for p in prefixes}):
            rows = sorted(p for p in prefixes if len(p) == length)
            ids = torch.tensor([[*self.prompt.ids, *p] for p in rows])
            scores = self.backbone.language_model(input_ids=ids).logits[:, -1].double()
            logprobs.update(zip(rows, scores.log_softmax(-1), strict=True))
        return torch.stack([torch.stack([logprobs[tuple(ids[:t])][token]
                                         for t, token in enumerate(ids)]).sum()
                            for ids in self.responses])

    def _responses(self) -> list[list[int]]:
        """All responses: one that ends early, or one of full length."""
        vocabulary, ends = range(len(self.backbone.tokenizer)), self.backbone.end_ids
        found: list[list[int]] = [[]]
        for _ in range(self.tokens):
            found = [[*ids, token] for ids in found if not ids or ids[-1] not in ends
                     for token in vocabulary] + [ids for ids in found if ids and ids[-1] in ends]
        return found

    def text(self, ids: Sequence[int]) -> str:
        """A response as people (and rewards) read it."""
        text: str = self.backbone.tokenizer.decode(
            [i for i in ids if i not in self.backbone.end_ids], skip_special_tokens=True)
        return text.strip()

    def score(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """The reward of each conversation's last turn."""
        return [self.reward[c[-1]["content"]] for c in conversations]
