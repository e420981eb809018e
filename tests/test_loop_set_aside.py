"""Somebody set aside: the instant model forgets what it learned from them, a version names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import one_thread, tiny_checkpoint
from test_loop_asking import asked_world

import reward.train
from backbone.config import ModelConfig
from data.asking import CURVE, STATE
from data.store import Store
from loop import cli
from loop.asking.live import Asker
from loop.workspace import Plan, make_workspace

assert one_thread  # a fixture, used by every test here


def test_the_instant_model_forgets_them_at_once_and_learns_them_again(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=80, wanted=2)
    ada, ben = world.people(2)
    tasks = world.store.tasks.of_round(world.round.id)
    for task in tasks[:60]:
        world.choose(ada, task, task.id % 2)
    for task in tasks[:5]:  # too few for the learning curve to be drawn anew by their number
        world.choose(ben, task, 1 - task.id % 2)
    store, asker = world.store, Asker(world.store, tmp_path)

    def learned() -> tuple[set[int], np.ndarray, int, int]:
        assert asker.turn() and not asker.turn()
        assert asker.model is not None
        return ({store.comparisons.get(i).labeler_id for i in asker.model.learned},
                asker.model.posterior.coefficients.copy(), store.setting(STATE)["answers"],
                store.setting(CURVE)["answers"])

    both, before, answers, curve = learned()
    assert both == {ada.id, ben.id} and curve == 65
    store.people.set_aside(ben.id, True)
    only, meanwhile, fewer, shorter = learned()
    assert only == {ada.id} and shorter == 60 and fewer < answers
    assert not np.allclose(before, meanwhile)
    store.people.set_aside(ben.id, False)
    again, after, *counts = learned()
    assert again == both and counts == [answers, curve]
    # The few come back one by one, as exactly as any new answer is taken in.
    assert np.abs(after - before).max() < 0.1 * np.abs(before - meanwhile).max()


def test_a_version_names_whom_it_learned_from_and_the_next_one_learns_from_the_others(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ws"
    make_workspace(folder, Plan(ModelConfig(checkpoint=str(tiny_checkpoint(tmp_path))),
                                starter_prompts=False))
    for name, texts in (("careful", ("yes", "no")), ("careless", ("no", "yes"))):
        (tmp_path / name).write_text("\n".join(json.dumps({
            "prompt": f"tell me about the {word} number {n}", "chosen": f"{texts[0]} {word} {n}",
            "rejected": f"{texts[1]} {word} {n}"}) for n in range(8) for word in ("cat", "sea")))
        assert cli.run(["import", str(tmp_path / name), "--what", "preferences", "--format",
                        "jsonl", "--workspace", str(folder)]) == 0
    store, really = Store.of_workspace(folder), reward.train.train

    def train(*given: Any, **more: Any) -> Any:
        """As it is, but somebody is set aside when it has begun."""
        assert cli.run(["labeler", "set-aside", "careless", "--workspace", str(folder)]) == 0
        return really(*given, **more)

    monkeypatch.setattr(reward.train, "train", train)
    learned = []
    for _ in range(2):
        assert cli.run(["train-reward", "--form", "lora", "--epochs", "1", "--workspace",
                        str(folder)]) == 0
        learned.append({row["name"]: row["n"] for row in store.database.rows("""
            SELECT l.name, count(*) AS n FROM reward_model_comparisons rc
            JOIN comparisons c ON c.id = rc.comparison_id JOIN labelers l ON l.id = c.labeler_id
            WHERE rc.reward_model_id = (SELECT max(id) FROM reward_models) GROUP BY l.id""")})
    assert learned == [{"careful": 16, "careless": 16}, {"careful": 16}]
    first, second = store.versions.reward_models()
    assert first.metrics["votes_by"]["imported"] == 2 * second.metrics["votes_by"]["imported"]
