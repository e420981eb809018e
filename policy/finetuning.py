"""Supervised fine-tuning of the policy's adapter on given responses.

Best-of-n trains on its winners with it; labelers' rewrites can come the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbone.model import Backbone
from backbone.resume import load_training, save_training
from data.errors import PrefloopError
from data.progress import Progress, Stopped
from policy.config import BestOfNConfig
from policy.logprobs import response_logprobs
from policy.responses import join
from policy.roles import POLICY


@dataclass(frozen=True)
class Demonstration:
    """A response to learn."""

    prompt_ids: list[int]
    response_ids: list[int]
    """With the token that ends the response."""


def finetune(backbone: Backbone, examples: Sequence[Demonstration], config: BestOfNConfig,
             seed: int, progress: Progress, checkpoint: Path,
             begin: float = 0.0) -> dict[str, Any]:
    """Minimise the mean negative log-likelihood a response token; returns the last epoch's loss.

    The likelihood is at the temperature that the policy samples at. At 1, responses sampled below
    it would first of all teach it to be surer, and it would then be sampled cooler still.

    Args:
        begin: the share of the whole job that was done before this.

    Raises:
        PrefloopError: the loss is no longer a number.
        Stopped: by `progress`, after a checkpoint.
    """
    parameters = backbone.adapter_parameters(POLICY)
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    found = load_training(checkpoint, {"policy": optimizer})
    state: dict[str, Any] = {"step": 0, "losses": []}
    if found is not None:
        backbone.load_adapter_state(POLICY, found[0])
        state = found[1]
    per_epoch = -(-len(examples) // config.microbatch_size)
    total = per_epoch * config.epochs
    while state["step"] < total:
        step = state["step"]
        try:
            progress.update(begin + (1 - begin) * step / total,
                            f"fine-tuning on winners: step {step + 1} of {total}")
        except Stopped:
            _save(checkpoint, backbone, optimizer, state)
            raise
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - step / total)
        loss = _step(backbone, _batch_of_step(examples, config.microbatch_size, seed, step),
                     config.temperature)
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["losses"].append(loss)
        state["step"] += 1
        progress.metrics(step, {"loss": loss})
        if state["step"] % config.checkpoint_every == 0:
            _save(checkpoint, backbone, optimizer, state)
    return {"loss": float(np.mean(state["losses"][-per_epoch:]))}


def _save(checkpoint: Path, backbone: Backbone, optimizer: torch.optim.Optimizer,
          state: dict[str, Any]) -> None:
    save_training(checkpoint, state["step"], backbone.adapter_state(POLICY),
                  {"policy": optimizer}, state)


def _batch_of_step(examples: Sequence[Demonstration], size: int, seed: int,
                   step: int) -> list[Demonstration]:
    epoch, within = divmod(step, -(-len(examples) // size))
    order = np.random.default_rng([seed, epoch]).permutation(len(examples))
    return [examples[int(i)] for i in order[within * size:(within + 1) * size]]


def _step(backbone: Backbone, examples: Sequence[Demonstration], temperature: float) -> float:
    texts = join([e.prompt_ids for e in examples], [e.response_ids for e in examples],
                 backbone.pad_id, backbone.device)
    logprobs = response_logprobs(backbone, POLICY, texts, temperature).logprobs
    loss = -logprobs.sum() / texts.mask.sum()
    torch.autograd.backward(loss)
    if not torch.isfinite(loss):
        raise PrefloopError("the fine-tuning loss is no longer a number; lower --learning-rate")
    return loss.item()
