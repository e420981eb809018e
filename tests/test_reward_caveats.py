"""What a report is over, and what flatters it, is said wherever it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gate_world import label, metrics, workspace
from models import one_thread  # noqa: F401

from data.reward_reports import judge
from data.store import Store
from loop import cli

assert workspace  # a fixture


def test_a_report_on_a_file_calls_nothing_held_out_and_counts_training_prompts(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace)]
    pairs = label(workspace)
    assert cli.run(["train-reward", *at, "--epochs", "1"]) == 0
    page, file = tmp_path / "file.html", tmp_path / "other.jsonl"
    rows = pairs.read_text().splitlines()
    file.write_text("\n".join([*rows, json.dumps(
        {"prompt": "of nobody's", "chosen": "yes", "rejected": "no"})]))
    trained = len(Store.of_workspace(workspace).prompts.all(split="train"))
    assert 0 < trained < 24, "the file's others are held out here, or new"
    capsys.readouterr()
    arguments = ["eval-reward", *at, "--data", str(file), "--html", str(page)]
    assert cli.run([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["file"] == {"prompts": 25, "training_prompts": trained}
    assert cli.run([*arguments, "--overwrite"]) == 0
    said = f"Over the pairs of a file: {trained} of its 25 prompts are training prompts"
    shown = " ".join(capsys.readouterr().out.split())
    for text in (page.read_text(), shown):
        assert said in text and "Accuracy over the file" in text
        assert "held-out" not in text.lower() and "held out" not in text.lower()
    assert "in the file" in judge({**metrics(5, 9), "file": result["file"]}).reason
    assert "on the file" in judge({**metrics(50, 100), "file": result["file"]}).reason
    assert "held-out prompts" in judge(metrics(50, 100)).reason
    capsys.readouterr()
    assert cli.run(["eval-reward", *at, "--html", str(page), "--overwrite"]) == 0
    assert "Over held-out prompts, on which no reward model is trained" in page.read_text()


def test_an_epoch_that_held_out_pairs_chose_is_said_wherever_they_are_reported_on(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace)]
    pairs = label(workspace)
    page, said = tmp_path / "report.html", "was kept because it was the best on held-out pairs"
    assert cli.run(["train-reward", *at, "--form", "lora", "--epochs", "2", "--patience",
                    "2"]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    version = Store.of_workspace(workspace).versions.reward_models()[0]
    assert version.metrics["epoch_chosen"]["of"] == 2
    assert cli.run(["eval-reward", *at, "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert said in page.read_text() and said in " ".join(shown.split())
    assert shown.endswith(f"\nreport written to {page}\n") and "--html" not in shown
    assert cli.run(["eval-reward", *at, "--data", str(pairs), "--html",
                    str(page), "--overwrite"]) == 0
    assert said not in page.read_text(), "these pairs chose nothing"
