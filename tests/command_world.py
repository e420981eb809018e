"""A workspace as `prefloop init` makes it, for tests of the command line."""

from pathlib import Path

import pytest

from loop import cli


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """With the starter prompts."""
    folder = tmp_path / "ws"
    assert cli.run(["init", "--workspace", str(folder)]) == 0
    capsys.readouterr()
    return folder
