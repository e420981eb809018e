"""`prefloop restore`: a backup in the place of the database, while nobody works over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_world import workspace

from data.store import Store
from loop import cli
from loop.lock import WorkerLock

assert workspace  # a fixture


def test_a_backup_is_restored_and_what_was_there_is_kept(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, at = tmp_path / "today.db", ["--workspace", str(workspace)]
    assert cli.run(["backup", str(backup), *at]) == 0
    assert cli.run(["labeler", "add", "Ann", *at]) == 0
    capsys.readouterr()
    with WorkerLock(workspace):
        assert cli.run(["restore", str(backup), *at]) == 1
    assert "is in use: end `prefloop up`" in capsys.readouterr().err
    kept = workspace / "prefloop.db.before-restore-1"
    assert cli.run(["restore", str(backup), *at]) == 0
    assert f"restored from {backup}; what was there is {kept}\n" in capsys.readouterr().out
    assert not Store.of_workspace(workspace).people.all()
    assert [person.name for person in Store(kept).people.all()] == ["Ann"]
    # Also one that cannot be opened, or is lost: then the settings file tells a workspace.
    (workspace / "prefloop.db").write_bytes(b"nothing that SQLite knows" * 100)
    assert cli.run(["status", *at]) == 1
    assert "`prefloop restore FILE` puts a backup in its place" in capsys.readouterr().err
    assert cli.run(["restore", str(backup), *at]) == 0
    assert str(workspace / "prefloop.db.before-restore-2") in capsys.readouterr().out
    for lost in workspace.glob("prefloop.db*"):
        lost.unlink()
    assert cli.run(["restore", str(backup), *at, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(backup), "kept": None}
    assert Store.of_workspace(workspace).prompts.count()


def test_nothing_is_restored_where_there_is_no_workspace(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["restore", str(tmp_path / "x.db"), "--workspace", str(tmp_path / "no")]) == 2
    assert "holds no workspace" in capsys.readouterr().err and not (tmp_path / "no").exists()
