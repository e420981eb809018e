"""Comparisons in other tools' shapes: as those tools read them, and back in as they were."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from data_world import World
from exchange_world import FORMATS, answers, read, with_ranking, world

from data.exchange.exporting import export
from data.exchange.import_report import ImportReport
from data.exchange.importing import import_file
from data.records import Answer
from data.store import Store

assert world  # a fixture


@pytest.mark.parametrize("ranking", [False, True])
@pytest.mark.parametrize(("name", "tool"), [
    ("out.json", "label-studio"), ("out.json", "argilla"), ("out.jsonl", "argilla"),
    ("out.jsonl", "oasst"), ("out.jsonl", None), ("out.csv", None), ("out.parquet", None)])
def test_what_goes_out_comes_back_as_it_was(world: World, tmp_path: Path, name: str,
                                            tool: str | None, ranking: bool) -> None:
    if ranking:
        with_ranking(world)
    path = tmp_path / name
    export(world.store, path, "comparisons", tool)
    other = Store(tmp_path / "other.db")
    report = import_file(other, path)
    expected = answers(world.store)
    if tool == "oasst":  # it keeps neither strengths nor reasons
        expected = [(*a[:3], 0 if len(a[2]) == 1 else 3, a[4], "") for a in expected]
    assert answers(other) == sorted(expected)
    assert report.added == len(expected) == (4 if ranking else 3)
    # What the simulated labeler said stays marked as such.
    assert "prefloop/Labeler 2 (simulated)" in [who.name for who in other.people.all()]
    assert import_file(other, path) == ImportReport(
        "comparisons", 0, len(expected), report.skipped, 0)
    if tool is None:
        by_words = {(r.text, c.answer.scores.get(r.id)) for c in other.comparisons.current()
                    for r in other.responses.get(c.shown)}
        assert ("=A river.", 6) in by_words
        assert report.skipped == {"an answer to a task of purpose gold": 1}
    else:
        assert {c.shown for c in other.comparisons.current()} == {()}


@pytest.mark.parametrize(("name", "tool"), FORMATS)
def test_texts_that_are_json_come_back_as_texts(world: World, tmp_path: Path, name: str,
                                                tool: str | None) -> None:
    for number, texts in enumerate((("[1, 2, 3]", '{"a": 1}'), ('[{"from": "Brno"}]', "[]"),
                                    ('{"rating": 5}', '{"choices": ["tie"]}'))):
        task = world.task(texts, prompt=f'[{number}, {{"in": "JSON"}}]')
        world.answer(world.people(1)[0], task, Answer(
            tuple((i,) for i in task.response_ids), rationale='["response-1", "x"]'))
    export(world.store, tmp_path / name, "comparisons", tool)
    other = Store(tmp_path / "other.db")
    import_file(other, tmp_path / name)
    assert [said[:3] for said in answers(other)] == [said[:3] for said in answers(world.store)]
    assert tool == "oasst" or answers(other) == answers(world.store)  # it holds no reasons


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_apostrophes_and_formulas_come_back_as_they_were(world: World, tmp_path: Path,
                                                         suffix: str) -> None:
    """A CSV's guard before formulas is taken away where it was put, and nowhere else."""
    reasons = ["=1+1", "'=1+1", "''@x", "'quoted'", "-", "'"]
    for number, reason in enumerate(reasons):
        task = world.task(("one", "two"), prompt=f"Question {number}")
        world.answer(world.people(1)[0], task, Answer(
            tuple((i,) for i in task.response_ids), rationale=reason))
    path = tmp_path / f"own.{suffix}"
    export(world.store, path, "comparisons")
    other = Store(tmp_path / "other.db")
    import_file(other, path)
    assert [c.answer.rationale for c in other.comparisons.current()][-len(reasons):] == reasons
    assert answers(other) == answers(world.store)


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl", "own.parquet"])
def test_flags_with_commas_come_back_as_they_were(world: World, tmp_path: Path,
                                                  name: str) -> None:
    task = world.task(("one", "two"), prompt="Flagged?")
    flags = dict(zip(task.response_ids, (("rude, or worse", "untrue"), ("unsafe", "untrue")),
                     strict=True))
    world.answer(world.people(1)[0], task, Answer(
        tuple((i,) for i in task.response_ids), flags=flags))
    export(world.store, tmp_path / name, "comparisons")
    other = Store(tmp_path / "other.db")
    import_file(other, tmp_path / name)
    found = next(c for c in other.comparisons.current() if c.answer.flags)
    text = {r.id: r.text for r in other.responses.get(found.shown)}
    assert {text[i]: given for i, given in found.answer.flags.items()} == {
        "one": flags[task.response_ids[0]], "two": flags[task.response_ids[1]]}


def test_what_is_no_order_of_display_is_none(world: World, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    export(world.store, path, "comparisons")
    rows = read(path)
    rows[0]["shown"] = [rows[0]["shown"][0]] * 2 + rows[0]["shown"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    other = Store(tmp_path / "other.db")
    import_file(other, path)
    assert sum(c.shown == () for c in other.comparisons.current()) == 1


def test_a_chain_of_workspaces_keeps_who_said_it(world: World, tmp_path: Path) -> None:
    path, stores = tmp_path / "c.jsonl", [world.store]
    for i in range(3):
        export(stores[-1], path, "comparisons")
        stores.append(Store(tmp_path / f"{i}.db"))
        import_file(stores[-1], path)
    assert answers(stores[-1]) == answers(stores[1])
    assert import_file(stores[1], path).added == 0


def test_pairs_are_label_studios_pairwise_tasks(world: World, tmp_path: Path) -> None:
    report = export(world.store, tmp_path / "ls.json", "comparisons", "label-studio")
    assert str(report) == ("2 tasks with their comparisons written as label-studio; "
                           "1 answers to gold and repeats left out")
    first, second = read(tmp_path / "ls.json")
    assert first["data"] == {
        "prompt": [{"role": "user", "content": "Name a river."}], "answer1": "The Nile.",
        "answer2": "=A river.", "source": "prefloop", "task_id": 1, "purpose": "train",
        "split": world.store.prompts.get(1).split, "round": 0}
    ann, bob = first["annotations"]
    values = {r["from_name"]: r["value"] for r in ann["result"]}
    assert values == {
        "comparison": {"selected": "right"}, "strength": {"choices": ["significantly better"]},
        "answer1-score": {"rating": 2}, "answer2-score": {"rating": 6},
        "reason": {"text": ["It is > right."]}, "labeler": {"text": ["Labeler 0 (human)"]}}
    assert (ann["was_cancelled"], ann["lead_time"]) == (False, 6.5)
    # Label Studio refuses a whole file for one person that it does not know.
    assert "completed_by" not in ann
    assert next(r["value"] for r in bob["result"]) == {"choices": ["tie"]}
    robot = {r["from_name"]: r["value"] for r in second["annotations"][0]["result"]}
    assert robot == {"strength": {"choices": ["both bad"]},
                     "labeler": {"text": ["Labeler 2 (simulated)"]}}


def test_with_a_ranking_all_are_label_studios_rankers(world: World, tmp_path: Path) -> None:
    export(with_ranking(world).store, tmp_path / "ls.json", "comparisons", "label-studio")
    first, *_, last = read(tmp_path / "ls.json")
    assert [item["body"] for item in first["data"]["answers"]] == ["The Nile.", "=A river."]
    assert [m["role"] for m in last["data"]["prompt"]] == ["system", "user", "assistant", "user"]
    ids = {item["body"]: item["id"] for item in last["data"]["answers"]}
    assert last["annotations"][0]["result"][0] == {
        "type": "ranker", "from_name": "rank", "to_name": "answers", "value": {"ranker": {
            "1": [ids["c"]], "2": [ids["a"], ids["d"]], "3": [ids["b"]]}}}


def test_records_are_argillas(world: World, tmp_path: Path) -> None:
    export(with_ranking(world).store, tmp_path / "a.json", "comparisons", "argilla")
    first, *_, last = read(tmp_path / "a.json")
    assert set(first) == {"id", "fields", "metadata", "suggestions", "responses", "vectors"}
    assert first["fields"]["prompt"] == [{"role": "user", "content": "Name a river."}]
    given = {question: [answer["value"] for answer in answers]
             for question, answers in first["responses"].items()}
    assert given == {
        "order": ["response-2 > response-1", "response-1 = response-2"],
        "ranking": [["response-2", "response-1"]], "strength": [4, 0],
        "labeler": ["Labeler 0 (human)", "Labeler 1 (human)"], "rationale": ["It is > right."]}
    for answer in first["responses"]["order"]:
        assert set(answer) == {"value", "user_id", "status"} and answer["status"] == "submitted"
        uuid.UUID(answer["user_id"])
    assert last["responses"]["order"][0]["value"] == (
        "response-3 > response-1 = response-4 > response-2")
    assert "ranking" not in last["responses"]  # it would put the two that are tied in an order


def test_argillas_own_people_keep_their_ids(tmp_path: Path) -> None:
    user = "1aa7e4ff-6a4d-4e2b-9f0f-0d3c3f5a9c11"
    (tmp_path / "in.jsonl").write_text(json.dumps({
        "fields": {"prompt": "Q", "response-1": "a", "response-2": "b"}, "responses": {
            "ranking": [{"value": ["response-2", "response-1"], "user_id": user}]}}))
    store = Store(tmp_path / "prefloop.db")
    import_file(store, tmp_path / "in.jsonl")
    export(store, tmp_path / "out.json", "comparisons", "argilla")
    (record,) = read(tmp_path / "out.json")
    assert record["responses"]["order"][0]["user_id"] == user
    # Back in, it is the same answer of the same person.
    assert import_file(store, tmp_path / "out.json").duplicates == 1


def test_trees_are_openassistants(world: World, tmp_path: Path) -> None:
    export(with_ranking(world).store, tmp_path / "o.jsonl", "comparisons", "oasst")
    first, *_, last = read(tmp_path / "o.jsonl")
    assert first["message_tree_id"] == first["prompt"]["message_id"]
    nile, river = first["prompt"]["replies"]
    # One says the river is better, one that they are equal: the river is ahead.
    assert (nile["rank"], river["rank"], river["role"]) == (1, 0, "assistant")
    ranking, tie = first["prompt"]["events"]["ranking"]
    assert (ranking["user_id"], ranking["ranking"], ranking["ranks"]) == (
        "Labeler 0 (human)", [1, 0], [0, 1])
    assert ranking["ranked_message_ids"] == [river["message_id"], nile["message_id"]]
    assert tie["ranks"] == [0, 0]
    chain, node = [], last["prompt"]
    while node["role"] != "assistant" or node["replies"]:
        chain.append((node["role"], node["text"]))
        node = node["replies"][0]
    assert chain == [("system", "Be brief."), ("prompter", "Hi"), ("assistant", "Hello"),
                     ("prompter", "Name a river.")]
    assert node["model_name"] == "better"
    every = [n["message_id"] for tree in (first, last) for n in nodes(tree["prompt"])]
    assert len(set(every)) == len(every)


def nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(inner for reply in node["replies"] for inner in nodes(reply))]
