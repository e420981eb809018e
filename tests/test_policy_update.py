"""A step's updates against the same written down plainly: no microbatches, no chunks, no padding
cut off, every term of the losses as in the papers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import one_thread  # noqa: F401
from policy_world import GOODNESS, Recorder, goodness, items, policy_weights, roles
from torch import Tensor

from backbone.model import Backbone
from backbone.text import Batch
from policy import update as updates
from policy.config import PPOConfig
from policy.losses import adapted_kl_coefficient
from policy.ppo import _prompts_of_step, train
from policy.responses import Responses
from policy.roles import POLICY, VALUE, Roles
from policy.rollout import PromptItem, Reward, Rollout, evaluate
from policy.sampling import Sample, generate, uniform_draws
from policy.update import update

#: Narrow clips of unlike widths, so that both bite; several passes, microbatches that are ragged.
CONFIG = PPOConfig(steps=1, batch_size=8, minibatch_size=4, microbatch_size=3, epochs=3,
                   max_new_tokens=8, temperature=0.7, kl_coefficient=0.2, clip_range=0.03,
                   value_clip_range=0.1, max_grad_norm=0.5, update_kl_stop=0.0, reward_clip=0.0)


def _rollout(of: Roles, config: PPOConfig) -> Rollout:
    prompts = items(of.policy)
    draws = uniform_draws([(3, row) for row in range(len(prompts))], config.max_new_tokens)
    samples = generate(of.policy, POLICY, [p.ids for p in prompts], draws, config.temperature)
    return evaluate(of, prompts, samples, Reward(goodness, 0.1, 0.05), config,
                    config.kl_coefficient)


def _optimizers(of: Roles) -> dict[str, torch.optim.Optimizer]:
    # Plain descent: Adam would make as much of a rounding error as of a gradient.
    return {"policy": torch.optim.SGD(of.policy_parameters, lr=0.3),
            "value": torch.optim.SGD(of.value_parameters, lr=0.3)}


def _states(backbone: Backbone, adapter: str | None, texts: Responses, rows: Tensor) -> Tensor:
    """[b, R, d] before each response token, of rows that are padded as the whole batch is."""
    some = Responses(Batch(texts.batch.ids[rows], texts.batch.mask[rows]), texts.starts[rows],
                     texts.mask[rows])
    return some.before(backbone.hidden(some.batch, adapter))


def _step(parameters: list[torch.nn.Parameter], loss: Tensor, optimizer: torch.optim.Optimizer,
          max_norm: float) -> None:
    gradients = torch.autograd.grad(loss, parameters)
    norm = torch.stack([g.norm() for g in gradients]).norm()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient * min(1.0, max_norm / float(norm))
    optimizer.step()


def _plainly(of: Roles, rollout: Rollout, config: PPOConfig) -> dict[str, float]:
    """Update in place; returns the means over all tokens that were seen."""
    head, optimizers = of.policy.language_model.lm_head, _optimizers(of)
    seen, texts = {"policy_loss": 0.0, "value_loss": 0.0, "clipped": 0.0, "value_clipped": 0.0,
                   "approx_kl": 0.0, "tokens": 0.0, "updates": 0.0}, rollout.texts
    for epoch in range(config.epochs):
        order = updates._order(rollout, config, [5, 2, epoch])
        for rows in torch.split(order, config.minibatch_size):
            real = texts.mask[rows].bool()
            chosen = texts.tokens[rows][real][:, None]

            def table(adapter: str | None, rows: Tensor = rows, real: Tensor = real) -> Tensor:
                states = _states(of.policy, adapter, texts, rows)[real]
                found: Tensor = (head(states) / config.temperature).log_softmax(-1)
                return found

            with torch.no_grad():
                reference = table(of.reference_adapter)
                values = of.value_head(_states(of.value, VALUE, texts, rows)[real])
            new = table(POLICY)
            old, advantages, returns, before = (each[rows][real] for each in (
                rollout.logprobs, rollout.advantages, rollout.returns, rollout.values))
            log_ratio = new.gather(-1, chosen)[:, 0] - old
            ratio, low, high = log_ratio.exp(), 1 - config.clip_range, 1 + config.clip_range
            outside = ((ratio > high) & (advantages > 0)) | ((ratio < low) & (advantages < 0))
            loss = -(ratio * advantages).minimum(ratio.clamp(low, high) * advantages).mean()
            if rollout.exact_kl is not None:
                kl = (new.exp() * (new - reference)).sum(-1).mean()
                loss = loss + rollout.exact_kl.weight * kl
            _step(of.policy_parameters, loss, optimizers["policy"], config.max_grad_norm)
            values = of.value_head(_states(of.value, VALUE, texts, rows)[real])
            near = values.clamp(before - config.value_clip_range, before + config.value_clip_range)
            errors = (values - returns) ** 2, (near - returns) ** 2
            value_loss = torch.stack(errors).amax(0).mean() / 2
            _step(of.value_parameters, value_loss, optimizers["value"], config.max_grad_norm)
            count = int(real.sum())
            for name, value in (
                    ("policy_loss", loss * count), ("value_loss", value_loss * count),
                    ("clipped", outside.sum()), ("value_clipped", (errors[1] > errors[0]).sum()),
                    ("approx_kl", (ratio - 1 - log_ratio).sum()), ("tokens", count),
                    ("updates", 1)):
                seen[name] += float(torch.as_tensor(value).detach())
    return seen


@pytest.mark.parametrize("kl_penalty", ["k1", "exact"])
@pytest.mark.parametrize("setup", [{}, {"trains_value_adapter": False, "two_checkpoints": True},
                                   {"sft": True, "value_from_reward": True}],
                         ids=lambda setup: "+".join(setup) or "plain")
def test_updates_are_those_of_plain_descent_on_the_papers_losses(
        tmp_path: Path, setup: dict[str, Any], kl_penalty: Any) -> None:
    config = replace(CONFIG, kl_penalty=kl_penalty)
    ours, theirs = (roles(tmp_path / name, **setup) for name in ("a", "b"))
    began = policy_weights(ours)
    rollout = _rollout(ours, config)
    figures = update(ours, rollout, _optimizers(ours), config, 5, 2)
    expected = _plainly(theirs, _rollout(theirs, config), config)
    assert {name: getattr(figures, name) for name in expected} == pytest.approx(expected, rel=1e-3)
    assert figures.updates == 6 and figures.clipped > 3 and figures.value_clipped > 3
    found, wanted = policy_weights(ours), policy_weights(theirs)
    for key, value in found.items():
        torch.testing.assert_close(value, wanted[key], atol=2e-5, rtol=1e-3)
        assert not torch.equal(value, began[key]), key


def test_each_pass_over_a_rollout_has_an_order_of_its_own(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, order = [], updates._order

    def kept(*given: Any) -> Tensor:
        orders.append(tuple(order(*given).tolist()))
        return order(*given)

    monkeypatch.setattr(updates, "_order", kept)
    of = roles(tmp_path)
    train(of, items(of.policy), GOODNESS, replace(CONFIG, steps=2, epochs=2), 0, Recorder(),
          tmp_path / "c")
    assert len(orders) == len(set(orders)) == 4


@pytest.mark.parametrize("kl_penalty", ["k1", "exact"])
def test_advantages_follow_from_what_the_models_said(tmp_path: Path, kl_penalty: Any) -> None:
    of = roles(tmp_path, earlier_policy=True, value_from_reward=True)
    config = replace(CONFIG, gamma=0.9, gae_lambda=0.6, kl_penalty=kl_penalty)
    plain = _rollout(of, replace(config, whiten_advantages=False))
    white = _rollout(of, config)
    everything = []
    for row, n in enumerate(plain.mask.sum(1).tolist()):
        values = [*plain.values[row, :n].tolist(), 0.0]
        kl = (plain.logprobs - plain.reference_logprobs if plain.exact_kl is None
              else plain.exact_kl.tokens.roll(-1, 1))[row, :n].tolist()
        if plain.exact_kl is not None:
            kl[-1] = 0.0  # there is no state that the last token leads to
        rewards = [-0.2 * each for each in kl]
        rewards[-1] += float(plain.rewards[row])
        deltas = [rewards[t] + 0.9 * values[t + 1] - values[t] for t in range(n)]
        expected = [sum((0.9 * 0.6) ** (k - t) * deltas[k] for k in range(t, n))
                    for t in range(n)]
        assert plain.advantages[row, :n].tolist() == pytest.approx(expected, abs=1e-4)
        assert plain.returns[row, :n].tolist() == pytest.approx(
            [a + v for a, v in zip(expected, values, strict=False)], abs=1e-4)
        everything += expected
    real = torch.tensor(everything)
    torch.testing.assert_close(white.advantages[white.mask.bool()],
                               (real - real.mean()) / real.std(unbiased=False),
                               atol=1e-3, rtol=1e-3)
    assert torch.equal(white.returns, plain.returns)


def test_an_ensembles_spread_is_in_units_of_the_reward(tmp_path: Path) -> None:
    of = roles(tmp_path)
    prompts = items(of.policy)
    samples = generate(of.policy, POLICY, [p.ids for p in prompts], uniform_draws(
        [(0, row) for row in range(len(prompts))], 4), 1.0)
    rollout = evaluate(of, prompts, samples, Reward(
        goodness, 3.0, 2.0, lambda asked: [float(n) for n in range(len(asked))]), CONFIG, 0.0)
    assert rollout.spread is not None
    assert rollout.spread.tolist() == pytest.approx([n / 2 for n in range(len(prompts))])


def test_the_kl_coefficient_follows_each_steps_kl(tmp_path: Path) -> None:
    of, record = roles(tmp_path, earlier_policy=True), Recorder()
    config = replace(CONFIG, steps=4, kl_target=0.5, kl_horizon=40)
    train(of, items(of.policy), GOODNESS, config, 0, record, tmp_path / "c")
    used = [step["kl_coefficient"] for step in record.steps]
    assert used[0] == config.kl_coefficient
    for step, following in zip(record.steps, used[1:], strict=False):
        assert following == pytest.approx(adapted_kl_coefficient(
            step["kl_coefficient"], step["kl"], 0.5, config.batch_size, 40))
    assert len(set(used)) == 4
    fixed = Recorder()
    train(roles(tmp_path / "b", earlier_policy=True), items(of.policy), GOODNESS,
          replace(config, kl_target=0.0), 0, fixed, tmp_path / "d")
    assert {step["kl_coefficient"] for step in fixed.steps} == {config.kl_coefficient}


def test_every_response_of_a_run_has_numbers_of_its_own(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a policy that has hardly moved answers as it has answered."""
    drawn: list[np.ndarray] = []

    def watched(*given: Any) -> list[Sample]:
        drawn.append(given[3])
        return generate(*given)

    monkeypatch.setattr("policy.ppo.generate", watched)
    of = roles(tmp_path)
    train(of, items(of.policy), GOODNESS, replace(CONFIG, steps=3, epochs=1, keep_every=0), 0,
          Recorder(), tmp_path / "c")
    numbers = np.concatenate(drawn)
    assert len(numbers) == 3 * CONFIG.batch_size == len(np.unique(numbers, axis=0))


def test_prompts_come_in_a_new_order_each_time_all_have_been_used() -> None:
    prompts = [PromptItem(n, [], []) for n in range(8)]
    half = replace(CONFIG, batch_size=4)
    orders = [[p.id for step in (2 * epoch, 2 * epoch + 1)
               for p in _prompts_of_step(prompts, half, 0, step)] for epoch in range(3)]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len(set(map(tuple, orders))) == 3
