"""Proximal policy optimisation of a language model against a reward model.

Ziegler et al. 2019 with the details of Huang et al. 2024: per-token KL reward against a frozen
reference, generalized advantage estimation, clipped policy and value losses, several epochs a
rollout. The loop is `train`; each of its steps is one call. Deliberately left out: any notion of
where prompts, scores or reports come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbone.resume import keep_beginning, load_training, save_training
from data.errors import BadInput, PrefloopError
from data.progress import Progress, Stopped
from policy.alarm import SIGNALS, check
from policy.config import PPOConfig
from policy.losses import adapted_kl_coefficient
from policy.metrics import Clock, UpdateFigures, step_metrics
from policy.offering import is_kept, keep, offer
from policy.probes import is_due, policy_texts, probe_prompts, reference_texts, side_by_side
from policy.roles import POLICY, VALUE, Roles
from policy.rollout import PromptItem, Reward, Rollout, begun_with, evaluate
from policy.sampling import Sample, generate, uniform_draws
from policy.sharing import ALONE, Share
from policy.update import update


@dataclass
class TrainingState:
    """What changes from step to step, beside weights and optimizers."""

    step: int = 0
    kl_coefficient: float = 0.0
    prompts: list[int] = field(default_factory=list)
    """Ids of the prompts that the run began with, where an older prefloop kept them here."""
    last: dict[str, Any] = field(default_factory=dict)
    """The last step's metrics; with `ended` where the run is over before its last step."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Of each step, what the alarm goes by."""
    reference_texts: list[str] = field(default_factory=list)
    """The reference's answers to the probe prompts, once they have been sampled."""


def train(roles: Roles, prompts: Sequence[PromptItem], reward: Reward, config: PPOConfig,
          seed: int, progress: Progress, checkpoint: Path, judges: Sequence[Reward] = (),
          share: Share = ALONE) -> dict[str, Any]:
    """Improve `roles.policy` in place; returns the last step's metrics.

    Goes on from `checkpoint` where a killed run left one, with the prompts that it began with, and
    ends with the same weights. With `keep_every`, these are the best of the policies kept on the
    way, and what is returned says which (`policy.offering`).

    Args:
        prompts: training prompts; taken in a new random order each time all have been used.
        judges: further reward models, for the metrics, the alarm and the choice of what is
            offered; nothing is learned from them. Where they begin to differ, the policy is where
            they no longer know.
        share: this process's part of the work, where several do it together with the same
            arguments; only the first one reports and writes checkpoints.

    Raises:
        PrefloopError: the loss is no longer a number; a prompt that a killed run had is gone.
        BadInput: more processes than responses a step.
        Stopped: by `progress`, after a checkpoint.
    """
    if not prompts:
        raise PrefloopError("PPO needs training prompts, and the workspace has none")
    if config.batch_size < share.parts:
        raise BadInput(f"--batch-size: {share.parts} processes cannot share {config.batch_size} "
                       "responses")
    optimizers = _optimizers(roles, config)
    state = _resume(roles, optimizers, checkpoint) or TrainingState(
        kl_coefficient=config.kl_coefficient)
    # The first process's, for all: each of them read the workspace at a moment of its own.
    prompts = share.everybody(_of_the_run(prompts, checkpoint, state) if share.is_first else [])[0]
    judged = partial(evaluate, roles, reward=reward, config=config, judges=judges, share=share)
    while state.step < config.steps and "ended" not in state.last:
        try:
            _report(progress, state, config, share)
            clock = Clock()
            if share.is_first and is_kept(state.step, config):
                keep(roles.policy, checkpoint, state.step)
            # 1. prompts, 2. responses, 3. what the models say of them, 4. updates
            chosen = _prompts_of_step(prompts, config, seed, state.step)
            alive = _alive(progress, state, config, share)
            samples = _sample(roles, chosen, config, seed, state.step, share, alive)
            clock.lap("generate")
            read = {}
            if (share.is_first or share.same_work) and is_due(state.step, config):
                read = _probe(roles, prompts, config, seed, state, share, alive)
                clock.lap("probe")
            rollout = judged(chosen, samples, kl_coefficient=state.kl_coefficient)
            clock.lap("evaluate")
            _set_learning_rates(optimizers, config, state.step)
            figures = update(roles, rollout, optimizers, config, seed, state.step, share)
            clock.lap("update")
        except Stopped:
            _save(roles, optimizers, checkpoint, state, share)
            raise
        metrics = step_metrics(rollout, figures, samples, chosen, state.kl_coefficient,
                               clock.seconds)
        state.last = {**metrics, **read, **_verdict(state, metrics, config)}
        if share.is_first:
            progress.metrics(state.step, state.last)
        state.step += 1
        if config.kl_target > 0:
            state.kl_coefficient = adapted_kl_coefficient(
                state.kl_coefficient, metrics["kl"], config.kl_target, config.batch_size,
                config.kl_horizon)
        if (state.step % config.checkpoint_every == 0 or state.step == config.steps
                or "ended" in state.last):
            _save(roles, optimizers, checkpoint, state, share)
    if not config.keep_every:
        return state.last
    # What is offered stands before what the last step was like, for whoever reads it.
    return _offer(roles, prompts, config, seed, progress, checkpoint, state, judged,
                  share) | state.last


def _offer(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int,
           progress: Progress, checkpoint: Path, state: TrainingState,
           judged: Callable[..., Rollout], share: Share) -> dict[str, Any]:
    """Measure the last policy as all before it were, and make the policy the best of them."""
    def alive() -> None:
        if share.count == 1:
            progress.update(1.0, "measuring the last policy")

    chosen = _prompts_of_step(prompts, config, seed, state.step)
    samples = _sample(roles, chosen, config, seed, state.step, share, alive)
    rollout = judged(chosen, samples, kl_coefficient=state.kl_coefficient)
    last = step_metrics(rollout, UpdateFigures(), samples, chosen, state.kl_coefficient, {})
    if share.is_first:
        keep(roles.policy, checkpoint, state.step)
    share.wait()
    offered = offer(roles.policy, checkpoint, config, [*state.history, _for_alarm(state, last)])
    share.wait()  # all have read it: now the first one may remove what was kept
    return offered


def _verdict(state: TrainingState, metrics: dict[str, Any], config: PPOConfig) -> dict[str, str]:
    """The alarm, if it sounds, and why training ends before its last step, if it does."""
    state.history.append(_for_alarm(state, metrics))
    found = {}
    if (alarm := check(state.history)) is not None:
        found["alarm"] = alarm.text
        if config.stop_on_alarm:
            found["ended"] = f"over-optimisation: {alarm.text}"
    if 0 < config.kl_stop < metrics["kl"]:
        found["ended"] = f"KL {metrics['kl']:.1f} above --kl-stop {config.kl_stop:g}"
    return found


def _for_alarm(state: TrainingState, metrics: dict[str, Any]) -> dict[str, Any]:
    """What the alarm and the choice of what is offered go by."""
    return {name: metrics[name] for name in SIGNALS if name in metrics} | {"step": state.step}


def _optimizers(roles: Roles, config: PPOConfig) -> dict[str, torch.optim.Optimizer]:
    return {
        "policy": torch.optim.AdamW(roles.policy_parameters, lr=config.learning_rate, eps=1e-5,
                                    weight_decay=0.0),
        "value": torch.optim.AdamW(roles.value_parameters, lr=config.value_learning_rate,
                                   eps=1e-5, weight_decay=0.0)}


def _set_learning_rates(optimizers: dict[str, torch.optim.Optimizer], config: PPOConfig,
                        step: int) -> None:
    """What a step learns with; it follows from the step alone, so a resumed run has it too."""
    left = 1.0 if config.learning_rate_decay == "none" else 1 - step / config.steps
    for name, rate in (("policy", config.learning_rate), ("value", config.value_learning_rate)):
        for group in optimizers[name].param_groups:
            group["lr"] = rate * left


def _prompts_of_step(prompts: Sequence[PromptItem], config: PPOConfig, seed: int,
                     step: int) -> list[PromptItem]:
    """The prompt of each response: the step's share of an endless shuffled reading of the prompts,
    each of them `config.responses` times in a row."""
    size = config.batch_size // config.responses
    chosen = []
    for place in range(step * size, (step + 1) * size):
        epoch, within = divmod(place, len(prompts))
        order = np.random.default_rng([seed, epoch]).permutation(len(prompts))
        chosen += [prompts[int(order[within])]] * config.responses
    return chosen


def _of_the_run(prompts: Sequence[PromptItem], checkpoint: Path,
                state: TrainingState) -> list[PromptItem]:
    """The prompts that the run began with."""
    if state.prompts:
        keep_beginning(checkpoint, state.prompts)
    return begun_with(checkpoint, prompts)


def _report(progress: Progress, state: TrainingState, config: PPOConfig, share: Share) -> None:
    """Say how far the run is. Raises Stopped, in all processes or in none."""
    stopped = False
    try:
        progress.update(state.step / config.steps, _message(state, config))
    except Stopped:
        stopped = True
    if any(share.everybody(stopped)):
        raise Stopped


def _alive(progress: Progress, state: TrainingState, config: PPOConfig,
           share: Share) -> Callable[[], None]:
    """What sampling calls now and then. Raises Stopped, but not while others wait for this one."""
    message = f"step {state.step + 1} of {config.steps}: sampling"

    def alive() -> None:
        if share.count == 1:
            progress.update(state.step / config.steps, message)

    return alive


def _sample(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int, step: int,
            share: Share, alive: Callable[[], None]) -> list[Sample]:
    """A response to each prompt, of all processes."""
    rows = share.mine(range(len(prompts)))
    draws = uniform_draws([(seed, 1 + step, row) for row in rows], config.max_new_tokens)
    return share.gather(generate(roles.policy, POLICY, [prompts[row].ids for row in rows], draws,
                                 config.temperature, config.stop, alive, share.agree))


def _probe(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int,
           state: TrainingState, share: Share, alive: Callable[[], None]) -> dict[str, Any]:
    """The policy's answers to a few fixed prompts, beside the reference's."""
    asked = probe_prompts(prompts, seed)

    if not state.reference_texts:
        state.reference_texts = reference_texts(roles, asked, config, seed, share, alive)
    answers = policy_texts(roles, asked, config, seed, share, alive)
    return {"probes": side_by_side(asked, answers, state.reference_texts)}


def _message(state: TrainingState, config: PPOConfig) -> str:
    if not state.last:
        return f"step {state.step + 1} of {config.steps}"
    return (f"step {state.step + 1} of {config.steps}: reward {state.last['reward']:.2f}, "
            f"KL {state.last['kl']:.1f}")


def _save(roles: Roles, optimizers: dict[str, torch.optim.Optimizer], checkpoint: Path,
          state: TrainingState, share: Share) -> None:
    if share.is_first:
        _write(roles, optimizers, checkpoint, state)
    share.wait()


def _write(roles: Roles, optimizers: dict[str, torch.optim.Optimizer], checkpoint: Path,
           state: TrainingState) -> None:
    weights = {
        **{f"policy/{k}": v for k, v in roles.policy.adapter_state(POLICY).items()},
        **{f"value/{k}": v for k, v in roles.value.adapter_state(VALUE).items()},
        **{f"head/{k}": v for k, v in roles.value_head.state_dict().items()}}
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
    return TrainingState(**state)
