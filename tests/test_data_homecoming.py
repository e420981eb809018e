"""Comparisons that come back: to the workspace that exported them, and decisions to any other."""

import json
from pathlib import Path

import pytest
from data_world import World
from exchange_world import FORMATS, answers, read, with_ranking, world

from data.exchange.exporting import export
from data.exchange.importing import import_file
from data.records import Answer
from data.store import Store

assert world  # a fixture


@pytest.mark.parametrize(("name", "tool"), FORMATS)
def test_what_comes_back_to_its_own_workspace_is_there_already(
        world: World, tmp_path: Path, name: str, tool: str | None) -> None:
    ann = world.store.people.named("Labeler 0")
    task = world.store.tasks.get(1)
    export(with_ranking(world).store, tmp_path / name, "comparisons", tool)
    first, second = task.response_ids
    world.store.comparisons.submit(ann.id, task, Answer(((first,), (second,)), 1), "changed", 1)
    before, people = answers(world.store), len(world.store.people.all())
    assert import_file(world.store, tmp_path / name).as_dict() | {"skipped": {}} == {
        "what": "comparisons", "added": 0, "duplicates": 4, "repeats": 0, "skipped": {},
        "labelers": 0, "decisions": 0}
    assert (answers(world.store), len(world.store.people.all())) == (before, people)
    # In another workspace the same task may have another number, and its answers are new.
    other = World.make(tmp_path / "other.db")
    other.task(("else", "where"))
    other.choose(other.people(1)[0], other.task(("The Nile.", "=A river."),
                                                prompt="Name a river."), 1)
    assert import_file(other.store, tmp_path / name).added == 4


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_preferences_that_come_back_are_there_already(world: World, tmp_path: Path,
                                                      suffix: str) -> None:
    export(with_ranking(world).store, tmp_path / f"p.{suffix}")
    before = len(world.store.comparisons.preferences())
    report = import_file(world.store, tmp_path / f"p.{suffix}")
    assert (report.added, report.duplicates) == (0, 6)
    assert len(world.store.comparisons.preferences()) == before
    assert import_file(Store(tmp_path / "other.db"), tmp_path / f"p.{suffix}").added == 6


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("what", ["comparisons", "preferences"])
def test_workspaces_that_exchange_their_answers_have_each_once(world: World, tmp_path: Path,
                                                               suffix: str, what: str) -> None:
    """What went to another one comes back among what was answered there."""
    other = World.make(tmp_path / "other.db")
    other.choose(other.people(1)[0], other.task(("left", "right"), prompt="Theirs?"), 0)
    theirs = Store(tmp_path / "other.db")
    there, back = tmp_path / f"there.{suffix}", tmp_path / f"back.{suffix}"
    export(world.store, there, "comparisons")
    assert import_file(theirs, there).added == 3
    export(theirs, back, what)
    before = answers(world.store)
    report = import_file(world.store, back)
    assert (report.added, report.duplicates) == (1, 3 if what == "comparisons" else 1)
    assert len(answers(world.store)) == len(before) + 1
    assert import_file(theirs, back).added == 0


@pytest.mark.parametrize(("name", "tool"), FORMATS)
def test_a_response_with_nul_characters_comes_back_like_any_other(tmp_path: Path, name: str,
                                                                  tool: str | None) -> None:
    """Models have written some, and none of them makes an export unreadable."""
    world = World.make(tmp_path / "prefloop.db")
    world.choose(world.people(1)[0], world.task(("\0o\0ne ", "two\0")), 0)
    export(world.store, tmp_path / name, "comparisons", tool)
    report = import_file(world.store, tmp_path / name)
    assert (report.added, report.duplicates, report.skipped) == (0, 1, {})
    other = Store(tmp_path / "other.db")
    assert import_file(other, tmp_path / name).added == 1
    assert sorted(response.text for response in other.responses.all()) == ["one ", "two"]
    if tool is None:
        pairs = tmp_path / f"pairs{Path(name).suffix}"
        export(world.store, pairs)
        assert import_file(world.store, pairs).duplicates == 1


@pytest.mark.parametrize(("name", "tool"), FORMATS)
def test_the_title_of_a_response_without_text_is_not_its_text(
        tmp_path: Path, name: str, tool: str | None) -> None:
    """Nothing is compared with it elsewhere, and at home it is what it was."""
    world = World.make(tmp_path / "prefloop.db")
    task = world.task(("one", "", "three"))
    first, second, third = task.response_ids
    world.answer(world.people(1)[0], task, Answer(((first,), (third,), (second,)), 2))
    export(world.store, tmp_path / name, "comparisons", tool)
    report = import_file(world.store, tmp_path / name)
    assert (report.added, report.duplicates, report.skipped) == (0, 1, {})
    other = Store(tmp_path / "other.db")
    assert import_file(other, tmp_path / name).added == 1
    assert sorted(response.text for response in other.responses.all()) == ["one", "three"]


def decided(world: World) -> None:
    """A task of which two people say different things, and a lead the third decides it."""
    ann, bob, lead = (*world.people(2), world.store.people.add("Lea", "lead"))
    task = world.task(("good", "bad"), prompt="Decided?")
    good, bad = task.response_ids
    world.choose(ann, task, 0)
    world.choose(bob, task, 1, strength=4)
    world.choose(lead, task, 1)
    world.store.decisions.decide(lead.id, task.id, Answer(((good,), (bad,)), 2, seconds=900.0,
                                                          active_seconds=12.0), "d", "Bad is bad.")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_decision_comes_back_as_one(world: World, tmp_path: Path, suffix: str) -> None:
    decided(world)
    path, other = tmp_path / f"own.{suffix}", Store(tmp_path / "other.db")
    export(world.store, path, "comparisons")
    report = import_file(other, path)
    assert (report.added, report.decisions) == (6, 1)
    assert "6 comparisons of 6 annotators added; 1 of them leads' decisions" in str(report)
    assert answers(other) == answers(world.store)  # everybody's answers, given blind
    (decision,) = [d for d in map(other.decisions.of_task, range(1, 4)) if d]
    assert decision.note == "Bad is bad."
    comparison = other.comparisons.get(decision.comparison_id)
    assert (comparison.answer.seconds, comparison.answer.active_seconds) == (900.0, 12.0)
    (overridden,) = map(other.comparisons.get, decision.overrides)
    assert other.people.get(overridden.labeler_id).name == "prefloop/Labeler 4"
    text = {r.id: r.text for r in other.responses.all()}
    assert [(text[p.chosen_id], text[p.rejected_id], p.strength)
            for p in other.comparisons.preferences() if p.task_id == decision.task_id] == [
        ("good", "bad", 2)]
    assert import_file(other, path).duplicates == 6
    assert other.decisions.of_task(decision.task_id) == decision


def test_an_older_file_does_not_undo_a_decision(world: World, tmp_path: Path) -> None:
    decided(world)
    path, other = tmp_path / "own.jsonl", Store(tmp_path / "other.db")
    export(world.store, path, "comparisons")
    import_file(other, path)
    blind = [{**row, "decision": False, "ranking": row["ranking"][::-1]}
             for row in read(path) if row["labeler"] == "Lea"]
    path.write_text("".join(json.dumps(row) + "\n" for row in blind), "utf-8")
    assert import_file(other, path).duplicates == 1
    assert len([d for d in map(other.decisions.of_task, range(1, 4)) if d]) == 1


@pytest.mark.parametrize(("name", "tool"), FORMATS[:3])
def test_other_tools_get_the_decision_alone(world: World, tmp_path: Path, name: str,
                                            tool: str) -> None:
    decided(world)
    report = export(world.store, tmp_path / name, "comparisons", tool)
    assert (report.rows, report.decided_left_out) == (3, 2)
    assert "2 answers that a decision stands for left out" in str(report)
    other = Store(tmp_path / "other.db")
    import_file(other, tmp_path / name)
    assert [a[:3] for a in answers(other) if a[1] == ["Decided?"]] == [
        ("Lea", ["Decided?"], [["good"], ["bad"]])]
