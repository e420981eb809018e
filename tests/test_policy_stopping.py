"""When PPO ends or leaves updates out, and that it moves nothing without a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from models import one_thread  # noqa: F401
from policy_world import GOODNESS, Recorder, items, policy_weights, roles

from policy.config import PPOConfig
from policy.ppo import train
from policy.roles import POLICY, Roles
from policy.rollout import Reward, evaluate
from policy.sampling import generate, uniform_draws
from policy.update import update

CONFIG = PPOConfig(steps=4, batch_size=8, minibatch_size=8, microbatch_size=8, epochs=1,
                   max_new_tokens=6, learning_rate=3e-2, value_learning_rate=1e-2, probe_every=0,
                   keep_every=0)


def _run(of: Roles, folder: Path, config: PPOConfig, reward: Reward = GOODNESS
         ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    record = Recorder()
    last = train(of, items(of.policy), reward, config, 0, record, folder)
    return record.steps, last


def test_it_ends_with_the_first_step_whose_kl_is_above_the_limit(tmp_path: Path) -> None:
    def kl(name: str, limit: float) -> tuple[list[float], bool]:
        steps, last = _run(roles(tmp_path / name), tmp_path / name / "c",
                           replace(CONFIG, kl_stop=limit))
        return [step["kl"] for step in steps], "ended" in last

    free, ended = kl("free", 0.0)
    *_, before, most = sorted(free)
    assert len(free) == 4 and not ended and free[0] < 0.01 < before < most
    assert kl("reached", before) == (free[:free.index(most) + 1], True)
    assert kl("never", most) == (free, False)


def test_updates_that_are_left_out_leave_no_gradient_behind(tmp_path: Path) -> None:
    """Else the next rollout's first update would be theirs too."""
    of = roles(tmp_path)
    (step,), _ = _run(of, tmp_path / "c", replace(CONFIG, steps=1, minibatch_size=4, epochs=3,
                                                  update_kl_stop=1e-9))
    assert step["stopped_early"] and step["updates"] == 1
    assert all(p.grad is None for p in (*of.policy_parameters, *of.value_parameters))


def test_the_first_update_is_made_however_roughly_models_round(tmp_path: Path) -> None:
    """In few bits the policy may seem to have moved before it has."""
    of = roles(tmp_path)
    prompts = items(of.policy)
    draws = uniform_draws([(0, row) for row in range(len(prompts))], CONFIG.max_new_tokens)
    samples = generate(of.policy, POLICY, [p.ids for p in prompts], draws, CONFIG.temperature)
    rollout = evaluate(of, prompts, samples, GOODNESS, CONFIG, 0.05)
    rough = replace(rollout, logprobs=rollout.logprobs + 0.1 * rollout.mask)
    optimizer = torch.optim.SGD([*of.policy_parameters, *of.value_parameters], lr=1e-3)
    figures = update(of, rough, {"both": optimizer}, replace(
        CONFIG, minibatch_size=4, update_kl_stop=1e-3), 0, 0)
    assert (figures.updates, figures.stopped_early) == (1, True)


def test_where_there_is_nothing_to_learn_nothing_moves(tmp_path: Path) -> None:
    """Every response is worth the reference's mean, as the value model says; no weight decays."""
    of = roles(tmp_path)
    before = policy_weights(of)
    _run(of, tmp_path / "c", replace(CONFIG, kl_coefficient=0.0),
         Reward(lambda conversations: [0.5] * len(conversations), 0.5))
    after = policy_weights(of)
    assert all((after[name] == value).all() for name, value in before.items())


def test_gradients_far_below_adams_epsilon_hardly_move_anything(tmp_path: Path) -> None:
    """ε is 1e-5 (Huang et al. 2024): a first step is lr · g / (|g| + ε)."""
    of, most = roles(tmp_path), 1e-7
    before = policy_weights(of)
    _run(of, tmp_path / "c", replace(CONFIG, steps=1, max_grad_norm=most))
    for part, rate in (("policy", CONFIG.learning_rate), ("value", CONFIG.value_learning_rate)):
        moved = max(float((value - before[name]).abs().max())
                    for name, value in policy_weights(of).items() if name.startswith(part))
        assert 0 < moved <= 1.05 * rate * most / (most + 1e-5)
