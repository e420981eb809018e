"""PPO: the score where it belongs, the same update however it is cut up, and honest figures."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from policy_world import (
    GOODNESS,
    MODELS,
    Recorder,
    items,
    policy_weights,
    randomise,
    roles,
    watched_steps,
)

from policy import rollout as rollouts
from policy.config import PPOConfig
from policy.ppo import train
from policy.responses import Responses
from policy.roles import POLICY, REFERENCE, VALUE, Roles, load_policy, load_value
from policy.rollout import Reward, evaluate, value_hidden
from policy.sampling import Sample, generate, uniform_draws

CONFIG = PPOConfig(steps=3, batch_size=8, minibatch_size=4, microbatch_size=4, epochs=2,
                   max_new_tokens=8, temperature=0.7, learning_rate=1e-2,
                   value_learning_rate=1e-2, checkpoint_every=1)


def _samples(of: Roles, config: PPOConfig = CONFIG, seed: int = 0) -> list[Sample]:
    prompts = items(of.policy)
    return generate(of.policy, POLICY, [p.ids for p in prompts], uniform_draws(
        [(seed, r) for r in range(len(prompts))], config.max_new_tokens), config.temperature)


def test_the_reference_of_an_sft_policy_is_the_sft_model_not_the_bare_checkpoint(
        tmp_path: Path) -> None:
    of = roles(tmp_path, sft=True)
    assert of.reference_adapter == REFERENCE
    samples = _samples(of)
    rollout = evaluate(of, items(of.policy), samples, GOODNESS, CONFIG, 0.05)
    bare = evaluate(replace(of, reference_adapter=None), items(of.policy), samples, GOODNESS,
                    CONFIG, 0.05)
    assert rollout.kl.abs().max() < 1e-4 < 0.3 < bare.kl.abs().mean()


def test_a_policy_that_moved_has_a_kl_to_the_frozen_reference(tmp_path: Path) -> None:
    of = roles(tmp_path, earlier_policy=True)
    rollout = evaluate(of, items(of.policy), _samples(of), GOODNESS, CONFIG, 0.05)
    assert rollout.kl.abs().mean() > 0.3


@pytest.mark.parametrize("pad_is_eos", [False, True])
def test_the_score_lands_on_the_last_real_token(tmp_path: Path, pad_is_eos: bool) -> None:
    of = roles(tmp_path, pad_is_eos=pad_is_eos)
    samples = _samples(of)
    assert len({len(s.ids) for s in samples}) > 1
    config = replace(CONFIG, gamma=1.0, gae_lambda=1.0, whiten_advantages=False)
    rollout = evaluate(of, items(of.policy), samples, Reward(lambda c: [5.0] * len(c)), config,
                       0.0)
    for row, sample in enumerate(samples):
        n = len(sample.ids)
        assert rollout.mask[row].sum() == n
        # With λ = γ = 1 and no KL, every real token's return is the score, and no other's.
        torch.testing.assert_close(rollout.returns[row, :n], torch.full((n,), 5.0),
                                   atol=1e-4, rtol=0)
        assert not rollout.returns[row, n:].any()


@pytest.mark.parametrize("clip", [0.0, 1.5])
def test_credit_lands_where_it_is_due_and_its_sum_is_the_reward(tmp_path: Path,
                                                                clip: float) -> None:
    of = roles(tmp_path)
    samples = _samples(of)
    # as many parts as tokens, more (the template's own, behind the response), or fewer
    parts = [[0.1 * (n + 1) for n in range(max(1, len(s.ids) + more))]
             for s, more in zip(samples, [0, 2, -2] * 3, strict=False)]
    config = replace(CONFIG, gamma=1.0, gae_lambda=1.0, whiten_advantages=False, reward_clip=clip)

    def never(_conversations: object) -> list[float]:
        raise AssertionError("one pass is enough")

    rollout = evaluate(of, items(of.policy), samples, Reward(
        never, 0.4, 2.0, credit=lambda conversations: parts[:len(conversations)]), config, 0.0)
    assert rollout.scores.tolist() == pytest.approx([sum(brought) for brought in parts])
    for row, (sample, brought) in enumerate(zip(samples, parts, strict=True)):
        n = len(sample.ids)
        centred = [(value - 0.4 / len(brought)) / 2.0 for value in brought]
        whole = sum(centred) if not clip else min(max(sum(centred), -clip), clip)
        rewards = [*centred[:n - 1], *[0.0] * (n - 1 - len(centred))]
        rewards.append(whole - sum(rewards))  # the rest, at the end
        expected = [sum(rewards[t:]) for t in range(n)]
        assert rollout.returns[row, :n].tolist() == pytest.approx(expected, abs=1e-4)
        assert not rollout.returns[row, n:].any()


def test_a_missing_end_is_penalised_and_a_stop_text_is_an_end(tmp_path: Path) -> None:
    of = roles(tmp_path)
    samples = [replace(sample, finish_reason=reason) for sample, reason in zip(
        _samples(of), ["eos", "stop", "length"] * 3, strict=False)]
    config = replace(CONFIG, missing_eos_penalty=2.0, reward_clip=0.0)
    rollout = evaluate(of, items(of.policy), samples, Reward(
        lambda c: [3.0] * len(c), 1.0, 2.0), config, 0.0)
    for sample, reward in zip(samples, rollout.rewards.tolist(), strict=True):
        assert reward == pytest.approx(1.0 - 2.0 * (sample.finish_reason == "length"))


def test_rewards_are_centred_scaled_and_clipped(tmp_path: Path) -> None:
    of = roles(tmp_path)
    rollout = evaluate(of, items(of.policy), _samples(of), Reward(
        lambda c: [100.0] * len(c), 1.0, 2.0), replace(CONFIG, reward_clip=4.0), 0.0)
    assert set(rollout.rewards.tolist()) == {4.0}
    assert set(rollout.scores.tolist()) == {100.0}


@pytest.mark.parametrize(("asked", "reads_reference"), [
    ({}, True), ({"earlier_policy": True}, True), ({"value_from_reward": True}, False),
    ({"two_checkpoints": True}, False), ({"sft": True}, False),
    ({"trains_value_adapter": True}, False)])
def test_a_value_head_on_the_references_states_needs_no_pass_of_its_own(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, bool],
        reads_reference: bool) -> None:
    of = roles(tmp_path, **{"trains_value_adapter": False, **asked})
    torch.nn.init.normal_(of.value_head.weight)
    passes = []

    def counted(of: Roles, texts: Responses) -> torch.Tensor:
        passes.append(texts)
        return value_hidden(of, texts)

    monkeypatch.setattr(rollouts, "value_hidden", counted)
    found = evaluate(of, items(of.policy), _samples(of), GOODNESS, CONFIG, 0.05)
    assert (not passes) == reads_reference
    by_itself = of.value_head(value_hidden(of, found.texts)) * found.mask
    assert by_itself.abs().max() > 0.1
    torch.testing.assert_close(found.values, by_itself, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("trains_value_adapter", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_accumulated_microbatches_are_one_batch(tmp_path: Path, size: int,
                                                trains_value_adapter: bool) -> None:
    weights = []
    for number, microbatch in enumerate((8, size)):
        of = roles(tmp_path / str(number), trains_value_adapter=trains_value_adapter)
        config = replace(CONFIG, steps=2, minibatch_size=8, microbatch_size=microbatch,
                         learning_rate=1e-3, value_learning_rate=1e-3)
        train(of, items(of.policy), GOODNESS, config, 0, Recorder(), tmp_path / f"c{number}")
        weights.append(policy_weights(of))
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], atol=2e-5, rtol=1e-3)


def test_gradients_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, record, taken = roles(tmp_path), Recorder(), watched_steps(monkeypatch)
    train(of, items(of.policy), GOODNESS, replace(CONFIG, max_grad_norm=1e-3), 0, record,
          tmp_path / "checkpoint")
    assert taken and max(norm for norm, _ in taken) <= 1.01e-3
    assert max(s["policy_grad_norm"] for s in record.steps) > 1e-3


def test_training_ends_early_on_kl(tmp_path: Path) -> None:
    of = roles(tmp_path, earlier_policy=True)
    record = Recorder()
    last = train(of, items(of.policy), GOODNESS, replace(CONFIG, kl_stop=0.01), 0, record,
                 tmp_path / "checkpoint")
    assert len(record.steps) == 1 and "above --kl-stop" in last["ended"]
    of = roles(tmp_path / "b")
    eager = replace(CONFIG, learning_rate=0.5, update_kl_stop=1e-4, epochs=4, steps=1)
    record = Recorder()
    train(of, items(of.policy), GOODNESS, eager, 0, record, tmp_path / "other")
    assert record.steps[0]["stopped_early"] and record.steps[0]["updates"] < 8


def test_every_step_reports_what_engineers_look_for(tmp_path: Path) -> None:
    of, record = roles(tmp_path), Recorder()
    train(of, items(of.policy), GOODNESS, CONFIG, 0, record, tmp_path / "checkpoint")
    assert [s["step"] for s in record.steps] == [0, 1, 2]
    for name in ("reward", "score", "kl", "kl_coefficient", "entropy", "length", "eos_share",
                 "clip_fraction", "value_clip_fraction", "approx_kl", "explained_variance",
                 "policy_loss", "value_loss", "policy_grad_norm", "sampling_gap",
                 "sampling_gap_max", "ratio_gap", "kl_k3", "repetition", "distinct_1",
                 "distinct_2", "reference_perplexity", "seconds_generate", "seconds_probe",
                 "seconds_update"):
        assert isinstance(record.steps[0][name], float), name
    assert record.steps[0]["samples"][0].keys() == {"prompt", "text"}
    assert record.steps[0]["sampling_gap"] < 1e-4
    assert record.steps[0]["entropy"] > 0


def test_the_value_model_can_start_from_the_reward_model(tmp_path: Path) -> None:
    from backbone.heads import ScalarHead
    from backbone.storage import save_adapter

    backbone = tiny_backbone(tmp_path)
    backbone.add_adapter("reward", backbone.new_lora_config(4, 8))
    randomise(backbone, "reward")
    head = ScalarHead(backbone.hidden_size, backbone.device, seed=2)
    save_adapter(backbone, "reward", tmp_path / "reward", head)
    load_policy(backbone, MODELS, None)
    value = load_value(backbone, MODELS, tmp_path / "reward", reward_mean=3.0, reward_std=2.0)
    hidden = torch.randn(5, backbone.hidden_size)
    torch.testing.assert_close(value(hidden), (head(hidden) - 3.0) / 2.0)
    for a, b in zip(backbone.adapter_parameters(VALUE), backbone.adapter_parameters("reward"),
                    strict=True):
        assert torch.equal(a, b)
