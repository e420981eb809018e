"""What the tests of the gate share: a report with so many pairs, and a workspace to judge in."""

from pathlib import Path
from typing import Any

import pytest
from reward_world import import_pairs, tiny_workspace, yes_over_no

from data.measures.statistics import clustered_mean


def metrics(right: int, n: int, longer: float = 0.5) -> dict[str, Any]:
    """A report on n pairs, each of its own prompt."""
    found = clustered_mean([1.0] * right + [0.0] * (n - right), list(range(n)))
    assert found
    return {"held_out_accuracy": found.as_dict(),
            "baselines": {"chance": 0.5, "longer": {**found.as_dict(), "value": longer}}}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """On a tiny model, without prompts."""
    return tiny_workspace(tmp_path)


def label(workspace: Path) -> Path:
    """Bring preferences for good over bad, on 24 prompts, into a workspace; returns their file."""
    return import_pairs(workspace, yes_over_no(24, " <b>"))
