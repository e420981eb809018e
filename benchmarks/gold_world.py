"""A small world with a gold model, in the manner of Gao et al. 2022: a tiny random transformer
writes texts of up to 12 words, a random network says what they are truly worth, and proxies, which
are smaller networks, learn from noisy comparisons of them.

What is real in it is `policy/`. The gold saturates, as people's liking does, and takes off for
words that a text has said before: the transformer's own texts repeat little, so that comparisons
of them hardly tell of it, and whoever is optimised against a proxy finds that out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from annotate.simulated import noise_for_agreement
from backbone.config import ModelConfig
from backbone.model import Backbone
from backbone.text import prompt_ids
from backbone.tiny import FEELING, make_tiny_checkpoint
from data.records import Message
from policy.roles import Roles, load_policy, load_value
from policy.rollout import PromptItem
from policy.sampling import generate, uniform_draws

_OTHERS = """tree river stone cloud light rain road field bird fish wolf horse bread salt apple
honey walk run sing sleep speak build break carry under over near far"""
WORDS = [*FEELING, *_OTHERS.split()]
TOKENS = 12
MODELS = ModelConfig(lora_rank=16, lora_alpha=32, precision="fp32")
#: How often two labelers agree on a pair of the reference's texts.
AGREEMENT = 0.75
#: Width of the word vectors and of the hidden layer.
GOLD, PROXY = (24, 48), (12, 24)
#: Where the gold network's opinion saturates, in standard deviations over the reference's texts,
#: and what a text of nothing but repeats would lose.
MOST, REPEATS = 2.0, 3.0
REFERENCE_TEXTS, BATCH = 2048, 512
FIT_STEPS, FIT_BATCH = 200, 256

#: [B, T] word ids in, [B] scores out, in units of the reference's spread around its mean.
Scorer = Callable[[Tensor], Tensor]


class TextScore(nn.Module):
    """A network from word ids to a score: what neighbouring words say, averaged, then judged."""

    def __init__(self, sizes: tuple[int, int], seed: int) -> None:
        super().__init__()
        width, hidden = sizes
        generator = torch.Generator().manual_seed(seed)

        def drawn(rows: int, columns: int, spread: float) -> nn.Parameter:
            return nn.Parameter(spread * torch.randn(rows, columns, generator=generator))

        self.vectors = drawn(len(WORDS) + 1, width, 1.0)
        self.pairs = drawn(2 * width, hidden, (2 * width) ** -0.5)
        self.mixed = drawn(hidden, hidden, (TOKENS / hidden) ** 0.5)
        self.out = drawn(hidden, 1, hidden ** -0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """[B, T] word ids, padded with len(WORDS), to [B] scores."""
        real = (ids < len(WORDS)).float()[..., None]
        words = self.vectors[ids] * real
        following = nn.functional.pad(words[:, 1:], (0, 0, 0, 1))
        seen = (torch.tanh(torch.cat([words, following], -1) @ self.pairs) * real).mean(1)
        score: Tensor = (TOKENS ** 0.5 * seen + torch.tanh(seen @ self.mixed)) @ self.out
        return score.squeeze(-1)


def repeated_share(ids: Tensor) -> Tensor:
    """[B] share of a text's words that stood in it before."""
    ordered = ids.sort(1).values
    repeats = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] < len(WORDS))).sum(1)
    return repeats / (ids < len(WORDS)).sum(1).clamp_min(1)


class World:
    """One seed's transformer, gold and reference texts."""

    def __init__(self, folder: Path, seed: int) -> None:
        path = make_tiny_checkpoint(folder / "tiny", [" ".join(WORDS)], hidden_size=64, layers=1,
                                    seed=seed)
        self.seed = seed
        self.backbone = Backbone(str(path), torch.device("cpu"), torch.float32)
        asks = [[Message(role="user", content=word)] for word in WORDS[-16:]]
        self.prompts = [PromptItem(i, ask, prompt_ids(self.backbone.tokenizer, ask))
                        for i, ask in enumerate(asks)]
        head = load_value(self.backbone, MODELS, None, seed=seed)
        load_policy(self.backbone, MODELS, None, seed=seed)
        self.roles = Roles(self.backbone, self.backbone, head, None)
        self.texts = self._reference_texts()
        network = TextScore(GOLD, seed + 1)
        opinion = self.standardised(lambda ids: network(ids))
        self.gold = self.standardised(
            lambda ids: MOST * torch.tanh(opinion(ids) / MOST) - REPEATS * repeated_share(ids))

    def standardised(self, scorer: Scorer) -> Scorer:
        """The scorer in units of its spread over the reference's texts, around its mean there."""
        with torch.no_grad():
            scores = scorer(self.texts)
        mean, spread = scores.mean(), scores.std()
        return lambda ids: (scorer(ids) - mean) / spread

    def proxy(self, labels: int, number: int) -> Scorer:
        """A reward model of `labels` noisy comparisons of the reference's texts; its own ones for
        each number."""
        rng = np.random.default_rng([self.seed, number])
        first, second = (torch.from_numpy(rng.integers(0, len(self.texts), labels))
                         for _ in range(2))
        with torch.no_grad():
            worth = self.gold(self.texts)
            differences = worth[first] - worth[second]
        noise = noise_for_agreement(differences.tolist(), AGREEMENT)
        won = torch.from_numpy(rng.random(labels)) < torch.sigmoid(differences / noise)
        network = TextScore(PROXY, 1000 * self.seed + number)
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.3)
        for _ in range(FIT_STEPS):
            batch = torch.from_numpy(rng.permutation(labels)[:FIT_BATCH])
            margin = network(self.texts[first[batch]]) - network(self.texts[second[batch]])
            loss = nn.functional.binary_cross_entropy_with_logits(margin, won[batch].float())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        return self.standardised(lambda ids: network(ids))

    def _reference_texts(self) -> Tensor:
        texts = []
        for start in range(0, REFERENCE_TEXTS, BATCH):
            rows = range(start, start + BATCH)
            draws = uniform_draws([(self.seed, 0, 1 + row) for row in rows], TOKENS)
            asked = [self.prompts[row % len(self.prompts)].ids for row in rows]
            texts += [sample.text for sample in
                      generate(self.backbone, None, asked, draws, 1.0)]
        return ids_of(texts)


def ids_of(texts: Sequence[str]) -> Tensor:
    """[B, T] word ids of texts, padded with len(WORDS)."""
    place: dict[str, Any] = {word: number for number, word in enumerate(WORDS)}
    ids = torch.full((len(texts), TOKENS), len(WORDS))
    for row, text in enumerate(texts):
        found = [place[word] for word in text.split() if word in place][:TOKENS]
        ids[row, :len(found)] = torch.tensor(found, dtype=torch.long)
    return ids
