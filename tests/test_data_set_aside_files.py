"""Answers of somebody set aside in Browse and in files: all there, and each says so."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from data_world import World
from leads_world import CARELESS, CREW, LeadsWorld

from data.blindness import hidden_from
from data.errors import BadInput
from data.exchange.exporting import TOOLS, export
from data.exchange.file_pairs import read_pairs
from data.exchange.importing import import_file
from data.records import Answer
from data.search import Filters, find
from data.store import Store


def test_browse_and_exports_have_them_and_say_so(leads: LeadsWorld, aside: int,
                                                 tmp_path: Path) -> None:
    store = leads.store
    given = store.comparisons.current(labeler_id=aside, set_aside=True)
    assert find(store, "answers", Filters(labeler_id=aside)).total == len(given)
    for what, known in (("comparisons", {c.id for c in given}),
                        ("preferences", {c.id for c in given if not c.answer.is_tie
                                         and store.known.get(c.task_id) is None
                                         and store.tasks.get(c.task_id).only_for is None})):
        path = tmp_path / f"{what}.jsonl"
        told = export(store, path, what)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert {row["comparison_id"] for row in rows if row["set_aside"] is True} == known
        assert {row["labeler"] for row in rows if row["set_aside"] is False} == \
            set(CREW) - {CARELESS}
        assert told.set_aside == len(known) and f"{len(known)} of them set aside" in str(told)
    table = tmp_path / "preferences.csv"
    export(store, table)
    cells = [row["set_aside"] for row in csv.DictReader(io.StringIO(table.read_text()))]
    assert set(cells) == {"True", "False"} and cells.count("True") == len(known)


def test_preferences_of_who_is_not_set_aside_are_what_is_learned(world: World,
                                                                 tmp_path: Path) -> None:
    """Also where the decision of a lead who is set aside would have overruled them."""
    ada, lead = world.people(2)
    for number in range(3):
        task = world.task()
        world.choose(ada, task, 0)
        if number:
            best, worst = task.response_ids
            world.store.decisions.decide(lead.id, task.id, Answer(((worst,), (best,))), str(number))
    world.store.people.set_aside(lead.id, True)
    export(world.store, tmp_path / "p.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert sorted(row["comparison_id"] for row in rows if not row["set_aside"]) == [
        p.comparison_id for p in world.store.comparisons.preferences()]
    assert sum(row["set_aside"] for row in rows) == 2


@pytest.mark.parametrize("tool", TOOLS)
def test_other_tools_do_not_get_what_they_could_not_tell_apart(world: World, tmp_path: Path,
                                                               tool: str) -> None:
    ada, ben = world.people(2)
    task = world.task(wanted=2)
    world.choose(ada, task, 0)
    world.choose(ben, task, 1)
    world.store.people.set_aside(ben.id, True)
    path = tmp_path / f"out.{TOOLS[tool][0]}"
    told = export(world.store, path, "comparisons", tool)
    assert told.set_aside == 1 and "1 answers set aside left out" in str(told)
    assert ada.name in path.read_text() and ben.name not in path.read_text()
    world.store.people.set_aside(ada.id, True)
    with pytest.raises(BadInput, match="only 2 that are set aside"):
        export(world.store, path, "comparisons", tool)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("what", ["comparisons", "preferences"])
def test_what_was_set_aside_there_does_not_count_here(world: World, tmp_path: Path, what: str,
                                                      suffix: str) -> None:
    ada, ben = world.people(2)
    for person in (ada, ben, ben):
        world.choose(person, world.task(), 0)
    world.store.people.set_aside(ben.id, True)
    path = tmp_path / f"out.{suffix}"
    export(world.store, path, what)
    here = Store(tmp_path / "here.db")
    told = import_file(here, path)
    assert told.added == 1 and told.skipped == {"an answer that was set aside": 2}
    if what == "preferences":  # `train-reward`'s files too
        pairs, skipped = read_pairs(path)
        assert len(pairs) == 1 and skipped == told.skipped


def test_an_annotator_who_was_set_aside_stays_so_when_more_comes(world: World,
                                                                 tmp_path: Path) -> None:
    ada, = world.people(1)
    world.choose(ada, world.task(), 0)
    export(world.store, tmp_path / "one.jsonl", "comparisons")
    here = Store(tmp_path / "here.db")
    import_file(here, tmp_path / "one.jsonl")
    who, = here.people.all("imported")
    here.people.set_aside(who.id, True)
    world.choose(ada, world.task(), 0)
    export(world.store, tmp_path / "two.jsonl", "comparisons")
    assert import_file(here, tmp_path / "two.jsonl").added == 1
    labels = "SELECT sum(labels) FROM tasks"
    assert here.comparisons.preferences() == [] and here.database.value(labels) == 0
    here.people.set_aside(who.id, False)
    assert len(here.comparisons.preferences()) == 2 == here.database.value(labels)


def test_what_came_from_a_file_is_asked_of_nobody_when_it_is_set_aside(world: World,
                                                                       tmp_path: Path) -> None:
    ada, = world.people(1)
    for _ in range(3):
        world.choose(ada, world.task(), 0)
    export(world.store, tmp_path / "theirs.jsonl", "comparisons")
    here = World.make(tmp_path / "here.db")
    import_file(here.store, tmp_path / "theirs.jsonl")
    own = here.task()
    ben, = here.people(1)
    imported = [row["id"] for row in here.store.database.rows(
        "SELECT id FROM responses WHERE source = 'import'")]
    assert here.store.asking.responses()[:2] == sorted(own.response_ids, reverse=True)
    who, = here.store.people.all("imported")
    here.store.people.set_aside(who.id, True)
    assert here.store.tasks.labels_missing() == here.store.assignments.open_for(ben.id) == 1
    assert here.store.tasks.open_pairs() == [("one", "two")]
    assert [task.id for task in here.store.asking.tasks()] == [own.id]
    assert here.store.asking.responses()[:2] == sorted(own.response_ids, reverse=True)
    assert not hidden_from(here.store, ben.id, imported)
    given = here.store.assignments.next_for(ben.id)
    assert given is not None and given.task.id == own.id
    here.choose(ben, own, 0)
    assert here.store.assignments.next_for(ben.id) is None
