"""The embedded model itself: it answers, and the invariances hold on real weights in bf16 or fp32
(whichever is faster here)."""

from pathlib import Path

import pytest
import torch
from policy_world import GOODNESS, Recorder

from backbone.config import EMBEDDED, ModelConfig
from backbone.model import Backbone
from backbone.text import pad, prompt_ids
from data.records import Message
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.ppo import train
from policy.roles import POLICY, Roles, load_policy, load_value
from policy.rollout import PromptItem, evaluate
from policy.sampling import generate, uniform_draws

pytestmark = pytest.mark.embedded
QUESTIONS = ("What is the capital of France?", "Write one sentence about a cat that likes rain.",
             "Name three fruits that are yellow, and say why they are yellow.")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.load(EMBEDDED, ModelConfig())


@pytest.fixture(scope="module")
def prompts(backbone: Backbone) -> list[PromptItem]:
    asked = [[Message(role="user", content=question)] for question in QUESTIONS]
    return [PromptItem(n, m, prompt_ids(backbone.tokenizer, m)) for n, m in enumerate(asked)]


def test_it_knows_its_pad_is_its_end(backbone: Backbone) -> None:
    assert backbone.pad_id in backbone.end_ids
    assert backbone.config_pad_id == backbone.tokenizer.eos_token_id


def test_it_answers(backbone: Backbone, prompts: list[PromptItem]) -> None:
    draws = uniform_draws([(0, item.id) for item in prompts], 24)
    answers = generate(backbone, None, [item.ids for item in prompts], draws, 0.05)
    assert "Paris" in answers[0].text
    assert all(len(answer.text.split()) > 3 for answer in answers)


@pytest.mark.parametrize("left", [False, True])
def test_padding_changes_nothing_but_rounding(backbone: Backbone, prompts: list[PromptItem],
                                              left: bool) -> None:
    batch = pad([item.ids for item in prompts], backbone.pad_id, backbone.device, left)
    with torch.no_grad():
        together = backbone.hidden(batch, None)
        for row, item in enumerate(prompts):
            alone = backbone.hidden(pad([item.ids], 0, backbone.device), None)[0]
            mine = together[row][batch.mask[row].bool()]
            likeness = torch.nn.functional.cosine_similarity(mine.float(), alone.float(), dim=-1)
            assert likeness.min() > 0.99


def test_step_zero_is_a_no_op_and_a_step_learns(backbone: Backbone, prompts: list[PromptItem],
                                                tmp_path: Path) -> None:
    load_policy(backbone, ModelConfig(), None)
    roles = Roles(backbone, backbone, load_value(backbone, ModelConfig(), None), None)
    config = PPOConfig(steps=1, batch_size=3, minibatch_size=3, microbatch_size=3, epochs=1,
                       max_new_tokens=12)
    samples = generate(backbone, POLICY, [item.ids for item in prompts],
                       uniform_draws([(1, item.id) for item in prompts], 12), config.temperature)
    rollout = evaluate(roles, prompts, samples, GOODNESS, config, 0.05)
    assert rollout.kl.abs().max() < 0.05
    new = response_logprobs(backbone, POLICY, rollout.texts, config.temperature).logprobs
    assert ((new - rollout.logprobs).exp() - 1).abs().max() < 0.05
    before = [p.detach().clone() for p in roles.policy_parameters]
    record = Recorder()
    train(roles, prompts, GOODNESS, config, 0, record, tmp_path / "checkpoint")
    assert record.steps[0]["updates"] == 1
    assert any(not torch.equal(a, b) for a, b in zip(before, roles.policy_parameters, strict=True))
