"""A microbatch's loss, and its gradient carried back through a reward model, whole or in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from reward.batches import Microbatch
from reward.config import RewardConfig
from reward.examples import Pair
from reward.losses import bradley_terry_loss, centering_loss, crowd_loss
from reward.plackett_luce import ranking_loss

#: [B] scores of the responses with these ids, in one forward pass; gradients flow.
ScoresOf = Callable[[Sequence[int]], Tensor]


def backward(scores_of: ScoresOf, batch: Microbatch, weight: float,
             config: RewardConfig) -> tuple[float, Tensor]:
    """Add a microbatch's share of the step's gradient; returns its loss and [P] differences.

    The loss, with the terms that `config` switches on, is Σ wᵢ lossᵢ / `weight`, with the whole
    step's weight, so that microbatches add up to what one big batch gives. Where the responses come
    in several parts, scores are computed once without a graph, and ∂loss/∂score is then carried
    back one part at a time (Gao et al. 2021, "Scaling deep contrastive learning batch size under
    memory limited setup").
    """
    if len(batch.parts) == 1:
        loss, differences = _loss(scores_of(batch.parts[0]), batch, weight, config)
        torch.autograd.backward(loss)
        return loss.item(), differences.detach()
    with torch.no_grad():
        scores = torch.cat([scores_of(part) for part in batch.parts])
    scores.requires_grad_()
    loss, differences = _loss(scores, batch, weight, config)
    torch.autograd.backward(loss)
    assert scores.grad is not None
    gradients = torch.split(scores.grad, [len(part) for part in batch.parts])
    for part, gradient in zip(batch.parts, gradients, strict=True):
        torch.autograd.backward(scores_of(part), gradient)
    return loss.item(), differences.detach()


def _loss(scores: Tensor, batch: Microbatch, weight: float,
          config: RewardConfig) -> tuple[Tensor, Tensor]:
    """The loss of [B] scores, in the order of the batch's parts, and [P] differences."""
    row = {i: n for n, i in enumerate(i for part in batch.parts for i in part)}
    device = scores.device
    chosen = scores[torch.tensor([row[p.chosen_id] for p in batch.pairs], device=device)]
    rejected = scores[torch.tensor([row[p.rejected_id] for p in batch.pairs], device=device)]
    weights = torch.tensor([p.counts for p in batch.pairs], device=device)
    differences = chosen - rejected
    if config.rankings == "plackett-luce":
        loss = ranking_loss(scores, batch.pairs, row)
    else:
        loss = (weights * _pair_losses(differences, batch.pairs, config)).sum()
    if config.centering:
        loss = loss + config.centering * (weights * centering_loss(chosen, rejected)).sum()
    return loss / weight, differences


def _pair_losses(differences: Tensor, pairs: Sequence[Pair], config: RewardConfig) -> Tensor:
    """[P] losses of pairs by themselves."""
    strengths = torch.tensor([p.strength for p in pairs], device=differences.device)
    if not any(p.offset or p.flipped for p in pairs):
        return bradley_terry_loss(differences, strengths, config.margin_per_strength,
                                  config.label_smoothing)
    return crowd_loss(differences, strengths, differences.new_tensor([p.offset for p in pairs]),
                      differences.new_tensor([p.flipped for p in pairs]),
                      config.margin_per_strength, config.label_smoothing)
