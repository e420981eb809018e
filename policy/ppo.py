"""Proximal policy optimisation of a language model against a reward model.

Ziegler et al. 2019 with the details of Huang et al. 2024: per-token KL reward against a frozen
reference, generalized advantage estimation, clipped policy and value losses, several epochs a
rollout. The loop is `train`; each of its steps is one call. Deliberately left out: any notion of
where prompts, scores or reports come from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbone.resume import load_training, save_training
from data.errors import PrefloopError
from data.progress import Progress, Stopped
from policy.alarm import SIGNALS, check
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.losses import (
    adapted_kl_coefficient,
    approximate_kl,
    clipped_policy_loss,
    clipped_value_loss,
    exact_kl_loss,
)
from policy.metrics import UpdateFigures, step_metrics
from policy.probes import is_due, policy_texts, probe_prompts, reference_texts, side_by_side
from policy.roles import POLICY, VALUE, Roles
from policy.rollout import (
    Judge,
    PromptItem,
    Rollout,
    Score,
    evaluate,
    value_hidden,
)
from policy.sampling import Sample, generate, uniform_draws


@dataclass
class TrainingState:
    """What changes from step to step, beside weights and optimizers."""

    step: int = 0
    kl_coefficient: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)
    """The last step's metrics; with `ended` where the run is over before its last step."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Of each step, what the alarm goes by."""
    reference_texts: list[str] = field(default_factory=list)
    """The reference's answers to the probe prompts, once they have been sampled."""
    attention: str = ""
    """What sampling runs with (see `Backbone.attention`)."""


def train(roles: Roles, prompts: Sequence[PromptItem], score: Score, config: PPOConfig,
          seed: int, progress: Progress, checkpoint: Path, reward_mean: float = 0.0,
          reward_std: float = 1.0, judges: Sequence[Judge] = ()) -> dict[str, Any]:
    """Improve `roles.policy` in place; returns the last step's metrics.

    Goes on from `checkpoint` where a killed run left one, and ends with the same weights.

    Args:
        prompts: training prompts; taken in a new random order each time all have been used.
        score: conversations in, raw scores out; they are shifted and scaled by mean and std.
        judges: further reward models, for the metrics and the alarm alone.

    Raises:
        PrefloopError: the loss is no longer a number.
        Stopped: by `progress`, after a checkpoint.
    """
    if not prompts:
        raise PrefloopError("PPO needs training prompts, and the workspace has none")
    optimizers = _optimizers(roles, config)
    state = _resume(roles, optimizers, checkpoint) or TrainingState(
        kl_coefficient=config.kl_coefficient)
    while state.step < config.steps and "ended" not in state.last:
        try:
            progress.update(state.step / config.steps, _message(state, config))
            clock = _Clock()
            # 1. prompts, 2. responses, 3. what the models say of them, 4. updates
            chosen = _prompts_of_step(prompts, config.batch_size, seed, state.step)
            samples = _sample(roles, chosen, config, seed, state.step, progress)
            clock.lap("generate")
            read = {}
            if is_due(state.step, config):
                read = _probe(roles, prompts, config, seed, state, progress)
                clock.lap("probe")
            rollout = evaluate(roles, chosen, samples, score, config, reward_mean, reward_std,
                               state.kl_coefficient, judges)
            clock.lap("evaluate")
            figures = _update(roles, rollout, optimizers, config, seed, state.step)
            clock.lap("update")
        except Stopped:
            _save(roles, optimizers, checkpoint, state)
            raise
        metrics = step_metrics(rollout, figures, samples, chosen, state.kl_coefficient,
                               clock.seconds)
        state.last = {**metrics, **read, **_verdict(state, metrics, config)}
        progress.metrics(state.step, state.last)
        state.step += 1
        if config.kl_target > 0:
            state.kl_coefficient = adapted_kl_coefficient(
                state.kl_coefficient, metrics["kl"], config.kl_target, config.batch_size,
                config.kl_horizon)
        if (state.step % config.checkpoint_every == 0 or state.step == config.steps
                or "ended" in state.last):
            _save(roles, optimizers, checkpoint, state)
    return state.last


def _verdict(state: TrainingState, metrics: dict[str, Any], config: PPOConfig) -> dict[str, str]:
    """The alarm, if it sounds, and why training ends before its last step, if it does."""
    state.history.append({name: metrics[name] for name in SIGNALS if name in metrics}
                         | {"step": state.step})
    found = {}
    if (alarm := check(state.history)) is not None:
        found["alarm"] = alarm.text
        if config.stop_on_alarm:
            found["ended"] = f"over-optimisation: {alarm.text}"
    if 0 < config.kl_stop < metrics["kl"]:
        found["ended"] = f"KL {metrics['kl']:.1f} above --kl-stop {config.kl_stop:g}"
    return found


def _optimizers(roles: Roles, config: PPOConfig) -> dict[str, torch.optim.Optimizer]:
    return {
        "policy": torch.optim.AdamW(roles.policy_parameters, lr=config.learning_rate, eps=1e-5,
                                    weight_decay=0.0),
        "value": torch.optim.AdamW(roles.value_parameters, lr=config.value_learning_rate,
                                   eps=1e-5, weight_decay=0.0)}


def _prompts_of_step(prompts: Sequence[PromptItem], size: int, seed: int,
                     step: int) -> list[PromptItem]:
    """The step's share of an endless shuffled reading of the prompts."""
    chosen = []
    for place in range(step * size, (step + 1) * size):
        epoch, within = divmod(place, len(prompts))
        order = np.random.default_rng([seed, epoch]).permutation(len(prompts))
        chosen.append(prompts[int(order[within])])
    return chosen


def _sample(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int, step: int,
            progress: Progress) -> list[Sample]:
    draws = uniform_draws([(seed, 1 + step, row) for row in range(len(prompts))],
                          config.max_new_tokens)
    message = f"step {step + 1} of {config.steps}: sampling"
    return generate(roles.policy, POLICY, [p.ids for p in prompts], draws, config.temperature,
                    config.stop, check=lambda: progress.update(step / config.steps, message))


def _probe(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int,
           state: TrainingState, progress: Progress) -> dict[str, Any]:
    """The policy's answers to a few fixed prompts, beside the reference's."""
    asked = probe_prompts(prompts, seed)

    def alive() -> None:
        progress.update(state.step / config.steps, _message(state, config))

    if not state.reference_texts:
        state.reference_texts = reference_texts(roles, asked, config, seed, alive)
    answers = policy_texts(roles, asked, config, seed, alive)
    return {"probes": side_by_side(asked, answers, state.reference_texts)}


def _update(roles: Roles, rollout: Rollout, optimizers: dict[str, torch.optim.Optimizer],
            config: PPOConfig, seed: int, step: int) -> UpdateFigures:
    """Several epochs of clipped updates on one rollout."""
    figures = UpdateFigures()
    for epoch in range(config.epochs):
        order = torch.from_numpy(np.random.default_rng([seed, step, epoch]).permutation(
            rollout.mask.shape[0])).to(rollout.mask.device)
        for minibatch in torch.split(order, config.minibatch_size):
            moved = _accumulate(roles, rollout, minibatch, config, figures)
            if 0 < config.update_kl_stop < moved and figures.updates:
                figures.stopped_early = True
                for optimizer in optimizers.values():
                    optimizer.zero_grad(set_to_none=True)
                return figures
            figures.policy_norm += _clip(roles.policy_parameters, config.max_grad_norm)
            figures.value_norm += _clip(roles.value_parameters, config.max_grad_norm)
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            figures.updates += 1
    return figures


def _accumulate(roles: Roles, rollout: Rollout, minibatch: Tensor, config: PPOConfig,
                figures: UpdateFigures) -> float:
    """Gradients of a minibatch, microbatch by microbatch; returns how far the policy has moved
    from the one that sampled (approximate KL a token)."""
    tokens = rollout.mask[minibatch].sum()
    moved = 0.0
    for rows in rollout.texts.by_length(config.microbatch_size, minibatch):
        texts = rollout.texts.select(rows)
        mask, width = texts.mask, texts.mask.shape[1]
        exact = rollout.exact_kl
        new = response_logprobs(roles.policy, POLICY, texts, config.temperature, None if exact
                                is None else exact.reference_states[rows, :width])
        old = rollout.logprobs[rows, :width]
        policy_loss, clipped = clipped_policy_loss(
            new.logprobs, old, rollout.advantages[rows, :width], mask, config.clip_range, tokens)
        if exact is not None and new.kl is not None:
            policy_loss = policy_loss + exact_kl_loss(new.kl, mask, exact.weight, tokens)
        policy_loss.backward()  # type: ignore[no-untyped-call]
        features = (value_hidden(roles, texts) if rollout.value_features is None
                    else rollout.value_features[rows, :width])
        value_loss, value_clipped = clipped_value_loss(
            roles.value_head(features) * mask, rollout.values[rows, :width],
            rollout.returns[rows, :width], mask, config.value_clip_range, tokens)
        value_loss.backward()  # type: ignore[no-untyped-call]
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
    return moved


def _clip(parameters: list[torch.nn.Parameter], max_norm: float) -> float:
    return float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))


def _message(state: TrainingState, config: PPOConfig) -> str:
    if not state.last:
        return f"step {state.step + 1} of {config.steps}"
    return (f"step {state.step + 1} of {config.steps}: reward {state.last['reward']:.2f}, "
            f"KL {state.last['kl']:.1f}")


def _save(roles: Roles, optimizers: dict[str, torch.optim.Optimizer], checkpoint: Path,
          state: TrainingState) -> None:
    weights = {
        **{f"policy/{k}": v for k, v in roles.policy.adapter_state(POLICY).items()},
        **{f"value/{k}": v for k, v in roles.value.adapter_state(VALUE).items()},
        **{f"head/{k}": v for k, v in roles.value_head.state_dict().items()}}
    state.attention = roles.policy.attention
    save_training(checkpoint, state.step, weights, optimizers, asdict(state))


def _resume(roles: Roles, optimizers: dict[str, torch.optim.Optimizer],
            checkpoint: Path) -> TrainingState | None:
    found = load_training(checkpoint, optimizers)
    if found is None:
        return None
    weights, state = found

    def part(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}/"): value for key, value in weights.items()
                if key.startswith(f"{name}/")}

    roles.policy.load_adapter_state(POLICY, part("policy"))
    roles.value.load_adapter_state(VALUE, part("value"))
    roles.value_head.load_state_dict(part("head"))
    found_state = TrainingState(**state)
    if found_state.attention:
        roles.policy.attention = found_state.attention
    return found_state


class _Clock:
    """Seconds by phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Note the time since the last lap under `seconds_PHASE`."""
        now = time.perf_counter()
        self.seconds[f"seconds_{phase}"] = now - self._start
        self._start = now
