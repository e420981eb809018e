"""A workspace is made whole or not at all, private, and never over something else."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from models import tiny_backbone, tiny_checkpoint

from backbone.config import ModelConfig
from backbone.model import Backbone
from backbone.storage import save_adapter
from data.errors import BadInput, PrefloopError
from data.store import Store
from loop import cli, workspace
from loop.settings import read_settings
from loop.workspace import Plan, make_workspace


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_holds_what_it_should_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "new"
    count = make_workspace(folder, Plan(seed=5))
    store = Store.of_workspace(folder)
    assert count == store.prompts.count() >= 240
    assert [(v.name, v.method, v.base, v.path) for v in store.versions.policies()] == [
        ("base", "base", "embedded", None)]
    assert {p.name for p in folder.iterdir()} >= {
        "prefloop.db", "prefloop.toml", "adapters", "checkpoints", "logs"}
    assert mode(folder) == mode(folder / "logs") == 0o700 and mode(folder / "prefloop.db") == 0o600
    assert read_settings(folder).workspace.seed == 5
    assert os.listdir(tmp_path / "runs") == ["new"]


def test_init_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["init", "--workspace", str(tmp_path / "w"), "--no-starter-prompts", "--json"]
    assert cli.run(command) == 0
    assert json.loads(capsys.readouterr().out)["created"] is True
    before = (tmp_path / "w" / "prefloop.toml").read_text()
    assert cli.run(["init", "--workspace", str(tmp_path / "w"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["created"] is False
    assert (tmp_path / "w" / "prefloop.toml").read_text() == before
    assert cli.run(["init", "--workspace", str(tmp_path / "w"), "--lora-rank", "4"]) == 2
    assert "keeps its settings" in capsys.readouterr().err


def test_init_says_what_it_did_not_take(tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "Why?", "mood": "x"}\n'
                    '{"prompt": "How?", "tools": [{"name": "map"}]}\n')
    command = ["init", "--workspace", str(tmp_path / "w"), "--no-starter-prompts", "--json",
               "--prompts", str(path)]
    assert cli.run(command) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["prompts"] == 1
    assert err == (f"{path}: 1 prompts added; 1 left out: a dialogue with tools; "
                   "fields not read: mood\n")


def test_init_again_with_the_same_flags_is_fine(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "Why?"}\n')
    command = ["init", "--workspace", str(tmp_path / "w"), "--no-starter-prompts", "--lora-rank",
               "4", "--seed", "3", "--prompts", str(tmp_path / "p.jsonl")]
    assert cli.run(command) == cli.run(command) == 0
    store = Store.of_workspace(tmp_path / "w")
    assert store.prompts.count() == 1
    assert [(e.action, e.subject, e.details["added"]) for e in store.audit.entries()] == [
        ("import", "p.jsonl", 0), ("import", "p.jsonl", 1)]
    assert cli.run([*command, "--lora-rank", "5"]) == cli.run([*command, "--seed", "4"]) == 2


@pytest.mark.parametrize("command", [["init"], ["up", "--port", "1"], ["worker", "--once"]])
def test_another_seed_than_the_workspaces_is_refused_and_not_passed_over(
        command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_workspace(tmp_path / "w", Plan(seed=5, starter_prompts=False))
    assert cli.run([*command, "--workspace", str(tmp_path / "w"), "--seed", "7"]) == 2
    assert capsys.readouterr().err == (
        f"prefloop: --seed: {tmp_path / 'w'} is a workspace already and keeps its seed, 5: change "
        f"it in {tmp_path / 'w' / 'prefloop.toml'}, or give a new folder\n")
    assert cli.run(["worker", "--workspace", str(tmp_path / "none"), "--seed", "7"]) == 2
    assert "holds no workspace" in capsys.readouterr().err


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(BadInput, match="not empty"):
        make_workspace(tmp_path, Plan())
    assert os.listdir(tmp_path) == ["thesis.txt"]


@pytest.mark.parametrize("new_disk", [False, True])
def test_an_empty_folder_is_taken(new_disk: bool, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    if new_disk:
        (tmp_path / "w" / "lost+found").mkdir()
    make_workspace(tmp_path / "w", Plan(starter_prompts=False))
    assert Store.of_workspace(tmp_path / "w").prompts.count() == 0


@pytest.mark.parametrize("named", [".", "link"])
def test_a_folder_that_cannot_be_replaced_is_made_one_in_place(
        named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "link").symlink_to("w")
    before = (tmp_path / "w").stat().st_ino
    (tmp_path / "w" / ".partial-4194305").mkdir()  # a killed init's
    monkeypatch.chdir(tmp_path / "w" if named == "." else tmp_path)
    assert cli.run(["init", "--workspace", named, "--no-starter-prompts"]) == 0
    assert {*os.listdir(tmp_path / "w")} == {"prefloop.db", "prefloop.toml", "adapters",
                                             "checkpoints", "logs"}
    assert Store.of_workspace(tmp_path / "w").prompts.count() == 0
    assert (tmp_path / "w").stat().st_ino == before and mode(tmp_path / "w") == 0o700
    assert (tmp_path / "link").is_symlink() and {*os.listdir(tmp_path)} == {"w", "link"}


@pytest.mark.parametrize("at", ["logs", "prefloop.toml", "prefloop.db"])
def test_what_fails_in_place_leaves_the_folder_empty(at: str, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").mkdir()
    mkdir, rename = Path.mkdir, Path.rename

    def refuse(path: Path) -> None:
        if path == tmp_path / "w" / at:
            raise OSError(errno.EIO, "the disk is gone")

    def making(self: Path, *arguments: Any, **named: Any) -> None:
        refuse(self)
        mkdir(self, *arguments, **named)

    def moving(self: Path, place: Path) -> Path:
        refuse(place)
        return rename(self, place)

    monkeypatch.setattr(Path, "mkdir", making)
    monkeypatch.setattr(Path, "rename", moving)
    with pytest.raises(PrefloopError, match="the disk is gone"):
        make_workspace(tmp_path / "w", Plan(starter_prompts=False))
    assert os.listdir(tmp_path / "w") == []


@pytest.mark.parametrize("is_there", [False, True])
def test_of_two_that_make_it_at_once_the_second_leaves_it_to_the_first(
        is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    fill, folder = workspace._fill, tmp_path / "w"
    command = ["init", "--workspace", str(folder), "--seed", "5", "--no-starter-prompts"]
    if is_there:
        folder.mkdir()

    def slowly(*arguments: Any) -> int:
        """Another one is begun while this one is at work, and is through before it."""
        monkeypatch.setattr(workspace, "_fill", fill)
        with monkeypatch.context() as there:
            there.setattr(os, "getpid", lambda: 1)
            make_workspace(folder, Plan(seed=7))
        return fill(*arguments)

    monkeypatch.setattr(workspace, "_fill", slowly)
    assert cli.run(command) == 1
    assert capsys.readouterr().err == (
        f"prefloop: {folder} was made by another command meanwhile, and is left as that one has "
        "it: run this one again to go on with it\n")
    assert {*os.listdir(tmp_path)} == {"w"} and len(os.listdir(folder)) == 5
    assert read_settings(folder).workspace.seed == 7
    assert Store.of_workspace(folder).prompts.count() >= 240


@pytest.mark.parametrize("content", ['{"prompt": "fine"}\n{"prompt": 3}\n', ""])
def test_a_bad_file_of_prompts_leaves_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(BadInput, match=r"p\.jsonl"):
        make_workspace(tmp_path / "w", Plan(prompts=tmp_path / "p.jsonl"))
    assert os.listdir(tmp_path) == ["p.jsonl"]


def test_an_interrupted_init_leaves_nothing(tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workspace, "_first_version", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_workspace(tmp_path / "w", Plan())
    assert os.listdir(tmp_path) == []


def test_what_a_killed_init_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".w.partial-4194305"  # above the largest pid
    left.mkdir()
    make_workspace(tmp_path / "w", Plan(starter_prompts=False))
    assert os.listdir(tmp_path) == ["w"]


def test_models_are_checked_and_folders_made_absolute(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"--checkpoint: .* holds no config\.json"):
        make_workspace(tmp_path / "w", Plan(ModelConfig(checkpoint="./none")))
    with pytest.raises(BadInput, match=r"--sft-adapter: .* holds no adapter_config\.json"):
        make_workspace(tmp_path / "w", Plan(ModelConfig(sft_adapter="none")))
    _adapter_of(tiny_backbone(tmp_path), tmp_path / "sft")
    make_workspace(tmp_path / "w", Plan(ModelConfig(checkpoint="tiny", sft_adapter="sft")))
    first = Store.of_workspace(tmp_path / "w").versions.policies()[0]
    assert (first.name, first.method) == ("sft", "sft")
    assert (first.base, first.path) == (str(tmp_path / "tiny"), str(tmp_path / "sft"))
    assert read_settings(tmp_path / "w").models.checkpoint == str(tmp_path / "tiny")


def _adapter_of(backbone: Backbone, folder: Path) -> None:
    backbone.add_adapter("policy", backbone.new_lora_config(4, 8))
    save_adapter(backbone, "policy", folder)


def _change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_base_that_sampling_would_refuse_is_refused_before_a_folder_is_made(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*flags: str) -> str:
        assert cli.run(["init", "--workspace", str(tmp_path / "w"), *flags]) == 2
        assert not (tmp_path / "w").exists()
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and flags[-2] in said
        return said

    tiny = str(tiny_checkpoint(tmp_path))
    _adapter_of(tiny_backbone(tmp_path), tmp_path / "sft")
    with_tiny = ["--checkpoint", tiny, "--sft-adapter", str(tmp_path / "sft")]
    assert "was trained on tiny, and this workspace's checkpoint is SmolLM2-135M-Instruct" in (
        refused(*with_tiny[2:]))
    _change(tmp_path / "sft" / "adapter_config.json", use_dora=True)
    assert "has use_dora = true" in refused(*with_tiny)
    (tmp_path / "tiny" / "chat_template.jinja").unlink()
    assert "has no chat template" in refused("--checkpoint", tiny)
    (tmp_path / "tiny" / "model.safetensors").rename(tmp_path / "tiny" / "model.bin")
    assert "no weights as safetensors" in refused("--pretrained-checkpoint", tiny)
    _change(tmp_path / "tiny" / "config.json", model_type="own")
    assert "cannot be loaded" in refused("--pretrained-checkpoint", tiny)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.run(["init", "--workspace", str(tmp_path / "file" / "w")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_device_that_there_could_not_be_is_refused_before_a_folder_is_made(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "w"
    for device in ("gpu", "cuda:", "cuda:x", "mps", ""):
        assert cli.run(["init", "--workspace", str(folder), f"--device={device}"]) == 2
        assert capsys.readouterr().err == (
            f"prefloop: --device: {device!r} is not auto, cpu, cuda or cuda:N\n")
    assert not folder.exists()
    for device in ("auto", "cpu", "cuda", "cuda:0", "cuda:12"):
        assert ModelConfig(device=device).device == device
    make_workspace(folder, Plan())
    (folder / "prefloop.toml").write_text('[models]\ndevice = "gpu"\n')
    with pytest.raises(BadInput, match=r"\[models\] device: 'gpu' is not auto"):
        read_settings(folder)
