"""One PPO step's updates: epochs, minibatches, microbatches, clipped losses, clipped gradients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from data.errors import PrefloopError
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.losses import (
    approximate_kl,
    clipped_policy_loss,
    clipped_value_loss,
    exact_kl_loss,
)
from policy.metrics import SUMS, UpdateFigures
from policy.roles import POLICY, Roles
from policy.rollout import Rollout, value_hidden
from policy.sharing import ALONE, Share


def update(roles: Roles, rollout: Rollout, optimizers: Mapping[str, torch.optim.Optimizer],
           config: PPOConfig, seed: int, step: int, share: Share = ALONE) -> UpdateFigures:
    """Several epochs of clipped updates on one rollout.

    Raises:
        PrefloopError: the loss is no longer a number.
    """
    figures = UpdateFigures()
    for epoch in range(config.epochs):
        for minibatch in torch.split(_order(rollout, config, [seed, step, epoch]),
                                     config.minibatch_size):
            moved = _accumulate(roles, rollout, minibatch, config, figures, share)
            if 0 < config.update_kl_stop < moved and figures.updates:
                figures.stopped_early = True
                for optimizer in optimizers.values():
                    optimizer.zero_grad(set_to_none=True)
                return _of_all(figures, share)
            figures.policy_norm += _clip(roles.policy_parameters, config.max_grad_norm)
            figures.value_norm += _clip(roles.value_parameters, config.max_grad_norm)
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            figures.updates += 1
    return _of_all(figures, share)


def _order(rollout: Rollout, config: PPOConfig, seed: list[int]) -> Tensor:
    """[B] the rows in the order of a pass over them, a prompt's behind each other."""
    prompts = np.random.default_rng(seed).permutation(rollout.mask.shape[0] // config.responses)
    rows = prompts[:, None] * config.responses + np.arange(config.responses)
    return torch.from_numpy(rows.ravel()).to(rollout.mask.device)


def _accumulate(roles: Roles, rollout: Rollout, minibatch: Tensor, config: PPOConfig,
                figures: UpdateFigures, share: Share) -> float:
    """Gradients of a minibatch, microbatch by microbatch; returns how far the policy has moved
    from the one that sampled (approximate KL a token)."""
    tokens = rollout.mask[minibatch].sum()
    moved = 0.0
    for rows in share.mine(rollout.texts.by_length(config.microbatch_size, minibatch,
                                                    config.responses)):
        texts = rollout.texts.select(rows)
        mask, width = texts.mask, texts.mask.shape[1]
        exact = rollout.exact_kl
        new = response_logprobs(roles.policy, POLICY, texts, config.temperature, None if exact
                                is None else exact.reference_states[rows, :width], entropy=False)
        old = rollout.logprobs[rows, :width]
        policy_loss, clipped = clipped_policy_loss(
            new.logprobs, old, rollout.advantages[rows, :width], mask, config.clip_range, tokens)
        if exact is not None and new.kl is not None:
            policy_loss = policy_loss + exact_kl_loss(new.kl, mask, exact.weight, tokens)
        torch.autograd.backward(policy_loss)
        features = (value_hidden(roles, texts) if rollout.value_features is None
                    else rollout.value_features[rows, :width])
        value_loss, value_clipped = clipped_value_loss(
            roles.value_head(features) * mask, rollout.values[rows, :width],
            rollout.returns[rows, :width], mask, config.value_clip_range, tokens)
        torch.autograd.backward(value_loss)
        now = new.logprobs.detach()
        divergence = float(approximate_kl(now, old, mask))
        if not figures.updates:
            gap = float(((now - old) * mask).abs().max())
            figures.ratio_gap = max(figures.ratio_gap, gap)
        moved += divergence / float(tokens)
        if not torch.isfinite(policy_loss + value_loss):
            raise PrefloopError("PPO's loss is no longer a number; lower --learning-rate")
        figures.policy_loss += policy_loss.item() * float(tokens)
        figures.value_loss += value_loss.item() * float(tokens)
        figures.approx_kl += divergence
        figures.clipped += float(clipped)
        figures.value_clipped += float(value_clipped)
    figures.tokens += float(tokens)
    share.add_up_gradients(roles.policy_parameters)
    share.add_up_gradients(roles.value_parameters)
    return share.total(moved)


def _of_all(figures: UpdateFigures, share: Share) -> UpdateFigures:
    """The figures over the microbatches of all processes."""
    if share.count > 1:
        for name in SUMS:
            setattr(figures, name, share.total(getattr(figures, name)))
        figures.ratio_gap = max(share.everybody(figures.ratio_gap))
    return figures


def _clip(parameters: list[torch.nn.Parameter], max_norm: float) -> float:
    return float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
