"""Fine-tuning that begins where the linear head ends: adapters move the features that it reads.

The head of `reward.instant.linear` stays as it is, R(x) = w · φ(x), and LoRA on the few blocks
below the layer that it reads moves φ. Before the first step the reward is the linear head's, so a
few hundred texts are spent on what the frozen features lack, not on finding a head. Blocks above
are never run; what the blocks below make of a prompt's responses is kept from one epoch to the
next. Left out: checkpoints to resume from, and ties as outcomes of their own (they are half a vote
each way).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from backbone.model import Backbone
from backbone.storage import load_adapter, save_adapter
from data.errors import BadInput, PrefloopError
from data.progress import Progress, Silent
from data.records import Message
from reward.batches import Step, Unit, plan_steps
from reward.examples import Example
from reward.instant.features import EncodedResponse, encode_response
from reward.instant.linear import LinearReward
from reward.losses import bradley_terry_loss
from reward.states import FeatureKind, lay_out, lower_states, pooled_states, upper_blocks, upper_run
from reward.train import learning_rate_at

Array = np.ndarray[Any, Any]
ABOUT, HEAD = "tuned.json", "linear.safetensors"
#: Tokens of which the lower blocks' states are kept in memory between epochs.
KEPT_TOKENS = 200_000
#: Responses scored in one pass.
_SCORED = 16


@dataclass(frozen=True)
class TuneConfig:
    """How the features are moved."""

    blocks: int = 4
    """Blocks that get an adapter: so many, up to the deepest layer that the head reads."""

    rank: int = 16
    """Rank of the adapter; its alpha is twice that."""

    epochs: int = 2
    """Passes over the training comparisons."""

    responses_per_step: int = 48
    """Responses encoded in one optimizer step; every pair among them counts."""

    learning_rate: float = 1e-3
    """AdamW's peak learning rate; warm-up and decay as in reward training."""

    weight_decay: float = 0.01
    """AdamW's weight decay."""

    max_length: int = 1024
    """Longest conversation in tokens; longer ones lose their oldest turns."""

    def __post_init__(self) -> None:
        for name in ("blocks", "rank", "epochs", "max_length"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name.replace('_', '-')}: must be at least 1, "
                               f"not {getattr(self, name)}")
        if self.responses_per_step < 2:
            raise BadInput("--responses-per-step: must be at least 2, to hold a pair")
        if not self.learning_rate > 0:
            raise BadInput(f"--learning-rate: must be above 0, not {self.learning_rate}")


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
    _kept: dict[tuple[EncodedResponse, ...], Any] = field(default_factory=dict)

    def rewards(self, responses: Sequence[EncodedResponse], keep: bool = False) -> Tensor:
        """[N] rewards in one forward pass; gradients flow into the adapter."""
        backbone, key = self.backbone, tuple(responses)
        layout = lay_out(backbone, [response.ids for response in responses])
        run = layout.run
        if self.block:
            lower = self._kept.get(key)
            if lower is None:
                lower = lower_states(backbone, layout, self.block)
                if keep and sum(len(r.ids) for k in (*self._kept, key) for r in k) <= KEPT_TOKENS:
                    self._kept[key] = lower
            run = upper_run(backbone, layout, self.block, lower)
        starts = torch.tensor([response.start for response in responses], device=backbone.device)
        found = pooled_states(backbone, layout, starts, self.kinds, self.adapter, run)
        features = torch.cat([found[kind] for kind in self.kinds], dim=1)
        standard, coefficients = self.head.standard, self.head.posterior.coefficients

        def tensor(values: Array) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=backbone.device)

        slope = tensor(standard.basis @ coefficients / standard.scale)
        rewards: Tensor = (features - tensor(standard.center)) @ slope
        return rewards

    @torch.no_grad()
    def score(self, conversations: Sequence[Sequence[Message]], batch_size: int = _SCORED,
              on_batch: Callable[[float], None] | None = None) -> list[float]:
        """One score for each conversation, in the order given; differences are log odds."""
        encoded = [encode_response(self.backbone, c[:-1], c[-1]["content"], self.max_length)
                   for c in conversations]
        order = sorted(range(len(encoded)), key=lambda i: (encoded[i].ids[:encoded[i].start],
                                                           len(encoded[i].ids)))
        scores = [0.0] * len(encoded)
        for begin in range(0, len(order), batch_size):
            part = order[begin:begin + batch_size]
            for row, value in zip(part, self.rewards([encoded[i] for i in part]).tolist(),
                                  strict=True):
                scores[row] = value
            if on_batch is not None:
                on_batch((begin + len(part)) / len(order))
        return scores

    def save(self, folder: Path) -> None:
        """Write the adapter in PEFT's layout, and the head and what it reads beside it."""
        save_adapter(self.backbone, self.adapter, folder)
        self.head.save(folder / HEAD, {"kinds": [str(kind) for kind in self.kinds]})
        (folder / ABOUT).write_text(json.dumps({"block": self.block,
                                                "max_length": self.max_length}), "utf-8")

    @classmethod
    def load(cls, backbone: Backbone, folder: Path, adapter: str = "tuned") -> TunedReward:
        """What `save` wrote.

        Raises:
            BadInput: there is none there, or one of another checkpoint.
        """
        head, known = LinearReward.load(folder / HEAD)
        try:
            about = json.loads((folder / ABOUT).read_text("utf-8"))
            block, longest = int(about["block"]), int(about["max_length"])
            kinds = tuple(FeatureKind.parse(name) for name in known["kinds"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{folder}: no tuned reward can be read there: {error}") from error
        load_adapter(backbone, adapter, folder)
        return cls(backbone, adapter, head, kinds, block, longest)


def tune(backbone: Backbone, examples: Sequence[Example], head: LinearReward,
         kinds: Sequence[FeatureKind], config: TuneConfig, *, seed: int = 0,
         progress: Progress | None = None, adapter: str = "tuned") -> TunedReward:
    """Move the features that a linear head reads; `progress.metrics` gets each step's loss.

    The same seed and examples give the same weights on one machine.

    Raises:
        BadInput: there are no pairs to learn from.
        PrefloopError: the loss is not a number.
    """
    progress = progress or Silent()
    deepest = max(kind.layer for kind in kinds)
    block = max(0, deepest - config.blocks)
    lora = backbone.new_lora_config(config.rank, 2 * config.rank)
    lora.target_modules = set(upper_blocks(backbone, block, deepest))
    backbone.add_adapter(adapter, lora, seed)
    model = TunedReward(backbone, adapter, head, tuple(kinds), block, config.max_length)
    plan = plan_steps(examples, config.epochs, config.responses_per_step, seed)
    if not plan:
        raise BadInput("there are no comparisons to learn from")
    parameters = backbone.adapter_parameters(adapter)
    optimizer = AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    encoded: dict[int, EncodedResponse] = {}
    for done, step in enumerate(plan):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(done, len(plan), config.learning_rate)
        backbone.switch_to(adapter)  # peft lets gradients into the current adapter alone
        loss = sum(_backward(model, unit, step, encoded) for unit in step.units)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.0))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise PrefloopError(f"step {done + 1}: the loss is not a number; tune again with a "
                                "lower --learning-rate")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.metrics(done + 1, {"epoch": step.epoch + 1, "loss": loss})
        progress.update((done + 1) / len(plan), f"step {done + 1}/{len(plan)}: loss {loss:.3f}")
    model._kept.clear()
    return model


def _backward(model: TunedReward, unit: Unit, step: Step,
              encoded: dict[int, EncodedResponse]) -> float:
    """Add a unit's share of the step's gradient; returns its share of the loss."""
    ids, example = sorted(unit.response_ids), unit.example
    for i in ids:
        if i not in encoded:
            encoded[i] = encode_response(model.backbone, example.messages, example.texts[i],
                                         model.max_length)
    rewards = model.rewards([encoded[i] for i in ids], keep=True)
    row = {i: number for number, i in enumerate(ids)}
    chosen = torch.tensor([row[p.chosen_id] for p in unit.pairs], device=rewards.device)
    rejected = torch.tensor([row[p.rejected_id] for p in unit.pairs], device=rewards.device)
    strengths = torch.tensor([p.strength for p in unit.pairs], device=rewards.device)
    weights = torch.tensor([p.weight for p in unit.pairs], device=rewards.device)
    losses = bradley_terry_loss(rewards[chosen] - rewards[rejected], strengths)
    loss = (weights * losses).sum() / step.weight
    torch.autograd.backward(loss)
    return loss.item()
