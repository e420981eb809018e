"""The process that orders tasks stands on the features that there are, however late they come."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking_world import add_features, asked_world
from models import one_thread

from data.asking import CURVE
from loop.asking.live import Asker

assert one_thread  # a fixture, used by every test here


@pytest.mark.parametrize("again", [False, True])
def test_the_curve_grows_with_features_that_come_after_the_answers(tmp_path: Path,
                                                                   again: bool) -> None:
    world = asked_world(tmp_path, tasks=20)
    store, (me,) = world.store, world.people(1)
    for number in range(40):
        world.task((f"late {number}", f"later {number}"))
    for task in store.asking.tasks():
        world.choose(me, store.tasks.get(task.id), task.id % 2)
    asker = Asker(store, tmp_path)
    asker.turn()
    early = store.setting(CURVE)
    add_features(store, tmp_path)
    (Asker(store, tmp_path) if again else asker).turn()
    grown = store.setting(CURVE)
    store.put_setting(CURVE, None)
    Asker(store, tmp_path).turn()
    fresh = store.setting(CURVE)
    assert {**grown, "at": None} == {**fresh, "at": None}
    assert grown["points"][-1]["labels"] > 2 * early["points"][-1]["labels"]
    assert (early["answers"], grown["answers"]) == (20, 60)
