"""The form of a version is chosen by training prompts that it did not learn from, and no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from reward_world import example, good_wins

from backbone.model import Backbone
from data.records import Message
from reward.combined import CombinedReward
from reward.config import RewardConfig
from reward.examples import PreferenceData
from reward.forms import FORMS, LEAST_PROMPTS, choose_form, compare, keep_back, unchosen
from reward.instant.choosing import grouped_folds
from reward.instant.features import compute, encode_response
from reward.instant.response_features import FeatureTable
from reward.kinds import kinds_of
from reward.model import RewardModel
from reward.report.votes import Votes
from reward.scorer import load_scorer
from reward.train import train

CONFIG = RewardConfig(epochs=4, responses_per_step=16, learning_rate=1e-2)
Array = np.ndarray[Any, Any]


def test_what_is_kept_back_is_whole_prompts_and_stays_aside() -> None:
    data = good_wins(100, 20)
    found = keep_back(data, CONFIG, 3)
    kept, aside = ({e.prompt_id for e in part} for part in (found.train, found.selection))
    assert not kept & aside and kept | aside == {e.prompt_id for e in data.train}
    assert 10 <= len(aside) <= 35
    assert found.held_out == data.held_out
    assert found.comparisons == data.comparisons, "they taught the version all the same"
    assert PreferenceData.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    more = keep_back(good_wins(150), CONFIG, 3)
    assert {e.prompt_id for e in more.selection if e.prompt_id <= 100} == aside
    assert {e.prompt_id for e in keep_back(data, CONFIG, 4).selection} != aside


@pytest.mark.parametrize(("prompts", "changed", "form", "why"), [
    (100, {"form": "lora"}, "lora", "asked for"), (100, {"form": "linear"}, "linear", "asked for"),
    (100, {"members": 2}, "lora", "ensemble"), (30, {}, "linear", "too few"),
    (100, {"selection_share": 0.95}, "linear", "too few"),
    (100, {"correct_side": True}, "lora", "habits")])
def test_nothing_is_kept_back_where_nothing_is_to_be_chosen(
        prompts: int, changed: dict[str, Any], form: str, why: str) -> None:
    data, config = good_wins(prompts), replace(CONFIG, **changed)
    assert keep_back(data, config, 0) is data
    assert unchosen(config)["form"] == form and why in unchosen(config)["why"]


def test_as_soon_as_either_part_has_enough_prompts_to_choose_by_it_is_chosen() -> None:
    whole = good_wins(120).train
    for share in (0.2, 0.8):  # the part that is kept back is the smaller one, or the larger
        config = replace(CONFIG, selection_share=share)
        growing = (PreferenceData(whole[:count], ()) for count in range(120))
        first = next(found for data in growing
                     if (found := keep_back(data, config, 0)).selection)
        assert min(len(first.train), len(first.selection)) == LEAST_PROMPTS


def test_ties_alone_choose_nothing() -> None:
    data = good_wins(100)
    ties = PreferenceData(tuple(replace(e, pairs=tuple(replace(p, strength=0) for p in e.pairs))
                                for e in data.train), ())
    assert keep_back(ties, CONFIG, 0) is ties and LEAST_PROMPTS > 1


def at_two_lengths(dialogues: int) -> PreferenceData:
    """Each dialogue from its opening, and once more after another turn of both sides."""
    short = good_wins(dialogues).train
    turns: list[Message] = [{"role": "assistant", "content": "well"},
                            {"role": "user", "content": "go on"}]
    longer = [replace(e, prompt_id=e.prompt_id + 1000, messages=[*e.messages, *turns],
                      texts={i + 100_000: text for i, text in e.texts.items()},
                      pairs=tuple(replace(p, chosen_id=p.chosen_id + 100_000,
                                          rejected_id=p.rejected_id + 100_000,
                                          prompt_id=p.prompt_id + 1000) for p in e.pairs))
              for e in short]
    return PreferenceData((*short, *longer), ())


def test_a_dialogue_stays_on_one_side_at_every_length() -> None:
    data = at_two_lengths(100)
    found = keep_back(data, CONFIG, 3)
    kept, aside = ({e.messages[0]["content"] for e in part}
                   for part in (found.train, found.selection))
    assert len(aside) > 10 and not kept & aside
    few = at_two_lengths(40)  # 80 prompts, and too few dialogues
    assert keep_back(few, CONFIG, 0) is few


def test_folds_that_choose_go_by_dialogue(backbone: Backbone,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    data = at_two_lengths(100)
    found, dealt = keep_back(data, CONFIG, 0), []

    def deal(groups: Array, folds: int, seed: int = 0) -> Array:
        dealt.append(grouped_folds(groups, folds, seed))
        return dealt[-1]

    monkeypatch.setattr("reward.forms.grouped_folds", deal)
    lora = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100, seed=3)
    choose_form(lora, found.train, found.selection)
    (folds,) = dealt
    fold_of: dict[str, set[int]] = {}
    asked = [e for e in found.selection for _ in e.pairs]
    for each, fold in zip(asked, folds.tolist(), strict=True):
        fold_of.setdefault(each.messages[0]["content"], set()).add(fold)
    assert all(len(mine) == 1 for mine in fold_of.values())
    assert set(folds.tolist()) == set(range(5))


def test_folds_that_choose_hold_whole_prompts() -> None:
    """Three pairs a prompt: a form is judged by no weight that its own prompt had a part in."""
    examples = [example(p, ["a", "b", "c"], [(0, 1, 3), (1, 2, 3), (0, 2, 3)])
                for p in range(1, 21)]
    of = Votes.of(examples, {i: 0.0 for e in examples for i in e.texts})
    odds = np.random.default_rng(4).normal(0.4, 1, size=(60, 2))
    folds = grouped_folds(np.repeat(np.arange(20), 3), 5, 7)
    expected = np.zeros(60)
    for fold in range(5):
        size = np.sqrt((odds[folds != fold, 0]**2).mean())
        seen = odds[folds != fold, 0] / size
        grid = np.linspace(0, 6, 6001)
        cost = np.log1p(np.exp(-np.outer(grid, seen))).sum(1) + 0.04 * grid**2 / 2
        expected[folds == fold] = np.log1p(np.exp(
            -grid[cost.argmin()] * odds[folds == fold, 0] / size))
    found = compare(of, odds, seed=7)
    assert (found["prompts"], found["pairs"]) == (20, 60)
    assert found["forms"]["linear"]["cross_entropy"]["value"] == pytest.approx(
        expected.mean(), abs=2e-4)


def votes(count: int) -> Votes:
    """One decided pair a prompt."""
    examples = good_wins(count).train
    return Votes.of(examples, {i: 0.0 for e in examples for i in e.texts})


@pytest.mark.parametrize(("noise", "form"), [
    ((0.3, 3.0), "linear"), ((3.0, 0.3), "lora"), ((1.0, 1.0), "combined")])
def test_the_form_that_knows_most_is_chosen(noise: tuple[float, float], form: str) -> None:
    rng = np.random.default_rng(1)
    truth = np.abs(rng.normal(size=400)) * np.where(rng.random(400) < 0.9, 1, -1)
    odds = np.stack([truth + scale * rng.normal(size=400) for scale in noise], axis=1)
    found = compare(votes(400), odds)
    best = found["forms"][found["form"]]["cross_entropy"]["value"]
    assert all(best <= one["cross_entropy"]["value"] for one in found["forms"].values())
    alone = "linear" if noise[0] < noise[1] else "lora"
    assert found["form"] == form or (form != "combined" and found["forms"][alone][
        "cross_entropy"]["value"] - best < 0.005), "the sum may be a hair better than its one part"
    assert found["prompts"] == found["pairs"] == 400
    assert found["over"].keys() == FORMS.keys() - {found["form"]}
    for other, gain in found["over"].items():
        assert gain["value"] == pytest.approx(
            found["forms"][other]["cross_entropy"]["value"] - best)
        assert gain["low"] <= gain["value"] <= gain["high"] and gain["n"] == 400
    # the scale of a part is nothing that it is judged by
    scaled = compare(votes(400), odds * np.array([100.0, 0.01]))
    assert scaled["form"] == found["form"]
    for name in FORMS:
        assert scaled["forms"][name]["cross_entropy"]["value"] == pytest.approx(
            found["forms"][name]["cross_entropy"]["value"], rel=1e-5)


def test_a_form_is_judged_by_weights_of_the_other_folds() -> None:
    """Against a grid for the weight, and folds and figures of its own."""
    rng = np.random.default_rng(2)
    odds = np.stack([rng.normal(0.5, 2, 60), rng.normal(0.2, 1, 60)], axis=1)
    found, folds = compare(votes(60), odds, seed=5), grouped_folds(np.arange(60), 5, 5)
    for form, column in (("linear", 0), ("lora", 1)):
        losses = np.zeros(60)
        for fold in range(5):
            seen = odds[folds != fold, column]
            size = np.sqrt((seen**2).mean())
            grid = np.linspace(0, 6, 6001)
            cost = np.log1p(np.exp(-np.outer(grid, seen / size))).sum(1) + 0.04 * grid**2 / 2
            weight = grid[cost.argmin()] / size
            unseen = odds[folds == fold, column]
            losses[folds == fold] = np.log1p(np.exp(-weight * unseen))
        of_form = found["forms"][form]
        assert of_form["cross_entropy"]["value"] == pytest.approx(losses.mean(), abs=2e-4)
        assert of_form["accuracy"]["value"] == pytest.approx((odds[:, column] > 0).mean())
        assert of_form["accuracy"]["n"] == 60


def test_parts_that_are_always_wrong_leave_the_lora_model() -> None:
    found = compare(votes(40), -np.abs(np.random.default_rng(0).normal(size=(40, 2))))
    assert found["form"] == "lora"
    assert found["forms"]["linear"]["weights"] == {"linear": 0.0, "lora": 0.0}


def test_a_form_that_no_pair_speaks_for_is_not_taken_for_knowing_nothing() -> None:
    """It would give every response the same reward; the other one is worse than that here."""
    rng = np.random.default_rng(2)
    found = compare(votes(40), np.stack([-np.abs(rng.normal(size=40)), rng.normal(size=40)], 1))
    forms = found["forms"]
    assert forms["linear"]["weights"] == {"linear": 0.0, "lora": 0.0}
    assert forms["linear"]["cross_entropy"]["value"] == pytest.approx(np.log(2))
    assert forms["lora"]["cross_entropy"]["value"] > np.log(2) + 0.02 and found["form"] == "lora"


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path)


def test_a_linear_head_takes_an_untrained_models_place(backbone: Backbone, tmp_path: Path) -> None:
    data = keep_back(good_wins(120), CONFIG, 0)
    lora = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100, seed=3)
    chosen = choose_form(lora, data.train, data.selection)
    assert chosen.form in ("linear", "combined") and isinstance(chosen.scorer, CombinedReward)
    linear = chosen.document["forms"]["linear"]
    assert linear["accuracy"]["value"] > 0.9 > chosen.document["forms"]["lora"]["accuracy"]["value"]
    texts = [e.conversation(i) for e in good_wins(6, seed=8).train for i in e.texts]
    scores = chosen.scorer.score(texts)
    assert [chosen.scorer.score([text])[0] for text in texts] == pytest.approx(scores, abs=1e-4)
    chosen.scorer.save(tmp_path / "kept")
    again = load_scorer(tiny_backbone(tmp_path), tmp_path / "kept")
    assert isinstance(again, CombinedReward)
    assert again.score(texts) == pytest.approx(scores, abs=1e-4)
    assert RewardModel.load(tiny_backbone(tmp_path), tmp_path / "kept").score(
        texts) == pytest.approx(lora.score(texts), abs=1e-5)


def test_features_that_are_known_are_not_computed_again(backbone: Backbone,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    data = keep_back(good_wins(60), CONFIG, 0)
    lora = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100, seed=3)
    heard: list[float] = []
    chosen = choose_form(lora, data.train, data.selection, on_batch=heard.append)
    assert heard[-1] == 1
    texts = [(e, i) for e in reversed(data.train) for i in e.texts]
    question = RewardConfig.question
    kinds = kinds_of(2, question)
    found = compute(backbone, [encode_response(backbone, e.messages, e.texts[i], 100, question)
                               for e, i in texts], kinds)
    known = FeatureTable({i: row for row, (_, i) in enumerate(texts)}, found,
                         *2 * [np.array([e.prompt_id for e, _ in texts])])
    part = FeatureTable({i: row for i, row in known.rows.items() if row}, known.kinds,
                        known.prompts, known.clusters)
    choose_form(lora, data.train, data.selection, 0, part, heard.append)
    assert len(heard) > 1 and heard[-1] == 1, "one was lacking"
    monkeypatch.setattr("reward.heads.compute", None)
    again = choose_form(lora, data.train, data.selection, 0, known)
    assert again.document["features"] == chosen.document["features"]
    for form, about in chosen.document["forms"].items():
        assert again.document["forms"][form]["weights"] == pytest.approx(about["weights"], rel=1e-3)


def test_a_part_without_weight_is_not_asked(backbone: Backbone,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    data = keep_back(good_wins(60), CONFIG, 0)
    lora = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 100, seed=3)
    found = choose_form(lora, data.train, data.selection).scorer
    assert isinstance(found, CombinedReward)
    texts = [e.conversation(i) for e in data.selection for i in e.texts]
    both = found.parts(texts)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("was asked")

    found.weights = (2.0, 0.0)
    monkeypatch.setattr(lora, "score", never)
    heard: list[float] = []
    assert found.score(texts, on_batch=heard.append) == pytest.approx(2 * both[:, 0])
    assert heard[-1] == 1
    monkeypatch.undo()
    found.weights = (0.0, 3.0)
    monkeypatch.setattr("reward.combined.compute", never)
    assert found.score(texts) == pytest.approx(3 * both[:, 1], abs=1e-5)


def test_a_model_that_has_learned_is_kept_as_it_is(backbone: Backbone) -> None:
    """Where the linear head has nothing to add, the version is the LoRA model itself."""
    data = keep_back(good_wins(120), CONFIG, 0)
    model = train(backbone, data, CONFIG, backbone.new_lora_config(4, 8)).model
    assert isinstance(model, RewardModel)
    # a head that learned the opposite can only do harm
    turned = tuple(replace(e, pairs=tuple(replace(p, chosen_id=p.rejected_id,
                                                  rejected_id=p.chosen_id) for p in e.pairs))
                   for e in data.train)
    chosen = choose_form(model, turned, data.selection)
    assert chosen.form == "lora" and chosen.scorer is model
    assert chosen.document["forms"]["lora"]["accuracy"]["value"] > 0.9
    assert chosen.document["forms"]["combined"]["weights"]["linear"] == 0
    again = choose_form(model, turned, data.selection)
    assert again.document == chosen.document, "chosen without chance"
