"""PPO: a no-op at step zero, frozen where frozen, the same however it is cut up, and it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from policy_world import MODELS, Recorder, goodness, items, policy_weights, randomise, roles

from backbone.model import Backbone
from data.progress import Stopped
from data.records import Message
from policy import ppo
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.ppo import train
from policy.roles import POLICY, REFERENCE, VALUE, Roles, load_policy, load_value
from policy.rollout import evaluate
from policy.sampling import Sample, generate, uniform_draws

CONFIG = PPOConfig(steps=3, batch_size=8, minibatch_size=4, microbatch_size=4, epochs=2,
                   max_new_tokens=8, temperature=0.7, learning_rate=1e-2,
                   value_learning_rate=1e-2, checkpoint_every=1)
SETUPS = [{}, {"two_checkpoints": True}, {"sft": True}, {"sft": True, "two_checkpoints": True},
          {"pad_is_eos": True}, {"trains_value_adapter": False}]


def _samples(of: Roles, config: PPOConfig = CONFIG, seed: int = 0) -> list[Sample]:
    prompts = items(of.policy)
    return generate(of.policy, POLICY, [p.ids for p in prompts], uniform_draws(
        [(seed, r) for r in range(len(prompts))], config.max_new_tokens), config.temperature)


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_step_zero_is_a_no_op(tmp_path: Path, setup: dict[str, bool]) -> None:
    of = roles(tmp_path, **setup)
    samples = _samples(of)
    rollout = evaluate(of, items(of.policy), samples, goodness, CONFIG, 0.0, 1.0, 0.05)
    assert rollout.kl.abs().max() < 1e-4
    for rows in rollout.texts.by_length(3):
        texts = rollout.texts.select(rows)
        new = response_logprobs(of.policy, POLICY, texts, CONFIG.temperature)
        ratio = (new.logprobs - rollout.logprobs[rows, :texts.mask.shape[1]]).exp()
        torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)


def test_the_reference_of_an_sft_policy_is_the_sft_model_not_the_bare_checkpoint(
        tmp_path: Path) -> None:
    of = roles(tmp_path, sft=True)
    assert of.reference_adapter == REFERENCE
    samples = _samples(of)
    rollout = evaluate(of, items(of.policy), samples, goodness, CONFIG, 0.0, 1.0, 0.05)
    bare = evaluate(replace(of, reference_adapter=None), items(of.policy), samples, goodness,
                    CONFIG, 0.0, 1.0, 0.05)
    assert rollout.kl.abs().max() < 1e-4 < 0.3 < bare.kl.abs().mean()


def test_a_policy_that_moved_has_a_kl_to_the_frozen_reference(tmp_path: Path) -> None:
    of = roles(tmp_path, earlier_policy=True)
    rollout = evaluate(of, items(of.policy), _samples(of), goodness, CONFIG, 0.0, 1.0, 0.05)
    assert rollout.kl.abs().mean() > 0.3


@pytest.mark.parametrize("pad_is_eos", [False, True])
def test_the_score_lands_on_the_last_real_token(tmp_path: Path, pad_is_eos: bool) -> None:
    of = roles(tmp_path, pad_is_eos=pad_is_eos)
    samples = _samples(of)
    assert len({len(s.ids) for s in samples}) > 1
    config = replace(CONFIG, gamma=1.0, gae_lambda=1.0, whiten_advantages=False)
    rollout = evaluate(of, items(of.policy), samples, lambda c: [5.0] * len(c), config, 0, 1, 0.0)
    for row, sample in enumerate(samples):
        n = len(sample.ids)
        assert rollout.mask[row].sum() == n
        # With λ = γ = 1 and no KL, every real token's return is the score, and no other's.
        torch.testing.assert_close(rollout.returns[row, :n], torch.full((n,), 5.0),
                                   atol=1e-4, rtol=0)
        assert not rollout.returns[row, n:].any()


def test_a_missing_end_is_penalised_and_a_stop_text_is_an_end(tmp_path: Path) -> None:
    of = roles(tmp_path)
    samples = [replace(sample, finish_reason=reason) for sample, reason in zip(
        _samples(of), ["eos", "stop", "length"] * 3, strict=False)]
    config = replace(CONFIG, missing_eos_penalty=2.0, reward_clip=0.0)
    rollout = evaluate(of, items(of.policy), samples, lambda c: [3.0] * len(c), config, 1.0, 2.0,
                       0.0)
    for sample, reward in zip(samples, rollout.rewards.tolist(), strict=True):
        assert reward == pytest.approx(1.0 - 2.0 * (sample.finish_reason == "length"))


def test_rewards_are_centred_scaled_and_clipped(tmp_path: Path) -> None:
    of = roles(tmp_path)
    rollout = evaluate(of, items(of.policy), _samples(of), lambda c: [100.0] * len(c),
                       replace(CONFIG, reward_clip=4.0), 1.0, 2.0, 0.0)
    assert set(rollout.rewards.tolist()) == {4.0}
    assert set(rollout.scores.tolist()) == {100.0}


@pytest.mark.parametrize("trains_value_adapter", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_accumulated_microbatches_are_one_batch(tmp_path: Path, size: int,
                                                trains_value_adapter: bool) -> None:
    weights = []
    for number, microbatch in enumerate((8, size)):
        of = roles(tmp_path / str(number), trains_value_adapter=trains_value_adapter)
        config = replace(CONFIG, steps=2, minibatch_size=8, microbatch_size=microbatch,
                         learning_rate=1e-3, value_learning_rate=1e-3)
        train(of, items(of.policy), goodness, config, 0, Recorder(), tmp_path / f"c{number}")
        weights.append(policy_weights(of))
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_what_is_frozen_stays_frozen_bit_for_bit(tmp_path: Path, setup: dict[str, bool]) -> None:
    of = roles(tmp_path, **setup)

    def frozen() -> dict[str, torch.Tensor]:
        trained = {id(p) for p in (*of.policy_parameters, *of.value_parameters)}
        return {f"{name}/{key}": p.detach().clone()
                for name, backbone in (("policy", of.policy), ("value", of.value))
                for key, p in backbone.language_model.named_parameters() if id(p) not in trained}

    before, learned = frozen(), policy_weights(of)
    train(of, items(of.policy), goodness, CONFIG, 0, Recorder(), tmp_path / "checkpoint")
    after = frozen()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any(not torch.equal(learned[k], v) for k, v in policy_weights(of).items())


class _StopAt(Recorder):
    """Asks the run to stop at the n-th report."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def update(self, fraction: float, message: str) -> None:
        """Count down."""
        self.calls -= 1
        if self.calls < 0:
            raise Stopped


@pytest.mark.parametrize("calls", [0, 1, 3, 4])
@pytest.mark.parametrize("setup", [{}, {"sft": True, "two_checkpoints": True}], ids=str)
def test_a_stopped_run_ends_where_it_would_have_ended(tmp_path: Path, calls: int,
                                                      setup: dict[str, bool]) -> None:
    config = replace(CONFIG, kl_target=3.0, kl_horizon=50)
    whole = roles(tmp_path / "a", **setup)
    record = Recorder()
    last = train(whole, items(whole.policy), goodness, config, 7, record, tmp_path / "whole")
    cut = roles(tmp_path / "b", **setup)
    with pytest.raises(Stopped):
        train(cut, items(cut.policy), goodness, config, 7, _StopAt(calls), tmp_path / "cut")
    again = roles(tmp_path / "b", **setup)
    if setup:  # whatever the fresh weights are, those of the checkpoint are taken
        randomise(again.policy, POLICY, seed=5)
    rest = Recorder()
    end = train(again, items(again.policy), goodness, config, 7, rest, tmp_path / "cut")
    wanted = policy_weights(whole)
    assert all(torch.equal(wanted[k], v) for k, v in policy_weights(again).items())
    assert end["kl"] == last["kl"] and end["kl_coefficient"] == last["kl_coefficient"]
    assert rest.steps[-1]["reward"] == record.steps[-1]["reward"]


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    whole = roles(tmp_path / "a")
    train(whole, items(whole.policy), goodness, CONFIG, 7, Recorder(), tmp_path / "whole")
    cut = roles(tmp_path / "b")
    update, steps = ppo._update, []

    def die_in_the_third_update(*arguments: object) -> object:
        steps.append(1)
        figures = update(*arguments)  # type: ignore[arg-type]
        if len(steps) == 3:
            raise KeyboardInterrupt  # after the weights have moved, before anything is kept
        return figures

    monkeypatch.setattr(ppo, "_update", die_in_the_third_update)
    with pytest.raises(KeyboardInterrupt):
        train(cut, items(cut.policy), goodness, CONFIG, 7, Recorder(), tmp_path / "cut")
    monkeypatch.undo()
    again = roles(tmp_path / "b")
    train(again, items(again.policy), goodness, CONFIG, 7, Recorder(), tmp_path / "cut")
    wanted = policy_weights(whole)
    assert all(torch.equal(wanted[k], v) for k, v in policy_weights(again).items())


def test_gradients_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    of = roles(tmp_path)
    step = torch.optim.AdamW.step

    def watch(self: torch.optim.AdamW, *rest: object) -> object:
        gradients = [p.grad for g in self.param_groups for p in g["params"]]
        seen.append(float(torch.stack([g.norm() for g in gradients if g is not None]).norm()))
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", watch)
    record = Recorder()
    train(of, items(of.policy), goodness, replace(CONFIG, max_grad_norm=1e-3), 0, record,
          tmp_path / "checkpoint")
    assert seen and max(seen) <= 1.01e-3
    assert max(s["policy_grad_norm"] for s in record.steps) > 1e-3


def test_training_ends_early_on_kl(tmp_path: Path) -> None:
    of = roles(tmp_path, earlier_policy=True)
    record = Recorder()
    last = train(of, items(of.policy), goodness, replace(CONFIG, kl_stop=0.01), 0, record,
                 tmp_path / "checkpoint")
    assert len(record.steps) == 1 and "above --kl-stop" in last["ended"]
    of = roles(tmp_path / "b")
    eager = replace(CONFIG, learning_rate=0.5, update_kl_stop=1e-4, epochs=4, steps=1)
    record = Recorder()
    train(of, items(of.policy), goodness, eager, 0, record, tmp_path / "other")
    assert record.steps[0]["stopped_early"] and record.steps[0]["updates"] < 8


def test_every_step_reports_what_engineers_look_for(tmp_path: Path) -> None:
    of, record = roles(tmp_path), Recorder()
    train(of, items(of.policy), goodness, CONFIG, 0, record, tmp_path / "checkpoint")
    assert [s["step"] for s in record.steps] == [0, 1, 2]
    for name in ("reward", "score", "kl", "kl_coefficient", "entropy", "length", "eos_share",
                 "clip_fraction", "value_clip_fraction", "approx_kl", "explained_variance",
                 "policy_loss", "value_loss", "policy_grad_norm", "sampling_gap",
                 "seconds_generate", "seconds_update"):
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


@pytest.mark.parametrize("seed", range(2))
def test_it_finds_the_known_optimum(tmp_path: Path, seed: int) -> None:
    """One-token responses: the optimum of E[r] − β KL is π* ∝ π_ref exp(r/β)."""
    # Wider than its vocabulary, so that every distribution is within its reach.
    folder = tiny_checkpoint(tmp_path, hidden_size=128, layers=1)
    backbone, beta = Backbone(str(folder), torch.device("cpu"), torch.float32), 0.5
    load_policy(backbone, MODELS, None)
    of = Roles(backbone, backbone, load_value(backbone, MODELS, None), None)
    prompt = items(backbone)[:1]
    tokens = [backbone.tokenizer.decode([i], skip_special_tokens=True).strip()
              for i in range(len(backbone.tokenizer))]
    reward = {text: float(np.sin(3 * i)) for i, text in enumerate(tokens)}
    worth = torch.tensor([reward[text] for text in tokens])

    def score(conversations: list[list[Message]]) -> list[float]:
        return [reward[c[-1]["content"]] for c in conversations]

    def distribution(adapter: str | None) -> torch.Tensor:
        backbone.switch_to(adapter)
        with torch.no_grad():
            output = backbone.language_model(input_ids=torch.tensor([prompt[0].ids]))
        return output.logits[0, -1].softmax(-1)

    start = distribution(None)
    optimum = start * (worth / beta).exp()
    optimum /= optimum.sum()
    config = replace(CONFIG, steps=70, batch_size=192, minibatch_size=192, microbatch_size=192,
                     epochs=2, max_new_tokens=1, temperature=1.0, kl_coefficient=beta,
                     learning_rate=4e-3, value_learning_rate=1e-2, whiten_advantages=False,
                     reward_clip=0.0, checkpoint_every=1000)
    before = float((start - optimum).abs().sum() / 2)
    train(of, prompt, score, config, seed, Recorder(), tmp_path / "checkpoint")
    after = float((distribution(POLICY) - optimum).abs().sum() / 2)
    assert before > 0.3
    assert after < 0.08, f"total variation {after:.3f}, was {before:.3f}"
