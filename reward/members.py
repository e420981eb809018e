"""What the members of an ensemble begin as, and what each of them learns from.

A single reward model is trained by the very same loop (`reward.train`) as an ensemble of one that
begins as itself and sees every comparison as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import replace

import numpy as np
from peft import LoraConfig

from backbone.layouts import layer_count, upper_blocks
from backbone.model import Backbone
from data.errors import BadInput
from reward.batches import Microbatch
from reward.config import RewardConfig
from reward.ensemble import Ensemble
from reward.examples import PreferenceData
from reward.model import RewardModel

#: Comparison id -> how often a member has it; None: every comparison once, as it is.
Draw = Mapping[int, float] | None


def fresh(backbone: Backbone, config: RewardConfig, lora: LoraConfig, seed: int,
          adapter: str) -> RewardModel | Ensemble:
    """An untrained reward model, or the ensemble of so many as `config.members` says.

    Member m begins as a single reward model of seed `seed + m` does.

    Raises:
        BadInput: the checkpoint has no block above those that members are to share.
    """
    forget(backbone, adapter)
    if config.members == 1:
        return RewardModel.fresh(backbone, lora, config.max_length, seed, adapter)
    if config.shared_blocks >= layer_count(backbone):
        raise BadInput(f"--shared-blocks: {config.shared_blocks} leaves no block to train; the "
                       f"checkpoint has {layer_count(backbone)}")
    if config.shared_blocks:
        lora = copy(lora)
        lora.target_modules = set(upper_blocks(backbone, config.shared_blocks))
    members = [RewardModel.fresh(backbone, lora, config.max_length, seed + number,
                                 f"{adapter}-{number}") for number in range(config.members)]
    return Ensemble(members, [0.0] * len(members), config.shared_blocks)


def forget(backbone: Backbone, adapter: str) -> None:
    """Drop the adapter of a reward model of that name, or those of an ensemble's members."""
    for name in list(backbone.adapters):
        if re.fullmatch(re.escape(adapter) + r"(-\d+)?", name):
            backbone.drop_adapter(name)


def draws(data: PreferenceData, config: RewardConfig, seed: int) -> list[Draw]:
    """What each member learns from: the bootstrap, by a Poisson(1) draw for every comparison
    (Oza & Russell 2001), where an ensemble is to have it."""
    if config.members == 1 or not config.resample:
        return [None] * config.members
    ids = sorted({pair.comparison_id for example in data.train for pair in example.pairs})
    found: list[Draw] = []
    for number in range(config.members):
        drawn = np.random.default_rng(seed + number).poisson(1.0, len(ids)).astype(float)
        if not drawn.any():  # of very few comparisons a draw may take none
            drawn = np.ones(len(ids))
        found.append(dict(zip(ids, drawn.tolist(), strict=True)))
    return found


def drawn_from(batch: Microbatch, draw: Draw) -> Microbatch:
    """A microbatch as a member has it: every pair as often as its comparison was drawn."""
    if draw is None:
        return batch
    return replace(batch, pairs=tuple(replace(pair, weight=pair.weight * draw[pair.comparison_id])
                                      for pair in batch.pairs))
