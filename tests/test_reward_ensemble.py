"""Ensembles: members learn together what they would learn alone, and the rules that join them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from peft import LoraConfig
from reward_world import Recorder, good_wins

from backbone.model import Backbone
from data.errors import BadInput
from data.records import Message
from reward.batches import encode, plan_steps
from reward.config import RewardConfig
from reward.ensemble import RULES, Ensemble, combined
from reward.examples import PreferenceData
from reward.model import RewardModel
from reward.states import blocks_of, lay_out, lower_states, upper_blocks, upper_run
from reward.train import learning_rate_at
from reward.train_ensemble import EnsembleConfig, train_ensemble

QUICK = RewardConfig(epochs=2, responses_per_step=8, learning_rate=1e-2)


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path, layers=4)


def conversations(data: PreferenceData) -> list[list[Message]]:
    return [e.conversation(i) for e in data.train for i in e.texts]


def make(backbone: Backbone, data: PreferenceData, config: EnsembleConfig,
         reward: RewardConfig = QUICK) -> Ensemble:
    return train_ensemble(backbone, data, reward, config, 4, 8)


def test_rules_are_what_they_say() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 5))
    for n in range(5):
        one = scores[:, n].tolist()
        mean = sum(one) / 3
        variance = sum((x - mean) ** 2 for x in one) / 3
        assert combined(scores)[n] == pytest.approx(mean)
        assert combined(scores, "worst")[n] == min(one)
        assert combined(scores, "variance-penalised", 0.7)[n] == pytest.approx(
            mean - 0.7 * variance)
    with pytest.raises(BadInput, match="--rule: 'best'"):
        combined(scores, "best")  # type: ignore[arg-type]


def test_identical_members_agree_in_everything(backbone: Backbone) -> None:
    data = good_wins(6)
    lora = backbone.new_lora_config(4, 8)
    members = [RewardModel.fresh(backbone, lora, 100, 5, f"reward-{n}") for n in range(3)]
    same = Ensemble(members, [0.25] * 3)
    texts = conversations(data)
    assert same.spread(texts) == [0.0] * len(texts)
    alone = [score - 0.25 for score in members[0].score(texts)]
    for rule in RULES:
        assert same.score(texts, rule) == pytest.approx(alone, abs=1e-5)
    other = RewardModel.fresh(backbone, lora, 100, 6, "reward-2")
    assert min(Ensemble([*members[:2], other], [0.0] * 3).spread(texts)) > 0


@pytest.mark.parametrize("block", [0, 2])
def test_members_learn_together_what_they_would_learn_alone(backbone: Backbone,
                                                            block: int) -> None:
    data = good_wins(12)
    found = make(backbone, data, EnsembleConfig(2, block, resample=False))
    texts = conversations(data)
    for seed, member in enumerate(found.members):
        # Scores, not weights: Adam turns the rounding of tiny gradients into whole steps.
        before = RewardModel.fresh(backbone, upper_only(backbone, block), 512, seed, "one")
        untrained = np.array(before.score(texts))
        alone = np.array(learned_alone(backbone, data, seed, block).score(texts))
        assert np.abs(alone - untrained).max() > 0.2
        assert member.score(texts) == pytest.approx(alone, abs=0.01)


def test_gradients_reach_every_adapter_whichever_ran_last(backbone: Backbone) -> None:
    members = [RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100, n, f"reward-{n}")
               for n in range(3)]
    for member in (members[2], members[0], members[1]):
        torch.autograd.backward(member.scores_of([[5, 6, 7], [5, 8]]).sum())
        assert all(p.grad is not None for p in member.adapter_parameters), member.adapter


def learned_alone(backbone: Backbone, data: PreferenceData, seed: int, block: int) -> RewardModel:
    """A single model of that seed after the steps of seed 0, one response and pair at a time."""
    model = RewardModel.fresh(backbone, upper_only(backbone, block), QUICK.max_length, seed, "one")
    optimizer = torch.optim.AdamW([
        {"params": model.adapter_parameters, "weight_decay": QUICK.weight_decay},
        {"params": model.head.parameters(), "weight_decay": 0.0}], lr=QUICK.learning_rate)
    plan = plan_steps(data.train, QUICK.epochs, QUICK.responses_per_step, 0)
    for done, step in enumerate(plan):
        loss = torch.zeros(())
        for unit in step.units:
            for pair in unit.pairs:
                won, lost = (model.scores_of([encode(backbone, unit.example.conversation(i),
                                                     QUICK.max_length)[0]])[0]
                             for i in (pair.chosen_id, pair.rejected_id))
                loss = loss - torch.nn.functional.logsigmoid(won - lost) / step.weight
        torch.autograd.backward(loss)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(done, len(plan), QUICK.learning_rate)
            parameters = [p for g in optimizer.param_groups for p in g["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, QUICK.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model


def not_to_be_run(*_: Any) -> None:
    raise AssertionError("a lower block was run again")


def upper_only(backbone: Backbone, block: int) -> LoraConfig:
    lora = backbone.new_lora_config(4, 8)
    if block:
        lora.target_modules = set(upper_blocks(backbone, block))
    return lora


def test_lower_blocks_are_run_once_and_change_nothing(backbone: Backbone) -> None:
    backbone.add_adapter("reward", upper_only(backbone, 2), seed=3)
    with torch.no_grad():
        for parameter in backbone.adapter_parameters("reward"):
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(1))
    assert all(".layers.2." in name or ".layers.3." in name for name in
               backbone.adapter_state("reward"))
    texts = [[5, 6, 7, 8], [5, 6, 7, 9, 10], [11, 12]]
    for some in (texts, texts[:1]):
        layout = lay_out(backbone, some)
        whole = layout.run("reward")
        lower = lower_states(backbone, layout, 2)
        handles = [module.register_forward_hook(not_to_be_run)
                   for block in list(blocks_of(backbone.trunk))[:2] for module in block.children()]
        again = upper_run(backbone, layout, 2, lower)("reward")
        for handle in handles:
            handle.remove()
        torch.testing.assert_close(again, whole)
        torch.testing.assert_close(layout.run("reward"), whole)  # the blocks are themselves again


def test_members_differ_learn_and_are_centred(backbone: Backbone) -> None:
    data, progress = good_wins(24), Recorder()
    config = replace(QUICK, epochs=6, responses_per_step=16)
    found = train_ensemble(backbone, data, config, EnsembleConfig(3, 1), 4, 8, progress=progress)
    assert progress.fractions[-1] == 1
    texts = conversations(data)
    assert found.member_scores(texts).mean(axis=1) == pytest.approx(np.zeros(3), abs=1e-4)
    assert min(found.spread(texts)) > 0
    for rule in RULES:
        scores = [found.score([e.conversation(i) for i in e.texts], rule) for e in data.train]
        assert sum(good > bad for good, bad in scores) >= 21


def test_saved_is_loaded_and_each_member_stands_alone(backbone: Backbone, tmp_path: Path) -> None:
    data = good_wins(8)
    found = make(backbone, data, EnsembleConfig(2, 2))
    texts = conversations(data)
    scores, centers = found.member_scores(texts), found.centers
    found.save(tmp_path / "kept")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [
        "ensemble.json", "member-0", "member-1"]
    again = Ensemble.load(tiny_backbone(tmp_path), tmp_path / "kept")
    assert again.member_scores(texts) == pytest.approx(scores, abs=1e-5)
    one = RewardModel.load(tiny_backbone(tmp_path), tmp_path / "kept" / "member-1")
    assert one.score(texts) == pytest.approx(scores[1] + centers[1], abs=1e-5)


def test_wrong_ensembles_are_refused(backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--members"):
        EnsembleConfig(1)
    with pytest.raises(BadInput, match="--block"):
        EnsembleConfig(2, -1)
    with pytest.raises(BadInput, match="leaves no block"):
        make(backbone, good_wins(4), EnsembleConfig(2, 4))
    with pytest.raises(BadInput, match="no ensemble"):
        Ensemble.load(backbone, tmp_path)
