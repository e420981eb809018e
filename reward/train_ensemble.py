"""Training an ensemble: its members take every step together, over the texts they share.

A step's texts are laid out once, and what the blocks below the adapters make of them is computed
once; then each member runs its own blocks, and its gradient is carried back before the next one's
turn. So memory is that of one member's activations, and the members' time is that of the upper
blocks. Left out, against `reward.train`: checkpoints to resume from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.optim import AdamW

from backbone.model import Backbone
from data.errors import BadInput, PrefloopError
from data.progress import Progress, Silent
from reward.batches import Encoder, Microbatch, microbatches, plan_steps
from reward.config import RewardConfig
from reward.ensemble import Ensemble
from reward.examples import Example, Pair, PreferenceData, require_learnable
from reward.losses import bradley_terry_loss
from reward.model import RewardModel
from reward.plackett_luce import ranking_loss
from reward.states import layer_count, upper_blocks
from reward.train import learning_rate_at


@dataclass(frozen=True)
class EnsembleConfig:
    """How an ensemble differs from a single reward model."""

    members: int = 4
    """Reward models in it."""

    block: int = 0
    """Blocks from below that no member changes, and that are computed once for all of them."""

    resample: bool = True
    """Whether each member weighs every comparison by a Poisson(1) draw of its own (the bootstrap,
    Oza & Russell 2001); else members differ by their random beginnings alone."""

    def __post_init__(self) -> None:
        if self.members < 2:
            raise BadInput(f"--members: an ensemble has at least 2, not {self.members}")
        if self.block < 0:
            raise BadInput(f"--block: must not be negative, not {self.block}")



def train_ensemble(backbone: Backbone, data: PreferenceData, config: RewardConfig,
                   ensemble: EnsembleConfig, rank: int, alpha: int, *, seed: int = 0,
                   progress: Progress | None = None, adapter: str = "reward") -> Ensemble:
    """Train M reward models side by side; `progress.metrics` gets each step's mean loss.

    Member m begins as a single reward model of seed `seed + m` would.

    Raises:
        BadInput: there is nothing to learn from, or the checkpoint has no block above `block`.
        PrefloopError: the loss is not a number.
    """
    progress = progress or Silent()
    require_learnable(data)
    found = _begin(backbone, config, ensemble, rank, alpha, seed, adapter)
    optimizers = [AdamW([
        {"params": member.adapter_parameters, "weight_decay": config.weight_decay},
        {"params": member.head.parameters(), "weight_decay": 0.0}], lr=config.learning_rate)
        for member in found.members]
    encoder = Encoder(backbone, config.max_length)
    plan = plan_steps(data.train, config.epochs, config.responses_per_step, seed)
    weights = [_weights(data, ensemble.resample, seed + number)
               for number in range(len(found.members))]
    for done, step in enumerate(plan):
        examples = {i: unit.example for unit in step.units for i in unit.response_ids}
        total = 0.0
        for batch in microbatches(step.units, encoder, config.microbatch_tokens):
            total += _backward(found, batch, encoder, examples, weights, step.weight, config)
        rate = learning_rate_at(done, len(plan), config.learning_rate)
        if not all(_step(optimizer, rate, config.max_grad_norm) for optimizer in optimizers):
            raise PrefloopError(f"step {done + 1}: the loss is not a number; train again with a "
                                "lower --learning-rate")
        loss = total / len(found.members)
        progress.metrics(done + 1, {"epoch": step.epoch + 1, "loss": loss, "learning_rate": rate})
        progress.update((done + 1) / len(plan), f"step {done + 1}/{len(plan)}: loss {loss:.3f}")
    responses = [encoder.ids(e, i) for e in data.train for i in e.texts]
    found.centers = found.scores_of_ids(responses).mean(axis=1).tolist()
    return found


def _begin(backbone: Backbone, config: RewardConfig, ensemble: EnsembleConfig, rank: int,
           alpha: int, seed: int, adapter: str) -> Ensemble:
    if ensemble.block >= layer_count(backbone):
        raise BadInput(f"--block: {ensemble.block} leaves no block to train; the checkpoint has "
                       f"{layer_count(backbone)}")
    members = []
    for number in range(ensemble.members):
        lora = backbone.new_lora_config(rank, alpha)
        if ensemble.block:
            lora.target_modules = set(upper_blocks(backbone, ensemble.block))
        members.append(RewardModel.fresh(backbone, lora, config.max_length, seed + number,
                                         f"{adapter}-{number}"))
    return Ensemble(members, [0.0] * len(members), ensemble.block)


def _weights(data: PreferenceData, resample: bool, seed: int) -> Mapping[int, float]:
    """Comparison id -> how often this member has it: a Poisson(1) draw, or once."""
    ids = sorted({pair.comparison_id for example in data.train for pair in example.pairs})
    drawn = np.random.default_rng(seed).poisson(1.0, len(ids)) if resample else np.ones(len(ids))
    if not drawn.any():  # of very few comparisons a draw may take none
        drawn = np.ones(len(ids))
    return dict(zip(ids, drawn.tolist(), strict=True))


def _backward(ensemble: Ensemble, batch: Microbatch, encoder: Encoder,
              examples: Mapping[int, Example], weights: list[Mapping[int, float]],
              step_weight: float, config: RewardConfig) -> float:
    """Add a microbatch's share of every member's gradient; returns the sum of their losses."""
    ids = [i for part in batch.parts for i in part]
    rows = {i: number for number, i in enumerate(ids)}
    passes = ensemble.passes([encoder.ids(examples[i], i) for i in ids])
    total = 0.0
    for (_, scores), mine in zip(passes, weights, strict=True):
        pairs = [replace(p, weight=p.weight * mine[p.comparison_id]) for p in batch.pairs]
        loss = _loss(scores, pairs, rows, config) / step_weight
        torch.autograd.backward(loss)
        total += loss.item()
    return total


def _loss(scores: torch.Tensor, pairs: list[Pair], rows: Mapping[int, int],
          config: RewardConfig) -> torch.Tensor:
    if config.rankings == "plackett-luce":
        return ranking_loss(scores, pairs, rows)
    device = scores.device
    chosen = torch.tensor([rows[p.chosen_id] for p in pairs], device=device)
    rejected = torch.tensor([rows[p.rejected_id] for p in pairs], device=device)
    strengths = torch.tensor([p.strength for p in pairs], device=device)
    weight = torch.tensor([p.weight for p in pairs], device=device)
    losses = bradley_terry_loss(scores[chosen] - scores[rejected], strengths,
                                config.margin_per_strength)
    return (weight * losses).sum()


def _step(optimizer: AdamW, rate: float, max_norm: float) -> bool:
    """One optimizer step; False where the gradient is not a number."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return math.isfinite(norm)
