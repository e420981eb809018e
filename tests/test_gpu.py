"""The same code on a GPU: sampling, a reward step and a PPO step, held against the CPU's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import tiny_checkpoint
from policy_world import GOODNESS, MODELS, Recorder, items
from reward_world import good_wins

from backbone.config import ModelConfig
from backbone.device import choose_device, choose_dtype
from backbone.model import Backbone
from data.progress import Silent
from policy.config import PPOConfig
from policy.logprobs import response_logprobs
from policy.ppo import train as ppo
from policy.responses import join
from policy.roles import POLICY, Roles, load_policy, load_value
from policy.sampling import generate, uniform_draws
from reward.config import RewardConfig
from reward.train import train as train_reward

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device")]


def _both(folder: Path) -> list[Backbone]:
    checkpoint = str(tiny_checkpoint(folder))
    return [Backbone(checkpoint, torch.device(name), torch.float32) for name in ("cpu", "cuda")]


def test_a_gpu_is_used_without_a_setting() -> None:
    device = choose_device(ModelConfig().device)
    assert device.type == "cuda" and choose_dtype("auto", device) is torch.bfloat16


def test_sampling_gives_the_cpus_responses(tmp_path: Path) -> None:
    found = []
    for backbone in _both(tmp_path):
        prompts = [item.ids for item in items(backbone)]
        draws = uniform_draws([(0, row) for row in range(len(prompts))], 20)
        found.append((backbone, prompts, generate(backbone, None, prompts, draws, 0.7)))
    (_, prompts, cpu), (gpu_backbone, _, gpu) = found
    assert [s.ids for s in cpu] == [s.ids for s in gpu]
    texts = join(prompts, [s.ids for s in cpu], gpu_backbone.pad_id, gpu_backbone.device)
    logprobs = response_logprobs(gpu_backbone, None, texts, 0.7).logprobs.cpu()
    for row, sample in enumerate(cpu):
        np.testing.assert_allclose(logprobs[row, :len(sample.ids)].detach(), sample.logprobs,
                                   atol=1e-3)


def test_a_reward_step_is_the_cpus(tmp_path: Path) -> None:
    data, weights = good_wins(12), []
    for backbone in _both(tmp_path):
        model = train_reward(backbone, data, RewardConfig(epochs=1),
                             backbone.new_lora_config(4, 8), progress=Silent()).model
        weights.append([p.detach().cpu() for p in model.adapter_parameters])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-2)


def test_a_ppo_step_is_the_cpus(tmp_path: Path) -> None:
    weights = []
    for number, backbone in enumerate(_both(tmp_path)):
        load_policy(backbone, MODELS, None)
        roles = Roles(backbone, backbone, load_value(backbone, MODELS, None), None)
        config = replace(PPOConfig(), steps=2, batch_size=8, minibatch_size=4, max_new_tokens=8)
        ppo(roles, items(backbone), GOODNESS, config, 0, Recorder(), tmp_path / f"{number}")
        weights.append([p.detach().cpu() for p in backbone.adapter_parameters(POLICY)])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-2)


def test_one_copy_of_each_checkpoint_is_on_the_card(tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    backbone = Backbone(str(tiny_checkpoint(tmp_path, hidden_size=256, layers=4)),
                        torch.device("cuda"), torch.bfloat16)
    size = torch.cuda.memory_allocated() - before
    load_policy(backbone, MODELS, None)
    load_value(backbone, MODELS, None)
    assert torch.cuda.memory_allocated() - before < 1.5 * size
