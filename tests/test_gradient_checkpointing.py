"""Gradient checkpointing changes no number: blocks are run again in place of being kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from policy_world import GOODNESS, items, policy_weights, roles
from reward_world import good_wins

from backbone import layouts
from backbone.config import ModelConfig
from backbone.layouts import lay_out
from backbone.model import Backbone
from data.progress import Silent
from loop.models import backbone_of
from policy import logprobs
from policy.config import PPOConfig
from policy.ppo import train as ppo
from reward.config import RewardConfig
from reward.ensemble import Ensemble
from reward.train import train as train_reward

PPO = PPOConfig(steps=2, batch_size=6, minibatch_size=3, microbatch_size=2, max_new_tokens=8,
                learning_rate=1e-2, value_learning_rate=1e-2, keep_every=0)
TEXTS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [5, 6, 7, 8, 9, 10, 11, 12, 13, 9, 10], [11, 12]]


@pytest.fixture(params=["flat", "own", "padded"], autouse=True)
def passes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes by our own code, or by the checkpoint's, packed where it can be."""
    if request.param != "flat":
        monkeypatch.setattr(layouts, "runs_flat", lambda _: False)
        monkeypatch.setattr(logprobs, "runs_flat", lambda _: False)
    if request.param == "padded":
        monkeypatch.setattr(Backbone, "can_pack", False)


@pytest.mark.parametrize("setup", [{}, {"sft": True, "two_checkpoints": True}])
def test_ppo_ends_with_the_same_weights(tmp_path: Path, setup: dict[str, Any]) -> None:
    ended = []
    for recomputes in (False, True):
        of = roles(tmp_path, **setup)
        of.policy.recomputes = of.value.recomputes = recomputes
        ppo(of, items(of.policy), GOODNESS, PPO, 7, Silent(), tmp_path / f"{recomputes}")
        ended.append(policy_weights(of))
    for name, weights in ended[0].items():
        assert torch.equal(weights, ended[1][name]), name


@pytest.mark.parametrize("members", [1, 2])
def test_reward_training_ends_with_the_same_weights(tmp_path: Path, members: int) -> None:
    ended = []
    for recomputes in (False, True):
        backbone = tiny_backbone(tmp_path)
        backbone.recomputes = recomputes
        model = train_reward(backbone, good_wins(8), RewardConfig(epochs=1, members=members),
                             backbone.new_lora_config(4, 8), progress=Silent()).model
        models = model.members if isinstance(model, Ensemble) else [model]
        ended.append([p.detach() for one in models for p in one.adapter_parameters])
    assert any(bool(weights.any()) for weights in ended[0])
    for kept, made_again in zip(*ended, strict=True):
        assert torch.equal(kept, made_again)


def test_what_a_pass_keeps_does_not_grow_with_what_is_inside_a_block(tmp_path: Path) -> None:
    kept = {}
    for recomputes in (False, True):
        backbone = tiny_backbone(tmp_path, layers=6)
        backbone.recomputes = recomputes
        backbone.add_adapter("moved", backbone.new_lora_config(4, 8))
        layout = lay_out(backbone, TEXTS)
        weights = {p.data_ptr() for p in backbone.language_model.parameters()}
        held: dict[int, int] = {}

        def keep(tensor: torch.Tensor, held: dict[int, int] = held,
                 weights: set[int] = weights) -> torch.Tensor:
            if tensor.data_ptr() not in weights:
                held[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            layout.ends("moved").sum().backward()
        kept[recomputes] = sum(held.values())
    # What is recomputed goes through autograd's hooks of its own, a block at a time.
    assert kept[True] < kept[False] / 4


def test_another_adapter_may_run_before_the_gradients(tmp_path: Path) -> None:
    found = []
    for recomputes in (False, True):
        backbone = tiny_backbone(tmp_path)
        backbone.recomputes = recomputes
        for name in ("moved", "other"):
            backbone.add_adapter(name, backbone.new_lora_config(4, 8), seed=len(name))
            for parameter in backbone.adapter_parameters(name):
                parameter.data.fill_(0.1)
        layout = lay_out(backbone, TEXTS)
        ends = layout.ends("moved")
        if recomputes:  # peft would let no gradient into it any more
            layout.ends("other"), layout.ends(None)
        ends.sum().backward()
        found.append([p.grad for p in backbone.adapter_parameters("moved")])
    for kept, made_again in zip(*found, strict=True):
        assert torch.equal(kept, made_again)


def test_the_setting_reaches_the_models(tmp_path: Path) -> None:
    checkpoint = str(tiny_checkpoint(tmp_path))
    plain, other = (backbone_of(checkpoint, ModelConfig(
        checkpoint=checkpoint, precision="fp32", gradient_checkpointing=on))
        for on in (False, True))
    assert plain is not other and other.recomputes and not plain.recomputes
    with torch.no_grad():
        assert torch.equal(lay_out(plain, TEXTS).ends(None), lay_out(other, TEXTS).ends(None))
