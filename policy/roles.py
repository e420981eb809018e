"""Who plays policy, reference and value: adapters on one checkpoint, or on two.

Policy and reference start from the instruction-tuned checkpoint, value from the pretrained one;
when these are the same, all stand on one copy. The reference is the checkpoint with no adapter,
or with the SFT adapter where there is one; the policy's adapter then starts as a copy of it, so
that step zero is a no-op in both cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from backbone.config import ModelConfig
from backbone.heads import ScalarHead
from backbone.model import Backbone
from backbone.storage import copy_adapter, load_adapter

POLICY, REFERENCE, VALUE = "policy", "reference", "value"


@dataclass(frozen=True)
class Roles:
    """The models that PPO trains and holds against each other."""

    policy: Backbone
    """Carries the policy's adapter, and the reference's where it has one."""
    value: Backbone
    """Carries the value model's adapter; may be the same object as `policy`."""
    value_head: ScalarHead
    reference_adapter: str | None
    """None: the bare checkpoint is the reference."""
    trains_value_adapter: bool = True
    """False: only the value head learns, and the value model's features stay as they are."""

    @property
    def value_reads_reference(self) -> bool:
        """Whether the value head reads the reference's own states: its adapter has moved nothing,
        and will not."""
        return (self.value is self.policy and self.reference_adapter is None
                and not self.trains_value_adapter
                and not any(weight.any() for name, weight in self.value.adapter_state(VALUE).items()
                            if "lora_B" in name))

    @property
    def policy_parameters(self) -> list[nn.Parameter]:
        """What the policy loss trains."""
        return self.policy.adapter_parameters(POLICY)

    @property
    def value_parameters(self) -> list[nn.Parameter]:
        """What the value loss trains."""
        adapter = self.value.adapter_parameters(VALUE) if self.trains_value_adapter else []
        return [*adapter, *self.value_head.parameters()]


def load_policy(backbone: Backbone, config: ModelConfig, policy_folder: Path | None,
                reference_folder: Path | None = None, seed: int = 0) -> str | None:
    """Put the policy's adapter (and the reference's) on a backbone; returns the reference's name.

    Without a folder of its own the policy starts where the reference is.
    """
    reference = None
    backbone.drop_adapter(REFERENCE)
    if reference_folder is not None:
        load_adapter(backbone, REFERENCE, reference_folder)
        reference = REFERENCE
    if policy_folder is not None:
        load_adapter(backbone, POLICY, policy_folder)
    elif reference is not None:
        copy_adapter(backbone, REFERENCE, POLICY)
    else:
        backbone.add_adapter(
            POLICY, backbone.new_lora_config(config.lora_rank, config.lora_alpha), seed)
    return reference


def load_value(backbone: Backbone, config: ModelConfig, reward_folder: Path | None,
               reward_mean: float = 0.0, reward_std: float = 1.0, seed: int = 0) -> ScalarHead:
    """Put the value model on a backbone, starting from the reward model where one is given.

    InstructGPT starts its value function from the reward model (Ouyang et al. 2022, appendix C).
    The head is shifted and scaled as the rewards are, so that it starts by predicting them.
    """
    head = ScalarHead(backbone.hidden_size, backbone.device, seed, bias=True)
    if reward_folder is None:
        backbone.add_adapter(
            VALUE, backbone.new_lora_config(config.lora_rank, config.lora_alpha), seed)
        nn.init.zeros_(head.weight)
        return head
    score = load_adapter(backbone, VALUE, reward_folder)
    if score is not None and head.bias is not None:
        head.weight.data.copy_(score / reward_std)
        head.bias.data.fill_(-reward_mean / reward_std)
    return head
