"""Labelers' habits: planted ones come back, are no part of what is learned, and survive a kill."""

import json
import math
import random
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crowd_world import Crowd, asked, good_is_better
from linear_world import by_torch, fit_linear
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import Recorder, good_wins, text

from data.errors import BadInput
from data.progress import Stopped
from data.prompts import cluster_of
from reward.checkpoints import weights_of
from reward.config import RewardConfig
from reward.ensemble import Ensemble
from reward.examples import Example, Pair, PreferenceData
from reward.forms import keep_back, unchosen
from reward.habits import Habits, estimate_habits
from reward.instant.comparisons import FIRST, comparisons_of
from reward.instant.standard import Standard, prior_precision
from reward.train import TrainedReward, train
from reward.tuned import TunedReward
from reward.tuning import train_tuned

Array = np.ndarray[Any, Any]
ALL = ("reliability", "side", "length")
LABELERS = {1: 0.95, 2: 0.95, 3: 0.95, 4: 0.95, 5: 0.95, 6: 0.95, 7: 0.5, 8: 0.1}


def world(crowd: Crowd, prompts: int = 120, texts: int = 4,
          seed: int = 0) -> tuple[list[Example], dict[int, int], Array]:
    """Examples of responses whose worth is linear in their [N, 3] features, and has nothing to do
    with their lengths."""
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    examples, features = [], []
    for prompt_id in range(1, prompts + 1):
        mine = rng.normal(size=(texts, 3))
        worth = dict(zip(responses := [text(draw, draw.randint(2, 40)) for _ in range(texts)],
                         mine @ np.array([1.5, -1.0, 0.5]), strict=True))
        features.append(mine)
        examples.append(asked(prompt_id, responses, crowd, list(LABELERS), draw,
                              worth=lambda words, worth=worth: float(worth[words])))
    rows = {i: n for n, i in enumerate(i for e in examples for i in e.texts)}
    return examples, rows, np.concatenate(features)


def deviation(examples: list[Example]) -> float:
    return float(np.std([math.log(1 + len(t.split())) for e in examples for t in e.texts.values()]))


def test_planted_habits_come_back() -> None:
    examples, rows, features = world(Crowd(0.8, 0.9, LABELERS))
    found = estimate_habits(features, rows, examples, ALL, spread=4.0)
    assert found.side == pytest.approx(0.8, abs=0.12)
    assert found.length_deviation == pytest.approx(deviation(examples))
    assert found.length == pytest.approx(0.9 * deviation(examples), abs=0.12)
    assert found.reliability is not None and found.reliability.keys() == LABELERS.keys()
    for labeler, eta in LABELERS.items():
        assert found.reliability[labeler] == pytest.approx(eta, abs=0.08), labeler


@pytest.mark.parametrize("only", ALL)
def test_each_term_is_estimated_by_itself_and_the_others_are_silent(only: str) -> None:
    examples, rows, features = world(Crowd(
        0.8 * (only == "side"), 0.9 * (only == "length"),
        LABELERS if only == "reliability" else {}))
    found = estimate_habits(features, rows, examples, (only,), spread=4.0)
    if only == "reliability":
        assert found.side is None and found.length is None and found.reliability is not None
        for labeler, eta in LABELERS.items():
            assert found.reliability[labeler] == pytest.approx(eta, abs=0.08), labeler
    elif only == "side":
        assert found.length is None and found.reliability is None
        assert found.side == pytest.approx(0.8, abs=0.12)
    else:
        assert found.side is None and found.reliability is None
        assert found.length == pytest.approx(0.9 * deviation(examples), abs=0.12)


def test_labelers_without_habits_are_given_none() -> None:
    examples, rows, features = world(Crowd())
    found = estimate_habits(features, rows, examples, ALL, spread=4.0)
    assert found.side == pytest.approx(0, abs=0.12) and found.length == pytest.approx(0, abs=0.12)
    assert found.reliability is not None and min(found.reliability.values()) > 0.93


def test_a_side_that_nobody_knows_is_no_side_and_weights_count() -> None:
    examples, rows, features = world(Crowd(0.8), prompts=40)
    unknown = [replace(e, pairs=tuple(replace(p, shown_first=None) for p in e.pairs))
               for e in examples]
    assert estimate_habits(features, rows, unknown, ("side",), 4.0).side == 0.0
    # pairs that hardly count leave the prior where it was
    light = [replace(e, pairs=tuple(replace(p, weight=1e-6) for p in e.pairs)) for e in examples]
    assert estimate_habits(features, rows, light, ("side",), 4.0).side == pytest.approx(0, abs=0.01)
    discounted = [replace(e, pairs=tuple(replace(p, discount=1e-6) for p in e.pairs))
                  for e in examples]
    assert (estimate_habits(features, rows, discounted, ("side",), 4.0)
            == estimate_habits(features, rows, light, ("side",), 4.0))


def test_what_habits_make_of_a_pair() -> None:
    habits = Habits(side=0.5, length=2.0, length_deviation=0.25, reliability={1: 0.9, 2: 0.4})
    made = Example(1, [], {1: "a b c", 2: "a", 3: "b"}, (
        Pair(1, 2, 3, 1.0, 1, 1, 1, shown_first=True), Pair(2, 1, 3, 1.0, 2, 2, 1),
        Pair(2, 3, 0, 1.0, 3, 2, 1, shown_first=False)))
    first, second, tie = habits.on(made).pairs
    longer = 2.0 * (math.log(4) - math.log(2)) / 0.25
    assert first.offset == pytest.approx(0.5 + longer) and first.flipped == pytest.approx(0.1)
    assert second.offset == pytest.approx(-longer) and second.flipped == pytest.approx(0.6)
    assert tie.offset == -0.5 and tie.flipped == pytest.approx(0.6)
    silent = Habits(None, None, 0.25, None).on(made)
    assert silent == made
    data = PreferenceData((habits.on(made),), (), habits={"side": 0.5})
    assert PreferenceData.from_dict(json.loads(json.dumps(data.as_dict()))) == data


def crowd_data(crowd: Crowd, labelers: list[int], prompts: int = 70, **more: Any) -> PreferenceData:
    """A good and a bad response a prompt; every labeler's answer is a comparison of its own."""
    draw = random.Random(1)
    return PreferenceData(tuple(asked(
        n, [text(draw, draw.randint(2, 9), word) for word in ("good", "bad")], crowd, labelers,
        draw, **more) for n in range(101, prompts + 101)), good_wins(0, 40).held_out)


def trained(folder: Path, data: PreferenceData, **changed: Any) -> TrainedReward:
    backbone = tiny_backbone(folder)
    return train(backbone, data, replace(RewardConfig(
        form="lora", epochs=6, responses_per_step=16, learning_rate=1e-2), **changed),
        backbone.new_lora_config(4, 8))


def gaps(found: TrainedReward, data: PreferenceData) -> Array:
    """[P] by how much the good response scores higher, of each training prompt."""
    scores = [found.model.score([e.conversation(i) for i in e.texts]) for e in data.train]
    return np.array([good - bad for good, bad in scores])


def test_a_liking_for_the_first_side_is_not_learned_as_a_liking_for_what_stood_there(
        tmp_path: Path) -> None:
    """The bad response is mostly shown first, to labelers who mostly take what is first."""
    data = crowd_data(Crowd(side=5.0), [1, 2, 3],
                      first_shown=lambda draw, a, b: draw.random() < 0.3)
    plain, corrected = trained(tmp_path, data), trained(tmp_path, data, correct_side=True)
    assert plain.metrics["held_out_accuracy"]["value"] < 0.7
    assert corrected.metrics["held_out_accuracy"]["value"] > 0.8
    assert gaps(corrected, data).mean() > gaps(plain, data).mean() + 0.5
    habits = corrected.metrics["train"]["habits"]
    assert habits["side"] > 1.5 and habits["pairs_of_known_side"] == habits["pairs"] == 210
    assert habits["features"] and "length" not in habits and "reliability" not in habits
    assert "habits" not in plain.metrics["train"]


def test_of_a_liking_for_length_as_much_less_is_learned_as_is_a_habit(tmp_path: Path) -> None:
    draw = random.Random(1)
    data = PreferenceData(tuple(asked(n, [
        text(draw, draw.choice((1, 2, 3, 12, 16, 20)), word) for word in ("good", "bad", "")],
        Crowd(length=2.0), [1, 2, 3], draw) for n in range(101, 161)), good_wins(0, 40).held_out)

    def worth_and_length(found: TrainedReward) -> list[float]:
        """What a difference in worth and one in log(1 + words) are worth to the reward."""
        told, scores = [], []
        for e in data.train:
            mine = found.model.score([e.conversation(i) for i in e.texts])
            facts = [(good_is_better(t), math.log1p(len(t.split()))) for t in e.texts.values()]
            for a, b in combinations(range(3), 2):
                told.append(np.subtract(facts[a], facts[b]))
                scores.append(mine[a] - mine[b])
        slopes, *_ = np.linalg.lstsq(np.array(told), np.array(scores), rcond=None)
        return list(slopes)

    plain, corrected = trained(tmp_path, data), trained(tmp_path, data, correct_length=True)
    habits = corrected.metrics["train"]["habits"]
    habit = habits["length"] / habits["length_deviation"]
    assert 0.5 < habit < 2.2, "the rest is what the linear reward makes of length"
    (worth, length), (left_worth, left_length) = map(worth_and_length, (plain, corrected))
    assert left_length == pytest.approx(length - habit, abs=0.3)
    assert left_worth == pytest.approx(worth, rel=0.1)
    assert corrected.metrics["held_out_accuracy"]["value"] > 0.95


def test_labelers_who_answer_the_wrong_way_round_are_not_believed(tmp_path: Path) -> None:
    """Two of five always say the opposite: what is left of the difference is a fifth."""
    data = crowd_data(Crowd(reliability={4: 0.0, 5: 0.0}), [1, 2, 3, 4, 5], prompts=50)
    plain, corrected = trained(tmp_path, data), trained(tmp_path, data, correct_reliability=True)
    eta = corrected.metrics["train"]["habits"]["reliability"]
    assert min(eta[i] for i in "123") > 0.8 > 0.2 > max(eta[i] for i in "45")
    assert corrected.metrics["train"]["habits"]["answers"] == dict.fromkeys("12345", 50)
    assert gaps(corrected, data).mean() > 2 * gaps(plain, data).mean()
    assert corrected.metrics["held_out_accuracy"]["value"] > 0.95


def test_reports_are_on_answers_as_they_are(tmp_path: Path) -> None:
    """Only training pairs have offsets, and they say what the report says was estimated."""
    data = crowd_data(Crowd(side=2.0), [1, 2], prompts=20)
    found = trained(tmp_path, data, correct_side=True, correct_reliability=True, epochs=1)
    assert found.data.held_out == data.held_out
    habits = found.data.habits
    for pair in (p for e in found.data.train for p in e.pairs):
        assert pair.offset == (habits["side"] if pair.shown_first else -habits["side"])
        assert pair.flipped == 1 - habits["reliability"][str(pair.labeler_id)]


def test_intervals_are_as_wide_as_the_errors_say(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Habits] = []
    monkeypatch.setattr("reward.habits.estimate_habits",
                        lambda *args: kept.append(estimate_habits(*args)) or kept[-1])
    said = trained(tmp_path, crowd_data(Crowd(side=1.0), [1, 2], prompts=20), correct_side=True,
                   correct_length=True, epochs=1).data.habits
    for name, error in (("side", kept[0].side_error), ("length", kept[0].length_error)):
        assert said[f"{name}_high"] - said[name] == pytest.approx(1.96 * error) and error > 0
        assert said[name] - said[f"{name}_low"] == pytest.approx(1.96 * error)


CORRECTED = RewardConfig(form="lora", epochs=2, responses_per_step=8, learning_rate=3e-3,
                         checkpoint_every=3, correct_side=True, correct_length=True,
                         correct_reliability=True, label_smoothing=0.05, centering=0.01)


@pytest.mark.parametrize(("form", "members", "stop_after", "error"), [
    ("lora", 1, 10, RuntimeError), ("lora", 1, 10, Stopped), ("lora", 2, 12, Stopped),
    ("tuned", 1, 14, Stopped)])
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path: Path, form: Any, members: int,
                                                   stop_after: int,
                                                   error: type[Exception]) -> None:
    data = crowd_data(Crowd(1.0, 0.5, {2: 0.2}), [1, 2, 3], prompts=20)
    later = crowd_data(Crowd(-3.0, -1.0, {1: 0.0}), [1, 2, 3], prompts=24)
    config = replace(CORRECTED, form=form, members=members, tuned_blocks=1)

    def run(data: PreferenceData, **more: Any) -> TrainedReward:
        backbone = tiny_backbone(tmp_path, layers=4)
        how = train_tuned if form == "tuned" else train
        return how(backbone, data, config, backbone.new_lora_config(4, 8), seed=3, **more)

    whole, checkpoint = run(data), tmp_path / "run"
    heard = Recorder()
    run(data, progress=heard)
    assert all(a <= b for a, b in pairwise(heard.fractions)) and len(heard.fractions) > 10
    with pytest.raises(error):
        run(data, checkpoint_folder=checkpoint, progress=Recorder(stop_after, error))
    assert (checkpoint / "data.json").is_file()
    # labels that came in meanwhile, and other habits with them, wait for the next run
    again = run(later, checkpoint_folder=checkpoint)
    assert again.metrics == whole.metrics
    assert again.metrics["train"]["habits"].keys() >= {"side", "length", "reliability"}
    assert all(torch.equal(a, b) for a, b in zip(
        weights_of(whole.model).values(), weights_of(again.model).values(),  # type: ignore[arg-type]
        strict=True))
    assert isinstance(whole.model, Ensemble) == (members == 2)
    assert isinstance(whole.model, TunedReward) == (form == "tuned")


def test_a_linear_head_reads_offsets_exactly_and_doubtful_answers_both_ways() -> None:
    examples, rows, features = world(Crowd(), prompts=10)
    habits = Habits(0.7, 0.3, 0.5, LABELERS)
    examples = [habits.on(e) for e in examples]
    answers = comparisons_of(examples, rows)
    model = fit_linear(features, answers, spread=2.0, ties="halve",
                       standard=Standard(np.zeros(3), np.ones(3), np.eye(3)))
    pairs = [p for e in examples for p in e.pairs]
    facing = np.array([features[rows[p.chosen_id]] - features[rows[p.rejected_id]] for p in pairs])
    offsets, flipped = (np.array([getattr(p, name) for p in pairs])
                        for name in ("offset", "flipped"))
    outcomes = np.zeros((2 * len(pairs), 3))
    outcomes[:, FIRST] = np.concatenate([1 - flipped, flipped])
    expected, _ = by_torch(np.concatenate([facing, -facing]), outcomes, prior_precision(3, 2.0),
                           False, np.concatenate([offsets, offsets]))
    assert model.posterior.coefficients == pytest.approx(expected, abs=1e-6)
    assert answers.offsets is not None and answers.groups.tolist() == [
        cluster_of(e.messages) for e in examples for _ in e.pairs for _ in range(2)]
    taken = answers.take(np.arange(4)).offsets
    assert taken is not None and taken.tolist() == answers.offsets[:4].tolist()


def test_no_form_is_chosen_by_answers_that_have_the_habits() -> None:
    data, config = good_wins(100), RewardConfig(correct_side=True)
    assert keep_back(data, config, 0) is data
    assert unchosen(config)["form"] == "lora" and "habits" in unchosen(config)["why"]
    assert keep_back(data, RewardConfig(), 0) is not data


@pytest.mark.parametrize("term", ALL)
def test_what_cannot_be_corrected_names_the_flags(term: str) -> None:
    with pytest.raises(BadInput, match=f"--correct-{term}: .*--rankings to pairs"):
        RewardConfig(rankings="plackett-luce", **{f"correct_{term}": True})  # type: ignore[arg-type]
    assert RewardConfig(**{f"correct_{term}": True}).corrects == (term,)  # type: ignore[arg-type]
