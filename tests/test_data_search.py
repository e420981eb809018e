"""Search and filters: over a small world whose answers are known."""

from __future__ import annotations

import pytest
from data_world import World
from hypothesis import given, settings
from hypothesis import strategies as st
from same_examples import SAME

from data.errors import BadInput
from data.records import Answer, Labeler
from data.search import HEEDED, KINDS, Filters, Found, find, flags, sources, tags, words_of


def found(world: World, kind: str, **filters: object) -> list[int]:
    return list(find(world.store, kind, Filters(**filters)).ids)  # type: ignore[arg-type]


HOSTILE = ['"', '""', '"""', "AND", "OR NOT", "NEAR(a b)", "text:a", "a*", "^a", "(", ")",
           "'; DROP", "a\0b", "\0", "-a", "+", "{}", "%", "_", "!", "\\", "日本", "🦆", " ",
           "a" * 5000, " ".join("abcdefghijklmnopqrstuvwxyz")]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_is_typed_is_data(world: World, text: str) -> None:
    world.task(prompt="a plain question")
    for kind in KINDS:
        find(world.store, kind, Filters(text=text))


@settings(SAME, max_examples=200)
@given(text=st.text(max_size=40))
def test_any_text_can_be_searched(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    world = _shared(tmp_path_factory)
    for kind in KINDS:
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
    assert all({"tag", "split", "source", "text"} <= HEEDED[kind] for kind in KINDS)


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


# One's own answers, as the page "My answers" asks for them --------------------------------------


def mine(world: World, who: Labeler, text: str = "", limit: int = 20, offset: int = 0) -> Found:
    return find(world.store, "answers", Filters(text, labeler_id=who.id), limit, offset)


def test_only_ones_own_answers_are_found(world: World) -> None:
    ada, ben = world.people(2)
    task = world.task(("zebra stripes", "lion"), prompt="Which animal?", wanted=2)
    first, second = task.response_ids
    hers = world.answer(ada, task, Answer(((first,), (second,)), rationale="secret of ada"))
    his = world.answer(ben, task, Answer(((second,), (first,)), rationale="secret of ben"))
    for text in ("", "zeb", "STRIPES", "animal which", "secret", '"zebra stripes"'):
        assert mine(world, ada, text) == Found((hers.id,), 1, False), text
        assert mine(world, ben, text) == Found((his.id,), 1, False), text
    for text in ("ben", "ebra", '"stripes zebra"', "zebra ben"):
        assert mine(world, ada, text) == Found((), 0, False), text


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_is_typed_shows_anothers_answers(world: World, text: str) -> None:
    ada, ben = world.people(2)
    task = world.task((text, "plain"), wanted=2)
    first, second = task.response_ids
    world.answer(ada, task, Answer(((first,), (second,)), rationale=text[:4000]))
    assert mine(world, ben, text).ids == ()
    assert mine(world, ada, text).total == 1


def test_all_of_ones_own_are_counted_as_they_are_kept(world: World) -> None:
    ada, = world.people(1)
    tasks = [world.task(prompt=f"question {i}") for i in range(5)]
    ids = [world.choose(ada, task, 0).id for task in tasks]
    assert mine(world, ada, limit=2) == Found((ids[4], ids[3]), 5, False)
    assert mine(world, ada, limit=2, offset=4) == Found((ids[0],), 5, False)
    assert mine(world, ada, "question", 2, 2) == Found((ids[2], ids[1]), 5, False)
    world.store.comparisons.undo_last(ada.id, tasks[0], "undo")
    assert mine(world, ada).total == mine(world, ada, "question").total == 4
