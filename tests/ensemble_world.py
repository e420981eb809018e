"""What the tests of ensembles share: a small backbone, and rewards quickly learned on it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from models import tiny_backbone

from backbone.model import Backbone
from data.records import Message
from reward.config import RewardConfig
from reward.ensemble import Ensemble
from reward.examples import PreferenceData
from reward.train import TrainedReward, train

QUICK = RewardConfig(epochs=2, responses_per_step=8, learning_rate=1e-2)


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path, layers=4)


def conversations(data: PreferenceData) -> list[list[Message]]:
    return [e.conversation(i) for e in data.train for i in e.texts]


def learned(backbone: Backbone, data: PreferenceData, config: RewardConfig = QUICK,
            **more: Any) -> TrainedReward:
    return train(backbone, data, config, backbone.new_lora_config(4, 8), **more)


def make(backbone: Backbone, data: PreferenceData, members: int, block: int = 0,
         resample: bool = True) -> Ensemble:
    found = learned(backbone, data, replace(QUICK, members=members, shared_blocks=block,
                                            resample=resample)).model
    assert isinstance(found, Ensemble)
    return found
