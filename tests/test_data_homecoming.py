"""Comparisons that come back: to the workspace that exported them, and decisions to any other."""

import json
from pathlib import Path

import pytest
from data_world import World
from exchange_world import FORMATS, answers, read, with_ranking, world

from data.exchange.exporting import export
from data.exchange.file_pairs import read_pairs
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


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_preferences_of_several_people_are_each_ones_elsewhere(world: World, tmp_path: Path,
                                                               suffix: str) -> None:
    """What two said alike counts twice, and what they said differently is no one's change of mind.
    """
    ann, bob, eve, task = *world.people(3), world.task(("left", "right"), prompt="Which?")
    for person, winner in ((ann, 0), (bob, 0), (eve, 1)):
        world.choose(person, task, winner)
    there, other = tmp_path / f"there.{suffix}", World.make(tmp_path / "other.db").store
    export(world.store, there)
    report = import_file(other, there)
    assert (report.added, report.repeats, report.labelers) == (4, 0, 4)
    assert "4 preferences of 4 annotators added" in str(report)
    assert sorted((who, ranking) for who, prompt, ranking, *_ in answers(other)
                  if prompt == ["Which?"]) == [
        (ann.name, [["left"], ["right"]]), (bob.name, [["left"], ["right"]]),
        (eve.name, [["right"], ["left"]])]
    assert import_file(other, there).duplicates == 4
    pairs, _ = read_pairs(there)  # as `eval-reward --data` has them
    assert sorted(pair.chosen for pair in pairs if pair.rejected in ("left", "right")) == [
        "left", "left", "right"]


@pytest.mark.parametrize("first", ["comparisons", "preferences"])
def test_an_answer_counts_once_elsewhere_whether_it_comes_as_pairs_or_as_a_ranking(
        world: World, tmp_path: Path, first: str) -> None:
    second = "preferences" if first == "comparisons" else "comparisons"
    with_ranking(world)
    other = Store(tmp_path / "other.db")
    for what in (first, second):
        export(world.store, tmp_path / f"{what}.jsonl", what)
        import_file(other, tmp_path / f"{what}.jsonl")
    prompt = [m["content"] for m in other.prompts.get(
        other.database.value("SELECT prompt_id FROM responses WHERE text = 'a'")).messages]
    of_four = [ranking for _, asked, ranking, *_ in answers(other) if asked == prompt]
    assert of_four == ([[["c"], ["a", "d"], ["b"]]] if first == "comparisons" else
                       sorted([[b], [w]] for b, w in ("ca", "cd", "cb", "ab", "db")))
    # What is richer than a pair, of the same two responses, replaces it, and not the other way.
    assert [said for *_, said in answers(other) if said] == ["It is > right."]
    assert import_file(other, tmp_path / f"{first}.jsonl").added == 0
    assert import_file(other, tmp_path / f"{second}.jsonl").added == 0


def test_an_imported_pair_that_was_changed_back_is_changed_back_here(world: World,
                                                                     tmp_path: Path) -> None:
    (ann,), task = world.people(1), world.task(("left", "right"), prompt="Which?")
    left, right = task.response_ids
    other, path = Store(tmp_path / "other.db"), tmp_path / "p.jsonl"
    world.choose(ann, task, 0)
    for revision, (better, worse) in enumerate(((left, right), (right, left), (left, right))):
        if revision:
            world.store.comparisons.submit(ann.id, task, Answer(((better,), (worse,)), 3),
                                           str(revision), revision)
        path.unlink(missing_ok=True)
        export(world.store, path)
        import_file(other, path)
        (said,) = [ranking for who, _, ranking, *_ in answers(other) if who == ann.name]
        assert said == ([["left"], ["right"]] if better == left else [["right"], ["left"]])


def test_a_changed_answer_is_a_revision_elsewhere_where_tasks_have_the_same_numbers(
        tmp_path: Path) -> None:
    """As they do where a workspace was filled from another one alone."""
    world, other = World.make(tmp_path / "prefloop.db"), Store(tmp_path / "other.db")
    (ann,), task, path = world.people(1), world.task(), tmp_path / "c.jsonl"
    ranking = tuple((one,) for one in task.response_ids)
    world.answer(ann, task, Answer(ranking, 4))
    export(world.store, path, "comparisons")
    assert import_file(other, path).added == 1
    world.store.comparisons.submit(ann.id, task, Answer(ranking, 1, rationale="Hardly."), "new", 1)
    path.unlink()
    export(world.store, path, "comparisons")
    assert import_file(other, path).added == 1
    (answer,) = [c.answer for c in other.comparisons.current()]
    assert (answer.strength, answer.rationale) == (1, "Hardly.")
