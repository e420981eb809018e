"""What the benchmarks of reward models stand on: people's preferences as read, and figures."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import fine_tuning, reward_accuracy
from benchmarks.held_out_odds import Split, examples
from benchmarks.human_data import FIRST, SECOND, TIE, Pairs, instructions, replies
from benchmarks.reward_accuracy import labelers, measure, reliability


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    with gzip.open(folder / name, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def said(first: object, second: object, *choices: int, instruction: str = "Say.",
         about: str = "") -> dict[str, Any]:
    return {"instruction": instruction, "input": about, "response1": first, "response2": second,
            **{f"annotator{number}": choice for number, choice in enumerate(choices, 1)}}


@pytest.fixture
def pandalm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pairs:
    monkeypatch.setenv("PREFLOOP_DATA", str(tmp_path))
    written(tmp_path, "pandalm.jsonl.gz", [
        said("long words here", True, 1, 1, 2), said("a", "b", 0, 2, 0),
        said("long words here", "b", 2, 2, 2, instruction="Write.", about="On dogs."),
        said("c d e", "long words here", 0, 1, 1, instruction="Write.", about="On dogs.")])
    return instructions()


def test_what_two_of_three_people_say_is_the_gold_label(pandalm: Pairs) -> None:
    assert pandalm.gold.tolist() == [FIRST, TIE, SECOND, FIRST]
    assert pandalm.strict.tolist() == [True, False, True, True]
    assert pandalm.groups.tolist() == [0, 0, 1, 1]
    assert pandalm.texts[pandalm.second[0]].response == "True"
    assert pandalm.texts[pandalm.first[2]].messages == (("user", "Write.\n\nOn dogs."),)
    # One text of one prompt is one text; of another prompt it is another.
    assert pandalm.first[2] == pandalm.second[3] != pandalm.first[0]
    assert pandalm.votes.outcome[:3].tolist() == [FIRST, FIRST, SECOND]


def test_another_person_and_the_model_are_asked_about_the_same_votes(pandalm: Pairs) -> None:
    found = labelers(pandalm, np.array([1.0, np.nan, -1.0, -1.0]))
    # Decided votes of pairs that the model was asked of: 1 1 2, 2 2 2 and two of 0 1 1. Others
    # agree in 1/2, 1/2 and none; in all; and once each beside a tie.
    assert found["labeler"]["n"] == found["votes"]["n"] == 8
    assert found["labeler"]["value"] == pytest.approx((0.5 + 0.5 + 0 + 3 + 2 * 0.75) / 8)
    assert found["votes"]["value"] == pytest.approx((2 + 3 + 0) / 8)


def test_a_reliability_diagram_holds_how_sure_against_how_often_right(
        pandalm: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_accuracy, "FEWEST", 1)
    # .75 and right, not asked, .75 and wrong (the second won), .88 and right
    odds = np.array([np.log(3), np.nan, np.log(3), 2.0])
    even, line = reliability("x", pandalm, {"linear": odds, "length": odds}).lines
    assert line.name == "linear" and list(even.x) == list(even.y)
    assert line.x == pytest.approx([0.75, 1 / (1 + np.exp(-2))]) and line.y == [0.5, 1.0]
    monkeypatch.setattr(reward_accuracy, "FEWEST", 2)
    assert reliability("x", pandalm, {"lora": odds}).lines[1].y == [0.5]


def test_figures_of_log_odds_are_those_of_their_definitions(pandalm: Pairs) -> None:
    odds = np.array([np.log(3), np.nan, 1.0, 2.0])  # right, wrong, right
    found = {key: figure["value"] for key, figure in measure("x", pandalm, odds).items()}
    right, wrong = np.log1p(1 / 3) + np.log1p(np.exp(-2)), np.log1p(np.e)
    assert found["x"] == pytest.approx(2 / 3)
    assert found["x_ce"] == pytest.approx((right + wrong) / 3)
    assert (found["x_shorter"], found["x_matched"]) == (0, 1)  # the second, and the third
    confidence = [0.75, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2))]  # bins of their own
    assert found["x_ece"] == pytest.approx(
        (1 - confidence[0] + confidence[1] + 1 - confidence[2]) / 3)


def test_a_ranking_of_replies_is_all_its_pairs(tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLOOP_DATA", str(tmp_path))
    written(tmp_path, "oasst1_kwise.jsonl.gz", [{
        "parent": "p", "context": [["prompter", "Hi"], ["assistant", "Yes?"], ["prompter", "Go"]],
        "replies": [{"text": text, "rank": rank} for text, rank in (("worst", 2), ("best", 0),
                                                                    ("good", 1))]}])
    found = replies()
    assert [(found.texts[a].response, found.texts[b].response)
            for a, b in zip(found.first, found.second, strict=True)] == [
                ("best", "good"), ("best", "worst"), ("good", "worst")]
    assert found.gold.tolist() == [FIRST] * 3 and set(found.groups) == {0}
    assert [role for role, _ in found.texts[0].messages] == ["user", "assistant", "user"]
    example, = examples(found, np.arange(3))
    assert [(example.texts[pair.chosen_id], example.texts[pair.rejected_id])
            for pair in example.pairs] == [("best", "good"), ("best", "worst"), ("good", "worst")]


def test_no_group_is_in_two_folds_and_ties_are_in_none(pandalm: Pairs) -> None:
    split = Split.of(pandalm, 2)
    assert split.used.tolist() == [0, 2, 3] and split.folds == 2
    assert split.fold[0] != split.fold[1] == split.fold[2]
    assert split.comparisons.outcomes.argmax(1).tolist() == [FIRST, SECOND, FIRST]


def test_a_fold_learns_from_as_many_labels_as_are_granted(pandalm: Pairs) -> None:
    split = replace(Split.of(pandalm, 2), fold=np.array([0, 1, 1]))
    assert split.training(0).tolist() == [1, 2] and split.training(1).tolist() == [0]
    one, more = (replace(split, labels=n).training(0).tolist() for n in (1, 5))
    assert one in ([1], [2]) and more == [1, 2]
    assert one == replace(split, labels=1).training(0).tolist()


def test_what_fine_tuning_gains_is_counted_on_the_same_pairs(pandalm: Pairs) -> None:
    odds = {"linear": np.array([-1.0, np.nan, np.nan, 1.0]),  # wrong, a tie, not asked, right
            "lora": np.array([3.0, np.nan, np.nan, 1.0])}
    odds["both"] = (odds["linear"] + odds["lora"]) / 2
    found = fine_tuning.figures_of(pandalm, odds)
    assert {name: found[name]["value"] for name in ("linear", "lora", "both")} == {
        "linear": 0.5, "lora": 1.0, "both": 1.0}
    assert found["gain"]["value"] == found["gain_both"]["value"] == 0.5
    assert found["gain"]["n"] == 2
    worse = fine_tuning.figures_of(pandalm, {**odds, "lora": -odds["lora"]})
    assert worse["gain"]["value"] == -0.5 and worse["gain"]["low"] < -0.5
    assert set(found) == set(fine_tuning.WORDS)
    assert fine_tuning.WORDS["gain_both"] == "their average over the committee"
    assert fine_tuning.WORDS["linear_ce"] == "committee: cross-entropy"
