"""Training a tuned reward: a linear head is fitted, then LoRA moves the features that it reads.

What the blocks below the adapter make of a prompt's responses is kept from one epoch to the next.
Left out: checkpoints to resume from (a killed run begins anew, and takes minutes where LoRA on all
blocks takes several times that), and ties as outcomes of their own (they are half a vote each way).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy

import torch
from peft import LoraConfig
from torch.optim import AdamW

from backbone.model import Backbone
from data.errors import BadInput, PrefloopError
from data.progress import Part, Progress, Silent
from reward.batches import Step, Unit, plan_steps
from reward.config import RewardConfig
from reward.evaluate import evaluate
from reward.examples import Example, PreferenceData, require_learnable
from reward.forms import linear_part
from reward.instant.features import EncodedResponse, encode_response
from reward.instant.linear import LinearReward
from reward.instant.response_features import FeatureTable
from reward.losses import bradley_terry_loss
from reward.members import forget
from reward.states import FeatureKind, upper_blocks
from reward.train import TrainedReward, learned_from, learning_rate_at
from reward.tuned import TunedReward

#: Where on the progress bar the head is found, and the features are tuned.
_FITTED, _TUNED = 0.3, 0.9


def tune(backbone: Backbone, examples: Sequence[Example], head: LinearReward,
         kinds: Sequence[FeatureKind], config: RewardConfig, lora: LoraConfig, *, seed: int = 0,
         progress: Progress | None = None, adapter: str = "reward") -> TunedReward:
    """Move the features that a linear head reads; `progress.metrics` gets each step's loss.

    `lora` says how, `config.tuned_blocks` on which blocks. One prompt's responses are one forward
    and backward pass. The same seed and examples give the same weights on one machine.

    Raises:
        BadInput: there are no pairs to learn from.
        PrefloopError: the loss is not a number.
    """
    progress = progress or Silent()
    deepest = max(kind.layer for kind in kinds)
    block = max(0, deepest - config.tuned_blocks)
    lora = copy(lora)
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
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise PrefloopError(f"step {done + 1}: the loss is not a number; tune again with a "
                                "lower --learning-rate")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.metrics(done + 1, {"epoch": step.epoch + 1, "loss": loss})
        progress.update((done + 1) / len(plan), f"step {done + 1}/{len(plan)}: loss {loss:.3f}")
    model.forget_states()
    return model


def train_tuned(backbone: Backbone, data: PreferenceData, config: RewardConfig,
                lora: LoraConfig, *, seed: int = 0, progress: Progress | None = None,
                known: FeatureTable | None = None, adapter: str = "reward") -> TrainedReward:
    """Fit a linear head to the training comparisons, then move the features that it reads.

    Features and spread of the head are chosen within the training prompts (`reward.forms`), and
    what is `known` of them (by response id) is not computed again. Everything else is as in
    `reward.train.train`, but a killed run begins anew.

    Raises:
        BadInput: there is nothing to learn from.
        PrefloopError: the loss is not a number.
        data.progress.Stopped: asked to stop.
    """
    progress = progress or Silent()
    require_learnable(data)
    forget(backbone, adapter)
    part, about = linear_part(backbone, config.max_length, data.train, known, lambda share:
                              progress.update(_FITTED * share, "a linear head, to begin from"))
    model = tune(backbone, data.train, part.head, part.kinds, config, lora, seed=seed,
                 progress=Part(progress, _FITTED, _TUNED), adapter=adapter)
    steps = len(plan_steps(data.train, config.epochs, config.responses_per_step, seed))
    report = evaluate(model, data, on_batch=lambda share: progress.update(
        _TUNED + (1 - _TUNED) * share, "measuring"))
    return TrainedReward(model, {**report, "train": {
        "steps": steps, "planned_steps": steps, "curve": [], **learned_from(data), **about}}, data)


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
