"""Ensembles: members learn together what they would learn alone, and the rules that join them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from peft import AutoPeftModelForSequenceClassification, LoraConfig
from reward_world import Recorder, good_wins

from backbone.layouts import upper_blocks
from backbone.model import Backbone
from data.errors import BadInput
from data.progress import Stopped
from data.records import Message
from reward.batches import Microbatch, encode, plan_steps
from reward.checkpoints import weights_of
from reward.config import RewardConfig
from reward.ensemble import RULES, Ensemble, combined
from reward.examples import PreferenceData
from reward.members import drawn_from, draws, forget
from reward.model import RewardModel
from reward.report.ensemble import scale_by
from reward.scorer import load_scorer
from reward.train import TrainedReward, learning_rate_at, train

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


def test_saved_is_loaded_and_each_member_stands_alone(backbone: Backbone, tmp_path: Path) -> None:
    data = good_wins(8)
    found = make(backbone, data, 2, 2)
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
    for values, flag in (({"members": 0}, "--members"), ({"shared_blocks": 1}, "--shared-blocks"),
                         ({"members": 2, "shared_blocks": -1}, "--shared-blocks")):
        with pytest.raises(BadInput, match=flag):
            RewardConfig(**values)
    with pytest.raises(BadInput, match="leaves no block"):
        make(backbone, good_wins(4), 2, 4)
    with pytest.raises(BadInput, match="no ensemble"):
        Ensemble.load(backbone, tmp_path)
    make(backbone, good_wins(4), 2).save(tmp_path / "kept")
    about = tmp_path / "kept" / "ensemble.json"
    about.write_text(about.read_text().replace('"members": 2', '"members": 3'))
    with pytest.raises(BadInput, match="names 3 members"):
        Ensemble.load(backbone, tmp_path / "kept")


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


def test_an_ensemble_of_one_scores_as_its_member(backbone: Backbone) -> None:
    member = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100, 5)
    texts = conversations(good_wins(6))
    for rule in RULES:
        assert Ensemble([member], [0.0]).score(texts, rule) == member.score(texts)


@pytest.mark.parametrize("block", [0, 2])
def test_a_text_scores_the_same_alone_and_among_others(backbone: Backbone, block: int) -> None:
    found = make(backbone, good_wins(8), 2, block)
    texts = conversations(good_wins(5, seed=4))
    together = found.member_scores(texts)
    alone = np.hstack([found.member_scores([text]) for text in texts])
    assert alone == pytest.approx(together, abs=1e-5)
    for number, member in enumerate(found.members):
        assert member.score(texts) == pytest.approx(
            together[number] + found.centers[number], abs=1e-5)


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


def test_the_report_of_an_ensemble_against_a_few_lines_of_numpy(backbone: Backbone) -> None:
    data = good_wins(12, 8)
    trained = learned(backbone, data, replace(QUICK, members=3))
    model, found = trained.model, trained.metrics["ensemble"]
    assert isinstance(model, Ensemble)
    texts = [e.conversation(i) for e in data.held_out for i in e.texts]
    m = model.member_scores(texts)
    assert found["spread"]["value"] == pytest.approx(m.std(axis=0).mean())
    assert found["spread"]["n"] == 16
    for rule, scores in (("mean", m.mean(0)), ("worst", m.min(0)),
                         ("variance-penalised", m.mean(0) - found["penalty"] * m.var(0))):
        of_rule = found["rules"][rule]
        assert of_rule["score"]["value"] == pytest.approx(scores.mean())
        good, bad = scores.reshape(-1, 2).T  # each prompt's first response is the better one
        assert of_rule["accuracy"]["value"] == pytest.approx((np.sign(good - bad) + 1).mean() / 2)
        assert of_rule["cross_entropy"]["value"] == pytest.approx(
            np.log1p(np.exp(bad - good)).mean(), rel=1e-5)
    assert trained.metrics["held_out_accuracy"] == found["rules"]["mean"]["accuracy"]
    gaps = m[:, 0::2] - m[:, 1::2]
    for name, inside in (("right", gaps.mean(0) > 0), ("wrong", gaps.mean(0) < 0)):
        said = found[f"spread_{name}"]
        assert (said is None) == (not inside.any())
        if said is not None:
            assert said["value"] == pytest.approx(gaps[:, inside].std(axis=0).mean())
    assert [one["n"] for one in found["each"]] == [8, 8, 8]
    # what PPO's rewards are centred and scaled by, for any rule and λ
    trained_on = [e.conversation(i) for e in data.train for i in e.sampled]
    m = model.member_scores(trained_on)
    for rule in RULES:
        for penalty in (0.3, 2.0):
            scores = combined(m, rule, penalty)
            assert scale_by(found["scale"], rule, penalty) == pytest.approx(
                (scores.mean(), scores.std(ddof=1)), rel=1e-4, abs=1e-5)
    mean, std = scale_by(found["scale"], "mean", 1.0)
    assert mean == pytest.approx(trained.metrics["score_mean"], abs=1e-6)
    assert std == pytest.approx(trained.metrics["score_std"], rel=1e-5)


def test_nothing_held_out_is_said_and_not_made_up(backbone: Backbone) -> None:
    found = learned(backbone, good_wins(6), replace(QUICK, members=2)).metrics["ensemble"]
    assert found["spread"] is None and found["rules"] == {} and found["each"] == []
    assert found["members"] == 2 and found["scale"]


def test_members_are_loaded_by_peft_itself(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    data = good_wins(8)
    found = make(backbone, data, 2)
    found.save(tmp_path / "kept")
    texts = conversations(data)[:4]
    for number in range(2):
        theirs: Any = AutoPeftModelForSequenceClassification.from_pretrained(
            tmp_path / "kept" / f"member-{number}", num_labels=1).eval()
        theirs.config.pad_token_id = backbone.pad_id
        for text, score in zip(texts, found.members[number].score(texts), strict=True):
            ids, _ = encode(backbone, text, QUICK.max_length)
            with torch.no_grad():
                got = theirs(input_ids=torch.tensor([ids])).logits
            assert got.item() == pytest.approx(score, abs=1e-4)
    assert not list((tmp_path / "kept").rglob("*.bin"))


def test_what_was_loaded_before_under_the_name_makes_room(backbone: Backbone,
                                                         tmp_path: Path) -> None:
    make(backbone, good_wins(4), 3).save(tmp_path / "three")
    RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100).save(tmp_path / "one")
    assert isinstance(load_scorer(backbone, tmp_path / "three"), Ensemble)
    assert isinstance(load_scorer(backbone, tmp_path / "one"), RewardModel)
    assert [name for name in backbone.adapters if name.startswith("reward")] == ["reward"]
    load_scorer(backbone, tmp_path / "three", "reward-before")
    forget(backbone, "reward")
    assert sorted(backbone.adapters) == [f"reward-before-{n}" for n in range(3)]


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
