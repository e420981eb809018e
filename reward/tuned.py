"""A linear head on features that LoRA has moved: fine-tuning that begins where the head ends.

The head of `reward.instant.linear` stays as it is, R(x) = w · φ(x), and LoRA on the few blocks
below the layer that it reads moves φ. Before the first step the reward is the linear head's, so a
few hundred texts are spent on what the frozen features lack, not on finding a head. Blocks above
are never run. `reward.tuning` trains one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig
from torch import Tensor, nn

from backbone.layouts import Layout, Lower, lay_out, upper_blocks
from backbone.model import Backbone
from backbone.storage import load_adapter, save_adapter
from data.records import Message
from reward.about import read_about
from reward.config import RewardConfig
from reward.credit import linear_credit
from reward.instant.features import EncodedResponse, batches, by_prompt, encode_last_turns
from reward.instant.linear import LinearReward
from reward.kinds import FeatureKind, question_of
from reward.members import forget
from reward.states import pooled_states

ABOUT, HEAD = "tuned.json", "linear.safetensors"
#: Tokens of which the lower blocks' states are kept in memory while it is trained.
KEPT_TOKENS = 200_000
#: Responses scored in one pass.
_SCORED = 16


@dataclass
class TunedReward:
    """A linear head on features that an adapter has moved."""

    backbone: Backbone
    adapter: str
    head: LinearReward
    kinds: tuple[FeatureKind, ...]
    """What the head reads, side by side."""
    block: int
    """Blocks from below that the adapter leaves as they are."""
    max_length: int
    _kept: dict[EncodedResponse, Lower] = field(default_factory=dict)

    @classmethod
    def fresh(cls, backbone: Backbone, head: LinearReward, kinds: Sequence[FeatureKind],
              config: RewardConfig, lora: LoraConfig, seed: int = 0,
              adapter: str = "reward") -> TunedReward:
        """The head as it is, above an adapter that moves nothing yet, on as many blocks as
        `config.tuned_blocks` says."""
        forget(backbone, adapter)
        deepest = max(kind.layer for kind in kinds)
        block = max(0, deepest - config.tuned_blocks)
        lora = copy(lora)
        lora.target_modules = set(upper_blocks(backbone, block, deepest))
        backbone.add_adapter(adapter, lora, seed)
        return cls(backbone, adapter, head, tuple(kinds), block, config.max_length)

    @property
    def question(self) -> str:
        """What is asked about each response; empty: nothing is."""
        return question_of(self.kinds)

    @property
    def adapter_parameters(self) -> list[nn.Parameter]:
        """The adapter's trainable tensors, in a fixed order."""
        return self.backbone.adapter_parameters(self.adapter)

    def keep_states(self, responses: Sequence[EncodedResponse],
                    on_batch: Callable[[float], None] | None = None) -> None:
        """Compute once what the blocks below the adapter make of these responses, as many as
        `KEPT_TOKENS` allow; the same ones in the same order give the same states to the bit."""
        if not self.block:
            return
        room = KEPT_TOKENS
        done = 0
        for part in batches(self.backbone, responses):
            together = [responses[i] for i in part]
            room -= sum(len(response.ids) for response in together)
            if room < 0:
                break
            layout = lay_out(self.backbone, [response.ids for response in together])
            self._kept.update(zip(together, layout.split(layout.lower(self.block)), strict=True))
            done += len(part)
            if on_batch is not None:
                on_batch(done / len(responses))

    def rewards(self, responses: Sequence[EncodedResponse]) -> Tensor:
        """[N] rewards in one forward pass; gradients flow into the adapter."""
        backbone = self.backbone
        layout = lay_out(backbone, [response.ids for response in responses])
        lower = self._lower(layout, responses)
        found = pooled_states(backbone, layout, [response.span for response in responses],
                              self.kinds, self.adapter, lower)
        features = torch.cat([found[kind] for kind in self.kinds], dim=1)
        slope, offset = self.head.slope_and_offset()
        rewards: Tensor = features @ torch.tensor(slope, dtype=torch.float32,
                                                  device=backbone.device) + offset
        return rewards

    def _lower(self, layout: Layout, responses: Sequence[EncodedResponse]) -> Lower | None:
        """What the blocks below the adapter make of them, if there are any."""
        if not self.block:
            return None
        if all(response in self._kept for response in responses):
            return layout.join([self._kept[response] for response in responses])
        return layout.lower(self.block)

    @torch.no_grad()
    def score(self, conversations: Sequence[Sequence[Message]], batch_size: int = _SCORED,
              on_batch: Callable[[float], None] | None = None) -> list[float]:
        """One score for each conversation, in the order given; differences are log odds."""
        encoded = self._encoded(conversations)
        order = by_prompt(encoded)
        scores = [0.0] * len(encoded)
        for begin in range(0, len(order), batch_size):
            part = order[begin:begin + batch_size]
            for row, value in zip(part, self.rewards([encoded[i] for i in part]).tolist(),
                                  strict=True):
                scores[row] = value
            if on_batch is not None:
                on_batch((begin + len(part)) / len(order))
        return scores

    def credit(self, conversations: Sequence[Sequence[Message]]) -> list[list[float]]:
        """Of each conversation, what each token of its response brings; they add up to its score
        (`reward.credit`)."""
        return linear_credit(self.backbone, self._encoded(conversations), self.kinds, self.head,
                             self.adapter)

    def _encoded(self, conversations: Sequence[Sequence[Message]]) -> list[EncodedResponse]:
        return encode_last_turns(self.backbone, conversations, self.max_length, self.question)

    def save(self, folder: Path) -> None:
        """Write the adapter in PEFT's layout, and the head and what it reads beside it."""
        def fill(partial: Path) -> None:
            self.head.save(partial / HEAD, {"kinds": [str(kind) for kind in self.kinds]})
            (partial / ABOUT).write_text(json.dumps({"block": self.block,
                                                     "max_length": self.max_length}), "utf-8")

        save_adapter(self.backbone, self.adapter, folder, beside=fill)

    @classmethod
    def load(cls, backbone: Backbone, folder: Path, adapter: str = "reward") -> TunedReward:
        """What `save` wrote.

        Raises:
            BadInput: there is none there, or one of another checkpoint.
        """
        head, known = LinearReward.load(folder / HEAD)
        with read_about(folder / ABOUT, "tuned reward") as about:
            block, longest = int(about["block"]), int(about["max_length"])
            kinds = tuple(FeatureKind.parse(name) for name in known["kinds"])
        load_adapter(backbone, adapter, folder)
        return cls(backbone, adapter, head, kinds, block, longest)

    def forget_states(self) -> None:
        """Free what `keep_states` kept."""
        self._kept.clear()
