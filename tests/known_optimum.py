"""Small problems whose optimum is known: π* ∝ π_ref exp(r/β) maximises E[r] − β KL(π‖π_ref).

Responses of one or two tokens over a small vocabulary, all of which can be listed, so that the
distribution that PPO ends with can be held against the optimum itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from policy.rollout import PromptItem

MODELS = ModelConfig(lora_rank=16, lora_alpha=32, precision="fp32")
ASK = [Message(role="user", content="tell me")]


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
        rng = np.random.default_rng([seed, 7])
        self.reward = {text: float(rng.uniform(-1, 1)) for text in sorted(set(texts))}
        self._worth = torch.tensor([self.reward[text] for text in texts], dtype=torch.float64)

    def solve(self, config: PPOConfig, checkpoint: Path) -> Outcome:
        """Train a fresh policy with PPO; returns how far it ends from the optimum."""
        load_policy(self.backbone, MODELS, None, seed=self.seed)
        head = load_value(self.backbone, MODELS, None, seed=self.seed)
        roles = Roles(self.backbone, self.backbone, head, None)
        start = self.distribution(None)
        optimum = start * (self._worth / self.beta).exp()
        optimum /= optimum.sum()
        train(roles, [self.prompt], self.score, config, self.seed, Silent(), checkpoint)
        return Outcome(*(float((p - optimum).abs().sum() / 2)
                         for p in (start, self.distribution(POLICY))))

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
