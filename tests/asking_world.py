"""Tasks whose responses have made-up features, for orders of asking without any model; and a
workspace on a tiny one, whose features a worker can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_world import World
from models import tiny_checkpoint

from backbone.config import ModelConfig
from data.records import NewResponse
from data.store import Store
from loop.asking.live import Asker
from loop.settings import SETTINGS_NAME
from loop.workspace import Plan, make_workspace
from reward.instant.response_features import ResponseFeatures
from reward.kinds import FeatureKind

WIDTH = 8


def asked_world(folder: Path, tasks: int = 60, wanted: int = 1, seed: int = 0) -> World:
    """Tasks whose responses have made-up features, without any model."""
    world = World.make(folder / "prefloop.db")
    for number in range(tasks):
        world.task((f"one {number}", f"two {number}"), wanted=wanted)
    add_features(world.store, folder, seed)
    return world


def add_features(store: Store, folder: Path, seed: int = 0) -> None:
    """Of every response of a task that has none yet."""
    have = ResponseFeatures(folder, store.responses).ids()
    ids = [i for i in store.asking.responses() if i not in have]
    values = np.random.default_rng(seed).normal(size=(len(ids), WIDTH))
    ResponseFeatures(folder, store.responses).add(store.responses.get(ids),
                                                  {FeatureKind(2): values}, "made up")


def settings(folder: Path, text: str) -> None:
    (folder / SETTINGS_NAME).write_text(f"[asking]\n{text}\n")


def order_of(store: Store) -> list[int]:
    """Open tasks as they would be handed out."""
    return [row["id"] for row in store.database.rows(
        "SELECT id FROM tasks WHERE labels < wanted ORDER BY priority DESC, labels, id")]


def answer_all(world: World, folder: Path, most: int, turn_every: int = 1) -> list[str | None]:
    """One labeler answers what comes; who chose each task."""
    me, = world.people(1)
    asker, found = Asker(world.store, folder), []
    for number in range(most):
        if number % turn_every == 0:
            asker.turn()
        given = world.store.assignments.next_for(me.id)
        if given is None:
            break
        found.append(world.store.tasks.get(given.task.id).chosen_by)
        world.choose(me, given.task, given.task.id % 2)
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace on a tiny checkpoint, with 12 open tasks."""
    folder = tmp_path / "a workspace"
    make_workspace(folder, Plan(ModelConfig(checkpoint=str(tiny_checkpoint(tmp_path))),
                                starter_prompts=False))
    store = Store.of_workspace(folder)
    policy = store.versions.policies()[0].id
    turn = store.rounds.open(policy, policy)
    for number in range(12):
        prompt, _ = store.prompts.add([{"role": "user", "content": f"tell me about {number}"}],
                                      "test")
        ids = store.responses.add(NewResponse(prompt, f"{word} {number}", policy, turn.id,
                                              sample_index=n)
                                  for n, word in enumerate(("the cat", "a dog by the sea")))
        store.tasks.add(prompt, ids, round_id=turn.id)
    return folder
