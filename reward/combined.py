"""A reward that is a calibrated sum of several: linear heads on frozen features, and a LoRA model.

    R(x) = Σ_k a_k R_k(x),  a_k ≥ 0,

with the weights that make the Bradley–Terry likelihood of held-out answers greatest (stacking:
Wolpert 1992; Breiman 1996 for why they must not be negative). So the sum is in logits, and a part
that adds nothing gets the weight 0. The parts see different things: heads of different layers err
differently, and a LoRA model has moved the features themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np

from backbone.model import Backbone
from backbone.storage import write_folder
from data.errors import BadInput
from data.records import Message
from reward.about import read_about
from reward.credit import linear_credit
from reward.instant.davidson import Design, fit
from reward.instant.features import EncodedResponse, compute, encode_last_turns
from reward.instant.linear import LinearReward
from reward.kinds import FeatureKind, question_of
from reward.model import RewardModel

Array = np.ndarray[Any, Any]
#: Hears the share of the scoring that is done; what it raises ends the scoring.
OnBatch = Callable[[float], None] | None
#: Beside PEFT's own files, which are the LoRA part's.
ABOUT = "combined.json"
#: Precision of the prior on each weight: none to speak of.
_PRECISION = 1e-6


@dataclass(frozen=True)
class LinearPart:
    """A linear head with the features that it reads, side by side."""

    kinds: tuple[FeatureKind, ...]
    head: LinearReward

    def scores(self, features: dict[FeatureKind, Array]) -> Array:
        """[N] rewards of responses, from [N, d] of each kind."""
        return self.head.scores(np.hstack([features[kind] for kind in self.kinds]))


class CombinedReward:
    """Scores conversations by linear heads and a LoRA model together."""

    def __init__(self, backbone: Backbone, linear: Sequence[LinearPart], lora: RewardModel | None,
                 weights: Sequence[float], max_length: int) -> None:
        if len(weights) != len(linear) + (lora is not None):
            raise ValueError("every part needs a weight")
        self.backbone = backbone
        self.linear = tuple(linear)
        self.lora = lora
        self.weights = tuple(weights)
        """One for each linear head, then the LoRA model's."""
        self.max_length = max_length

    def parts(self, conversations: Sequence[Sequence[Message]],
              on_batch: OnBatch = None) -> Array:
        """[n, parts] every part's own score of each conversation's last turn."""
        return self._parts(conversations, on_batch, [True] * len(self.weights))

    def _parts(self, conversations: Sequence[Sequence[Message]], on_batch: OnBatch,
               wanted: Sequence[bool]) -> Array:
        """[n, parts] the scores of the wanted parts, 0 for the others, which are not computed."""
        linear = [part if wish else None for part, wish in zip(self.linear, wanted, strict=False)]
        lora = self.lora if wanted[-1] else None
        kinds = sorted({kind for part in linear if part for kind in part.kinds})
        half = 1.0 if lora is None else 0.5 if kinds else 0.0
        found = np.zeros((len(conversations), len(self.weights)))
        if kinds:
            encoded = self._encoded(conversations)
            features = compute(self.backbone, encoded, kinds, None if on_batch is None else
                               lambda share: on_batch(half * share))
            for column, part in enumerate(linear):
                if part is not None:
                    found[:, column] = part.scores(features)
        if lora is not None:
            found[:, -1] = lora.score(conversations, on_batch=None if on_batch is None else
                                      lambda share: on_batch(half + (1 - half) * share))
        return found

    def score(self, conversations: Sequence[Sequence[Message]], *,
              on_batch: OnBatch = None) -> list[float]:
        """One score for each conversation, in the order given; differences are log odds. A part
        whose weight is 0 is not asked."""
        found: list[float] = (self._parts(conversations, on_batch, [w != 0 for w in self.weights])
                              @ np.array(self.weights)).tolist()
        return found

    @property
    def has_credit(self) -> bool:
        """Whether a part of it is a sum over tokens."""
        return any(self.weights[:len(self.linear)])

    def credit(self, conversations: Sequence[Sequence[Message]]) -> list[list[float]]:
        """Of each conversation, what each token of its response brings; they add up to its score
        (`reward.credit`). What the LoRA model says is brought by the last one."""
        encoded = self._encoded(conversations)
        found = [np.zeros(each.end - each.start) for each in encoded]
        for part, weight in zip(self.linear, self.weights, strict=False):
            if weight:
                for whole, brought in zip(found, linear_credit(
                        self.backbone, encoded, part.kinds, part.head), strict=True):
                    whole += weight * np.array(brought)
        if self.lora is not None and self.weights[-1]:
            for whole, score in zip(found, self.lora.score(conversations), strict=True):
                whole[-1] += self.weights[-1] * score
        return [whole.tolist() for whole in found]

    def _encoded(self, conversations: Sequence[Sequence[Message]]) -> list[EncodedResponse]:
        question = question_of(kind for part in self.linear for kind in part.kinds)
        return encode_last_turns(self.backbone, conversations, self.max_length, question)

    def save(self, folder: Path) -> None:
        """Write the LoRA part in PEFT's layout, a reward model by itself, and the rest beside."""
        def fill(partial: Path) -> None:
            for number, part in enumerate(self.linear):
                part.head.save(partial / f"linear-{number}.safetensors",
                               {"kinds": [str(kind) for kind in part.kinds]})
            (partial / ABOUT).write_text(json.dumps({
                "linear": len(self.linear), "lora": self.lora is not None,
                "weights": self.weights, "max_length": self.max_length}), "utf-8")

        if self.lora is None:
            write_folder(folder, fill)
        else:
            self.lora.save(folder, fill)

    @classmethod
    def load(cls, backbone: Backbone, folder: Path, adapter: str = "reward") -> CombinedReward:
        """What `save` wrote.

        Raises:
            BadInput: there is none there, or one of another checkpoint.
        """
        with read_about(folder / ABOUT, "combined reward") as about:
            count, with_lora = int(about["linear"]), bool(about["lora"])
            weights, longest = [float(w) for w in about["weights"]], int(about["max_length"])
        linear = []
        for number in range(count):
            head, known = LinearReward.load(folder / f"linear-{number}.safetensors")
            kinds = tuple(FeatureKind.parse(name) for name in known.get("kinds", ()))
            if len(head.standard.center) != len(kinds) * backbone.hidden_size:
                raise BadInput(f"{folder}: its linear heads were made for another checkpoint")
            linear.append(LinearPart(kinds, head))
        lora = RewardModel.load(backbone, folder, adapter) if with_lora else None
        return cls(backbone, linear, lora, weights, longest)


def fit_weights(odds: Array, decided: Array, precision: float = _PRECISION) -> Array:
    """[K] weights ≥ 0 of K parts with the greatest likelihood of answers that no part has seen.

    Args:
        odds: [M, K] each part's reward difference, first − second.
        decided: [M, 2] weight on the first and on the second being better.
        precision: of the normal prior on each weight.

    The likelihood is concave, so the constrained optimum is the best of the unconstrained ones on
    subsets of the parts whose weights come out positive; at most 2ᴷ − 1 small fits.

    Raises:
        BadInput: there are no answers, or no part agrees with them at all.
    """
    if not decided.sum() > 0:
        raise BadInput("there are no decided comparisons to weigh the parts by")
    outcomes = np.stack([decided[:, 0], np.zeros(len(decided)), decided[:, 1]], axis=1)
    count = odds.shape[1]
    best, weights = -np.inf, np.zeros(count)
    subsets = chain.from_iterable(combinations(range(count), size)
                                  for size in range(1, count + 1))
    for subset in map(list, subsets):
        nothing = np.zeros(len(odds), int)
        design = Design(np.zeros((1, 0)), nothing, nothing, odds[:, subset])
        found = fit(design, outcomes, np.full(len(subset), precision), ties=False)
        value = float(-(decided * np.logaddexp(0, np.array([-1, 1]) * (
            odds[:, subset] @ found.coefficients)[:, None])).sum())
        if (found.coefficients > 0).all() and value > best:
            best, weights = value, np.zeros(count)
            weights[subset] = found.coefficients
    if not weights.any():
        raise BadInput("no part of the combined reward agrees with held-out answers")
    return weights
