"""Files that commands write: what could not be kept, or would be lost, is refused at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_world import workspace

from data.errors import BadInput
from data.store import DATABASE_NAME, Store
from loop import cli
from loop.targets import check_target

assert workspace  # a fixture

ROW = {"prompt": "Why?", "response": "So.", "chosen": "So.", "rejected": "No."}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A file that the commands below could read."""
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    return file


def writing(command: str, given: Path, target: Path) -> list[str]:
    """The command line that is to write the target."""
    return {"export": ["export", str(target)], "backup": ["backup", str(target)],
            "score": ["score", str(given), "--output", str(target)],
            "eval-reward": ["eval-reward", "--html", str(target)]}[command]


@pytest.mark.parametrize("command", ["export", "backup", "score", "eval-reward"])
def test_every_command_that_writes_a_file_has_one_rule_for_it(
        command: str, workspace: Path, given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, nowhere = workspace.parent / "there.jsonl", workspace.parent / "none" / "x.jsonl"
    there.write_text("mine")
    folder = workspace.parent / "folder"
    folder.mkdir()
    pipe = workspace.parent / "pipe.jsonl"
    os.mkfifo(pipe)
    for target, flags, said in (
            (pipe, ["--overwrite"], f"{pipe} is a device or a pipe: give a file name"),
            (there, [], f"{there} is there already: give another name, or --overwrite"),
            (folder, [], f"{folder} is a folder: give a file name"),
            (folder, ["--overwrite"], f"{folder} is a folder: give a file name"),
            (nowhere, [], f"there is no folder {nowhere.parent}: make it, or give another name")):
        arguments = [*writing(command, given, target), *flags, "--workspace", str(workspace)]
        assert cli.run(arguments) == 2
        shown = capsys.readouterr()
        flag = {"score": "--output: ", "eval-reward": "--html: "}.get(command, "")
        assert shown.err == f"prefloop: {flag}{said}\n" and shown.out == ""
    assert there.read_text() == "mine" and not nowhere.parent.exists()
    assert not [*folder.iterdir()] and not Store.of_workspace(workspace).jobs.all()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null"])
def test_names_of_streams_are_never_replaced(name: str) -> None:
    with pytest.raises(BadInput, match="a device or a pipe"):
        check_target(Path(name), True)


@pytest.mark.parametrize("command", ["export", "backup", "score", "eval-reward"])
def test_a_folder_that_may_not_be_written_is_said_at_once(
        command: str, workspace: Path, given: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    folder = workspace.parent / "read only"
    folder.mkdir()
    access = os.access  # root may write anywhere
    monkeypatch.setattr(os, "access",
                        lambda path, mode: path != folder.resolve() and access(path, mode))
    assert cli.run([*writing(command, given, folder / "x.jsonl"), "--workspace",
                    str(workspace)]) == 2
    assert f"nothing may be written in {folder}: give a file" in capsys.readouterr().err
    assert not Store.of_workspace(workspace).jobs.all()


@pytest.mark.parametrize("command", [
    ["score", "in.jsonl", "--output"], ["eval-reward", "--data", "in.jsonl", "--html"]])
def test_what_a_command_reads_it_never_replaces(
        command: list[str], workspace: Path, given: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(given.parent)
    before = given.read_bytes()
    for other in ("./in.jsonl", "link.jsonl"):
        Path("link.jsonl").unlink(missing_ok=True)
        Path("link.jsonl").symlink_to("in.jsonl")
        assert cli.run([*command, other, "--overwrite", "--workspace", str(workspace)]) == 2
        assert "is the file that is read: give another name" in capsys.readouterr().err
    assert given.read_bytes() == before


@pytest.mark.parametrize("command", ["export", "backup", "score", "eval-reward"])
def test_the_live_database_is_never_replaced(
        command: str, workspace: Path, given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = workspace / DATABASE_NAME
    before = database.stat().st_ino
    (workspace.parent / "link.jsonl").symlink_to(database)
    for target in (database, workspace.parent / "link.jsonl"):
        assert cli.run([*writing(command, given, target), "--overwrite",
                        "--workspace", str(workspace)]) == 2
        assert "is the file that is read: give another name" in capsys.readouterr().err
    assert database.stat().st_ino == before and database.read_bytes().startswith(b"SQLite")
    assert not Store.of_workspace(workspace).jobs.all()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_file_whose_name_is_no_text_is_written_and_said(workspace: Path, as_json: bool) -> None:
    name = os.fsdecode(b"caf\xe9.db")
    done = subprocess.run(
        [sys.executable, "-m", "loop", "backup", str(workspace.parent / name), "--workspace",
         str(workspace), *(["--json"] if as_json else [])], capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})  # as in a locale other than C
    assert (done.returncode, done.stderr) == (0, b"")
    assert (workspace.parent / name).is_file()
    said = done.stdout.decode()
    assert json.loads(said)["file"].endswith(name) if as_json else "caf\\udce9.db" in said
