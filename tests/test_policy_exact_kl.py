"""The KL over the whole vocabulary: its value and its gradients against plain autograd, however it
is cut into chunks, and the policy gradient it makes against the objective's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from known_optimum import MODELS, Problem
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import GOODNESS, Recorder, items, policy_weights, randomise, roles
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backbone.model import Backbone
from policy import logprobs, ppo
from policy.config import PPOConfig
from policy.logprobs import logprobs_of_states, response_logprobs, response_states
from policy.losses import clipped_policy_loss, exact_kl_loss
from policy.responses import Responses, join
from policy.roles import POLICY, Roles, load_policy, load_value
from policy.rollout import Reward, evaluate
from policy.sampling import Sample, generate, uniform_draws

CONFIG = PPOConfig(steps=2, batch_size=8, minibatch_size=8, microbatch_size=8, epochs=1,
                   max_new_tokens=8, learning_rate=1e-3, value_learning_rate=1e-3,
                   kl_penalty="exact", kl_coefficient=0.3)


def _texts(backbone: Backbone) -> Responses:
    prompts = [item.ids for item in items(backbone)]
    responses = [[4 + (row * 7 + t) % 20 for t in range(1 + row)] for row in range(len(prompts))]
    return join(prompts, responses, backbone.pad_id, backbone.device)


def _plain_kl(backbone: Backbone, texts: Responses, temperature: float) -> Tensor:
    def table(adapter: str | None) -> Tensor:
        hidden = texts.before(backbone.hidden(texts.batch, adapter))
        return (backbone.language_model.lm_head(hidden) / temperature).log_softmax(-1)

    new, old = table(POLICY), table(None).detach()
    return (new.exp() * (new - old)).sum(-1) * texts.mask


@pytest.mark.parametrize("chunk", [1, 7, 512])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_values_and_gradients_are_those_of_a_plain_softmax(
        tmp_path: Path, chunk: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "CHUNK_TOKENS", chunk)
    backbone = tiny_backbone(tmp_path)
    backbone.add_adapter(POLICY, backbone.new_lora_config(4, 8))
    randomise(backbone, POLICY)
    texts, parameters = _texts(backbone), backbone.adapter_parameters(POLICY)
    weights = torch.rand(texts.mask.shape, generator=torch.Generator().manual_seed(0))
    plain = _plain_kl(backbone, texts, temperature)
    backbone.switch_to(POLICY)  # only the adapter that runs takes gradients
    wanted = torch.autograd.grad((plain * weights).sum(), parameters)
    with torch.no_grad():
        reference = response_states(backbone, None, texts)
    ours = response_logprobs(backbone, POLICY, texts, temperature, reference).kl
    assert ours is not None and plain.max() > 0.05
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)
    found = torch.autograd.grad((ours * weights).sum(), parameters)
    for mine, its in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-4, rtol=1e-3)


def test_without_the_references_states_there_is_no_kl(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    assert response_logprobs(backbone, None, _texts(backbone), 1.0).kl is None


def test_the_rollouts_kl_is_the_same_quantity_with_less_noise(tmp_path: Path) -> None:
    of, record = roles(tmp_path, earlier_policy=True), Recorder()
    config = replace(CONFIG, batch_size=64, minibatch_size=64, steps=1, temperature=1.0)
    ppo.train(of, items(of.policy), GOODNESS, config, 0, record, tmp_path / "exact")
    other, again = roles(tmp_path / "b", earlier_policy=True), Recorder()
    ppo.train(other, items(other.policy), GOODNESS, replace(config, kl_penalty="k1"), 0, again,
              tmp_path / "k1")
    exact, sampled = record.steps[0], again.steps[0]
    assert exact["kl_k3"] == sampled["kl_k3"]  # the same samples
    assert exact["kl"] > 0.3 and exact["kl"] == pytest.approx(sampled["kl"], rel=0.5)
    assert exact["kl"] != sampled["kl"]


@pytest.mark.parametrize("size", [1, 3])
def test_accumulated_microbatches_are_one_batch(tmp_path: Path, size: int) -> None:
    weights = []
    for number, microbatch in enumerate((8, size)):
        of = roles(tmp_path / str(number))
        ppo.train(of, items(of.policy), GOODNESS, replace(CONFIG, microbatch_size=microbatch), 0,
                  Recorder(), tmp_path / f"c{number}")
        weights.append(policy_weights(of))
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("kl_penalty", ["k1", "exact"])
def test_over_all_responses_the_update_is_the_gradient_of_the_objective(tmp_path: Path,
                                                                        kl_penalty: str) -> None:
    """Every response of up to two tokens, weighed by its probability: the loss then has the
    gradient of −(E[r] − β KL(π‖π_ref)), which can be had without sampling."""
    problem = Problem(tmp_path, 2, 0.5, 0)
    backbone = problem.backbone
    load_policy(backbone, MODELS, None)
    randomise(backbone, POLICY, scale=0.1)
    of = Roles(backbone, backbone, load_value(backbone, MODELS, None), None)
    # λ = γ = 1 and a value of 0: advantages are the returns themselves.
    config = replace(CONFIG, temperature=1.0, max_new_tokens=2, gae_lambda=1.0, reward_clip=0.0,
                     microbatch_size=1000, kl_penalty=kl_penalty, whiten_advantages=False)
    samples = [Sample(ids, [0.0] * len(ids), problem.text(ids), "eos")
               for ids in problem.responses]
    rollout = evaluate(of, [problem.prompt] * len(samples), samples, Reward(problem.score), config,
                       problem.beta)
    exact = rollout.exact_kl
    assert (exact is not None) == (kl_penalty == "exact")
    new = response_logprobs(backbone, POLICY, rollout.texts, 1.0,
                            None if exact is None else exact.reference_states)
    chances = problem.distribution(POLICY).float()[:, None]
    loss, _ = clipped_policy_loss(new.logprobs, rollout.logprobs, rollout.advantages * chances,
                                  rollout.mask, 0.2, 1.0)
    if exact is not None and new.kl is not None:
        loss = loss + exact_kl_loss(new.kl * chances, rollout.mask, exact.weight, 1.0)
    found = torch.autograd.grad(loss, of.policy_parameters)
    objective = problem.objective()
    backbone.switch_to(POLICY)  # only the adapter that runs takes gradients
    wanted = torch.autograd.grad(-objective, of.policy_parameters)
    assert max(float(w.abs().max()) for w in wanted) > 0.01
    for mine, its in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, its, atol=2e-5, rtol=1e-3)


def test_whitened_advantages_and_the_kl_keep_their_proportion(tmp_path: Path) -> None:
    of = roles(tmp_path, earlier_policy=True)
    prompts = items(of.policy)
    draws = uniform_draws([(0, row) for row in range(len(prompts))], 8)
    samples = generate(of.policy, POLICY, [p.ids for p in prompts], draws, 0.7)
    white, plain = (evaluate(of, prompts, samples, GOODNESS, replace(
        CONFIG, whiten_advantages=on), 0.3) for on in (True, False))
    assert white.exact_kl is not None and plain.exact_kl is not None
    mask = white.mask.bool()
    scale = white.advantages[mask].std() / plain.advantages[mask].std()
    assert float(plain.exact_kl.weight) == pytest.approx(0.3)
    assert float(white.exact_kl.weight) == pytest.approx(0.3 * float(scale), rel=1e-4)


class Widest(TorchDispatchMode):
    """The tensors that are as wide as the vocabulary: how many were made, and their most rows."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.rows: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.rows += [each.numel() // self.vocabulary for each in tree_leaves(found)
                      if isinstance(each, Tensor) and each.shape[-1:] == (self.vocabulary,)]
        return found


def test_full_scores_are_never_held_for_more_than_a_chunk(tmp_path: Path) -> None:
    """Of a thousand tokens, with gradients, entropy and the exact KL."""
    backbone = tiny_backbone(tmp_path)
    texts = join([[4, 5]] * 10, [[4 + t % 20 for t in range(100)]] * 10, backbone.pad_id,
                 backbone.device)
    vocabulary, width = backbone.language_model.lm_head.weight.shape
    states, reference = torch.randn(2, 10, 100, width)
    with Widest(vocabulary) as wide:
        found = logprobs_of_states(backbone, states.requires_grad_(), texts, 0.7, reference)
        assert found.kl is not None
        torch.autograd.backward(found.logprobs.sum() + found.kl.sum())
    assert states.grad is not None and sum(wide.rows) > 3000  # scores of π twice, and of π_ref
    assert max(wide.rows) == logprobs.CHUNK_TOKENS
