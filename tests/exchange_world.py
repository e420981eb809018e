"""A workspace with answers of every sort, for the tests of what goes out and comes back."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_world import World

from data.records import Answer, Message, NewResponse
from data.store import Store

DIALOGUE: list[Message] = [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Name a river."}]
#: What comparisons are written as: a file's name, and the tool that it is for.
FORMATS = [("out.json", "label-studio"), ("out.json", "argilla"), ("out.jsonl", "oasst"),
           ("out.jsonl", None), ("out.csv", None), ("out.parquet", None)]


def answered(path: Path) -> World:
    """Pairs, answered twice with a strength and once with a tie, and one hidden task."""
    world = World.make(path)
    ann, bob = world.people(2)
    (robot,) = world.people(1, kind="simulated")
    pair = world.task(("The Nile.", "=A river."), prompt="Name a river.")
    first, second = pair.response_ids
    world.answer(ann, pair, Answer(((second,), (first,)), 4, rationale="It is > right.",
                                   scores={first: 2, second: 6}, seconds=6.5))
    world.answer(bob, pair, Answer(((first, second),), 0, active_seconds=3.0))
    world.answer(robot, world.task(("x", "y"), prompt="Both bad?"), Answer(
        ((3, 4),), 0, verdict="both_bad"))
    world.choose(ann, world.task(("gold", "lead"), purpose="gold"), 0)
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A store with answers of every sort."""
    return answered(tmp_path / "prefloop.db")


def with_ranking(world: World) -> World:
    """A task of four in a longer conversation, with a tie in its middle."""
    prompt_id, _ = world.store.prompts.add(DIALOGUE, "test")
    ids = world.store.responses.add(
        NewResponse(prompt_id, text, world.policy, world.round.id, seed=50 + i)
        for i, text in enumerate(("a", "b", "c", "d")))
    task = world.store.tasks.get(world.store.tasks.add(
        prompt_id, ids, round_id=world.round.id))
    a, b, c, d = task.response_ids
    ann = world.store.people.named("Labeler 0")
    world.answer(ann, task, Answer(((c,), (a, d), (b,)), 2))
    return world


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    return json.loads(text) if path.suffix == ".json" else [
        json.loads(line) for line in text.splitlines()]


def answers(store: Store) -> list[Any]:
    """All that stands, by its words, without the hidden tasks."""
    text = {r.id: r.text for r in store.responses.all()}
    people = {person.id: person for person in store.people.all()}
    found = []
    for c in store.comparisons.current():
        task, who = store.tasks.get(c.task_id), people[c.labeler_id]
        name = who.name if who.kind in ("human", "imported") else f"{who.name} ({who.kind})"
        if task.purpose in ("train", "evaluate"):
            found.append((
                name.removeprefix("prefloop/"),
                [m["content"] for m in store.prompts.get(task.prompt_id).messages],
                [sorted(text[i] for i in group) for group in c.answer.ranking], c.answer.strength,
                c.answer.verdict, c.answer.rationale))
    return sorted(found)
