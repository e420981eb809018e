"""What is trained survives a power cut: it is on the disk before it has its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backbone.resume import BEGINNING, keep_beginning
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
