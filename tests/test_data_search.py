"""Search, filters, lineage and what stays hidden: over a small world whose answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from data.blindness import hidden_from
from data.errors import BadInput, NotFound
from data.lineage import KINDS, MOST_LINKS, Card, card
from data.records import Answer, Comparison, Labeler
from data.search import HEEDED, Filters, Found, find, flags, sources, tags, words_of
from data.search import KINDS as SEARCHED
from data.store import Store


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path / "prefloop.db")


def found(world: World, kind: str, **filters: object) -> list[int]:
    return list(find(world.store, kind, Filters(**filters)).ids)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [
    '"', '""', '"""', "AND", "OR NOT", "NEAR(a b)", "text:a", "a*", "^a", "(", ")", "'; DROP",
    "a\0b", "-a", "+", "{}", "%", "_", "!", "\\", "日本", "🦆", " ", "a" * 5000,
    " ".join("abcdefghijklmnopqrstuvwxyz")])
def test_whatever_is_typed_is_data(world: World, text: str) -> None:
    world.task(prompt="a plain question")
    for kind in SEARCHED:
        find(world.store, kind, Filters(text=text))


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_can_be_searched(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    world = _shared(tmp_path_factory)
    for kind in SEARCHED:
        find(world.store, kind, Filters(text=text))


_worlds: dict[str, World] = {}


def _shared(factory: pytest.TempPathFactory) -> World:
    if "one" not in _worlds:
        _worlds["one"] = World.make(factory.mktemp("search") / "prefloop.db")
        _worlds["one"].task(prompt="a question")
    return _worlds["one"]


def test_words_are_prefixes_and_punctuation_is_looked_for(world: World) -> None:
    one = world.task(prompt="How do loops work in C++?")
    two = world.task(prompt="How do loops work in C?")
    three = world.task(prompt="Wie geht es dir, 100% ehrlich?")
    four = world.task(prompt="東京の天気はどうですか")
    five = world.task(prompt="work in loops")

    def prompts(text: str) -> list[int]:
        return found(world, "prompts", text=text)[::-1]

    assert prompts("LOOP") == [one.prompt_id, two.prompt_id, five.prompt_id]
    assert prompts("loop C++") == [one.prompt_id]
    assert prompts('"work in loops"') == [five.prompt_id]
    assert prompts("100%") == [three.prompt_id]
    assert prompts("天気") == [four.prompt_id]
    assert prompts("NOT loops") == []
    assert prompts("%") == [three.prompt_id]
    assert words_of("  ").match is None


def test_answers_are_found_by_prompt_response_and_reason(world: World) -> None:
    ada, = world.people(1)
    one = world.answer(ada, world.task(("zebra", "lion"), prompt="Which animal?"), _either(world))
    task = world.task(("red", "blue"), prompt="Which colour?")
    two = world.answer(ada, task, Answer(((task.response_ids[0],), (task.response_ids[1],)), 3,
                                         rationale="It reminds me of a zebra"))
    assert found(world, "answers", text="zebra") == [two.id, one.id]
    assert found(world, "answers", text="animal") == [one.id]
    assert found(world, "tasks", text="zebra") == [one.task_id]
    assert len(found(world, "responses", text="blue")) == 1
    assert found(world, "answers", text="nowhere") == []


def _either(world: World) -> Answer:
    last = int(world.store.database.value("SELECT max(id) FROM responses"))
    return Answer(((last - 1,), (last,)), 3)


def test_each_filter_keeps_what_it_says(world: World) -> None:
    ada, ben = world.people(2)
    train, held = world.task(wanted=2), world.task(purpose="evaluate", wanted=2)
    first, second = train.response_ids
    won = world.answer(ada, train, Answer(((first,), (second,)), 3, flags={first: ("unsafe",)}))
    tie = world.choose(ben, train, None)
    bad = world.answer(ada, held, Answer((held.response_ids,), 0, "both_bad"))
    lead = world.store.people.add("Lead", "lead")
    decision = world.store.decisions.decide(lead.id, train.id,
                                            Answer(((second,), (first,)), 4), "key")
    decided = decision.comparison_id

    def answers(**filters: object) -> set[int]:
        return set(found(world, "answers", **filters))

    assert answers(labeler_id=ada.id) == {won.id, bad.id}
    assert answers(purpose="evaluate") == {bad.id}
    assert answers(flag="unsafe") == {won.id}
    assert answers(verdict="winner") == {won.id, decided}
    assert answers(verdict="tie") == {tie.id}
    assert answers(verdict="both bad") == {bad.id}
    assert answers(verdict="decision") == {decided}
    assert answers(round_id=world.round.id) == {won.id, tie.id, bad.id, decided}
    assert answers(round_id=999) == set()
    assert answers(source="test") == {won.id, tie.id, bad.id, decided}
    assert answers(source="elsewhere") == set()
    assert found(world, "responses", flag="unsafe") == [first]
    assert found(world, "tasks", labeler_id=ben.id) == [train.id]
    assert flags(world.store) == ["unsafe"] and sources(world.store) == ["test"]
    with pytest.raises(BadInput, match="verdict: 'perhaps'"):
        answers(verdict="perhaps")
    with pytest.raises(BadInput, match="kind: 'labels'"):
        found(world, "labels")


def test_tags_and_splits_are_filters_of_every_kind(world: World) -> None:
    store = world.store
    store.prompts.add([{"role": "user", "content": "tagged"}], "other", ["math", "hard"],
                      split="held_out")
    world.task(prompt="untagged")
    assert tags(store) == ["hard", "math"]
    assert len(found(world, "prompts", tag="math", split="held_out")) == 1
    assert found(world, "prompts", tag="math", split="train") == []
    assert all({"tag", "split", "source", "text"} <= HEEDED[kind] for kind in SEARCHED)


def test_pages_and_counts(world: World) -> None:
    ids = [world.task(prompt=f"question {i}").id for i in range(7)]
    assert find(world.store, "tasks", Filters(), 3) == Found(tuple(ids[:3:-1]), 7, False)
    assert find(world.store, "tasks", Filters(), 3, 6).ids == (ids[0],)
    assert find(world.store, "tasks", Filters(), None).ids == tuple(ids[::-1])


def test_withdrawn_and_revised_answers_are_not_found(world: World) -> None:
    ada, = world.people(1)
    task = world.task()
    old = world.choose(ada, task, 0)
    first, second = task.response_ids
    new = world.store.comparisons.submit(ada.id, task, Answer(((second,), (first,))), "new",
                                         old.revision)
    assert found(world, "answers") == [new.id]
    world.store.comparisons.undo_last(ada.id, task, "undo")
    assert found(world, "answers") == []


def test_responses_stand_in_no_telling_order(world: World) -> None:
    """By id, the reference's would always come first."""
    task = world.task(("zulu", "alpha"))
    assert found(world, "responses") == [task.response_ids[1], task.response_ids[0]]


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
