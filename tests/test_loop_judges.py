"""The further reward models that PPO asks: one that is gone is said, and keeps no run from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from policy_world import saved_reward_model

from backbone.config import ModelConfig
from data.records import Message
from data.store import Store
from loop import cli, models
from loop.workspace import Plan, make_workspace


def test_a_judge_that_cannot_be_read_is_named_and_the_others_are_asked(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(models, "_loaded", {})
    base, at = str(tiny_checkpoint(tmp_path / "a")), tmp_path / "w"
    make_workspace(at, Plan(ModelConfig(checkpoint=base, lora_rank=4, lora_alpha=8,
                                        precision="fp32", device="cpu"), starter_prompts=False))
    store = Store.of_workspace(at)
    store.prompts.add([Message(role="user", content="tell me about the cat")], "test",
                      split="train")
    for name in ("reward-1", "reward-2", "reward-3"):
        if name != "reward-2":  # it was removed to make room
            saved_reward_model(at / "adapters" / name, tiny_backbone(tmp_path / "a"))
        store.versions.add_reward_model(name=name, base=base, path=f"adapters/{name}",
                                        comparisons={}, metrics={})
    assert cli.run(["ppo", "--workspace", str(at), "--steps", "1", "--batch-size", "4",
                    "--minibatch-size", "4", "--max-new-tokens", "8"]) == 0
    assert "judges missing: reward-2: " in capsys.readouterr().out
    made = store.versions.policies()[-1].metrics
    assert made["judges_missing"].startswith("reward-2: ") and "judge_reward" in made
