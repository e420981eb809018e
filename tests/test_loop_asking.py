"""Answers come in, the instant model learns, tasks change places, and assignment follows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from data_world import World
from models import one_thread, tiny_checkpoint
from reward_world import Recorder

from backbone.config import ModelConfig
from data.asking import ARRIVAL, BLIND, RANDOM
from data.errors import PrefloopError
from data.records import Answer, NewResponse
from data.store import Store
from loop.asking.extracting import extract_features
from loop.asking.instant import instant_beside
from loop.asking.live import RULES, Asker
from loop.asking.order import by_chance
from loop.fields import fields_of
from loop.settings import SETTINGS_NAME, AskingConfig, read_settings
from loop.workspace import Plan, make_workspace
from reward.examples import PreferenceData, from_store
from reward.instant.response_features import ResponseFeatures
from reward.instant.selection import RULES as KNOWN_RULES

assert one_thread  # a fixture, used by every test here
WIDTH = 8


def asked_world(folder: Path, tasks: int = 60, wanted: int = 1, seed: int = 0) -> World:
    """Tasks whose responses have made-up features, without any model."""
    world = World.make(folder / "prefloop.db")
    for number in range(tasks):
        world.task((f"one {number}", f"two {number}"), wanted=wanted)
    add_features(world.store, folder, seed)
    return world


def add_features(store: Store, folder: Path, seed: int = 0) -> None:
    ids = store.asking.responses()
    values = np.random.default_rng(seed).normal(size=(len(ids), WIDTH))
    ResponseFeatures(folder).add(ids, {"layer2.mean": values}, "made up")


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


def test_the_settings_name_every_rule() -> None:
    rule, = (f for f in fields_of(AskingConfig) if f.name == "rule")
    assert set(rule.choices) == set(RULES) and set(RULES.values()) == set(KNOWN_RULES)


def test_an_answer_moves_the_tasks_and_assignment_follows(tmp_path: Path) -> None:
    world = asked_world(tmp_path)
    # A D-optimal batch is ordered as if its answers were in, so they may well change nothing.
    settings(tmp_path, 'rule = "margin"')
    asker = Asker(world.store, tmp_path)
    assert asker.turn() and not asker.turn(), "nothing to do where nothing has changed"
    before = order_of(world.store)
    assert before != sorted(before)
    me, other = world.people(2)
    for _ in range(6):
        given = world.store.assignments.next_for(me.id)
        assert given is not None and given.task.id == order_of(world.store)[0]
        world.choose(me, given.task, 0)
        assert asker.turn()
    after = order_of(world.store)
    assert after != [i for i in before if i in after], "what was learned changes the order"
    following = world.store.assignments.next_for(other.id)
    assert following is not None and following.task.id == after[0]
    state = world.store.setting("asking")
    held_out = sum(pair.held_out for pair in world.store.asking.pairs())
    assert state["answers"] == 6 - held_out, "held-out prompts are never learned from"


@pytest.mark.parametrize("rule", list(RULES))
def test_every_rule_puts_every_task_in_order(tmp_path: Path, rule: str) -> None:
    world = asked_world(tmp_path, tasks=30)
    settings(tmp_path, f'rule = "{rule}"')
    chosen = answer_all(world, tmp_path, 100)
    assert len(chosen) == 30, "nobody waits while there is work"
    assert set(chosen) == ({RANDOM} if rule == "random" else {RANDOM, rule})


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_chance_keeps_its_share_at_any_moment(tmp_path: Path, share: float) -> None:
    world = asked_world(tmp_path, tasks=120)
    settings(tmp_path, f"random_share = {share}")
    Asker(world.store, tmp_path).turn()
    tasks = world.store.asking.tasks()
    lanes = {t.id: by_chance(t, share, 0) for t in tasks}
    taught = [lanes[t.id] for t in tasks if not t.measures]
    spread = 3 * (share * (1 - share) / len(taught))**0.5
    assert abs(np.mean(taught) - share) <= spread
    chosen = answer_all(world, tmp_path, 60, turn_every=4)
    whole = np.mean(list(lanes.values()))
    for so_far in (10, 25, 60):
        assert abs(np.mean([c == RANDOM for c in chosen[:so_far]]) - whole) <= 1 / so_far


def test_what_chance_chooses_is_a_sample_of_all(tmp_path: Path) -> None:
    """Over many seeds every task is as likely to be asked early by chance as any other."""
    world = asked_world(tmp_path, tasks=40)
    tasks = world.store.asking.tasks()
    times = np.array([[by_chance(t, 0.2, seed) for t in tasks] for seed in range(2000)])
    teaches = np.array([not t.measures for t in tasks])
    often = times[:, teaches].mean(axis=0)
    # 4.5 standard errors: one task in about 150,000 would lie beyond by chance
    assert abs(often - 0.2).max() < 4.5 * (0.16 / 2000)**0.5
    assert times[:, ~teaches].all()


def test_first_labels_come_before_second_ones_without_a_turn_between(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=20, wanted=2)
    Asker(world.store, tmp_path).turn()
    ann, ben = world.people(2)
    seen: list[int] = []
    for who in (ann, ben) * 10:
        given = world.store.assignments.next_for(who.id)
        assert given is not None
        seen.append(given.task.id)
        world.choose(who, given.task, 0)
    assert sorted(seen) == sorted(t.id for t in world.store.asking.tasks())
    task = world.store.tasks.get(seen[0])
    assert task.priority < 0
    world.store.comparisons.undo_last(ann.id, task, "undone")
    assert 0 <= world.store.tasks.get(task.id).priority <= 1, "a label taken back counts no more"


def test_what_was_handed_out_keeps_what_chose_it(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=30)
    early, = world.people(1)
    before = world.store.assignments.next_for(early.id)
    assert before is not None
    asker = Asker(world.store, tmp_path)
    asker.turn()
    assert world.store.tasks.get(before.task.id).chosen_by == ARRIVAL
    me, = world.people(1)
    given = world.store.assignments.next_for(me.id)
    assert given is not None
    kept = world.store.tasks.get(given.task.id).chosen_by
    settings(tmp_path, 'rule = "margin"')
    assert asker.turn(), "the settings are read live"
    assert world.store.tasks.get(given.task.id).chosen_by == kept
    others = {t.chosen_by for t in world.store.asking.tasks() if not t.handed_out}
    assert others == {RANDOM, "margin"}


def test_switched_off_the_order_is_that_of_making_again(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=30)
    asker = Asker(world.store, tmp_path)
    asker.turn()
    assert order_of(world.store) != sorted(order_of(world.store))
    settings(tmp_path, "enabled = false")
    asker.turn()
    assert order_of(world.store) == sorted(order_of(world.store))
    assert {t.chosen_by for t in world.store.asking.tasks()} == {None}


def test_a_new_process_ends_where_the_old_one_would_have(tmp_path: Path) -> None:
    """All that it knows follows from the store: the order after a kill is the order without."""
    world = asked_world(tmp_path)
    answer_all(world, tmp_path, 30)
    kept = Asker(world.store, tmp_path)
    kept.turn()
    expected = order_of(world.store)
    with world.store.database.write() as db:
        db.conn.execute("UPDATE tasks SET priority = -labels")
    Asker(world.store, tmp_path).turn()
    assert order_of(world.store) == expected


def test_tasks_without_features_come_last_but_come(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=5)
    late = [world.task((f"a {i}", f"b {i}")).id for i in range(3)]
    chosen = answer_all(world, tmp_path, 20)
    assert len(chosen) == 8 and chosen[-3:] == [None] * 3
    assert {world.store.tasks.get(i).chosen_by for i in late} <= set(BLIND)


def test_unreadable_features_are_said_once_and_labeling_goes_on(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = asked_world(tmp_path, tasks=5)
    (tmp_path / "features" / "bad.safetensors").write_bytes(b"nothing")
    asker, (me,) = Asker(world.store, tmp_path), world.people(1)
    asker.turn()
    given = world.store.assignments.next_for(me.id)
    assert given is not None
    world.choose(me, given.task, 0)
    asker.turn()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "bad.safetensors" in said[0] and "labeling goes on" in said[0]


# What follows runs a tiny model.


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


def test_features_are_computed_once_and_give_way_to_a_job(workspace: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    kept = ResponseFeatures(workspace)
    assert not extract_features(store, workspace, found, lambda: True) and not kept.ids()
    assert extract_features(store, workspace, found)
    assert kept.ids() == set(store.asking.responses()) and len(kept.ids()) == 24
    files = kept.files()
    assert extract_features(store, workspace, found) and kept.files() == files
    table = kept.read({1, 2})
    assert set(table.rows) == {1, 2}
    assert all(np.isfinite(v).all() and len(v) == 2 for v in table.kinds.values())


def test_another_checkpoint_has_features_of_its_own(workspace: Path, tmp_path: Path) -> None:
    store, found = Store.of_workspace(workspace), read_settings(workspace)
    extract_features(store, workspace, found)
    before = ResponseFeatures(workspace).read().kinds
    (tmp_path / "other").mkdir()
    models = ModelConfig(checkpoint=str(tiny_checkpoint(tmp_path / "other", seed=3)))
    extract_features(store, workspace, found.with_section("models", models))
    after = ResponseFeatures(workspace).read().kinds
    assert all(before[kind].shape == after[kind].shape and
               not np.allclose(before[kind], after[kind]) for kind in before)


def test_training_has_the_instant_models_accuracy_beside(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    me = store.people.add("Ann")
    while (given := store.assignments.next_for(me.id)) is not None:
        first, second = given.task.response_ids
        store.comparisons.submit(me.id, given.task, Answer(((first,), (second,))),
                                 f"k{given.task.id}")
    data = from_store(store)
    context: Any = SimpleNamespace(store=store, workspace=workspace, progress=Recorder(),
                                   settings=read_settings(workspace))
    found = instant_beside(context, data)["instant_accuracy"]
    # "the cat" is always better than "a dog by the sea": any model learns that.
    assert found["value"] == 1.0 and found["n"] == len(data.held_out) > 0
    assert ResponseFeatures(workspace).ids() == set(store.asking.responses())
    assert instant_beside(context, PreferenceData(data.train, ())) == {}
    for name in ResponseFeatures(workspace).files():
        (workspace / "features" / name).write_bytes(b"nothing")
    assert "cannot be read" in instant_beside(context, data)["instant_missing"]


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def start(workspace: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(subprocess.Popen(
            [sys.executable, "-m", "loop", "worker", "--workspace", str(workspace)],
            stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children_of(pid: int) -> list[int]:
    return [int(i) for i in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_worker_orders_tasks_survives_kills_and_takes_all_along(
        workspace: Path, start: Callable[[], subprocess.Popen[str]]) -> None:
    store = Store.of_workspace(workspace)
    worker = start()
    wait_for(lambda: store.setting("asking"))
    assert all(t.chosen_by for t in store.asking.tasks())
    asker, = (pid for pid in children_of(worker.pid)
              if b"loop.asking.live" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(asker, signal.SIGKILL)
    me = store.people.add("Ann")
    given = store.assignments.next_for(me.id)
    assert given is not None, "labeling goes on without it"
    everyone = children_of(worker.pid)
    worker.kill()
    worker.wait()
    wait_for(lambda: all(gone(pid) for pid in everyone))
    shown = given.task.response_ids
    store.comparisons.submit(me.id, given.task, Answer(((shown[0],), (shown[1],))), "k")
    before = store.setting("asking")["at"]
    again = start()
    wait_for(lambda: store.setting("asking")["at"] > before)
    assert store.setting("asking")["answers"] == sum(
        not pair.held_out for pair in store.asking.pairs())
    again.terminate()
    assert again.wait(30) == 0


def test_a_checkpoint_that_cannot_be_read_is_one_line_of_the_workers_log(
        workspace: Path, start: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    for file in (tmp_path / "tiny").glob("*.safetensors"):
        file.write_bytes(b"nothing")
    store = Store.of_workspace(workspace)
    worker = start()
    lines: list[str] = []
    assert worker.stderr is not None
    for line in worker.stderr:
        lines.append(line)
        if "features" in line:
            break
    assert "labeling goes on" in lines[-1] and "failed" in lines[-1]
    me = store.people.add("Ann")
    assert store.assignments.next_for(me.id) is not None
    job = store.jobs.add("dream")
    wait_for(lambda: store.jobs.get(job.id).status == "failed"), "jobs go on too"


def test_an_unknown_rule_is_refused_with_its_line(tmp_path: Path) -> None:
    settings(tmp_path, 'rule = "best"')
    with pytest.raises(PrefloopError, match=r"\[asking\] rule: 'best' is none of random"):
        read_settings(tmp_path)
    settings(tmp_path, "random_share = 1.5")
    with pytest.raises(PrefloopError, match=r"\[asking\] random_share: must be 0 to 1"):
        read_settings(tmp_path)


def test_how_uncertain_each_open_task_is_stands_beside_the_order(tmp_path: Path) -> None:
    world = asked_world(tmp_path, 30, wanted=2)
    store, (me, other) = world.store, world.people(2)
    asker = Asker(store, tmp_path)
    asker.turn()
    before = store.asking.variances()
    assert before.keys() == {task.id for task in store.asking.tasks()}
    for who in (me, other, me, me):
        given = store.assignments.next_for(who.id)
        assert given
        world.choose(who, given.task, 0)
    asker.turn()
    after, model = store.asking.variances(), asker.model
    assert model is not None
    closed = before.keys() - after.keys()
    assert closed == {task.id for task in store.asking.tasks() if not task.open}
    covariance = model.posterior.covariance
    for task in store.asking.tasks():
        if not task.open:
            assert store.asking.variance_of(task.id) is None
            continue
        a, b = (model.table[model.features.rows[i]] for i in task.response_ids)
        assert after[task.id] == pytest.approx((a - b) @ covariance @ (a - b), rel=0.02)
        assert store.asking.variance_of(task.id) == after[task.id]
        assert after[task.id] < before[task.id] * 1.02, "an answer tells, and never untells"
    assert not asker.turn()
    settings(tmp_path, "enabled = false")
    asker.turn()
    assert store.asking.variances() == {}


def test_of_a_ranking_the_least_certain_pair_counts(tmp_path: Path) -> None:
    world = World.make(tmp_path / "prefloop.db")
    for number in range(12):
        world.task(tuple(f"{word} {number}" for word in ("one", "two", "three", "four")))
    add_features(world.store, tmp_path)
    asker = Asker(world.store, tmp_path)
    asker.turn()
    assert asker.model is not None
    table, covariance = asker.model.table, asker.model.posterior.covariance
    for task in world.store.asking.tasks():
        rows = [table[asker.model.features.rows[i]] for i in task.response_ids]
        every = [(a - b) @ covariance @ (a - b) for a in rows for b in rows]
        assert world.store.asking.variance_of(task.id) == pytest.approx(max(every))


def test_a_closed_rounds_variances_are_not_shown(tmp_path: Path) -> None:
    world = asked_world(tmp_path, 5)
    Asker(world.store, tmp_path).turn()
    (task, *_) = world.store.asking.tasks()
    assert world.store.asking.variance_of(task.id) is not None
    versions = world.store.versions.policies()
    world.store.rounds.open(versions[0].id, versions[0].id)
    assert world.store.asking.variance_of(task.id) is None
