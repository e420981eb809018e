"""The report's figures against independent computations, and its honesty where n is small."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import example, good_wins

from reward.config import RewardConfig
from reward.evaluate import evaluate
from reward.examples import Example, PreferenceData
from reward.members import fresh
from reward.report.calibration import calibration
from reward.report.figures import length_correlation, report
from reward.report.votes import Votes


def scored(prompts: int, seed: int = 0) -> tuple[list[Example], dict[int, float]]:
    draw = random.Random(seed)
    examples = [example(p, ["x" * draw.randint(1, 30) for _ in range(3)],
                        [(0, 1, draw.randint(1, 4)), (1, 2, draw.randint(1, 4)), (0, 2, 0)])
                for p in range(1, prompts + 1)]
    return examples, {i: draw.gauss(0, 1) for e in examples for i in e.texts}


def test_accuracy_and_cross_entropy_by_hand() -> None:
    examples = [example(1, ["a", "bb"], [(0, 1, 2)]), example(2, ["ccc", "d"], [(0, 1, 4)]),
                example(3, ["ee", "ff"], [(0, 1, 0)]), example(4, ["g", "hh"], [(0, 1, 4)])]
    scores = {100: 1.0, 101: 0.0, 200: 0.0, 201: 2.0, 300: 0.5, 301: 0.0, 400: 1.0, 401: 1.0}
    found = report(examples, scores)
    assert found["held_out_accuracy"]["value"] == 0.5 and found["held_out_accuracy"]["n"] == 3
    assert (found["pairs"], found["ties"], found["prompts"]) == (4, 1, 4)
    assert {row["name"]: row["accuracy"]["value"] for row in found["groups"]["strength"]["rows"]
            } == {"significantly better": 0.25, "slightly better": 1.0}
    expected = [math.log1p(math.exp(-1)), math.log1p(math.exp(2)),
                0.5 * (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(0.5))), math.log(2)]
    assert found["cross_entropy"]["value"] == pytest.approx(sum(expected) / 4)
    assert found["cross_entropy"]["n"] == 4
    assert found["baselines"]["longer"]["value"] == pytest.approx(1 / 3)
    assert found["baselines"]["chance"] == 0.5


def test_no_figure_without_data_and_all_of_it_is_json() -> None:
    for examples, scores in (([], {}), scored(1), scored(30)):
        text = json.dumps(report(examples, scores), allow_nan=False)
        assert ("null" in text) or examples
    empty = report([], {})
    assert empty["held_out_accuracy"] is empty["cross_entropy"] is empty["calibration"] is None
    assert empty["length_correlation"] == {"pearson": None, "spearman": None}


def test_interval_knows_that_pairs_share_prompts() -> None:
    one = [example(p, ["a", "b"], [(0, 1, 3)]) for p in range(1, 11)]
    many = [example(p, ["a", "b"], [(0, 1, 3)] * 10) for p in range(1, 11)]
    scores = {100 * p + k: float(k == (p % 3 == 0)) for p in range(1, 11) for k in (0, 1)}
    alone, repeated = (report(e, scores)["held_out_accuracy"] for e in (one, many))
    assert repeated["n"] == 100 and alone["n"] == 10
    assert repeated["low"] == pytest.approx(alone["low"], abs=0.02)
    assert repeated["high"] == pytest.approx(alone["high"], abs=0.02)


def test_correlations_match_pandas() -> None:
    examples, scores = scored(25)
    found = length_correlation(examples, scores)
    length = pd.Series([len(t) for e in examples for t in e.texts.values()])
    score = pd.Series([scores[i] for e in examples for i in e.texts])
    assert found["pearson"] and found["spearman"]
    assert found["pearson"]["value"] == pytest.approx(float(np.corrcoef(length, score)[0, 1]))
    assert found["spearman"]["value"] == pytest.approx(
        float(np.corrcoef(length.rank(), score.rank())[0, 1]))
    assert found["pearson"]["n"] == 75 and found["pearson"]["low"] < found["pearson"]["high"]


def test_a_constant_score_has_no_correlation() -> None:
    examples, scores = scored(5)
    assert length_correlation(examples, dict.fromkeys(scores, 1.0))["pearson"] is None


def test_calibration_of_honest_scores_is_small_and_of_boasts_large() -> None:
    draw = np.random.default_rng(0)
    gaps = draw.normal(0, 1.5, 4000)
    won = draw.random(4000) < 1 / (1 + np.exp(-gaps))
    examples = [example(p, ["a", "b"], [(0, 1, 3) if w else (1, 0, 3)])
                for p, w in enumerate(won, 1)]

    def of(factor: float) -> float:
        scores = {100 * p + k: float(factor * gap * (k == 0))
                  for p, gap in enumerate(gaps, 1) for k in (0, 1)}
        found = calibration(Votes.of(examples, scores))
        assert found and sum(b["n"] for b in found["bins"]) == found["error"]["n"] == 4000
        return float(found["error"]["value"])

    assert of(1.0) < 0.03 < 0.1 < of(4.0)


@pytest.mark.parametrize("members", [1, 2])
def test_the_scale_is_that_of_what_the_reference_wrote(tmp_path: Path, members: int) -> None:
    backbone = tiny_backbone(tmp_path)
    examples = [replace(e, sampled=tuple(e.texts)[:1] if e.prompt_id % 2 else ())
                for e in good_wins(12).train]
    model = fresh(backbone, RewardConfig(members=members), backbone.new_lora_config(4, 8), 3,
                  "reward")
    found = evaluate(model, PreferenceData(tuple(examples), ()))
    scores = model.score([e.conversation(i) for e in examples for i in e.sampled])
    assert found["score_n"] == len(scores) == 6
    assert found["score_mean"] == pytest.approx(np.mean(scores), abs=1e-5)
    assert found["score_std"] == pytest.approx(np.std(scores, ddof=1), abs=1e-5)
    imported = evaluate(model, PreferenceData(
        tuple(replace(e, sampled=()) for e in examples), ()))
    assert imported["score_n"] == 24, "the reference wrote none: all of them"
