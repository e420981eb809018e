"""The gate where jobs meet it: trained, refused, forced, and reported on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from gate_world import label, workspace
from models import one_thread  # noqa: F401

from data.reward_reports import latest_report
from data.store import Store
from loop import cli
from loop.reports.reward import print_report

assert workspace  # a fixture


def test_without_labels_nothing_is_loaded(workspace: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    from loop import models

    models._loaded.clear()
    assert cli.run(["train-reward", "--workspace", str(workspace)]) == 2
    assert "there are no comparisons to learn from" in capsys.readouterr().err
    assert not models._loaded


def test_from_training_to_a_refusal_a_report_and_force(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace)]
    label(workspace)
    assert cli.run(["train-reward", *at, "--epochs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "By strength: No group has 10 decided pairs" in shown
    store = Store.of_workspace(workspace)
    model = store.versions.reward_models()[0]
    assert "held_out_scores" not in model.metrics and model.metrics["drift"] is None
    assert model.metrics["baselines"]["previous"] is None

    ppo = ["ppo", *at, "--steps", "1", "--batch-size", "2", "--minibatch-size", "2",
           "--max-new-tokens", "4"]
    assert cli.run(ppo) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "too few held-out pairs to tell" in said[0] and "--force" in said[0]
    assert [job.kind for job in store.jobs.all()] == ["train-reward"], "nothing was queued"
    # From the browser of an older prefloop, say: the job itself refuses too.
    queued = store.jobs.add("ppo", {"steps": 1})
    assert cli.run(["ppo", *at, "--resume", str(queued.id)]) == 1
    assert "too few held-out pairs" in (store.jobs.get(queued.id).error or "")
    assert cli.run([*ppo, "--force"]) == 0
    assert "was forced" in capsys.readouterr().err
    made = store.versions.policies()[-1]
    assert made.method == "ppo" and "was forced" in made.metrics["gate"] and made.config["force"]

    assert cli.run(["train-reward", *at, "--epochs", "1", "--seed", "3"]) == 0
    second = store.versions.reward_models()[-1]
    assert second.metrics["baselines"]["previous"]["name"] == "reward-1"
    assert second.metrics["baselines"]["previous"]["accuracy"] == (
        model.metrics["held_out_accuracy"]), "scored again, the version before is what it was"
    capsys.readouterr()
    page = tmp_path / "report.html"
    assert cli.run(["eval-reward", *at, "--json", "--html", str(page)]) == 0
    result = json.loads(capsys.readouterr().out)
    for key in ("held_out_accuracy", "cross_entropy", "groups", "mistakes"):
        assert result[key] == json.loads(json.dumps(second.metrics[key])), key
    assert latest_report(store, second).again
    text = page.read_text()
    assert "Reward model reward-2" in text and "The worst mistakes" in text
    assert not [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")]


def test_a_report_on_a_file_brings_its_texts_which_are_escaped(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace)]
    label(workspace)
    assert cli.run(["train-reward", *at, "--epochs", "1"]) == 0
    hostile = "<script>alert(1)</script> <img src=http://evil.test/x onerror=alert(1)>"
    rows = [{"prompt": f"{hostile} {n}", "chosen": f"{hostile} yes {n}", "rejected": f"no {n}",
             "strength": 4} for n in range(6)]
    rows += [{"prompt": r["prompt"] + " again", "chosen": r["rejected"], "rejected": r["chosen"],
              "strength": 1} for r in rows]
    dropped = [{**rows[0], "set_aside": True}] * 2 + [{**rows[0], "rejected": rows[0]["chosen"]}]
    (tmp_path / "other.jsonl").write_text("\n".join(map(json.dumps, [*rows, *dropped])))
    page = tmp_path / "file.html"
    capsys.readouterr()
    assert cli.run(["eval-reward", *at, "--data", str(tmp_path / "other.jsonl"), "--json",
                    "--html", str(page)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["drift"] is None and result["groups"]["agreement"]["rows"] == []
    assert result["pairs"] == 12 and result["file"] == {"prompts": 12, "training_prompts": 0}
    assert [row["name"] for row in result["groups"]["strength"]["rows"]] == [
        "significantly better", "negligibly better"]
    assert result["left_out"] == {"an answer that was set aside": 2,
                                  "chosen and rejected are the same": 1}
    said = ("Left out of the file: 2 (an answer that was set aside), "
            "1 (chosen and rejected are the same).")
    assert said in page.read_text()
    print_report(result)
    shown = capsys.readouterr().out
    assert said in " ".join(shown.split()) and "prefloop eval-reward --html FILE" in shown
    print_report(result, page)
    assert capsys.readouterr().out.endswith(f"Reward model page of the app, or in {page}\n")
    assert result["mistakes"] and all(m["texts"]["chosen"] for m in result["mistakes"])
    body = page.read_text()
    body = body[body.index("The worst mistakes"):]
    assert "&lt;script&gt;alert(1)" in body and "<script>alert" not in body and "<img" not in body
    assert not latest_report(Store.of_workspace(workspace), Store.of_workspace(
        workspace).versions.reward_models()[-1]).again
    assert cli.run(["eval-reward", *at, "--html", str(tmp_path / "none" / "x.html")]) == 2
    assert "--html: there is no folder" in capsys.readouterr().err


def test_a_version_whose_files_are_gone_is_named_not_fatal(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace)]
    label(workspace)
    assert cli.run(["train-reward", *at, "--epochs", "1"]) == 0
    shutil.rmtree(workspace / "adapters" / "reward-1")
    assert cli.run(["train-reward", *at, "--epochs", "1"]) == 0
    found = Store.of_workspace(workspace).versions.reward_models()[-1].metrics
    assert found["previous_missing"]["name"] == "reward-1" and found["previous_missing"]["why"]
    assert "The version before, reward-1, could not be read" in capsys.readouterr().out
