"""The form of a version in training jobs: chosen, said, kept, and the same after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from reward_world import ask, import_pairs
from safetensors.numpy import load_file

from backbone.config import ModelConfig
from data.errors import BadInput
from data.progress import Stopped
from data.store import Store
from loop import cli
from loop.asking.extracting import extract_features
from loop.settings import read_settings
from loop.workspace import Plan, make_workspace
from reward.config import RewardConfig
from reward.forms import LEAST_PROMPTS
from reward.instant.response_features import ResponseFeatures

CONFIG = RewardConfig(epochs=4, responses_per_step=16, learning_rate=1e-2)
Array = np.ndarray[Any, Any]


Make = Callable[[bool], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A workspace with preferences; those on held-out prompts turned round, if asked for."""
    from data.prompts import split_of

    def made(turned: bool) -> Path:
        folder = tmp_path / f"turned-{turned}"
        make_workspace(folder, Plan(ModelConfig(checkpoint=str(_checkpoint(tmp_path))),
                                    starter_prompts=False))
        rows = []
        for n in range(100):
            prompt = f"tell me about the {('cat', 'dog', 'sea', 'house')[n % 4]} number {n}"
            texts = [f"yes {n}", f"no no never {n}"]
            held_out = split_of([{"role": "user", "content": prompt}]) == "held_out"
            if held_out and turned:
                texts.reverse()
            rows.append({"prompt": prompt, "chosen": texts[0], "rejected": texts[1]})
        import_pairs(folder, rows)
        return folder

    return made


def _checkpoint(folder: Path) -> Path:
    return folder / "tiny" if (folder / "tiny").exists() else tiny_checkpoint(folder)


def test_held_out_prompts_have_no_say(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = []
    for turned in (False, True):
        at = ["--workspace", str(make(turned)), "--epochs", "1"]
        made.append((ask(capsys, "train-reward", *at), tensors(Path(at[1]))))
    (one, first), (other, second) = made
    assert one["selection"] == other["selection"] and one["selection"]["pairs"] >= LEAST_PROMPTS
    assert first == second
    accuracy = [found["held_out_accuracy"]["value"] for found in (one, other)]
    assert accuracy[0] == pytest.approx(1 - accuracy[1]), "they are what the report is on"


def tensors(workspace: Path) -> dict[str, bytes]:
    """The newest version's numbers, to the bit; only the order of a file's notes is chance."""
    folder = workspace / Store.of_workspace(workspace).versions.reward_models()[-1].path
    return {f"{path.name}/{name}": values.tobytes() for path in folder.glob("*.safetensors")
            for name, values in load_file(path).items()}


def test_the_version_is_what_was_chosen_wherever_it_is_used(
        make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make(False)
    at = ["--workspace", str(workspace)]
    # one step of training leaves a LoRA model that knows little: the linear head is better
    made = ask(capsys, "train-reward", *at, "--epochs", "1", "--responses-per-step", "256",
               "--learning-rate", "1e-5")
    selection = made["selection"]
    assert selection["form"] in ("linear", "combined")
    store = Store.of_workspace(workspace)
    (version,) = store.versions.reward_models()
    assert version.metrics["selection"] == selection
    assert made["train"]["prompts"] + selection["prompts"] + made["prompts"] == 100
    again = ask(capsys, "eval-reward", *at)
    assert again["held_out_accuracy"] == made["held_out_accuracy"]
    assert again["cross_entropy"]["value"] == pytest.approx(made["cross_entropy"]["value"],
                                                            rel=1e-4)
    assert again["selection"] == selection
    assert made["held_out_accuracy"]["value"] > 0.9
    ask(capsys, "ppo", *at, "--batch-size", "4", "--minibatch-size", "4", "--max-new-tokens", "4",
        "--steps", "1", "--force")
    first = tensors(workspace)
    assert any(name.startswith("linear-0") for name in first)
    # stopped while the form is being chosen: the same version in the end
    from loop.jobs import JobProgress

    update = JobProgress.update

    def stop(self: JobProgress, fraction: float, message: str) -> None:
        if message.startswith("a linear head"):
            raise Stopped("enough")
        update(self, fraction, message)

    monkeypatch.setattr(JobProgress, "update", stop)
    same = ["train-reward", *at, "--epochs", "1", "--responses-per-step", "256",
            "--learning-rate", "1e-5"]
    assert cli.run(same) != 0
    monkeypatch.setattr(JobProgress, "update", update)
    job = max(job.id for job in store.jobs.all())
    resumed = ask(capsys, "train-reward", *at, "--resume", str(job))
    assert resumed["selection"] == selection
    assert tensors(workspace) == first and resumed["reward_model"] != version.name


def test_from_few_prompts_the_version_is_a_linear_head(
        make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make(False)
    at = ["--workspace", str(workspace)]
    few = ["train-reward", *at, "--selection-share", "0.05"]
    # stopped on the way: nothing is lost, and the next attempt comes to the same
    from loop.jobs import JobProgress

    update = JobProgress.update

    def stop(self: JobProgress, fraction: float, message: str) -> None:
        if message == "measuring":
            raise Stopped("enough")
        update(self, fraction, message)

    monkeypatch.setattr(JobProgress, "update", stop)
    assert cli.run(few) != 0
    monkeypatch.setattr(JobProgress, "update", update)
    store = Store.of_workspace(workspace)
    assert not store.versions.reward_models()
    capsys.readouterr()
    made = ask(capsys, "train-reward", *at, "--resume", str(max(j.id for j in store.jobs.all())))
    assert made["selection"]["form"] == "linear" and "too few" in made["selection"]["why"]
    assert made["train"]["prompts"] + made["prompts"] == 100, "nothing is kept back"
    assert made["held_out_accuracy"]["value"] > 0.9
    assert "instant_accuracy" not in made, "nothing is read to hold a head against a head"
    first = tensors(workspace)
    assert {name.split("/")[0] for name in first} == {"linear-0.safetensors"}
    again = ask(capsys, "eval-reward", *at)
    assert again["held_out_accuracy"] == made["held_out_accuracy"]
    assert again["selection"] == made["selection"]
    ask(capsys, "ppo", *at, "--batch-size", "4", "--minibatch-size", "4", "--max-new-tokens", "4",
        "--steps", "1", "--force")
    asked = ask(capsys, "train-reward", *at, "--form", "linear")
    assert asked["selection"] == {"form": "linear", "why": "asked for by the setting `form`"}
    assert tensors(workspace) == first


def test_what_an_older_prefloop_began_as_a_lora_model_stays_one(
        make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from loop.jobs import JobProgress

    def stop(self: JobProgress, step: int, values: dict[str, Any]) -> None:
        raise Stopped("enough")

    workspace = make(False)
    at = ["--workspace", str(workspace)]
    with monkeypatch.context() as older:
        older.setattr("reward.forms.unchosen", lambda _: {"form": "lora", "why": "too few"})
        older.setattr(JobProgress, "metrics", stop)
        assert cli.run(["train-reward", *at, "--selection-share", "0.05", "--epochs", "1"]) != 0
    capsys.readouterr()
    (job,) = Store.of_workspace(workspace).jobs.all()
    made = ask(capsys, "train-reward", *at, "--resume", str(job.id))
    assert made["selection"]["form"] == "lora" and made["train"]["steps"] > 1
    assert "adapter_model.safetensors" in {name.split("/")[0] for name in tensors(workspace)}


def test_a_tuned_reward_is_trained_kept_and_obeyed(
        make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make(False)
    at = ["--workspace", str(workspace)]
    tuned = ["train-reward", *at, "--form", "tuned", "--tuned-blocks", "1", "--epochs", "2",
             "--responses-per-step", "16", "--learning-rate", "1e-3"]
    made = ask(capsys, *tuned)
    assert made["selection"]["form"] == "tuned" and made["train"]["features"]
    assert made["train"]["prompts"] + made["prompts"] == 100, "nothing is kept back"
    assert made["held_out_accuracy"]["value"] > 0.9 and made["score_std"] > 0
    assert made["train"]["steps"] == made["train"]["planned_steps"] > 2
    store = Store.of_workspace(workspace)
    assert "instant_accuracy" not in made
    assert not ResponseFeatures(workspace, store.responses).ids(), "none are read"
    first = tensors(workspace)
    assert {name.split("/")[0] for name in first} == {"adapter_model.safetensors",
                                                      "linear.safetensors"}
    again = ask(capsys, "eval-reward", *at)
    assert again["held_out_accuracy"] == made["held_out_accuracy"]
    assert again["selection"] == made["selection"]
    ask(capsys, "ppo", *at, "--batch-size", "4", "--minibatch-size", "4", "--max-new-tokens", "4",
        "--steps", "1", "--force")
    # stopped on the way, it goes on, and comes to the same
    from loop.jobs import JobProgress

    metrics = JobProgress.metrics

    def stop(self: JobProgress, step: int, values: dict[str, Any]) -> None:
        metrics(self, step, values)
        if step == 2:
            raise Stopped("enough")

    monkeypatch.setattr(JobProgress, "metrics", stop)
    assert cli.run(tuned) != 0
    monkeypatch.setattr(JobProgress, "metrics", metrics)
    extract_features(store, workspace, read_settings(workspace))  # as a worker had read them
    resumed = ask(capsys, "train-reward", *at, "--resume",
                  str(max(job.id for job in store.jobs.all())))
    assert tensors(workspace) == first
    assert resumed["instant_accuracy"]["value"] > 0.9


def test_wrong_settings_are_named() -> None:
    for values, flag in (({"form": "head"}, "--form"), ({"selection_share": 0.0}, "--selection"),
                         ({"form": "tuned", "members": 2}, "--members: .* of tuned"),
                         ({"form": "linear", "members": 2}, "--members: .* of linear"),
                         ({"tuned_blocks": 0}, "--tuned-blocks"),
                         ({"selection_share": 1.0}, "--selection-share")):
        with pytest.raises(BadInput, match=flag):
            RewardConfig(**values)  # type: ignore[arg-type]
