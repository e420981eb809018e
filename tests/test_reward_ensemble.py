"""Ensembles: the rules that join members, their report, and what is saved is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ensemble_world import QUICK, backbone, conversations, learned, make
from models import one_thread, tiny_backbone
from peft import AutoPeftModelForSequenceClassification
from reward_world import good_wins

from backbone.model import Backbone
from data.errors import BadInput
from reward.batches import encode
from reward.config import RewardConfig
from reward.ensemble import RULES, Ensemble, combined
from reward.members import forget
from reward.model import RewardModel
from reward.report.ensemble import scale_by
from reward.scorer import load_scorer

assert backbone and one_thread  # fixtures


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
    about.write_text(about.read_text().replace('"members"', '"people"'))
    with pytest.raises(BadInput, match="no ensemble can be read there: it lacks 'members'"):
        Ensemble.load(backbone, tmp_path / "kept")


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
