"""A combined reward: its weights against a grid, its scores against its parts, kept and loaded."""

from pathlib import Path

import numpy as np
import pytest
from linear_world import fit_linear
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import good_wins

from backbone.model import Backbone
from data.errors import BadInput
from reward.combined import CombinedReward, LinearPart, fit_weights
from reward.instant.comparisons import FIRST, Comparisons
from reward.instant.features import compute, encode_response
from reward.kinds import FeatureKind
from reward.model import RewardModel
from reward.scorer import load_scorer

QUESTION = "is it red?"
KINDS = ((FeatureKind(1), FeatureKind(2, "last"), FeatureKind(2, "asked", QUESTION)),
         (FeatureKind(2),))


def made(backbone: Backbone, lora: bool = True) -> CombinedReward:
    """Two linear heads on a few answers, and an untrained LoRA model."""
    examples = good_wins(8).train
    encoded = [encode_response(backbone, e.messages, e.texts[i], 100, QUESTION)
               for e in examples for i in e.texts]
    found = compute(backbone, encoded, sorted({k for kinds in KINDS for k in kinds}))
    first = np.arange(0, len(encoded), 2)
    answers = Comparisons(first, first + 1, np.eye(3)[[FIRST] * len(first)], first)
    linear = [LinearPart(kinds, fit_linear(np.hstack([found[k] for k in kinds]), answers,
                                           spread=1.0)) for kinds in KINDS]
    model = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100, seed=3)
    return CombinedReward(backbone, linear, model if lora else None,
                          [0.5, 0.25, 2.0][:2 + lora], 100)


def test_weights_are_those_of_a_fine_grid() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    odds = np.stack([truth + rng.normal(size=500), 0.5 * truth + rng.normal(size=500)], axis=1)
    won = rng.random(500) < 1 / (1 + np.exp(-2 * truth))
    decided = np.stack([won, ~won], axis=1).astype(float)
    found = fit_weights(odds, decided)
    grid = [(a, b) for a in np.linspace(0, 2, 81) for b in np.linspace(0, 2, 81)]
    losses = [(decided * np.logaddexp(0, np.array([-1, 1]) * (odds @ np.array(w))[:, None])).sum()
              for w in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], abs=0.03)


def test_a_part_that_is_wrong_or_adds_nothing_gets_no_weight() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=2000)
    won = rng.random(2000) < 1 / (1 + np.exp(-truth))
    decided = np.stack([won, ~won], axis=1).astype(float)
    against = fit_weights(np.stack([truth, -truth + rng.normal(size=2000)], axis=1), decided)
    assert against[1] <= 0.1 and against[0] == pytest.approx(1, abs=0.15)
    alone = fit_weights(np.stack([truth, truth * 0 - (won - 0.5)], axis=1), decided)
    assert alone[1] == 0
    with pytest.raises(BadInput, match="agrees"):
        fit_weights(-(won - 0.5)[:, None], decided)
    with pytest.raises(BadInput, match="no decided"):
        fit_weights(truth[:, None], np.zeros((2000, 2)))


def test_the_score_is_the_weighted_sum_of_what_the_parts_say(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    model = made(backbone)
    conversations = [e.conversation(i) for e in good_wins(5, seed=9).train for i in e.texts]
    heard: list[float] = []
    scores = model.score(conversations, on_batch=heard.append)
    assert heard == sorted(heard) and heard[-1] == 1
    assert model.lora is not None
    expected = 2.0 * np.array(model.lora.score(conversations))
    for part, weight in zip(model.linear, (0.5, 0.25), strict=True):
        encoded = [encode_response(backbone, c[:-1], c[-1]["content"], 100, QUESTION)
                   for c in conversations]
        features = compute(backbone, encoded, part.kinds)
        expected += weight * part.head.scores(np.hstack([features[k] for k in part.kinds]))
    assert scores == pytest.approx(expected, abs=1e-4)
    alone = [model.score([conversation])[0] for conversation in conversations]
    assert scores == pytest.approx(alone, abs=1e-4)
    assert model.score([]) == []


def test_credit_adds_up_to_the_score_and_what_lora_says_is_paid_at_the_end(tmp_path: Path) -> None:
    model = made(tiny_backbone(tmp_path))
    conversations = [e.conversation(i) for e in good_wins(5, seed=9).train for i in e.texts]
    credit = model.credit(conversations)
    assert [sum(parts) for parts in credit] == pytest.approx(model.score(conversations), abs=1e-4)
    assert min(map(len, credit)) > 2 and model.has_credit
    assert model.lora is not None
    said, model.weights = model.lora.score(conversations), (0.5, 0.25, 3.0)
    more = [np.array(parts) - before
            for parts, before in zip(model.credit(conversations), credit, strict=True)]
    assert [change[-1] for change in more] == pytest.approx(said, abs=1e-4)
    assert max(np.abs(change[:-1]).max() for change in more) < 1e-6
    model.weights = (0.0, 0.0, 1.0)
    assert not model.has_credit and sum(map(sum, model.credit(conversations))) == pytest.approx(
        sum(said), abs=1e-3)


def test_saved_is_loaded_and_its_lora_part_is_a_reward_model(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    conversations = [e.conversation(i) for e in good_wins(3).train for i in e.texts]
    model = made(backbone)
    assert model.lora is not None
    scores, of_lora = model.score(conversations), model.lora.score(conversations)
    model.save(tmp_path / "kept")
    again = load_scorer(tiny_backbone(tmp_path), tmp_path / "kept")
    assert isinstance(again, CombinedReward)
    assert again.score(conversations) == pytest.approx(scores, abs=1e-5)
    lora = RewardModel.load(tiny_backbone(tmp_path), tmp_path / "kept")
    assert lora.score(conversations) == pytest.approx(of_lora, abs=1e-5)
    plain = made(tiny_backbone(tmp_path), lora=False)
    plain.save(tmp_path / "plain")
    assert CombinedReward.load(tiny_backbone(tmp_path), tmp_path / "plain").score(
        conversations) == pytest.approx(plain.score(conversations), abs=1e-5)
    with pytest.raises(BadInput, match="no combined"):
        CombinedReward.load(backbone, tmp_path)
    with pytest.raises(ValueError, match="weight"):
        CombinedReward(backbone, model.linear, None, [1.0], 100)
