"""Lineage, and what stays hidden: over a small world whose answers are known."""

from __future__ import annotations

import pytest
from data_world import World, user

from data.blindness import hidden_from
from data.errors import BadInput, NotFound
from data.lineage import KINDS, Card, card
from data.lineage_groups import MOST_LINKS
from data.records import Answer, Comparison, Labeler, NewResponse
from data.search import KINDS as SEARCHED
from data.search import Filters, find
from data.store import Store

# What stays hidden -------------------------------------------------------------------------


def test_who_may_still_be_asked_is_not_told(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(wanted=2)
    first, second = task.response_ids

    def hidden(who: Labeler) -> set[int]:
        return set(hidden_from(world.store, who.id, task.response_ids))

    assert hidden(ada) == {first, second}
    world.choose(ada, task, 0)
    assert hidden(ada) == set() and hidden(ben) == {first, second}
    world.store.comparisons.undo_last(ada.id, task, "undo")
    assert hidden(ada) == {first, second}
    world.store.assignments.assign(task.id, ben.id)
    world.store.assignments.skip(task.id, ben.id, "other")
    assert hidden(ben) == set()


def test_a_full_task_hides_only_from_whom_it_was_given_to(world: World) -> None:
    ada, ben, cy = world.people(3)
    task = world.task(wanted=1)
    world.store.assignments.assign(task.id, ben.id)
    world.choose(ada, task, 0)
    assert hidden_from(world.store, ben.id, task.response_ids)  # it lies on their desk
    assert not hidden_from(world.store, cy.id, task.response_ids)
    world.store.rounds.open(world.policy, world.reference)  # closes the round before
    assert not hidden_from(world.store, ben.id, task.response_ids)


def test_hidden_gold_is_hidden_until_it_is_retired(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task()
    first, second = task.response_ids
    world.choose(ada, task, 0)
    gold = world.store.known.add(task.prompt_id, task.response_ids, Answer(((first,), (second,))))
    world.store.assignments.assign(gold, ben.id)
    world.store.comparisons.submit(ben.id, world.store.tasks.get(gold),
                                   Answer(((first,), (second,))), "gold")
    assert hidden_from(world.store, ada.id, [first])  # however many others have answered it
    assert not hidden_from(world.store, ben.id, [first])
    world.store.known.retire(gold)
    assert not hidden_from(world.store, ada.id, [first])


def test_gold_that_ended_with_its_round_is_hidden_until_it_is_retired(world: World) -> None:
    """Until then it may come again; in an open round, what was handed out is still answered."""
    ada, = world.people(1)
    task = world.task()
    world.choose(ada, task, 0)
    gold = world.store.known.add(task.prompt_id, task.response_ids, Answer((task.response_ids,), 0))
    world.store.assignments.assign(gold, ada.id)
    world.store.rounds.open(world.policy, world.reference)
    assert hidden_from(world.store, ada.id, task.response_ids)
    world.store.known.retire(gold)
    assert not hidden_from(world.store, ada.id, task.response_ids)
    world.store.assignments.assign(gold, ada.id)
    assert hidden_from(world.store, ada.id, task.response_ids)


def test_ones_own_known_answer_hides_nothing_from_oneself(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task()
    for who in (ada, ben):
        world.choose(who, task, 0)
    world.store.known.add(task.prompt_id, task.response_ids, Answer((task.response_ids,), 0),
                          by=ada.id)
    assert not hidden_from(world.store, ada.id, task.response_ids)
    assert hidden_from(world.store, ben.id, task.response_ids) == set(task.response_ids)


# Lineage -----------------------------------------------------------------------------------


@pytest.fixture
def line(world: World) -> tuple[World, Labeler, Comparison]:
    """A comparison that a reward model learned from, which taught a policy."""
    ada, = world.people(1)
    comparison = world.choose(ada, world.task(("old text", "new text"), prompt="Why?"), 1)
    model = world.store.versions.add_reward_model(
        name="reward-1", base="tiny", path="adapters/reward-1",
        comparisons={comparison.id: "train"}, round_id=world.round.id)
    world.store.versions.add_policy(name="ppo-2", base="tiny", method="ppo",
                                    parent_id=world.policy, reward_model_id=model.id)
    return world, ada, comparison


def links(of: Card) -> set[tuple[str, int]]:
    return {(link.kind, link.id) for group in (*of.came_from, *of.led_to)
            for link in group.links}


def test_anything_is_two_clicks_from_an_answer_and_back(
        line: tuple[World, Labeler, Comparison]) -> None:
    world, ada, comparison = line
    store = world.store
    everything = {("answer", comparison.id), ("labeler", ada.id), ("task", comparison.task_id),
                  ("prompt", store.tasks.get(comparison.task_id).prompt_id),
                  ("round", world.round.id), ("reward_model", 1),
                  *(("response", i) for i in comparison.shown),
                  *(("policy", version.id) for version in store.versions.policies())}
    assert {kind for kind, _ in everything} == set(KINDS)
    for kind, thing in everything:
        reached = {(kind, thing)}
        for _ in range(2):
            reached |= {link for place in reached for link in links(card(store, *place, ada.id))}
        assert reached >= {("answer", comparison.id), ("labeler", ada.id)}, kind
        if kind in ("answer", "labeler", "response", "task"):
            assert reached >= everything - {("round", world.round.id)}, kind


def test_a_round_led_to_what_its_answers_taught_and_to_nothing_made_while_it_was_open(
        line: tuple[World, Labeler, Comparison]) -> None:
    world, ada, _ = line
    store, first = world.store, world.round
    world.round = store.rounds.open(world.policy, world.reference)
    later = store.versions.add_policy(name="ppo-3", base="tiny", method="ppo", reward_model_id=1,
                                      round_id=world.round.id)
    measured = world.choose(ada, world.task(prompt="Who?"), 0)
    model = store.versions.add_reward_model(
        name="reward-2", base="tiny", path="adapters/reward-2", round_id=world.round.id,
        comparisons={1: "train", measured.id: "held_out"})

    def rounds(kind: str, thing: int) -> set[int]:
        return {id_ for of, id_ in links(card(store, kind, thing, ada.id)) if of == "round"}

    def titled(kind: str, thing: int, title: str) -> set[str]:
        of = card(store, kind, thing, ada.id)
        return {link.label for group in (*of.came_from, *of.led_to) if group.title == title
                for link in group.links}

    assert rounds("policy", later.id) == rounds("reward_model", model.id) == {first.id}
    learned, only_measured = ("Reward models that learned from it",
                              "Reward models that were measured on it")
    assert titled("round", first.id, learned) == {"reward-1", "reward-2"}
    assert titled("round", first.id, "Policy versions that they taught") == {"ppo-2", "ppo-3"}
    for place in (("round", world.round.id), ("answer", measured.id)):
        assert not titled(*place, learned) and titled(*place, only_measured) == {"reward-2"}
    assert titled("reward_model", model.id, "Comparisons it learned from") == {
        f"{ada.name}, answer 1"}
    assert titled("reward_model", model.id, "Comparisons it was measured on") == {
        f"{ada.name}, answer {measured.id}"}


def test_a_card_keeps_hidden_who_wrote_what(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(("zulu", "alpha"), wanted=2)
    world.choose(ada, task, 0)
    mine = card(world.store, "task", task.id, ada.id)
    assert ("policy", world.policy) in links(mine)
    for kind, thing in (("task", task.id), ("response", task.response_ids[0]),
                        ("answer", 1)):
        theirs = card(world.store, kind, thing, ben.id)
        assert not any(of == "policy" for of, _ in links(theirs)), kind
        labels = [link.label for group in theirs.came_from for link in group.links]
        assert not {"better", "reference"} & set(labels)
    assert [link.label for group in card(world.store, "task", task.id, ben.id).came_from
            if group.title == "Responses" for link in group.links] == ["alpha", "zulu"]
    policy = card(world.store, "policy", world.policy, ben.id)
    assert not any(kind == "response" for kind, _ in links(policy))
    assert any(kind == "response" for kind, _ in links(
        card(world.store, "policy", world.policy, ada.id)))


def test_long_groups_are_cut_and_counted(world: World) -> None:
    ada, = world.people(1)
    for i in range(MOST_LINKS + 3):
        world.choose(ada, world.task(prompt=f"question {i}"), 0)
    group = card(world.store, "labeler", ada.id, ada.id).led_to[0]
    assert len(group.links) == MOST_LINKS and group.total == MOST_LINKS + 3


def test_what_is_left_out_of_many_is_not_counted(world: World) -> None:
    ada, = world.people(1)
    prompt, _ = world.store.prompts.add(user("Many?"), "test")
    world.store.responses.add(NewResponse(prompt, f"text {i}", world.policy, sample_index=i)
                              for i in range(300))
    waiting = world.task(("theirs", "hidden from me"))
    policy = card(world.store, "policy", world.policy, ada.id)
    group, = (group for group in policy.led_to if group.title == "Responses")
    assert len(group.links) == MOST_LINKS and group.total == 300
    assert "hidden from me" not in {link.label for link in group.links}
    world.choose(ada, waiting, 0)
    policy = card(world.store, "policy", world.policy, ada.id)
    assert [g.total for g in policy.led_to if g.title == "Responses"] == [301]


def test_a_decision_and_what_it_overrides_lead_to_each_other(world: World) -> None:
    ada, = world.people(1)
    task = world.task(wanted=2)
    theirs = world.choose(ada, task, 0)
    lead = world.store.people.add("Lead", "lead")
    first, second = task.response_ids
    decision = world.store.decisions.decide(lead.id, task.id, Answer(((second,), (first,))), "k")
    place = "answer", decision.comparison_id
    assert ("answer", theirs.id) in links(card(world.store, *place, lead.id))
    assert place in links(card(world.store, "answer", theirs.id, lead.id))
    assert card(world.store, *place, lead.id).title == f"Decision {decision.comparison_id}"
    assert card(world.store, "answer", theirs.id, lead.id).title == f"Answer {theirs.id}"
    assert dict(card(world.store, "task", task.id, lead.id).facts)["Labels"] == (
        "1 of 2, decided")
    said = {link.label for group in card(world.store, "task", task.id, lead.id).led_to
            for link in group.links if link.kind == "answer"}
    assert said == {f"{ada.name}, answer {theirs.id}", f"Lead, decision {decision.comparison_id}"}


def test_there_is_no_card_of_what_is_not_there(world: World) -> None:
    for kind in KINDS:
        with pytest.raises(NotFound):
            card(world.store, kind, 999, 1)
    with pytest.raises(BadInput, match="kind: 'secret'"):
        card(world.store, "secret", 1, 1)


def test_the_store_is_only_read(line: tuple[World, Labeler, Comparison]) -> None:
    world, ada, _ = line
    before = _rows(world.store)
    for kind in SEARCHED:
        find(world.store, kind, Filters(text="text"))
    card(world.store, "policy", world.policy, ada.id)
    assert _rows(world.store) == before


def _rows(store: Store) -> int:
    return int(store.database.value("SELECT total_changes()"))
