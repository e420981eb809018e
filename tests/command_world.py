"""Workspaces for tests of the command line and of what runs beside it."""

from pathlib import Path

import pytest

from loop import cli
from loop.workspace import Plan, make_workspace


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """As `prefloop init` makes it, with the starter prompts."""
    folder = tmp_path / "ws"
    assert cli.run(["init", "--workspace", str(folder)]) == 0
    capsys.readouterr()
    return folder


@pytest.fixture
def bare_workspace(tmp_path: Path) -> Path:
    """Without prompts: nothing is sampled, so no model is loaded. Its name holds a space."""
    folder = tmp_path / "a workspace"
    make_workspace(folder, Plan(starter_prompts=False))
    return folder
