"""A workspace whose `prefloop ppo` runs what a test puts there, here or as a program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from data_world import user

from data.store import Store
from loop import cli
from loop.context import JobContext
from loop.workspace import Plan, make_workspace

PROGRAM = """
import sys, time
from types import ModuleType

def slow(context):
    for step in range(4000):
        context.progress.update(step / 4000, f"step {step}")
        (context.workspace / "started").touch()  # after its line, which else comes when it may
        time.sleep(0.05)
    return {}

stages = ModuleType("loop.stages.handlers")
stages.HANDLERS = {"ppo": slow}
sys.modules["loop.stages.handlers"] = stages
from loop.cli import main
main()
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """With one training prompt and a reward model, without which PPO is refused."""
    make_workspace(tmp_path / "w", Plan(starter_prompts=False))
    store = Store.of_workspace(tmp_path / "w")
    store.prompts.add(user("Why?"), "test", split="train")
    store.versions.add_reward_model(name="reward-1", base=store.versions.policies()[0].base,
                                    path="nowhere", comparisons={})
    return tmp_path / "w"


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[JobContext], Any]], None]:
    """Puts a handler for PPO in the place of the real stages."""
    def put(handler: Callable[[JobContext], Any]) -> None:
        module = ModuleType("loop.stages.handlers")
        module.HANDLERS = {"ppo": handler}  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "loop.stages.handlers", module)

    return put


def ppo(workspace: Path, *flags: str) -> int:
    return cli.run(["ppo", "--workspace", str(workspace), "--json", *flags])
