"""`prefloop restore`: a backup in the place of the database, while nobody works over it."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from command_world import workspace

from backbone.config import ModelConfig
from backbone.storage import write_folder
from data.store import Store
from loop import cli
from loop.lock import WorkerLock
from loop.models import Versions

assert workspace  # a fixture


def restore(backup: Path, *flags: str) -> int:
    """As in a process of its own: whatever commands before it have opened here is closed."""
    gc.collect()
    return cli.run(["restore", str(backup), *flags])


def test_a_backup_is_restored_and_what_was_there_is_kept(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, at = tmp_path / "today.db", ["--workspace", str(workspace)]
    assert cli.run(["backup", str(backup), *at]) == 0
    assert cli.run(["labeler", "add", "Ann", *at]) == 0
    capsys.readouterr()
    with WorkerLock(workspace):
        assert restore(backup, *at) == 1
    assert f"is in use: end `prefloop up --workspace {workspace}`" in capsys.readouterr().err
    kept = workspace / "prefloop.db.before-restore-1"
    assert restore(backup, *at) == 0
    said = capsys.readouterr().out
    assert f"restored from {backup}; what was there is {kept}\n" in said
    assert f"`prefloop labeler link NAME --workspace {workspace}` one for anybody" in said
    assert not Store.of_workspace(workspace).people.all()
    assert [person.name for person in Store(kept).people.all()] == ["Ann"]
    # Also one that cannot be opened, or is lost: then the settings file tells a workspace.
    (workspace / "prefloop.db").write_bytes(b"nothing that SQLite knows" * 100)
    assert cli.run(["status", *at]) == 1
    assert (f"`prefloop restore FILE --workspace {workspace}` puts a backup in its place"
            in capsys.readouterr().err)
    assert restore(backup, *at) == 0
    assert str(workspace / "prefloop.db.before-restore-2") in capsys.readouterr().out
    for lost in workspace.glob("prefloop.db*"):
        lost.unlink()
    assert restore(backup, *at, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(backup), "kept": None, "adapters": None}
    assert Store.of_workspace(workspace).prompts.count()


def test_adapters_that_a_backup_does_not_name_are_not_written_over(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, at = tmp_path / "today.db", ["--workspace", str(workspace)]

    def trained(method: str) -> None:
        versions = Store.of_workspace(workspace).versions
        name = Versions(Store.of_workspace(workspace), workspace, ModelConfig()).next_name(method)
        write_folder(workspace / "adapters" / name, (lambda at: (at / "w").write_text(method)))
        versions.add_policy(name=name, base="tiny", method=method, path=f"adapters/{name}")

    trained("best-of-n")
    assert cli.run(["backup", str(backup), *at]) == 0
    trained("ppo")
    capsys.readouterr()
    assert restore(backup, *at) == 0
    aside = workspace / "adapters.before-restore-1"
    assert (f"before-restore-1; adapters that it does not name are in {aside}\n"
            "everybody has to sign in anew: ") in capsys.readouterr().out
    trained("ppo")  # the same name, and other files
    (workspace / "adapters" / "ppo-1" / "w").write_text("another")
    assert (aside / "ppo-1" / "w").read_text() == "ppo"
    assert sorted(path.name for path in (workspace / "adapters").iterdir()) == [
        "best-of-n-1", "ppo-1"]
    for path in workspace.glob("prefloop.db*"):  # what is kept has one number, also without it
        path.unlink()
    assert restore(backup, *at, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(backup), "kept": None, "adapters": f"{workspace}/adapters.before-restore-2"}


def test_nothing_is_restored_where_there_is_no_workspace(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore(tmp_path / "x.db", "--workspace", str(tmp_path / "no")) == 2
    assert "holds no workspace" in capsys.readouterr().err and not (tmp_path / "no").exists()
