"""Members learn together what they would learn alone, and a stopped training goes on the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ensemble_world import QUICK, backbone, conversations, learned, make
from models import one_thread, tiny_backbone
from peft import LoraConfig
from reward_world import Recorder, good_wins

from backbone.layouts import upper_blocks
from backbone.model import Backbone
from data.progress import Stopped
from reward.batches import Microbatch, encode, plan_steps
from reward.checkpoints import weights_of
from reward.config import RewardConfig
from reward.ensemble import RULES, Ensemble
from reward.examples import PreferenceData
from reward.members import drawn_from, draws
from reward.model import RewardModel
from reward.train import learning_rate_at

assert backbone and one_thread  # fixtures


@pytest.mark.parametrize("block", [0, 2])
def test_members_learn_together_what_they_would_learn_alone(backbone: Backbone,
                                                            block: int) -> None:
    data = good_wins(12)
    found = make(backbone, data, 2, block, resample=False)
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


def upper_only(backbone: Backbone, block: int) -> LoraConfig:
    lora = backbone.new_lora_config(4, 8)
    if block:
        lora.target_modules = set(upper_blocks(backbone, block))
    return lora


def test_members_differ_learn_and_are_centred(backbone: Backbone) -> None:
    data, progress = good_wins(24), Recorder()
    config = replace(QUICK, epochs=6, responses_per_step=16, members=3, shared_blocks=1)
    found = learned(backbone, data, config, progress=progress).model
    assert isinstance(found, Ensemble)
    assert progress.fractions == sorted(progress.fractions)
    texts = conversations(data)
    assert found.member_scores(texts).mean(axis=1) == pytest.approx(np.zeros(3), abs=1e-4)
    assert min(found.spread(texts)) > 0
    for rule in RULES:
        scores = [found.score([e.conversation(i) for i in e.texts], rule) for e in data.train]
        assert sum(good > bad for good, bad in scores) >= 21


def weights(model: RewardModel | Ensemble) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in weights_of(model).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_the_first_member_is_the_single_model_to_the_bit(tmp_path: Path) -> None:
    data = good_wins(20, 6)
    single = learned(tiny_backbone(tmp_path), data, seed=3)
    of_one = replace(QUICK, members=1, resample=True)  # a single model draws nothing anew
    assert same(weights(single.model), weights(learned(tiny_backbone(tmp_path), data, of_one,
                                                       seed=3).model))
    both = learned(tiny_backbone(tmp_path), data, replace(QUICK, members=2, resample=False),
                   seed=3).model
    assert isinstance(both, Ensemble) and isinstance(single.model, RewardModel)
    assert same(weights(both.members[0]), weights(single.model))
    assert not same(weights(both.members[1]), weights(single.model))
    texts = conversations(data)
    alone = np.array(single.model.score(texts))
    assert np.array_equal(both.member_scores(texts)[0], alone - both.centers[0])


@pytest.mark.parametrize(("stop_after", "error", "patience"), [
    (1, RuntimeError, 0), (5, RuntimeError, 0), (4, Stopped, 0), (7, RuntimeError, 1)])
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path: Path, stop_after: int,
                                                   error: type[Exception], patience: int) -> None:
    data = good_wins(20, 6)
    config = replace(QUICK, members=3, shared_blocks=1, checkpoint_every=3, patience=patience)
    whole = learned(tiny_backbone(tmp_path, layers=4), data, config, seed=3)
    assert whole.metrics["train"]["steps"] == 10
    with pytest.raises(error):
        learned(tiny_backbone(tmp_path), data, config, seed=3, checkpoint_folder=tmp_path / "run",
                progress=Recorder(stop_after, error))
    progress = Recorder()
    again = learned(tiny_backbone(tmp_path), good_wins(25, 9), config, seed=3,
                    checkpoint_folder=tmp_path / "run", progress=progress)
    kept = stop_after if error is Stopped else stop_after // 3 * 3
    assert sorted(progress.steps) == list(range(kept + 1, 11))
    assert same(weights(whole.model), weights(again.model))
    assert again.metrics == whole.metrics and again.metrics["ensemble"]["members"] == 3


def test_members_learn_from_the_comparisons_that_they_drew(backbone: Backbone) -> None:
    data = good_wins(40)
    config = RewardConfig(members=3)
    found = draws(data, config, 7)
    ids = [pair.comparison_id for example in data.train for pair in example.pairs]
    for number, draw in enumerate(found):
        assert draw is not None
        expected = np.random.default_rng(7 + number).poisson(1.0, len(ids))
        assert [draw[i] for i in sorted(ids)] == expected.tolist()
    assert draws(data, replace(config, resample=False), 7) == [None] * 3
    # a comparison drawn twice is as good as one that was made twice
    batch = Microbatch(((1, 2),), data.train[0].pairs)
    twice = drawn_from(batch, {ids[0]: 2.0})
    assert [pair.weight for pair in twice.pairs] == [2 * pair.weight for pair in batch.pairs]


@pytest.mark.parametrize("block", [0, 2])
def test_gradients_add_up_whatever_fits_in_memory(tmp_path: Path, block: int) -> None:
    """One forward pass a step, or a pass for every few tokens, a prompt's responses torn apart."""
    data, losses = good_wins(12), []
    for tokens in (4096, 24):
        progress = Recorder()
        learned(tiny_backbone(tmp_path / str(tokens), layers=4), data,
                replace(QUICK, epochs=1, members=2, shared_blocks=block, microbatch_tokens=tokens,
                        learning_rate=1e-4), progress=progress)
        losses.append([(step["loss"], step["gradient_norm"]) for step in progress.steps.values()])
    assert np.array(losses[1]) == pytest.approx(np.array(losses[0]), rel=1e-3)


def test_what_a_member_drew_multiplies_what_a_pair_weighs() -> None:
    """A ranking that was drawn twice is two rankings, not two answers a pair."""
    (made,) = good_wins(1).train
    pairs = tuple(replace(made.pairs[0], comparison_id=n, weight=weight)
                  for n, weight in ((1, 1.0), (2, 1 / 6), (3, 0.5)))
    batch = Microbatch((tuple(made.texts),), pairs)
    found = drawn_from(batch, {1: 2.0, 2: 3.0, 3: 0.0})
    assert [pair.weight for pair in found.pairs] == pytest.approx([2.0, 0.5, 0.0])
    assert found.parts == batch.parts and drawn_from(batch, None) is batch
