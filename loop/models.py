"""The checkpoints of a workspace, loaded once a process and shared by the jobs it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from backbone.checkpoint import load_tokenizer
from backbone.config import ModelConfig
from backbone.model import Backbone
from data.errors import BadInput
from data.records import PolicyVersion, RewardModel
from data.store import Store

_Version = TypeVar("_Version", PolicyVersion, RewardModel)

_loaded: dict[tuple[str, str, str, bool], Backbone] = {}


def backbone_of(checkpoint: str, config: ModelConfig) -> Backbone:
    """The checkpoint in memory, loaded on first use; the same object for the same checkpoint."""
    key = (checkpoint, config.device, config.precision, config.gradient_checkpointing)
    if key not in _loaded:
        # A pretrained checkpoint often has no chat template: it is read in the policy's.
        template = (None if checkpoint == config.checkpoint
                    else load_tokenizer(config.checkpoint).chat_template)
        _loaded[key] = Backbone.load(checkpoint, config, template)
    return _loaded[key]


def policy_backbone(config: ModelConfig) -> Backbone:
    """What policy and reference stand on."""
    return backbone_of(config.checkpoint, config)


def reward_backbone(config: ModelConfig) -> Backbone:
    """What reward and value stand on; the same copy where the checkpoints are the same."""
    return backbone_of(config.reward_checkpoint, config)


@dataclass(frozen=True)
class Versions:
    """Picks versions by name, and finds their files."""

    store: Store
    workspace: Path
    models: ModelConfig

    @property
    def reference(self) -> PolicyVersion:
        """The frozen reference: the workspace's first policy version.

        Raises:
            BadInput: it stands on another checkpoint than the settings name.
        """
        return self._on_our_checkpoint(self.store.versions.policies()[0], self.models.checkpoint)

    def policy(self, name: str) -> PolicyVersion:
        """The policy version of that name, or the newest.

        Raises:
            NotFound: no policy version of that name.
            BadInput: it stands on another checkpoint than the settings name.
        """
        found = (self.store.versions.policy_named(name) if name
                 else self.store.versions.policies()[-1])
        return self._on_our_checkpoint(found, self.models.checkpoint)

    def reward_model(self, name: str) -> RewardModel:
        """The reward model of that name, or the newest.

        Raises:
            NotFound: no reward model of that name.
            BadInput: there is none at all, or it stands on another checkpoint.
        """
        known = self.store.versions.reward_models()
        if not known and not name:
            raise BadInput("there is no reward model yet: label some pairs, then run "
                           "`prefloop train-reward`")
        found = self.store.versions.reward_model_named(name) if name else known[-1]
        return self._on_our_checkpoint(found, self.models.reward_checkpoint)

    def folder(self, version: PolicyVersion | RewardModel) -> Path | None:
        """Where a version's adapter lies; None for the bare checkpoint."""
        return None if version.path is None else self.workspace / version.path

    def _on_our_checkpoint(self, version: _Version, checkpoint: str) -> _Version:
        if version.base != checkpoint:
            raise BadInput(f"{version.name} stands on checkpoint {version.base}, and the settings "
                           f"name {checkpoint}: set it back, or make a new workspace")
        return version

    def next_name(self, method: str) -> str:
        """A name that no version has yet: ppo-1, reward-2."""
        taken = ({v.name for v in self.store.versions.policies()}
                 | {v.name for v in self.store.versions.reward_models()})
        number = 1
        while f"{method}-{number}" in taken:
            number += 1
        return f"{method}-{number}"
