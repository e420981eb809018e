"""PPO on two checkpoints: what the value model stands on follows from how they number tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from models import TEXTS, one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from policy_world import saved_reward_model

from backbone.config import ModelConfig
from data.records import Message
from data.store import Store
from loop import cli, models
from loop.workspace import Plan, make_workspace
from policy import ppo
from policy.roles import Roles


@pytest.mark.parametrize(("texts", "anew"), [
    (TEXTS, False), (("the dog and the cat",), True),
    (("a few words that the policy never heard of , but more of them than it has , so that all of "
      "its tokens have a place here which is not theirs , since they are put in by how often they "
      "come and by who comes first , as are these others , for one example here another there",),
     True)])
def test_a_value_model_reads_the_tokens_that_the_policy_writes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, ...],
        anew: bool) -> None:
    monkeypatch.setattr(models, "_loaded", {})
    base = str(tiny_checkpoint(tmp_path / "a"))
    pretrained = str(tiny_checkpoint(tmp_path / "b", texts=texts, layers=3))
    at = tmp_path / "w"
    make_workspace(at, Plan(ModelConfig(
        checkpoint=base, pretrained_checkpoint=pretrained, lora_rank=4, lora_alpha=8,
        precision="fp32", device="cpu"), starter_prompts=False))
    store = Store.of_workspace(at)
    store.prompts.add([Message(role="user", content="tell me about the cat")], "test",
                      split="train")
    saved_reward_model(at / "adapters" / "reward-1", tiny_backbone(tmp_path / "b"))
    store.versions.add_reward_model(name="reward-1", base=pretrained, path="adapters/reward-1",
                                    comparisons={}, metrics={"score_mean": 0.1, "score_std": 1.5})
    found: list[Roles] = []
    train = ppo.train

    def keep(of: Roles, *given: Any, **named: Any) -> dict[str, Any]:
        found.append(of)
        return train(of, *given, **named)

    monkeypatch.setattr(ppo, "train", keep)
    assert cli.run(["ppo", "--workspace", str(at), "--steps", "1", "--batch-size", "4",
                    "--minibatch-size", "4", "--max-new-tokens", "8", "--judges", "0"]) == 0
    of, = found
    assert (of.value is of.policy) == anew
    assert len(of.value.language_model.get_decoder().layers) == (2 if anew else 3)
    said = store.versions.policies()[-1].metrics.get("value_model", "")
    assert (pretrained in said) == anew
