"""Simulated labelers with known habits, who compare texts of known worth, for the reward tests."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from reward_world import text

from reward.examples import Example, Pair

#: How much better than another a response is, by its text.
Worth = Callable[[str], float]


def good_is_better(words: str) -> float:
    """Worth of a text: the word `good` is for it, `bad` against."""
    return 2.0 * (("good" in words.split()) - ("bad" in words.split()))


@dataclass(frozen=True)
class Crowd:
    """Labelers' habits."""

    side: float = 0.0
    """Logits for what is shown first."""
    length: float = 0.0
    """Logits for each unit of log(1 + words)."""
    reliability: Mapping[int, float] = field(default_factory=dict)
    """Labeler id -> how often they judge by worth; else the wrong way round. Who is not named
    always does."""

    def says_first(self, draw: random.Random, labeler: int, worth: Sequence[float],
                   words: Sequence[int], shown: int) -> bool:
        """Whether they prefer the first of two; `shown` is +1 where that is shown first."""
        z = 1 if draw.random() < self.reliability.get(labeler, 1.0) else -1
        logit = (z * (worth[0] - worth[1]) + self.side * shown
                 + self.length * (math.log1p(words[0]) - math.log1p(words[1])))
        return draw.random() < 1 / (1 + math.exp(-logit))


def asked(prompt_id: int, texts: Sequence[str], crowd: Crowd, labelers: Sequence[int],
          draw: random.Random, first_shown: Callable[[random.Random, int, int], bool] | None = None,
          worth: Worth = good_is_better) -> Example:
    """One prompt of which each labeler compares all pairs of texts, each pair a comparison.

    `first_shown` draws whether the first text of a pair (by place) is shown first; evenly at first.
    """
    ids = [100 * prompt_id + n for n in range(len(texts))]
    pairs = []
    for labeler in labelers:
        for a, b in combinations(range(len(texts)), 2):
            shown = draw.random() < 0.5 if first_shown is None else first_shown(draw, a, b)
            won = crowd.says_first(draw, labeler, [worth(texts[n]) for n in (a, b)],
                                   [len(texts[n].split()) for n in (a, b)], 1 if shown else -1)
            chosen, rejected = (a, b) if won else (b, a)
            pairs.append(Pair(ids[chosen], ids[rejected], 3, 1.0,
                              10_000 * prompt_id + len(pairs), labeler, prompt_id,
                              shown_first=shown == won))
    return Example(prompt_id, [{"role": "user", "content": text(draw, draw.randint(2, 6))}],
                   dict(zip(ids, texts, strict=True)), tuple(pairs), tuple(ids))
