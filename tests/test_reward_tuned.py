"""Fine-tuning from the linear head: it begins there, learns what the features lack, and is kept."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from linear_world import fit_linear
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import Recorder, good_wins

from backbone import flat_pass
from backbone.model import Backbone
from data.errors import BadInput
from data.progress import Stopped
from data.records import Message
from reward.batches import plan_steps
from reward.config import RewardConfig
from reward.examples import PreferenceData
from reward.instant.comparisons import FIRST, Comparisons
from reward.instant.features import compute, encode_response
from reward.instant.linear import LinearReward
from reward.instant.response_features import FeatureTable
from reward.kinds import FeatureKind, kinds_of, question_of
from reward.train import TrainedReward
from reward.tuned import TunedReward
from reward.tuning import train_tuned, tune

KINDS = (FeatureKind(3), FeatureKind(3, "last"))
ASKED = (*KINDS, FeatureKind(3, "asked", "is it red?"))


def config(blocks: int, **values: Any) -> RewardConfig:
    return RewardConfig(form="tuned", tuned_blocks=blocks, **{
        "epochs": 2, "responses_per_step": 48, "learning_rate": 1e-3, **values})


def linear_head(backbone: Backbone, data: PreferenceData,
                kinds: Sequence[FeatureKind] = KINDS) -> tuple[LinearReward, list[float]]:
    """A head on the frozen features, and its own scores of the training responses."""
    encoded = [encode_response(backbone, e.messages, e.texts[i], 1024, question_of(kinds))
               for e in data.train for i in e.texts]
    found = compute(backbone, encoded, kinds)
    features = np.hstack([found[kind] for kind in kinds])
    first = np.arange(0, len(encoded), 2)
    head = fit_linear(features, Comparisons(first, first + 1, np.eye(3)[[FIRST] * len(first)],
                                            first), spread=0.3)
    return head, head.scores(features).tolist()


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path, layers=4)


@pytest.mark.parametrize("kinds", [KINDS, ASKED], ids=["plain", "asked"])
@pytest.mark.parametrize("blocks", [2, 9])  # with blocks below the adapters, and with none
def test_it_begins_as_the_linear_head_and_learns_what_that_lacks(
        backbone: Backbone, blocks: int, kinds: tuple[FeatureKind, ...]) -> None:
    data, heard = good_wins(30), Recorder()
    head, frozen = linear_head(backbone, data, kinds)
    conversations = [e.conversation(i) for e in data.train for i in e.texts]
    start = tune(backbone, data.train, head, kinds, config(blocks, learning_rate=1e-12),
                 backbone.new_lora_config(4, 8))
    assert start.score(conversations) == pytest.approx(frozen, abs=1e-4)
    model = tune(backbone, data.train, head, kinds, config(
        blocks, epochs=6, responses_per_step=16, learning_rate=1e-2),
        backbone.new_lora_config(4, 8), progress=heard)
    assert model.block == max(0, 3 - blocks) and heard.fractions[-1] > 0.9
    assert heard.steps[max(heard.steps)]["loss"] < 0.7 * heard.steps[1]["loss"]
    scores = np.array(model.score(conversations)).reshape(-1, 2)
    before = np.array(frozen).reshape(-1, 2)
    assert (np.diff(scores, axis=1) < np.diff(before, axis=1)).mean() > 0.9, "gaps grew"
    alone = [model.score([conversation])[0] for conversation in conversations[:6]]
    assert scores.ravel()[:6] == pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize("rankings", ["pairs", "plackett-luce"])
def test_the_first_loss_is_that_of_the_heads_own_scores(backbone: Backbone, rankings: str) -> None:
    data, heard = good_wins(8), Recorder()
    margin = 0.0 if rankings == "plackett-luce" else 0.4
    head, frozen = linear_head(backbone, data)
    tune(backbone, data.train, head, KINDS, config(
        2, epochs=1, margin_per_strength=margin, rankings=rankings, microbatch_tokens=8),
        backbone.new_lora_config(4, 8), progress=heard)
    gaps = np.array(frozen).reshape(-1, 2) @ [1, -1] - margin * (3 - 1)  # all strengths are 3
    assert heard.steps[1]["loss"] == pytest.approx(np.logaddexp(0, -gaps).mean(), abs=1e-4)
    assert heard.steps[1]["pairs"] == 8 and heard.steps[1]["gradient_norm"] > 0


@pytest.mark.parametrize("blocks", [2, 9])
def test_credit_adds_up_to_the_score_and_looks_only_back(backbone: Backbone, blocks: int) -> None:
    data = good_wins(6)
    head, _ = linear_head(backbone, data)
    model = tune(backbone, data.train, head, KINDS, config(blocks, learning_rate=1e-2),
                 backbone.new_lora_config(4, 8))
    conversations = [e.conversation(i) for e in data.train for i in e.texts]
    credit = model.credit(conversations)
    assert [sum(parts) for parts in credit] == pytest.approx(model.score(conversations), abs=1e-4)
    assert [len(parts) for parts in credit] == [len(r.ids) - r.start for r in (
        encode_response(backbone, c[:-1], c[-1]["content"], 1024) for c in conversations)]
    with_question = replace(model, kinds=(KINDS[0], FeatureKind(3, "asked", "why?")))
    more = with_question.credit(conversations)
    assert list(map(sum, more)) == pytest.approx(with_question.score(conversations), abs=1e-4)
    assert list(map(len, more)) == list(map(len, credit))
    assert model.credit(conversations[3:4])[0] == pytest.approx(credit[3], abs=1e-4)
    # With means alone a token's part is what its own state says, over the tokens there are.
    only_means = replace(model, kinds=(FeatureKind(2), FeatureKind(3)))
    asked = conversations[0][:-1]
    short, long = (only_means.credit([[*asked, Message(role="assistant", content=text)]])[0]
                   for text in ("the cat", "the cat and the dog"))
    first, longer = np.array(short) * len(short), np.array(long) * len(long)
    assert first[:2] == pytest.approx(longer[:2], abs=1e-4)
    assert abs(first[2] - longer[2]) > 1e-3, "there another word follows"


@pytest.mark.parametrize(("stop_after", "error"), [(4, RuntimeError), (7, Stopped)])
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path: Path, stop_after: int,
                                                   error: type[Exception]) -> None:
    quick = config(1, responses_per_step=8, checkpoint_every=2, patience=1, learning_rate=1e-2)

    def run(data: PreferenceData, seed: int = 3, **more: Any) -> TrainedReward:
        backbone = tiny_backbone(tmp_path, layers=4)
        return train_tuned(backbone, data, quick, backbone.new_lora_config(4, 8), seed=seed, **more)

    def adapter(found: TrainedReward) -> list[torch.Tensor]:
        model = found.model
        assert isinstance(model, TunedReward)
        return [p.detach() for p in model.adapter_parameters]

    whole, checkpoint = run(good_wins(20, 6)), tmp_path / "run"
    assert len(whole.metrics["train"]["curve"]) == 2 and whole.metrics["train"]["features"]
    with pytest.raises(error):
        run(good_wins(20, 6), checkpoint_folder=checkpoint, progress=Recorder(stop_after, error))
    assert list(checkpoint.glob("step-*"))
    # another run begins anew, with a head of its own
    shutil.copytree(checkpoint, tmp_path / "other")
    other = run(good_wins(16, 6), seed=4, checkpoint_folder=tmp_path / "other")
    assert other.metrics == run(good_wins(16, 6), seed=4).metrics
    heard = Recorder()
    # labels that came in meanwhile wait for the next run
    again = run(good_wins(25, 9), checkpoint_folder=checkpoint, progress=heard)
    assert 1 < min(heard.steps) <= max(heard.steps) == 10
    assert again.metrics == whole.metrics
    assert all(torch.equal(a, b) for a, b in zip(adapter(whole), adapter(again), strict=True))


def test_features_of_all_depths_are_no_beginning(backbone: Backbone,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"basic": (FeatureKind(2),),
            "all": (FeatureKind(1), FeatureKind(2), FeatureKind(4, "last"))}
    monkeypatch.setattr("reward.heads.feature_sets", lambda _kinds: sets)
    found = train_tuned(backbone, good_wins(12), config(1, epochs=1),
                        backbone.new_lora_config(4, 8))
    assert found.metrics["train"]["features"] == "basic"
    assert isinstance(found.model, TunedReward) and found.model.kinds == (FeatureKind(2),)


@pytest.mark.parametrize(("planted", "features"), [(0.0, "middle"), (3.0, "basic")])
def test_it_begins_in_the_middle_unless_other_features_are_clearly_better(
        backbone: Backbone, planted: float, features: str) -> None:
    """Of made-up features, by which `basic` happens to look best where none knows anything."""
    data, numbers = good_wins(40), np.random.default_rng(3)
    prompts = np.repeat(np.arange(40), 2)
    known = FeatureTable(
        {i: row for row, i in enumerate(i for e in data.train for i in e.texts)},
        {kind: numbers.normal(size=(80, backbone.hidden_size)) for kind in kinds_of(4, "so?")},
        prompts, prompts)
    known.kinds[KINDS[0]][::2, :4] += planted
    found = train_tuned(backbone, data, config(1, epochs=1, question="so?"),
                        backbone.new_lora_config(4, 8), known=known)
    assert found.metrics["train"]["features"] == features


@pytest.mark.parametrize("room", [0, 40, 120])
def test_it_learns_the_same_however_much_is_kept_of_the_blocks_below(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    data, losses = good_wins(12), []
    head, _ = linear_head(backbone, data)
    monkeypatch.setattr("reward.tuned.batches", lambda _, all_: [
        range(start, start + 4) for start in range(0, len(all_), 4)])
    for tokens in (room, 200_000):
        monkeypatch.setattr("reward.tuned.KEPT_TOKENS", tokens)
        heard = Recorder()
        tune(backbone, data.train, head, KINDS, config(2, responses_per_step=8),
             backbone.new_lora_config(4, 8), progress=heard)
        losses.append([heard.steps[step]["loss"] for step in sorted(heard.steps)])
    assert len(losses[0]) == 6 and losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.parametrize(("features", "kinds"), [
    ("early", (FeatureKind(1),)), ("middle", (FeatureKind(2),)),
    ("basic", (FeatureKind(3), FeatureKind(3, "last"))), ("asked", (
        *KINDS, FeatureKind(2, "asked", "is it red?")))])
def test_it_begins_from_the_features_asked_for_and_runs_no_block_above(
        backbone: Backbone, features: Any, kinds: tuple[FeatureKind, ...],
        monkeypatch: pytest.MonkeyPatch) -> None:
    run: set[int] = set()
    blocks, layer = list(backbone.trunk.layers), flat_pass._layer
    monkeypatch.setattr(flat_pass, "_layer", lambda block, *more: (
        run.add(blocks.index(block) + 1), layer(block, *more))[1])
    found = train_tuned(backbone, good_wins(12), config(
        1, epochs=1, tuned_features=features, question="is it red?"),
                        backbone.new_lora_config(4, 8))
    assert found.metrics["train"]["features"] == features
    assert isinstance(found.model, TunedReward)
    assert sorted(map(str, found.model.kinds)) == sorted(map(str, kinds))
    assert run == set(range(1, max(kind.layer for kind in kinds) + 1))


def test_blocks_below_the_adapter_are_run_before_training_and_not_in_it(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    data = good_wins(12)
    head, _ = linear_head(backbone, data)
    run: list[int] = []
    blocks, layer = list(backbone.trunk.layers), flat_pass._layer
    monkeypatch.setattr(flat_pass, "_layer", lambda block, *more: (
        run.append(blocks.index(block) + 1), layer(block, *more))[1])
    tune(backbone, data.train, head, KINDS, config(2, epochs=3), backbone.new_lora_config(4, 8))
    passes = len(plan_steps(data.train, 3, 48, 0))
    scored = 2  # passes over training responses, for the mean and spread of scores
    assert run.count(1) == 1
    assert run.count(2) == run.count(3) == passes + scored and 4 not in run


def test_saved_is_loaded(backbone: Backbone, tmp_path: Path) -> None:
    data = good_wins(6)
    head, _ = linear_head(backbone, data, ASKED)
    model = tune(backbone, data.train, head, ASKED, config(2, learning_rate=1e-2),
                 backbone.new_lora_config(4, 8))
    conversations = [e.conversation(i) for e in data.train for i in e.texts]
    scores = model.score(conversations)
    model.save(tmp_path / "kept")
    again = TunedReward.load(tiny_backbone(tmp_path), tmp_path / "kept")
    assert again.score(conversations) == pytest.approx(scores, abs=1e-4)
    assert again.block == 1 and again.question == "is it red?"
    with pytest.raises(BadInput, match="no linear reward"):
        TunedReward.load(backbone, tmp_path)


def test_what_cannot_be_is_refused(backbone: Backbone) -> None:
    with pytest.raises(BadInput, match="--tuned-blocks"):
        config(0)
    with pytest.raises(BadInput, match="asked needs a question"):
        config(1, tuned_features="asked", question="")
    for wrong in ("why\nnot?", "why? " * 100, " ", "why? "):
        with pytest.raises(BadInput, match="--question: must be one line of at most 300"):
            config(1, question=wrong)
    with pytest.raises(BadInput, match="--learning-rate"):
        config(2, learning_rate=0)
    with pytest.raises(BadInput, match="--tuned-features: 'late' is none of chosen"):
        config(2, tuned_features="late")
    head, _ = linear_head(backbone, good_wins(4))
    with pytest.raises(BadInput, match="no comparison"):
        tune(backbone, [], head, KINDS, config(2), backbone.new_lora_config(4, 8))
