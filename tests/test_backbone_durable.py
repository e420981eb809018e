"""What is trained survives a power cut: it is on the disk before it has its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from backbone.resume import BEGINNING, keep_beginning, load_training, save_training
from backbone.storage import write_folder
from policy.offering import FOLDER, copy_kept


def fill(folder: Path) -> None:
    (folder / "below").mkdir(exist_ok=True)
    for name in ("weights", "below/about"):
        (folder / name).write_text(name)


def anew(folder: Path) -> Path:
    write_folder(folder / "made", fill)
    return folder / "made"


def again(folder: Path) -> Path:
    (folder / "made").mkdir()
    return anew(folder)


def kept(folder: Path) -> Path:
    fill(folder)
    (folder / FOLDER).mkdir()
    fill(folder / FOLDER)
    copy_kept(folder, folder / "adapter")
    return folder / "adapter" / FOLDER


def began(folder: Path) -> Path:
    keep_beginning(folder, {"prompts": [1, 2]})
    return folder / BEGINNING


@pytest.mark.parametrize("make", [anew, again, kept, began])
def test_all_of_it_is_on_the_disk_before_its_name_and_then_the_name(
        make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, replace = os.fsync, os.replace
    synced: list[Path] = []
    named: list[tuple[Path, set[Path], int]] = []

    def note_sync(file: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{file}")))
        sync(file)

    def note_name(partial: Path, place: Path) -> None:
        lacking = {partial, *partial.rglob("*")} - {*synced}
        named.append((place, lacking, len(synced)))
        replace(partial, place)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_name)
    place = make(tmp_path)
    assert place.exists()
    assert [(name, lacking) for name, lacking, _ in named] == [(place, set())]
    assert synced[named[0][2]:] == [place.parent]


def test_of_two_checkpoints_the_newer_is_gone_on_from(tmp_path: Path) -> None:
    """A kill between writing one and removing the one before leaves both."""
    run = tmp_path / "run"
    for step in (9, 10, 100):
        save_training(run, step, {"w": torch.full((2,), float(step))}, {}, {"step": step})
        shutil.copytree(run, tmp_path / "all", dirs_exist_ok=True)
    assert len(list((tmp_path / "all").iterdir())) == 3
    found = load_training(tmp_path / "all", {})
    assert found is not None and found[1] == {"step": 100}
    assert found[0]["w"].tolist() == [100.0, 100.0]
    save_training(tmp_path / "all", 101, {}, {}, {"step": 101})
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["step-00000101"]
