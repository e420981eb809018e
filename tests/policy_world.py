"""What the tests of the policy share: small models in all their roles, and a reward to chase."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from models import tiny_backbone

from backbone.config import ModelConfig
from backbone.heads import ScalarHead
from backbone.model import Backbone
from backbone.storage import save_adapter
from backbone.text import prompt_ids
from data.records import Message
from data.store import DATABASE_NAME, Store
from policy.roles import POLICY, Roles, load_policy, load_value
from policy.rollout import PromptItem, Reward

MODELS = ModelConfig(lora_rank=4, lora_alpha=8, precision="fp32")
WORDS = ("cat", "dog", "house", "sea", "red", "green", "blue", "one two three")


class Recorder:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def update(self, fraction: float, message: str) -> None:
        """Nothing to do."""

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep a step's figures."""
        self.steps.append({"step": step, **values})


def watched_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """(norm of the gradient, learning rate) of each of AdamW's steps from now on."""
    taken: list[tuple[float, float]] = []
    step = torch.optim.AdamW.step

    def watch(self: torch.optim.AdamW, *rest: object) -> object:
        gradients = [p.grad for g in self.param_groups for p in g["params"]]
        taken.append((float(torch.stack([g.norm() for g in gradients if g is not None]).norm()),
                      self.param_groups[0]["lr"]))
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", watch)
    return taken


def items(backbone: Backbone, words: Sequence[str] = WORDS) -> list[PromptItem]:
    """Prompts of unlike length."""
    prompts = [[Message(role="user", content=f"tell me about the {word}")] for word in words]
    return [PromptItem(i, m, prompt_ids(backbone.tokenizer, m)) for i, m in enumerate(prompts)]


def goodness(conversations: Sequence[Sequence[Message]]) -> list[float]:
    """A reward that is easy to learn and never the same for all: letters e a letter."""
    return [c[-1]["content"].count("e") / max(len(c[-1]["content"]), 1) for c in conversations]


GOODNESS = Reward(goodness)


def randomise(backbone: Backbone, adapter: str, scale: float = 0.3, seed: int = 1) -> None:
    """Give an adapter weights that do something."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in backbone.adapter_parameters(adapter):
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * scale)


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    """A tiny model with a policy that has moved away from the reference."""
    made = tiny_backbone(tmp_path)
    made.add_adapter(POLICY, made.new_lora_config(4, 8))
    randomise(made, POLICY)
    return made


def saved_adapter(folder: Path, backbone: Backbone, seed: int = 1) -> Path:
    """An adapter on disk, such as an SFT one."""
    backbone.add_adapter("made", backbone.new_lora_config(4, 8))
    randomise(backbone, "made", seed=seed)
    save_adapter(backbone, "made", folder)
    backbone.drop_adapter("made")
    return folder


def saved_reward_model(folder: Path, backbone: Backbone) -> Path:
    """A reward model's adapter and score head on disk."""
    backbone.add_adapter("made", backbone.new_lora_config(4, 8))
    randomise(backbone, "made", seed=3)
    head = ScalarHead(backbone.hidden_size, backbone.device, seed=2)
    save_adapter(backbone, "made", folder, head)
    backbone.drop_adapter("made")
    return folder


def roles(folder: Path, *, two_checkpoints: bool = False, sft: bool = False,
          earlier_policy: bool = False, value_from_reward: bool = False, pad_is_eos: bool = False,
          trains_value_adapter: bool = True, dtype: torch.dtype = torch.float32) -> Roles:
    """The four roles in one of the set-ups that users have."""
    policy = tiny_backbone(folder / "instruct", pad_is_eos=pad_is_eos, dtype=dtype)
    value = (tiny_backbone(folder / "pretrained", layers=3, dtype=dtype)
             if two_checkpoints else policy)
    reference = saved_adapter(folder / "sft", policy, 1) if sft else None
    start = saved_adapter(folder / "earlier", policy, 2) if earlier_policy else None
    named = load_policy(policy, MODELS, start, reference)
    judge = saved_reward_model(folder / "reward", value) if value_from_reward else None
    head = load_value(value, MODELS, judge, reward_mean=0.3, reward_std=2.0)
    return Roles(policy, value, head, named, trains_value_adapter)


def policy_weights(of: Roles) -> dict[str, torch.Tensor]:
    """A copy of everything that PPO trains."""
    return {**{f"policy/{k}": v.clone() for k, v in of.policy.adapter_state(POLICY).items()},
            **{f"value/{i}": p.detach().clone() for i, p in enumerate(of.value_parameters)}}


def filled(path: Path, prompts: int) -> Store:
    """A store of prompts, every third held out, with the reference and a policy that came of it."""
    found = Store(path)
    for number in range(prompts):
        words = f"tell me about the cat {'one ' * number}"
        found.prompts.add([Message(role="user", content=words)], "test",
                          split="held_out" if number % 3 == 0 else "train")
    base = found.versions.add_policy(name="base", base="tiny", method="base")
    found.versions.add_policy(name="ppo-1", base="tiny", method="ppo", parent_id=base.id)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Of 24 prompts."""
    return filled(tmp_path / DATABASE_NAME, 24)
