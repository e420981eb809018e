"""Imports of Label Studio's own files, in the shapes that it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from exchange_files import PAIR, annotation, pairwise, result, said, saved, task

from data.errors import BadInput
from data.exchange.foreign_fields import Fields
from data.exchange.import_report import ImportReport
from data.exchange.importing import import_file
from data.exchange.sniffing import sniff
from data.store import Store


def test_label_studios_pairwise_export(store: Store, tmp_path: Path) -> None:
    path = saved(tmp_path / "project-3-at-2024-05-02.json", [
        task(PAIR, annotation(pairwise("left")), annotation(pairwise("right"), by=2),
             annotation(by=3, was_cancelled=True), drafts=[{"id": 4, "result": []}]),
        task({**PAIR, "prompt": "Other?"}),
        task({**PAIR, "prompt": "Third?"}, annotation(
            pairwise("right"), by={"id": 9, "email": "ann@example.org", "first_name": ""}))])
    assert sniff(path) == "label-studio"
    assert import_file(store, path) == ImportReport(
        "comparisons", 3, 0, {"a draft": 1, "a cancelled annotation": 1,
                              "a task without annotations": 1}, labelers=3)
    assert said(store) == [
        ("label-studio/1", "Name a river.", [["The Nile."], ["A river."]], 3),
        ("label-studio/2", "Name a river.", [["A river."], ["The Nile."]], 3),
        ("label-studio/ann@example.org", "Third?", [["A river."], ["The Nile."]], 3)]
    first, second, _ = store.comparisons.current()
    assert first.task_id == second.task_id  # so that agreement between the two can be measured
    assert first.answer.seconds == 7.25
    # Label Studio shows the first of the two on the left, and says so.
    assert first.winner == first.shown[0] and second.winner == second.shown[1]
    assert {labeler.kind for labeler in store.people.all()} == {"imported"}
    assert {r.policy_version_id for r in store.responses.all()} == {None}
    assert store.assignments.next_for(store.people.add("Cy").id) is None


def test_label_studios_rankers(store: Store, tmp_path: Path) -> None:
    items = [{"id": f"llm_{i}", "title": f"LLM {i}", "body": f"Body {i}"} for i in range(1, 4)]
    data = {"prompt": "What burned the library?", "items": items}

    def ranked(**buckets: list[str]) -> dict[str, Any]:
        return annotation(result("ranker", {"ranker": buckets}, "rank", "results"))

    path = saved(tmp_path / "ranker.json", [
        task({**data, "prompt": "order"}, ranked(rank=["llm_2", "llm_3", "llm_1"])),
        task({**data, "prompt": "groups"}, ranked(**{
            "_": [], "relevant_results": ["llm_3"], "irrelevant": ["llm_1", "llm_2"]})),
        task({**data, "prompt": "places"}, ranked(**{"2": ["llm_1"], "1": ["llm_3", "llm_2"]})),
        task({**data, "prompt": "topics"}, ranked(sport=["llm_1"], music=["llm_2", "llm_3"]))])
    report = import_file(store, path)
    assert report.skipped == {"a ranker whose buckets say no order": 1}
    assert [ranking for _, _, ranking, _ in said(store)] == [
        [["Body 2"], ["Body 3"], ["Body 1"]], [["Body 3"], ["Body 1", "Body 2"]],
        [["Body 2", "Body 3"], ["Body 1"]]]
    first = store.comparisons.current()[0]
    text = {r.id: r.text for r in store.responses.all()}
    assert [text[i] for i in first.shown] == ["Body 1", "Body 2", "Body 3"]


def test_label_studios_choices_ratings_and_reasons(store: Store, tmp_path: Path) -> None:
    def choice(label: str, name: str = "preference") -> dict[str, Any]:
        return result("choices", {"choices": [label]}, name, "prompt")

    reason = result("textarea", {"text": ["It names one.", "Short."]}, "reason", "prompt")
    stars = [result("rating", {"rating": n}, "stars", f"answer{i}") for i, n in ((1, 2), (2, 5))]
    # How harmful it is: the more, the worse.
    harm = [result("rating", {"rating": n}, "harm", f"answer{i}") for i, n in ((1, 5), (2, 1))]
    answers = {
        "a": [choice("Answer 2"), reason], "b": [choice("tie")], "c": [choice("Both are bad")],
        "d": [pairwise("left"), choice("significantly better", "strength")], "e": stars,
        "f": [choice("harmful", "safety")], "g": [choice("A"), choice("B", "other")],
        "h": [*stars, *harm], "i": [*stars, *harm, pairwise("right")]}
    path = saved(tmp_path / "choices.json", [
        task({**PAIR, "prompt": key}, annotation(*results)) for key, results in answers.items()])
    report = import_file(store, path)
    assert report.skipped == {"an annotation that does not compare responses": 1,
                              "choices that contradict each other": 1,
                              "ratings of responses in several respects": 1}
    nile, river = ["The Nile."], ["A river."]
    assert [(ranking, strength) for _, _, ranking, strength in said(store)] == [
        ([river, nile], 3), ([river + nile], 0), ([river + nile], 0), ([nile, river], 4),
        ([river, nile], 3), ([river, nile], 3)]
    a, _, c, _, e, i = store.comparisons.current()
    assert a.answer.rationale == "It names one.\nShort."
    assert c.answer.verdict == "both_bad"
    assert sorted(e.answer.scores.values()) == [2, 5] and not i.answer.scores


def test_label_studios_min_and_csv_exports(store: Store, tmp_path: Path) -> None:
    row = {**PAIR, "id": 1, "comparison": [{"selected": "right"}], "safe": "yes", "annotator": 1,
           "annotation_id": 11, "created_at": "2024-05-02T10:00:00.000000Z",
           "updated_at": "2024-05-02T10:00:00.000000Z", "lead_time": 3.5}
    path = saved(tmp_path / "min.json", [
        row, {**row, "annotator": 2, "annotation_id": 12, "comparison": [{"selected": "left"}]},
        {**row, "annotator": None, "annotation_id": None}])
    report = import_file(store, path)
    assert (report.added, report.skipped) == (2, {"a task without annotations": 1})
    table = tmp_path / "project.csv"
    table.write_text("annotation_id,annotator,answer1,answer2,comparison,lead_time,prompt\n"
                     '13,3,The Nile.,A river.,"[{""selected"": ""left""}]",2.5,Name a river.\n'
                     "14,4,The Nile.,A river.,Answer 2,2.5,Name a river.\n")
    assert import_file(store, table).added == 2
    # Bare letters and numbers are read only where a column asks which is better.
    table.write_text("annotation_id,annotator,answer1,answer2,preference,grade,task,prompt\n"
                     "0,5,The Nile.,A river.,B,A,1,Name a river.\n"
                     "16,6,The Nile.,A river.,,A,1,Name a river.\n")
    report = import_file(store, table)
    assert (report.added, report.skipped) == (
        1, {"an annotation that does not compare responses": 1})
    assert [(name, ranking[0]) for name, _, ranking, _ in said(store)] == [
        ("label-studio/1", ["A river."]), ("label-studio/2", ["The Nile."]),
        ("label-studio/3", ["The Nile."]), ("label-studio/4", ["A river."]),
        ("label-studio/5", ["A river."])]
    assert len({c.task_id for c in store.comparisons.current()}) == 1


def test_a_cell_that_is_json_stays_what_was_said_unless_it_holds_messages(
        store: Store, tmp_path: Path) -> None:
    table = tmp_path / "project.csv"
    rows = [("x,1", '{"rating": 5}', "[1, 2]"), ("y", '["a"]', '[{"name": "Ada"}]'),
            ('[{"from": "human", "value": "z"}]', '[{"role": "assistant", "content": "A"}]', "B")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([
            ("annotation_id", "annotator", "prompt", "answer1", "answer2", "comparison"),
            *((i, i, *row, '[{"selected": "left"}]') for i, row in enumerate(rows))])
    assert import_file(store, table).added == 3
    assert [(prompt, ranking) for _, prompt, ranking, _ in said(store)] == [
        ("x,1", [['{"rating": 5}'], ["[1, 2]"]]), ("y", [['["a"]'], ['[{"name": "Ada"}]']]),
        ("z", [["A"], ["B"]])]


def test_a_projects_own_field_names_are_told_or_asked_for(store: Store, tmp_path: Path) -> None:
    data = {"user_turn": "Name a river.", "tone": "calm", "from_gpt": "The Nile.",
            "from_llama": "A river."}
    path = saved(tmp_path / "own.json", [task(data, annotation(pairwise("right")))])
    with pytest.raises(BadInput, match=r"line 2: cannot tell which fields are the responses; the "
                                       r"fields are user_turn, tone.*--response-fields"):
        import_file(store, path)
    with pytest.raises(BadInput, match=r"cannot tell which field is the prompt.*--prompt-field"):
        import_file(store, path, fields=Fields("", ("from_gpt", "from_llama")))
    with pytest.raises(BadInput, match="nobody: missing; the fields are user_turn"):
        import_file(store, path, fields=Fields("nobody", ("from_gpt", "from_llama")))
    fields = Fields("user_turn", ("from_gpt", "from_llama"))
    assert import_file(store, path, fields=fields).added == 1
    assert said(store)[0][2] == [["A river."], ["The Nile."]]


FINE = task(PAIR, annotation(pairwise("left")))


@pytest.mark.parametrize(("broken", "where"), [
    (task("text"), "data: wanted an object, found str"),  # type: ignore[arg-type]
    ({**FINE, "annotations": {}}, "annotations: wanted a list, found dict"),
    ({**FINE, "annotations": [7]}, r"annotations\[1\]: wanted an object, found int"),
    (task(PAIR, annotation(), {**annotation(), "result": {}}),
     r"annotations\[2\]\.result: wanted a list, found dict"),
    (task(PAIR, annotation("x")), r"annotations\[1\]\.result\[1\]: "),  # type: ignore[arg-type]
    (task(PAIR, annotation(result("pairwise", "left"))), r"result\[1\]\.value: wanted an object"),
    (task(PAIR, annotation(pairwise("up"))), "pairwise.selected: 'up' of 2 responses"),
    (task({**PAIR, "prompt": 7}, annotation(pairwise("left"))), "prompt: wanted text or messages"),
    (task({**PAIR, "answer1": {}, "answer2": "x", "response1": "a", "response2": "b",
           "prompt": "a\0b"}, annotation(pairwise("left"))), "prompt.*NUL"),
    (task({**PAIR, "answer2": "\ud800"}, annotation(pairwise("left"))), "surrogate"),
    (task({"prompt": "Q", "items": [{"id": 1, "body": "a"}, {"id": 1, "body": "b"}]},
          annotation(result("ranker", {"ranker": {"r": [1]}}))), r"items\[2\]: the id '1'"),
    (task({"prompt": "Q", "items": ["a", "b"]},
          annotation(result("ranker", {"ranker": {"r": ["z"]}}))), "ranker.r: 'z' is the id of no"),
    (task({**PAIR, "prompt": [{"role": "robot", "content": "x"}]}, annotation(pairwise("left"))),
     r"prompt\[1\]\.role: 'robot' is no role"),
])
def test_a_malformed_task_is_named_and_nothing_is_stored(
        store: Store, tmp_path: Path, broken: dict[str, Any], where: str) -> None:
    path = saved(tmp_path / "bad.json", [FINE, broken])
    with pytest.raises(BadInput, match=where) as caught:
        import_file(store, path)
    line = 2 + json.dumps(FINE, indent=2).count("\n") + 1
    assert f"bad.json, line {line}: " in str(caught.value)
    assert not any(store.database.value(f"SELECT count(*) FROM {table}") for table in (
        "prompts", "labelers", "responses", "tasks", "comparisons"))


def test_texts_beside_a_prompt_are_part_of_it(store: Store, tmp_path: Path) -> None:
    """Whoever compared saw them; what is no text is data about the record."""
    path = saved(tmp_path / "x.json", [
        task({**PAIR, "input": "In Africa."}, annotation(pairwise("left"))),
        task({**PAIR, "context": ["doc-7"]}, annotation(pairwise("left")))])
    assert import_file(store, path).added == 2
    assert [p.text for p in store.prompts.all()] == ["Name a river.\n\nIn Africa.",
                                                     "Name a river."]
