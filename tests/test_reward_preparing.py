"""Answers of older rounds count less, by the formula, wherever training reads a weight."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from data_world import World
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import Recorder, good_wins

from data.errors import BadInput
from data.exchange.importing import import_preferences
from data.records import Answer
from reward.batches import Microbatch, plan_steps
from reward.config import RewardConfig
from reward.evaluate import evaluate
from reward.examples import Pair, PreferenceData, from_store
from reward.gradients import backward
from reward.instant.comparisons import comparisons_of
from reward.preparing import discounted_by_round, mean_discount
from reward.train import train


@pytest.fixture
def rounds(tmp_path: Path) -> PreferenceData:
    """A store with answers of rounds 0, 1 and 3 (nobody answered in 2), and imported ones."""
    made = World.make(tmp_path / "p.db")
    (person,) = made.people(1)
    for number in range(4):
        if number:
            made.round = made.store.rounds.open(made.policy, made.reference)
        for n in range(0 if number == 2 else 6):
            task = made.task(("a", "b", "c"), prompt=f"question {number} {n}")
            a, b, c = task.response_ids
            made.answer(person, task, Answer(((a,), (b,), (c,))))
    lines = [json.dumps({"prompt": f"imported {n}", "chosen": "so", "rejected": "no"})
             for n in range(6)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    import_preferences(made.store, tmp_path / "pairs.jsonl")
    return from_store(made.store)


def pairs_of(data: PreferenceData) -> list[Pair]:
    return [pair for example in data.train for pair in example.pairs]


def test_an_older_rounds_answers_count_as_the_formula_says(rounds: PreferenceData) -> None:
    found = discounted_by_round(rounds, 0.5)
    assert {p.round_number for p in pairs_of(found)} == {0, 1, 3, None}
    share = {0: 0.5**3, 1: 0.5**2, 3: 1.0, None: 0.5**3}
    for before, after in zip(pairs_of(rounds), pairs_of(found), strict=True):
        assert after == replace(before, discount=share[after.round_number])
        assert after.counts == before.weight * share[after.round_number]
        assert before.weight == (1.0 if before.round_number is None else 1 / 3)
    assert found.held_out == rounds.held_out
    assert discounted_by_round(rounds, 1.0) is rounds
    imported = PreferenceData(good_wins(4).train, ())
    assert discounted_by_round(imported, 0.5) is imported, "no round is newer than another"
    assert PreferenceData.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_the_newest_round_is_that_of_the_training_prompts(rounds: PreferenceData) -> None:
    old = replace(rounds, train=tuple(e for e in rounds.train if e.pairs[0].round_number != 3),
                  held_out=rounds.train)
    found = discounted_by_round(old, 0.5)
    assert {p.round_number: p.discount for p in pairs_of(found)} == {0: 0.5, 1: 1.0, None: 0.5}
    assert {p.discount for e in found.held_out for p in e.pairs} == {1.0}


@pytest.mark.parametrize("rankings", ["pairs", "plackett-luce"])
def test_a_discounted_answer_moves_as_much_less(rounds: PreferenceData,
                                                rankings: Literal["pairs", "plackett-luce"]
                                                ) -> None:
    """The gradient of a step is that of its answers, each times its discount, over the weights."""
    config = RewardConfig(rankings=rankings, centering=0.1)
    found = discounted_by_round(rounds, 0.5)

    def gradients(data: PreferenceData) -> list[torch.Tensor]:
        by_example = []
        for example in data.train:
            (step,) = plan_steps([example], 1, 8, seed=0)
            scores = torch.linspace(-1, 1, len(example.texts)).requires_grad_()
            batch = Microbatch((tuple(example.texts),), example.pairs)
            backward(lambda part, scores=scores: scores, batch, step.weight, config)
            assert scores.grad is not None
            by_example.append(scores.grad)
        return by_example

    for example, plain, less in zip(found.train, gradients(rounds), gradients(found), strict=True):
        torch.testing.assert_close(less, example.pairs[0].discount * plain)


def test_linear_heads_count_them_so_too(rounds: PreferenceData) -> None:
    found = discounted_by_round(rounds, 0.5)
    rows = {i: n for n, i in enumerate(i for e in found.train for i in e.texts)}
    outcomes = comparisons_of(found.train, rows).outcomes
    assert outcomes.sum(1) == pytest.approx([p.weight * p.discount for p in pairs_of(found)])
    assert len(set(np.round(outcomes.sum(1), 9))) > 2


def test_losses_stay_means_and_reports_stay_as_they_are(tmp_path: Path,
                                                        rounds: PreferenceData) -> None:
    for weight in (1.0, 0.1):
        backbone, progress = tiny_backbone(tmp_path), Recorder()
        # a step so small that the model stays what it was: loss and report can be compared
        config = RewardConfig(form="lora", epochs=1, responses_per_step=100, learning_rate=1e-9,
                              round_weight=weight)
        found = train(backbone, rounds, config, backbone.new_lora_config(2, 4), progress=progress)
        assert progress.steps[1]["loss"] == pytest.approx(np.log(2), abs=0.2)
        again = evaluate(found.model, rounds)
        for key in ("held_out_accuracy", "cross_entropy", "calibration"):
            assert found.metrics[key] == again[key]
        assert (mean_discount(found.data.train) == 1) == (weight == 1)
    one = replace(rounds, train=tuple(e for e in rounds.train if e.pairs[0].round_number == 1))
    assert mean_discount(discounted_by_round(one, 0.3).train) == 1.0


def test_what_cannot_be_is_refused() -> None:
    for weight in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(BadInput, match="--round-weight: must be above 0 and at most 1"):
            RewardConfig(round_weight=weight)
