"""A version that is a linear head on frozen features, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import Recorder, good_wins

from backbone.model import Backbone
from data.records import Message
from reward.combined import CombinedReward
from reward.config import RewardConfig
from reward.forms import train_linear
from reward.heads import linear_part
from reward.scorer import load_scorer

CONFIG = RewardConfig(form="linear", max_length=100)


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path)


def test_a_linear_version_is_the_head_alone(backbone: Backbone, tmp_path: Path) -> None:
    data, progress = good_wins(20, 12), Recorder()
    made = train_linear(backbone, data, CONFIG, progress=progress)
    head, about = linear_part(backbone, 100, CONFIG.question, data.train, None, None)
    assert isinstance(made.model, CombinedReward) and backbone.adapters == []
    texts = [e.conversation(i) for e in data.held_out for i in e.texts]
    scores = made.model.score(texts)
    assert scores == pytest.approx(CombinedReward(backbone, [head], None, [1.0], 100).score(texts))
    assert {key: made.metrics["train"][key] for key in about} == about
    assert made.metrics["train"]["steps"] == 0 and made.metrics["train"]["pairs"] == 20
    assert made.metrics["train"]["cut_responses"] == made.metrics["cut_responses"] == 0
    assert made.metrics["held_out_accuracy"]["value"] > 0.9 and made.metrics["score_std"] > 0
    assert made.data is data and progress.fractions == sorted(progress.fractions)
    assert progress.fractions[-1] == 1
    made.model.save(tmp_path / "kept")
    assert load_scorer(tiny_backbone(tmp_path), tmp_path / "kept").score(
        texts) == pytest.approx(scores, abs=1e-4)


def test_what_is_too_long_for_a_head_to_read_whole_is_counted(backbone: Backbone) -> None:
    turn: Message = {"role": "user", "content": "so much " * 40}
    data = good_wins(4)
    long = replace(data.train[0], messages=[turn, *data.train[0].messages])
    made = train_linear(backbone, replace(data, train=(long, *data.train[1:])),
                        replace(CONFIG, max_length=60))
    assert made.metrics["train"]["cut_responses"] == len(long.texts)
