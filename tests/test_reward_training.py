"""Training learns what labelers prefer, can be killed at any step, and says why it cannot start."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import Recorder, good_wins

from backbone.model import Backbone
from data.errors import BadInput, PrefloopError
from data.progress import Stopped
from data.records import Message
from reward import gradients
from reward.config import RewardConfig
from reward.examples import Example, PreferenceData
from reward.model import RewardModel
from reward.train import TrainedReward, learning_rate_at, train

QUICK = RewardConfig(epochs=2, responses_per_step=8, learning_rate=3e-3, checkpoint_every=3)


def run(backbone: Backbone, data: PreferenceData, config: RewardConfig = QUICK,
        **more: Any) -> TrainedReward:
    return train(backbone, data, config, backbone.new_lora_config(4, 8), **more)


def weights(model: RewardModel) -> list[torch.Tensor]:
    return [p.detach().clone() for p in [*model.adapter_parameters, model.head.weight]]


@pytest.mark.parametrize("pad_is_eos", [False, True])
def test_learns_a_preference_and_says_so_on_prompts_it_never_saw(tmp_path: Path,
                                                                 pad_is_eos: bool) -> None:
    backbone = tiny_backbone(tmp_path, pad_is_eos=pad_is_eos)
    progress = Recorder()
    config = replace(QUICK, epochs=8, responses_per_step=16, learning_rate=1e-2)
    # where pad == eos the score is read one token earlier, at a random word: harder to learn
    found = run(backbone, good_wins(200 if pad_is_eos else 60, 40), config, progress=progress)
    accuracy = found.metrics["held_out_accuracy"]
    assert accuracy["n"] == 40 and accuracy["value"] > 0.9 and accuracy["low"] > 0.75
    assert found.metrics["cross_entropy"]["value"] < 0.5
    last = progress.steps[max(progress.steps)]
    assert last["loss"] < 0.5, "with pad == eos it must not stick at 0.693"
    assert last["held_out_accuracy"] == accuracy["value"]
    assert sum("held_out_loss" in step for step in progress.steps.values()) == 8
    assert progress.fractions == sorted(progress.fractions) and progress.fractions[-1] <= 1


def test_ties_pull_scores_together(tmp_path: Path) -> None:
    won = good_wins(24).train
    both = tuple(replace(e, pairs=(*e.pairs, *(replace(p, strength=0) for p in e.pairs)))
                 for e in won)

    def mean_gap(data: PreferenceData) -> float:
        model = run(tiny_backbone(tmp_path), data, replace(QUICK, epochs=8)).model
        scores = [model.score([e.conversation(i) for i in e.texts]) for e in won]
        return sum(good - bad for good, bad in scores) / len(scores)

    # half of all answers are ties: P(good wins) = 3/4, so the gap goes to ln 3
    assert mean_gap(PreferenceData(won, ())) > 2.5
    assert 0.8 < mean_gap(PreferenceData(both, ())) < 1.4


def test_smoothed_labels_hold_the_gap_and_centering_the_level(tmp_path: Path) -> None:
    data = good_wins(24)

    def scores(**terms: float) -> torch.Tensor:
        model = run(tiny_backbone(tmp_path), data, replace(QUICK, epochs=8, **terms)).model
        return torch.tensor([model.score([e.conversation(i) for i in e.texts])
                             for e in data.train])

    plain, smoothed, centered = scores(), scores(label_smoothing=0.2), scores(centering=0.5)
    # ε = 0.2: the best gap is log 4 = 1.39, where plain labels want no end of it
    assert (plain[:, 0] - plain[:, 1]).mean() > 2.5
    assert 1.1 < (smoothed[:, 0] - smoothed[:, 1]).mean() < 1.6
    assert centered.sum(1).abs().mean() < 0.5 * plain.sum(1).abs().mean()
    assert (centered[:, 0] > centered[:, 1]).all()


def test_nothing_but_adapter_and_head_moves(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    before = {k: v.clone() for k, v in backbone.language_model.state_dict().items()}
    found = run(backbone, good_wins(8))
    after = {k.replace(".base_layer", ""): v
             for k, v in backbone.language_model.state_dict().items() if "lora_" not in k}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.dtype == torch.float32 for p in weights(found.model))


@pytest.mark.parametrize(("dtype", "stop_after", "error"), [
    (torch.float32, 1, RuntimeError), (torch.float32, 5, RuntimeError),
    (torch.float32, 4, Stopped), (torch.bfloat16, 5, RuntimeError), (torch.bfloat16, 11, Stopped)])
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path: Path, dtype: torch.dtype,
                                                   stop_after: int,
                                                   error: type[Exception]) -> None:
    data = good_wins(20, 6)
    whole = run(tiny_backbone(tmp_path, dtype=dtype), data, seed=3)
    assert whole.metrics["train"]["steps"] == 10
    checkpoint = tmp_path / "run"
    with pytest.raises(error):
        run(tiny_backbone(tmp_path, dtype=dtype), data, seed=3, checkpoint_folder=checkpoint,
            progress=Recorder(stop_after, error))
    progress = Recorder()
    # labels that came in meanwhile wait for the next run
    again = run(tiny_backbone(tmp_path, dtype=dtype), good_wins(25, 9), seed=3,
                checkpoint_folder=checkpoint, progress=progress)
    kept = min(stop_after, 10) if error is Stopped else stop_after // 3 * 3
    assert sorted(progress.steps) == list(range(kept + 1, 11))
    assert all(torch.equal(a, b) for a, b in zip(weights(whole.model), weights(again.model),
                                                 strict=True))
    assert again.metrics == whole.metrics
    assert again.data.comparisons == whole.data.comparisons


def overfitting(seed: int = 0) -> PreferenceData:
    """Held-out prompts say the opposite of what is learned, so that their loss soon rises."""
    data = good_wins(24, 8, seed)
    held_out = tuple(replace(e, pairs=tuple(
        replace(p, chosen_id=p.rejected_id, rejected_id=p.chosen_id) for p in e.pairs))
        for e in data.held_out)
    return PreferenceData(data.train, held_out)


def test_patience_stops_early_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    config = replace(QUICK, epochs=9, patience=2)
    progress = Recorder()
    found = run(tiny_backbone(tmp_path), overfitting(), config, progress=progress)
    trained = found.metrics["train"]
    losses = [epoch["held_out_loss"] for epoch in trained["curve"]]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2 < 9 and trained["steps"] < trained["planned_steps"]
    assert [e["epoch"] for e in trained["curve"]] == list(range(1, len(losses) + 1))
    assert found.metrics["cross_entropy"]["value"] == pytest.approx(min(losses), rel=1e-6)
    # the weights are those of the best epoch: a run that ends there by itself has the same curve
    assert losses == [step["held_out_loss"] for step in progress.steps.values()
                      if "held_out_loss" in step]
    whole = run(tiny_backbone(tmp_path), overfitting(), replace(config, patience=0))
    assert len(whole.metrics["train"]["curve"]) == 9
    assert whole.metrics["train"]["curve"][:len(losses)] == trained["curve"]
    assert whole.metrics["cross_entropy"]["value"] > min(losses)
    # a report on the pairs that chose the epoch says so
    assert found.metrics["epoch_chosen"] == {"epoch": best + 1, "of": len(losses)}
    assert "epoch_chosen" not in whole.metrics
    alone = run(tiny_backbone(tmp_path), overfitting(), replace(config, epochs=1))
    assert "epoch_chosen" not in alone.metrics, "there was nothing to choose"


@pytest.mark.parametrize(("stop_after", "error"), [
    (2, RuntimeError), (5, RuntimeError), (8, RuntimeError), (7, Stopped), (9, Stopped),
    (10, Stopped)])
def test_patience_killed_and_resumed_is_the_same(tmp_path: Path, stop_after: int,
                                                 error: type[Exception]) -> None:
    config = replace(QUICK, epochs=9, patience=2, responses_per_step=16, checkpoint_every=2)
    whole = run(tiny_backbone(tmp_path), overfitting(), config)
    assert whole.metrics["train"]["steps"] == 9 and whole.metrics["train"]["planned_steps"] == 27
    checkpoint = tmp_path / "run"
    with pytest.raises(error):
        run(tiny_backbone(tmp_path), overfitting(), config, checkpoint_folder=checkpoint,
            progress=Recorder(stop_after, error))
    again = run(tiny_backbone(tmp_path), overfitting(), config, checkpoint_folder=checkpoint)
    assert again.metrics == whole.metrics
    assert all(torch.equal(a, b) for a, b in zip(weights(whole.model), weights(again.model),
                                                 strict=True))


def test_conversations_that_were_cut_are_counted_in_the_report(tmp_path: Path) -> None:
    data = good_wins(8, 3)

    def longer(example: Example) -> Example:
        old: list[Message] = [{"role": "user", "content": "cat " * 40},
                              {"role": "assistant", "content": "cat " * 40}]
        return replace(example, messages=[*old, *example.messages])

    for train_on, held_out, counts in (
            ((longer(data.train[0]), *data.train[1:]), data.held_out, (2, 0)),
            (data.train, (longer(data.held_out[0]), *data.held_out[1:]), (0, 2))):
        found = run(tiny_backbone(tmp_path), PreferenceData(train_on, held_out),
                    replace(QUICK, max_length=40)).metrics
        assert (found["train"]["cut_responses"], found["cut_responses"]) == counts
        assert found["train"]["pairs"] == len(train_on), "cut, and not dropped"


def test_patience_without_anything_held_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--patience: no compared pair"):
        run(tiny_backbone(tmp_path), good_wins(8), replace(QUICK, patience=1))


def test_the_seed_decides(tmp_path: Path) -> None:
    data = good_wins(12)
    one, same, other = (weights(run(tiny_backbone(tmp_path), data, seed=s).model)
                        for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_checkpoint_of_other_settings_makes_room(tmp_path: Path) -> None:
    data, checkpoint = good_wins(12), tmp_path / "run"
    run(tiny_backbone(tmp_path), data, checkpoint_folder=checkpoint)
    config = replace(QUICK, learning_rate=1e-3)
    progress = Recorder()
    found = run(tiny_backbone(tmp_path), data, config, checkpoint_folder=checkpoint,
                progress=progress)
    assert min(progress.steps) == 1
    fresh = run(tiny_backbone(tmp_path), data, config)
    assert all(torch.equal(a, b) for a, b in zip(weights(found.model), weights(fresh.model),
                                                 strict=True))


def test_a_checkpoint_is_gone_on_with_in_smaller_parts(tmp_path: Path) -> None:
    data, checkpoint, progress = good_wins(12), tmp_path / "run", Recorder()
    run(tiny_backbone(tmp_path), data, checkpoint_folder=checkpoint)
    run(tiny_backbone(tmp_path), data, replace(QUICK, microbatch_tokens=8),
        checkpoint_folder=checkpoint, progress=progress)
    assert not progress.steps  # all of them are done


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    data, checkpoint = good_wins(12), tmp_path / "run"
    run(tiny_backbone(tmp_path), data, checkpoint_folder=checkpoint)
    (newest,) = checkpoint.glob("step-*")
    (newest / "training.safetensors").write_bytes(b"not this")
    with pytest.raises(PrefloopError, match=r"cannot be read .* remove"):
        run(tiny_backbone(tmp_path), data, checkpoint_folder=checkpoint)


def test_the_learning_rate_warms_up_and_decays() -> None:
    rates = [learning_rate_at(step, 40, 1.0) for step in range(40)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and rates[4] == 36 / 37
    assert all(a > b for a, b in pairwise(rates[3:])) and 0 < rates[-1] < 0.03
    assert [learning_rate_at(0, 1, 1.0)] == [1.0] and learning_rate_at(1, 2, 1.0) > 0


def test_nothing_held_out_is_said_and_not_made_up(tmp_path: Path) -> None:
    found = run(tiny_backbone(tmp_path), good_wins(8))
    assert found.metrics["held_out_accuracy"] is None and found.metrics["pairs"] == 0
    assert found.metrics["calibration"] is None
    assert found.metrics["train"]["pairs"] == 8 and found.metrics["score_n"] == 16


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    data = good_wins(4)
    ties = tuple(replace(e, pairs=tuple(replace(p, strength=0) for p in e.pairs))
                 for e in data.train)
    for wrong, message in (
            (PreferenceData((), ()), "no comparisons"),
            (PreferenceData((), data.train), "on held-out prompts"),
            (PreferenceData((), (), identical=5), "same text twice"),
            (PreferenceData(ties, ()), "ties"),
            (PreferenceData(data.train[:1], ()), "on one prompt")):
        with pytest.raises(BadInput, match=message):
            run(backbone, wrong)


def test_a_loss_that_is_no_number_names_its_step(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = gradients.bradley_terry_loss, []

    def broken(differences: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls.append(1)
        return original(differences * (float("nan") if len(calls) > 2 else 1.0), *rest)

    monkeypatch.setattr(gradients, "bradley_terry_loss", broken)
    with pytest.raises(PrefloopError, match=r"step 3: the loss is not a number"):
        run(tiny_backbone(tmp_path), good_wins(20))


def test_config_names_the_flag() -> None:
    for values, flag in (({"epochs": 0}, "--epochs"), ({"learning_rate": 0.0}, "--learning-rate"),
                         ({"learning_rate": float("nan")}, "--learning-rate"),
                         ({"responses_per_step": 1}, "--responses-per-step"),
                         ({"patience": -1}, "--patience"),
                         ({"margin_per_strength": -1.0}, "--margin-per-strength"),
                         ({"centering": -0.1}, "--centering"),
                         ({"centering": float("nan")}, "--centering"),
                         ({"label_smoothing": -0.1}, "--label-smoothing: must be at least 0"),
                         ({"label_smoothing": 0.5}, "--label-smoothing.*below 0.5"),
                         ({"label_smoothing": float("nan")}, "--label-smoothing"),
                         ({"label_smoothing": 0.1, "rankings": "plackett-luce"},
                          "--label-smoothing.*--rankings")):
        with pytest.raises(BadInput, match=flag):
            RewardConfig(**values)  # type: ignore[arg-type]
