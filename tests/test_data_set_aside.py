"""Answers of somebody set aside count nowhere, stay everywhere, and count again as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_world import World, as_before
from leads_world import CARELESS, CREW, LeadsWorld

from annotate.figures import name_of
from annotate.leads.quality_report import Report, make
from annotate.simulated import ensure_labelers
from data.activity import latest_answer
from data.disputes import disputes
from data.lineage import card
from data.measures.agreement import krippendorff_alpha, percent_agreement, win_rate
from data.measures.statistics import clustered_mean
from data.records import Answer
from data.store import Store
from reward.examples import from_store

KINDS = ("human",)


def round_of(store: Store) -> int:
    turn = store.rounds.current()
    assert turn is not None
    return turn.id


def report_of(store: Store) -> Report:
    return replace(make(store, round_of(store), KINDS), counted_at="")


def all_that_counts(store: Store) -> dict[str, Any]:
    """Everything that setting aside may change."""
    turn = round_of(store)
    return {"training": from_store(store), "instant": store.asking.pairs(),
            "win rate": win_rate(store, turn), "quality": report_of(store),
            "disputes": disputes(store), "progress": store.tasks.progress(turn),
            "missing": store.tasks.labels_missing(), "open": store.assignments.open_for(999),
            "tasks": [dict(row) for row in store.database.rows("SELECT * FROM tasks")]}


def untouched(store: Store) -> list[list[tuple[Any, ...]]]:
    """What nothing may change: the answers and all that belongs to them."""
    return [[tuple(row) for row in store.database.rows(f"SELECT * FROM {table}")] for table in (
        "comparisons", "preferences", "assignments", "answer_counts", "decisions",
        "current_comparisons", "current_preferences", "current_demonstrations")]


def test_it_changes_all_that_counts_and_is_undone_without_a_trace(leads: LeadsWorld) -> None:
    store, who = leads.store, leads.people[CARELESS].id
    before, answers = all_that_counts(store), untouched(store)
    assert store.people.set_aside(who, True) and not store.people.set_aside(who, True)
    meanwhile = all_that_counts(store)
    assert {name for name in before if meanwhile[name] == before[name]} == set()
    assert untouched(store) == answers
    assert store.people.set_aside(who, False) and not store.people.set_aside(who, False)
    assert all_that_counts(store) == before and untouched(store) == answers
    assert store.people.get(who).set_aside_at is None


def test_what_is_learned_from_names_nobody_who_is_set_aside(leads: LeadsWorld, aside: int) -> None:
    data = from_store(leads.store)
    pairs = [p for e in (*data.train, *data.held_out) for p in e.pairs]
    others = {c.id for c in leads.store.comparisons.current(set_aside=True)
              if c.labeler_id != aside and leads.store.tasks.get(c.task_id).purpose != "gold"
              and leads.store.tasks.get(c.task_id).purpose != "repeat"}
    assert {p.labeler_id for p in pairs} == {p.id for p in leads.people.values()} - {aside}
    assert data.comparisons.keys() == others
    assert {p.comparison_id for p in leads.store.asking.pairs()} == others


def test_the_crews_figures_are_those_of_the_others(leads: LeadsWorld, aside: int) -> None:
    """Against counts of the others' answers alone, made here."""
    store, report = leads.store, report_of(leads.store)
    others = [c for c in store.comparisons.current(set_aside=True) if c.labeler_id != aside
              and store.tasks.get(c.task_id).purpose in ("train", "evaluate")]
    assert report.agreement == percent_agreement(others) is not None
    assert report.alpha == krippendorff_alpha(others) is not None
    new = {r.id for r in store.responses.of_round(round_of(store), 2)}
    told = [c for c in others if store.tasks.get(c.task_id).purpose == "evaluate"]
    assert report.win == win_rate(store, round_of(store)) == clustered_mean(
        [0.5 if c.winner is None else float(c.winner in new) for c in told],
        [store.tasks.get(c.task_id).prompt_id for c in told])
    assert report.answers == len(others) + 8 * (len(CREW) - 1)
    assert report.gold is not None and report.gold.n == 10 * (len(CREW) - 1)


def test_who_is_set_aside_keeps_their_own_figures_and_raises_no_alarm(leads: LeadsWorld) -> None:
    store, who = leads.store, leads.people[CARELESS].id
    counted = report_of(store)
    store.people.set_aside(who, True)
    report = report_of(store)
    store.people.set_aside(who, False)
    assert {alarm.labeler_id for alarm in counted.alarms} == {who} and not report.alarms
    assert report.set_aside == {who} and counted.set_aside == frozenset()
    assert list(report.people) == list(counted.people)
    own, before = report.people[who], counted.people[who]
    # Against the same crew, in which they were alone to be careless, their figures are the same.
    assert own == before
    ada = leads.people["Ada Okafor"].id
    assert report.people[ada].agreement != counted.people[ada].agreement


def test_two_who_are_set_aside_are_not_held_against_each_other(world: World) -> None:
    people = world.people(4)
    for number in range(6):
        task = world.task(wanted=4)
        for place, person in enumerate(people):
            world.choose(person, task, int(place > 1 and number % 2 == 0))
    for person in people[2:]:
        world.store.people.set_aside(person.id, True)
    report = report_of(world.store)
    agreement = [report.people[p.id].agreement for p in people]
    assert [found and (found.value, found.n) for found in agreement] == [
        (1.0, 6), (1.0, 6), (0.5, 12), (0.5, 12)]


def test_their_known_answers_do_not_count_where_they_answered_nothing_else(world: World) -> None:
    """Known answers are of no round, so they stand in the figures of each."""
    ada, ben = world.people(2)
    task = world.task()
    world.choose(ben, task, 0)
    gold = world.store.tasks.get(world.store.known.add(
        task.prompt_id, task.response_ids, Answer(tuple((i,) for i in task.response_ids))))
    world.choose(ada, gold, 1)
    world.choose(ben, gold, 0)
    world.store.people.set_aside(ada.id, True)
    report = report_of(world.store)
    assert report.gold is not None and (report.gold.value, report.gold.n) == (1.0, 1)
    assert report.set_aside == frozenset() and list(report.people) == [ben.id]


def test_a_round_of_none_but_them_still_shows_them(world: World) -> None:
    me, = world.people(1)
    world.choose(me, world.task(), 0)
    world.store.people.set_aside(me.id, True)
    report = report_of(world.store)
    assert report.answers == 0 and report.people[me.id].answers == 1
    assert report.agreement is None and not report.moments


def test_their_tasks_want_a_label_more_of_somebody_else(world: World) -> None:
    ada, ben, cy = world.people(3)
    task = world.task(wanted=2)
    for person in (ada, ben):
        world.choose(person, task, 0)
    assert world.store.assignments.next_for(cy.id) is None
    world.store.people.set_aside(ada.id, True)
    assert world.store.tasks.progress(world.round.id) == (1, 2)
    assert world.store.assignments.next_for(ada.id) is None
    given = world.store.assignments.next_for(cy.id)
    assert given is not None and given.task.id == task.id
    world.choose(cy, task, 1)
    world.store.people.set_aside(ada.id, False)
    assert world.store.tasks.progress(world.round.id) == (2, 2)  # more than wanted counts once
    assert len(world.store.comparisons.of_task(task.id)) == 3


def test_what_they_answer_from_then_on_does_not_count_either(world: World) -> None:
    ada, = world.people(1)
    world.store.people.set_aside(ada.id, True)
    task = world.task()
    stored = world.choose(ada, task, 0)
    assert world.store.comparisons.get(stored.id) == stored
    assert world.store.comparisons.preferences() == [] == world.store.comparisons.current()
    assert world.store.comparisons.count(ada.id) == 1
    assert world.store.tasks.labels_missing() == 1
    world.store.people.set_aside(ada.id, False)
    assert [p.comparison_id for p in world.store.comparisons.preferences()] == [stored.id]
    assert world.store.tasks.labels_missing() == 0


def test_a_decision_of_a_lead_who_is_set_aside_overrules_nobody(world: World) -> None:
    ada, ben, lead = world.people(3)
    task = world.task(wanted=2)
    said = [world.choose(ada, task, 0).id, world.choose(ben, task, 1).id]
    best, worst = task.response_ids
    decided = world.store.decisions.decide(
        lead.id, task.id, Answer(((best,), (worst,)), 4), "decided").comparison_id

    def learned() -> list[int]:
        return [p.comparison_id for p in world.store.comparisons.preferences()]

    assert learned() == [decided] and disputes(world.store)[0].decided
    world.store.people.set_aside(lead.id, True)
    assert learned() == said and not disputes(world.store)[0].decided
    assert world.store.decisions.of_task(task.id) is None
    world.store.people.set_aside(ben.id, True)
    assert disputes(world.store) == [] and learned() == said[:1]
    for who in (lead, ben):
        world.store.people.set_aside(who.id, False)
    assert learned() == [decided]
    # Who was set aside at the time is overridden all the same, for when they count again.
    world.store.people.set_aside(ben.id, True)
    assert world.store.decisions.decide(
        lead.id, task.id, Answer(((best,), (worst,)), 3), "anew").overrides == (said[1],)


@pytest.mark.parametrize("stamp", [
    latest_answer, lambda store: store.comparisons.latest(1), lambda store: store.asking.moment()])
def test_whoever_keeps_figures_is_told(world: World, stamp: Callable[[Store], Any]) -> None:
    ada, ben = world.people(2)
    world.choose(ada, world.task(), 0)
    seen = [stamp(world.store)]
    for who, flag in ((ada, True), (ben, True), (ada, False), (ada, True), (ben, False)):
        world.store.people.set_aside(who.id, flag)
        seen.append(stamp(world.store))
    assert seen == sorted(set(seen))
    world.store.people.set_aside(ada.id, True)  # they are
    assert stamp(world.store) == seen[-1]


def test_a_model_that_learned_from_them_goes_on_saying_so(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(wanted=2)
    for person in (ada, ben):
        world.choose(person, task, 0)
    versions = world.store.versions
    model = versions.add_reward_model(name="reward-1", base="tiny", path="adapters/reward-1",
                                      comparisons={1: "train", 2: "train"})
    policy = versions.add_policy(name="ppo-2", base="tiny", method="ppo",
                                 reward_model_id=model.id)
    world.store.people.set_aside(ada.id, True)
    assert versions.labelers_behind(policy.id) == {ada.name: 1, ben.name: 1}
    behind = [link.label for kind, thing in (("reward_model", model.id), ("policy", policy.id))
              for group in card(world.store, kind, thing, ben.id).came_from
              for link in group.links if link.kind == "labeler"]
    assert sorted(behind) == sorted([f"{ada.name}, set aside (1)", f"{ben.name} (1)"] * 2)
    assert dict(card(world.store, "labeler", ada.id, ben.id).facts)["State"] == "set aside"
    assert name_of(world.store.people.get(ada.id)) == f"{ada.name} (set aside)"
    robot, = world.people(1, "simulated")
    world.store.people.set_aside(robot.id, True)
    assert name_of(world.store.people.get(robot.id)) == f"{robot.name} (simulated, set aside)"


def test_answers_are_not_simulated_by_who_is_set_aside(store: Store) -> None:
    first, = ensure_labelers(store, 1, "shorter", 0.5)
    store.people.set_aside(first.id, True)
    second, = ensure_labelers(store, 1, "shorter", 0.5)
    assert second.id != first.id
    store.people.set_aside(first.id, False)
    assert ensure_labelers(store, 1, "shorter", 0.5) == [first]


def test_a_workspace_from_before_knows_nobody_who_is_set_aside(world: World,
                                                               tmp_path: Path) -> None:
    ada, ben = world.people(2)
    task = world.task(wanted=2)
    for person in (ada, ben):
        world.choose(person, task, 0)
    old = tmp_path / "old.db"
    as_before(world.store, old, 8)
    opened = Store(old)
    assert all_that_counts(opened) == all_that_counts(world.store)
    assert opened.people.all() == world.store.people.all()
    opened.people.set_aside(ben.id, True)
    assert [p.labeler_id for p in opened.comparisons.preferences()] == [ada.id]
    assert opened.tasks.labels_missing() == 1
