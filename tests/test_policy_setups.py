"""What must hold on every set-up of the four models that users have: one checkpoint or two, an SFT
adapter as the reference, value from the pretrained or the reward model, a reward model with a
tokenizer of its own, full precision or bf16."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from policy_world import GOODNESS, Recorder, items, policy_weights, randomise, roles

from backbone.heads import ScalarHead
from backbone.model import Backbone
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.ppo import train
from policy.responses import join
from policy.roles import POLICY, Roles
from policy.rollout import Reward, Score, evaluate
from policy.sampling import Sample, generate, uniform_draws
from reward.model import RewardModel

CONFIG = PPOConfig(steps=2, batch_size=8, minibatch_size=4, microbatch_size=4, epochs=2,
                   max_new_tokens=8, temperature=0.7, learning_rate=1e-2,
                   value_learning_rate=1e-2, checkpoint_every=1)
SETUPS: list[dict[str, Any]] = [
    *(dict(zip(("two_checkpoints", "sft", "value_from_reward"), chosen, strict=True))
      for chosen in product((False, True), repeat=3)),
    {"pad_is_eos": True}, {"trains_value_adapter": False},
    {"trains_value_adapter": False, "value_from_reward": True, "two_checkpoints": True}]


def _name(setup: dict[str, Any]) -> str:
    return "+".join(name for name, on in setup.items() if on) or "plain"


each_setup = pytest.mark.parametrize("setup", SETUPS, ids=_name)


def _samples(of: Roles, config: PPOConfig = CONFIG) -> list[Sample]:
    """Samples, cut so that their lengths differ whatever was drawn."""
    prompts = items(of.policy)
    found = generate(of.policy, POLICY, [p.ids for p in prompts], uniform_draws(
        [(0, row) for row in range(len(prompts))], config.max_new_tokens), config.temperature)
    return [replace(s, ids=s.ids[:2 + row % 5], logprobs=s.logprobs[:2 + row % 5])
            for row, s in enumerate(found)]


def _own_tokenizer(folder: Path) -> tuple[RewardModel, Score]:
    """A reward model of another checkpoint, whose tokenizer knows other words."""
    words = ("the cat said something else entirely to nobody in particular ,",)
    path = tiny_checkpoint(folder / "judge", texts=words, hidden_size=48, seed=5)
    backbone = Backbone(str(path), torch.device("cpu"), torch.float32)
    backbone.add_adapter("reward", backbone.new_lora_config(4, 8))
    randomise(backbone, "reward")
    model = RewardModel(backbone, "reward", ScalarHead(backbone.hidden_size, backbone.device, 1))
    return model, model.score


def _untrained(of: Roles, *others: Backbone) -> dict[str, torch.Tensor]:
    trained = {id(p) for p in (*of.policy_parameters, *of.value_parameters)}
    models = (of.policy, of.value, *others)
    return {f"{number}/{key}": p.detach().clone() for number, backbone in enumerate(models)
            for key, p in backbone.language_model.state_dict(keep_vars=True).items()
            if id(p) not in trained}


@each_setup
@pytest.mark.parametrize("kl_penalty", ["k1", "exact"])
def test_before_the_first_update_nothing_has_moved(tmp_path: Path, setup: dict[str, Any],
                                                   kl_penalty: str) -> None:
    of, record = roles(tmp_path, **setup), Recorder()
    config = replace(CONFIG, steps=1, kl_penalty=kl_penalty)
    rollout = evaluate(of, items(of.policy), _samples(of), GOODNESS, config, 0.05)
    assert rollout.kl.abs().max() < 1e-4
    for rows in rollout.texts.by_length(3):  # cut up otherwise than when they were evaluated
        texts = rollout.texts.select(rows)
        new = response_logprobs(of.policy, POLICY, texts, config.temperature)
        ratio = (new.logprobs - rollout.logprobs[rows, :texts.mask.shape[1]]).exp()
        torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)
    train(of, items(of.policy), GOODNESS, config, 0, record, tmp_path / "checkpoint")
    for name in ("kl", "kl_k3", "ratio_gap", "sampling_gap_max"):
        assert abs(record.steps[0][name]) < 1e-4, name


@each_setup
def test_what_is_frozen_stays_frozen_bit_for_bit(tmp_path: Path, setup: dict[str, Any]) -> None:
    of = roles(tmp_path, **setup)
    before, learned = _untrained(of), policy_weights(of)
    train(of, items(of.policy), GOODNESS, CONFIG, 0, Recorder(), tmp_path / "checkpoint")
    after = _untrained(of)
    assert before.keys() == after.keys() and before
    assert all(torch.equal(before[key], after[key]) for key in before)
    moved = {key.split("/")[0] for key, value in policy_weights(of).items()
             if not torch.equal(learned[key], value)}
    assert moved == {"policy", "value"}


@pytest.mark.parametrize("setup", SETUPS[:4], ids=_name)
def test_a_reward_model_may_have_a_tokenizer_of_its_own(tmp_path: Path,
                                                        setup: dict[str, Any]) -> None:
    of, record = roles(tmp_path, **setup), Recorder()
    model, score = _own_tokenizer(tmp_path)
    assert len(model.backbone.tokenizer) != len(of.policy.tokenizer)
    before = _untrained(of, model.backbone)
    train(of, items(of.policy), Reward(score), CONFIG, 0, record, tmp_path / "checkpoint")
    after = _untrained(of, model.backbone)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert abs(record.steps[0]["kl"]) < 1e-4 and record.steps[0]["ratio_gap"] < 1e-4
    # The scores that were trained on are those of the texts, read alone.
    rollout = evaluate(of, items(of.policy), samples := _samples(of), Reward(score), CONFIG,
                       0.05)
    for item, sample, found in zip(items(of.policy), samples, rollout.scores, strict=True):
        alone = score([[*item.messages, {"role": "assistant", "content": sample.text}]])
        assert float(found) == pytest.approx(alone[0], abs=1e-5)


@each_setup
@pytest.mark.parametrize("temperature", [0.5, 1.4])
def test_all_log_probabilities_are_at_the_temperature(tmp_path: Path, setup: dict[str, Any],
                                                      temperature: float) -> None:
    """Sampled, old and reference, each against transformers' own scores of one unpadded text."""
    of = roles(tmp_path, **setup)
    randomise(of.policy, POLICY, seed=9)  # the policy has moved: new and reference differ
    config = replace(CONFIG, temperature=temperature)
    prompts, samples = items(of.policy), _samples(of, config)
    assert len({len(p.ids) for p in prompts}) > 1 and len({len(s.ids) for s in samples}) > 1
    rollout = evaluate(of, prompts, samples, GOODNESS, config, 0.05)
    for row, (prompt, sample) in enumerate(zip(prompts, samples, strict=True)):
        n = len(sample.ids)
        for adapter, ours in ((POLICY, rollout.logprobs),
                              (of.reference_adapter, rollout.reference_logprobs)):
            plain = _plainly(of.policy, adapter, prompt.ids, sample.ids, temperature)
            torch.testing.assert_close(ours[row, :n], plain, atol=1e-4, rtol=1e-4)
            assert not ours[row, n:].any()
            if adapter == POLICY:
                torch.testing.assert_close(torch.tensor(sample.logprobs), plain, atol=1e-4,
                                           rtol=1e-4)


@torch.no_grad()
def _plainly(backbone: Backbone, adapter: str | None, prompt: list[int], response: list[int],
             temperature: float) -> torch.Tensor:
    backbone.switch_to(adapter)
    scores = backbone.language_model(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
    table = (scores[len(prompt) - 1:-1] / temperature).log_softmax(-1)
    return table.gather(-1, torch.tensor(response)[:, None])[:, 0]


@each_setup
def test_padding_changes_no_log_probability(tmp_path: Path, setup: dict[str, Any]) -> None:
    of = roles(tmp_path, **setup)
    randomise(of.policy, POLICY, seed=9)
    backbone, prompts, samples = of.policy, items(of.policy), _samples(of)
    texts = join([p.ids for p in prompts], [s.ids for s in samples], backbone.pad_id,
                 backbone.device)
    for adapter in (POLICY, of.reference_adapter):
        together = response_logprobs(backbone, adapter, texts, 0.7)
        for row, (prompt, sample) in enumerate(zip(prompts, samples, strict=True)):
            alone = response_logprobs(backbone, adapter, join(
                [prompt.ids], [sample.ids], backbone.pad_id, backbone.device), 0.7)
            n = len(sample.ids)
            torch.testing.assert_close(together.logprobs[row, :n], alone.logprobs[0], atol=1e-5,
                                       rtol=1e-5)
            torch.testing.assert_close(together.entropy[row, :n], alone.entropy[0], atol=1e-5,
                                       rtol=1e-5)


def test_the_gap_between_sampling_and_training_is_measured_and_made_good(tmp_path: Path) -> None:
    """In bf16 sampling and the padded pass round differently; the first ratio is 1 all the same,
    since old log-probabilities are those of the training pass."""
    of, record = roles(tmp_path, dtype=torch.bfloat16), Recorder()
    samples = _samples(of)
    rollout = evaluate(of, items(of.policy), samples, GOODNESS, CONFIG, 0.05)
    wrong = [replace(s, logprobs=[x - 0.5 for x in s.logprobs]) for s in samples]
    same = evaluate(of, items(of.policy), wrong, GOODNESS, CONFIG, 0.05)
    assert torch.equal(rollout.logprobs, same.logprobs)
    train(of, items(of.policy), GOODNESS, CONFIG, 0, record, tmp_path / "checkpoint")
    first = record.steps[0]
    assert 0 < first["sampling_gap"] <= first["sampling_gap_max"] < 0.2
    assert first["ratio_gap"] <= first["sampling_gap_max"] and abs(first["kl"]) < 1e-4


def test_a_gap_that_is_there_is_reported(tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    of, record = roles(tmp_path), Recorder()
    sample: Callable[..., list[Sample]] = generate

    def off(*arguments: Any, **named: Any) -> list[Sample]:
        found = sample(*arguments, **named)
        return [replace(s, logprobs=[s.logprobs[0] - 1.0, *s.logprobs[1:]]) for s in found]

    monkeypatch.setattr("policy.ppo.generate", off)
    train(of, items(of.policy), GOODNESS, replace(CONFIG, steps=1), 0, record,
          tmp_path / "checkpoint")
    step = record.steps[0]
    assert step["sampling_gap_max"] == pytest.approx(1.0, abs=1e-3)
    assert step["sampling_gap"] == pytest.approx(1 / step["length"], abs=1e-3)
