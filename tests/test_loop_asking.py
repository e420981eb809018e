"""Answers come in, the instant model learns, tasks change places, and assignment follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking_world import answer_all, asked_world, order_of, settings
from data_world import World
from models import one_thread

from data.asking import ARRIVAL, BLIND, RANDOM, REST
from data.errors import PrefloopError
from loop.asking.live import Asker
from loop.asking.order import by_chance
from loop.fields import fields_of
from loop.settings import AskingConfig, read_settings
from reward.instant import model as instant
from reward.instant import selection
from reward.instant.selection import RULES, Pool, select

assert one_thread  # a fixture, used by every test here


def test_the_settings_name_every_rule() -> None:
    rule, = (f for f in fields_of(AskingConfig) if f.name == "rule")
    assert rule.choices == RULES


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


def test_bal_pm_knows_where_answered_prompts_lie(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pair a prompt and a label each, none of them has an open task left."""
    world, pools = asked_world(tmp_path, tasks=20), []

    def look(pool: Pool, *rest: Any) -> list[int]:
        pools.append(pool)
        return select(pool, *rest)

    monkeypatch.setattr(selection, "select", look)
    settings(tmp_path, 'rule = "bal-pm"')
    answer_all(world, tmp_path, 6)
    asked, centers = pools[-1].asked, pools[-1].centers
    assert asked is not None and centers is not None and len(asked) > 0
    assert not set(asked.tolist()) & set(pools[-1].prompts.tolist())
    assert np.isfinite(centers).all()


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


def test_a_new_process_stands_on_what_held_out_prompts_have_chosen(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen by the first dozen of answers, and not anew by those that there are by then."""
    monkeypatch.setattr(instant, "CHOOSE_FROM", 12)
    monkeypatch.setattr(instant, "SPREADS", (0.3,))
    world = asked_world(tmp_path, tasks=30)
    with world.store.database.write() as db:
        db.conn.execute("UPDATE prompts SET split = 'train'")
    answer_all(world, tmp_path, 20)
    before = world.store.setting("asking")
    again = Asker(world.store, tmp_path)
    again.turn()
    assert again.model is not None and len(again.model.learned) == 20
    setup = again.model.setup
    assert (setup.features, setup.spread) == ("basic", 0.3)
    assert setup.chosen_at == before["chosen_at"] < 20


def test_tasks_without_features_come_last_but_come(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=5)
    late = [world.task((f"a {i}", f"b {i}")).id for i in range(3)]
    chosen = answer_all(world, tmp_path, 20)
    assert len(chosen) == 8 and chosen[-3:] == [None] * 3
    assert {world.store.tasks.get(i).chosen_by for i in late} <= set(BLIND)


@pytest.mark.parametrize("turns", [True, False])
def test_tasks_without_features_come_after_the_others_at_every_label(tmp_path: Path,
                                                                     turns: bool) -> None:
    world = asked_world(tmp_path, tasks=4, wanted=3)
    late = {world.task((f"a {i}", f"b {i}"), wanted=3).id for i in range(3)}
    asker = Asker(world.store, tmp_path)
    asker.turn()
    for labels in range(3):
        me, = world.people(1)
        seen = []
        for _ in range(7):
            given = world.store.assignments.next_for(me.id)
            assert given is not None
            seen.append(given.task.id)
            world.choose(me, given.task, 0)
            if turns:
                asker.turn()
        assert set(seen[4:]) == late, f"label {labels + 1}"
    world.store.comparisons.undo_last(me.id, world.store.tasks.get(seen[-1]), "undone")
    assert world.store.tasks.get(seen[-1]).priority == -2


def test_unreadable_features_are_said_once_and_labeling_goes_on(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = asked_world(tmp_path, tasks=5)
    (tmp_path / "features" / "bad.safetensors").mkdir()
    asker, (me,) = Asker(world.store, tmp_path), world.people(1)
    asker.turn()
    given = world.store.assignments.next_for(me.id)
    assert given is not None
    world.choose(me, given.task, 0)
    asker.turn()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "bad.safetensors" in said[0] and "labeling goes on" in said[0]


def test_an_unknown_rule_is_refused_with_its_line(tmp_path: Path) -> None:
    settings(tmp_path, 'rule = "best"')
    with pytest.raises(PrefloopError, match=r"\[asking\] rule: 'best' is none of random"):
        read_settings(tmp_path)
    settings(tmp_path, "random_share = 1.5")
    with pytest.raises(PrefloopError, match=r"\[asking\] random_share: must be 0 to 1"):
        read_settings(tmp_path)


def test_a_task_that_everybody_skips_holds_up_no_order(tmp_path: Path) -> None:
    world = asked_world(tmp_path, tasks=20, wanted=2)
    asker, (ann, ben) = Asker(world.store, tmp_path), world.people(2)
    first = world.store.assignments.next_for(ann.id)
    assert first is not None
    world.store.assignments.skip(first.task.id, ann.id, "upsetting")
    while (given := world.store.assignments.next_for(ann.id)) is not None:
        world.choose(ann, given.task, 0)
    asker.turn()
    places = {t.id: t.priority + t.labels for t in world.store.asking.tasks()}
    assert len(set(places.values())) == 20 and all(place > 0 for place in places.values())
    asked = [t for t in order_of(world.store) if t != first.task.id]
    assert asked != sorted(asked)
    given = world.store.assignments.next_for(ben.id)
    assert given is not None and given.task.id == first.task.id, "fewest labels come first"


def chosen_by(world: World) -> dict[int, str | None]:
    return {row["id"]: row["chosen_by"]
            for row in world.store.database.rows("SELECT id, chosen_by FROM tasks")}


@pytest.mark.parametrize("change", ['rule = "random"', "random_share = 1.0", "enabled = false"])
def test_what_a_rule_has_passed_over_is_no_sample_of_all(tmp_path: Path, change: str) -> None:
    world = asked_world(tmp_path)
    answer_all(world, tmp_path, 20)
    before = chosen_by(world)
    left = {i for i, chooser in before.items() if chooser == "variance"}
    settings(tmp_path, change)
    answer_all(world, tmp_path, 20)
    answered = {pair.chosen_by for pair in world.store.asking.pairs()}
    after = chosen_by(world)
    assert not {after[i] for i in left} & set(BLIND)
    if "share" not in change:
        assert answered & {REST} and {after[i] for i in left} == {"variance", REST}
    assert {i for i, chooser in after.items() if chooser in BLIND} == before.keys() - left
    settings(tmp_path, 'rule = "margin"')
    Asker(world.store, tmp_path).turn()
    assert {i for i, chooser in chosen_by(world).items() if chooser in BLIND} \
        == before.keys() - left


@pytest.mark.parametrize("change", ['rule = "random"', "enabled = false"])
def test_a_rule_that_has_chosen_nothing_has_passed_over_nothing(tmp_path: Path,
                                                                change: str) -> None:
    world = asked_world(tmp_path, tasks=30)
    asker = Asker(world.store, tmp_path)
    asker.turn()
    settings(tmp_path, change)
    asker.turn()
    assert set(chosen_by(world).values()) <= set(BLIND)
