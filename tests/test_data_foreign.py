"""Imports of Label Studio's, Argilla's and OpenAssistant's own files, in the shapes they write."""

import copy
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.errors import BadInput
from data.exchange.foreign_choices import choice_of
from data.exchange.foreign_fields import Fields
from data.exchange.importing import ImportReport, import_file, sniff
from data.store import Store

ANN, BOB = "1aa7e4ff-6a4d-4e2b-9f0f-0d3c3f5a9c11", "2bb7e4ff-6a4d-4e2b-9f0f-0d3c3f5a9c22"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "prefloop.db")


def saved(path: Path, document: Any) -> Path:
    """A list as JSON (indented, as the tools write it), or one object a line."""
    if path.suffix == ".json":
        path.write_text(json.dumps(document, indent=2), "utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in document), "utf-8")
    return path


Said = tuple[str, str, list[list[str]], int]


def said(store: Store) -> list[Said]:
    """(labeler, question, ranking by text, strength) of every answer that stands."""
    text = {r.id: r.text for r in store.responses.all()}
    names = {labeler.id: labeler.name for labeler in store.people.all()}
    return [(names[c.labeler_id],
             store.prompts.get(store.tasks.get(c.task_id).prompt_id).text,
             [[text[i] for i in group] for group in c.answer.ranking], c.answer.strength)
            for c in store.comparisons.current()]


# Label Studio

def result(kind: str, value: Any, name: str = "", to: str = "") -> dict[str, Any]:
    return {"value": value, "id": "x1Yz", "from_name": name or kind, "to_name": to or name or kind,
            "type": kind, "origin": "manual"}


def pairwise(side: str) -> dict[str, Any]:
    return result("pairwise", {"selected": side}, "comparison")


def annotation(*results: dict[str, Any], by: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": 11, "completed_by": by, "result": list(results), "was_cancelled": False,
            "ground_truth": False, "created_at": "2024-05-02T10:00:00.000000Z",
            "updated_at": "2024-05-02T10:00:00.000000Z", "draft_created_at": None,
            "lead_time": 7.25, "prediction": {}, "result_count": 1,
            "unique_id": "5c9e7a3a-9a0b-4f53-8f3e-3e55f0a3a9b6", "import_id": None,
            "last_action": None, "task": 1, "project": 3, "updated_by": 1,
            "parent_prediction": None, "parent_annotation": None, **more}


def task(data: dict[str, Any], *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "annotations": list(annotations), "file_upload": "3f1-dataset.json",
            "drafts": [], "predictions": [], "data": data, "meta": {},
            "created_at": "2024-05-01T10:00:00.000000Z",
            "updated_at": "2024-05-02T10:00:00.000000Z", "inner_id": 1, "total_annotations": 2,
            "cancelled_annotations": 0, "total_predictions": 0, "comment_count": 0,
            "last_comment_updated_at": None, "project": 3, "updated_by": 1,
            "comment_authors": [], **more}


PAIR = {"prompt": "Name a river.", "answer1": "The Nile.", "answer2": "A river."}


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
    assert first.first_shown_won is True and second.first_shown_won is False
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
    answers = {
        "a": [choice("Answer 2"), reason], "b": [choice("tie")], "c": [choice("Both are bad")],
        "d": [pairwise("left"), choice("significantly better", "strength")], "e": stars,
        "f": [choice("harmful", "safety")], "g": [choice("A"), choice("B", "other")]}
    path = saved(tmp_path / "choices.json", [
        task({**PAIR, "prompt": key}, annotation(*results)) for key, results in answers.items()])
    report = import_file(store, path)
    assert report.skipped == {"an annotation that does not compare responses": 1,
                              "choices that contradict each other": 1}
    nile, river = ["The Nile."], ["A river."]
    assert [(ranking, strength) for _, _, ranking, strength in said(store)] == [
        ([river, nile], 3), ([river + nile], 0), ([river + nile], 0), ([nile, river], 4),
        ([river, nile], 3)]
    a, _, c, _, e = store.comparisons.current()
    assert a.answer.rationale == "It names one.\nShort."
    assert c.answer.verdict == "both_bad"
    assert sorted(e.answer.scores.values()) == [2, 5]


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


def test_what_is_asked_for_is_what_is_read(store: Store, tmp_path: Path) -> None:
    tasks = saved(tmp_path / "tasks.json", [task(PAIR, annotation(pairwise("left")))])
    prompts = saved(tmp_path / "p.jsonl", [{"prompt": "Why?"}])
    for path, tool, what, message in (
            (tasks, "label-studio", "prompts", "--what prompts: label-studio is read as comp"),
            (prompts, None, "comparisons", "is of no tool that is known; name it with --format"),
            (prompts, "doccano", None, "'doccano' is none of label-studio, argilla"),
            (prompts, None, "opinions", "'opinions' is none of prompts, preferences")):
        with pytest.raises(BadInput, match=message):
            import_file(store, path, tool=tool, what=what)
    # An export of tasks is no list of prompts, and a row of prompts is no task.
    with pytest.raises(BadInput, match="line 2: prompt: missing; the fields are id, annotations"):
        import_file(store, tasks, what="prompts")
    with pytest.raises(BadInput, match="no line can be used: a record without answers"):
        import_file(store, prompts, tool="argilla")
    assert store.prompts.count() == 0


# Argilla

def flat_v1(question: str, *answers: tuple[str, Any, str], **fields: Any) -> dict[str, Any]:
    """A row as version 1's `format_as("datasets")` makes it."""
    return {**fields, question: [{"user_id": user, "value": value, "status": status}
                                 for user, value, status in answers],
            f"{question}-suggestion": None,
            f"{question}-suggestion-metadata": {"type": None, "score": None, "agent": None},
            "external_id": None, "metadata": "{}"}


TWO = {"prompt": "Name a river.", "response-0": "The Nile.", "response-1": "A river."}


def ranks(*order: int) -> list[dict[str, Any]]:
    return [{"rank": rank, "value": f"response-{i}"} for i, rank in enumerate(order)]


def test_argilla_1_as_a_dataset(store: Store, tmp_path: Path) -> None:
    turned = {"rank": [2, 1], "value": ["response-0", "response-1"]}  # as `datasets` reads it back
    path = saved(tmp_path / "train.jsonl", [
        flat_v1("ranking", (ANN, ranks(1, 2), "submitted"), (BOB, turned, "submitted"), **TWO),
        flat_v1("ranking", (ANN, ranks(1, 1), "submitted"), (BOB, ranks(1, 2), "draft"),
                **{**TWO, "prompt": "Tie?"}),
        flat_v1("ranking", (ANN, None, "discarded"), **{**TWO, "prompt": "No?"}),
        flat_v1("ranking", **{**TWO, "prompt": "Later?"})])
    assert sniff(path) == "argilla"
    assert import_file(store, path) == ImportReport("comparisons", 3, 0, {
        "an answer with the status draft": 1, "an answer with the status discarded": 1,
        "a record without answers": 1}, labelers=2)
    assert said(store) == [
        (f"argilla/{ANN}", "Name a river.", [["The Nile."], ["A river."]], 3),
        (f"argilla/{BOB}", "Name a river.", [["A river."], ["The Nile."]], 3),
        (f"argilla/{ANN}", "Tie?", [["A river.", "The Nile."]], 0)]
    # Nothing says in which order Argilla's page showed the fields.
    assert {c.shown for c in store.comparisons.current()} == {()}


def test_argilla_1_labels_numbers_and_ratings_of_each_response(store: Store,
                                                               tmp_path: Path) -> None:
    fields = {"prompt": "Q", "context": "About Egypt.", "response1": "The Nile.",
              "response2": "A river."}
    distilabel = {"instruction": "D", "generations-0": "The Nile.", "generations-1": "A river.",
                  **{f"generations-{i}-rating": [
                      {"user_id": ANN, "value": n, "status": "submitted"}]
                     for i, n in enumerate((2, 5))},
                  "generations-1-rationale": [
                      {"user_id": ANN, "value": "It is right.", "status": "submitted"}]}
    path = saved(tmp_path / "train.jsonl", [
        flat_v1("preference", (ANN, "Response 2", "submitted"), **fields),
        flat_v1("choose-best", (ANN, 1, "submitted"), (BOB, 0, "submitted"), **fields), distilabel])
    assert import_file(store, path).added == 3  # of Ann's two answers to Q the later one stands
    assert said(store) == [
        (f"argilla/{ANN}", "Q\n\nAbout Egypt.", [["The Nile."], ["A river."]], 3),
        (f"argilla/{BOB}", "Q\n\nAbout Egypt.", [["A river.", "The Nile."]], 0),
        (f"argilla/{ANN}", "D", [["A river."], ["The Nile."]], 3)]
    last = store.comparisons.current()[-1].answer
    assert (sorted(last.scores.values()), last.rationale) == ([2, 5], "It is right.")
    with pytest.raises(BadInput, match=r"line 1: choose-best: 4 does not say which of two"):
        import_file(store, saved(tmp_path / "likert.jsonl", [
            flat_v1("choose-best", (ANN, 4, "submitted"), **fields)]))


def test_argilla_2_nested_and_flat(store: Store, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Name a river."}]
    nested = saved(tmp_path / "records.json", [
        {"id": "r1", "fields": {**TWO, "prompt": chat}, "metadata": {"split": "train"},
         "suggestions": {"ranking": {"value": ["response-0", "response-1"], "score": None,
                                     "agent": "gpt"}},
         "responses": {"ranking": [{"value": ["response-1", "response-0"], "user_id": ANN},
                                   {"value": ranks(1, 1), "user_id": BOB}],
                       "strength": [{"value": 2, "user_id": ANN}]},
         "vectors": {}, "_server_id": "9f0f0d3c-0000-4e2b-9f0f-0d3c3f5a9c11"},
        {"id": "r2", "fields": TWO, "metadata": {}, "suggestions": {}, "responses": {},
         "vectors": {}, "_server_id": None}])
    report = import_file(store, nested)
    assert (report.added, report.skipped) == (2, {"a record without answers": 1})
    assert said(store) == [
        (f"argilla/{ANN}", "Name a river.", [["A river."], ["The Nile."]], 2),
        (f"argilla/{BOB}", "Name a river.", [["A river.", "The Nile."]], 0)]
    assert [m["content"] for m in store.prompts.get(1).messages] == [
        "Hi", "Hello", "Name a river."]
    flat = saved(tmp_path / "flat.jsonl", [{
        "id": "r3", "status": "completed", "_server_id": "s", **TWO, "prompt": "Flat?",
        "preference.responses": ["response-1", "tie", "response-0"],
        "preference.responses.users": [ANN, BOB, "c"],
        "preference.responses.status": ["submitted", "submitted", "draft"],
        "why.responses": ["It is short."], "why.responses.users": [ANN],
        "why.responses.status": ["submitted"],
        "preference.suggestion": None, "preference.suggestion.score": None,
        "preference.suggestion.agent": None}])
    report = import_file(store, flat)
    assert (report.added, report.skipped) == (2, {"an answer with the status draft": 1})
    assert [(r, s) for _, q, r, s in said(store) if q == "Flat?"] == [
        ([["A river."], ["The Nile."]], 3), ([["A river.", "The Nile."]], 0)]
    assert "It is short." in [c.answer.rationale for c in store.comparisons.current()]


def test_argilla_1s_records_as_its_api_gives_them(store: Store, tmp_path: Path) -> None:
    path = saved(tmp_path / "records.jsonl", [{
        "fields": TWO, "responses": [
            {"user_id": ANN, "status": "submitted", "values": {
                "ranking": {"value": ranks(2, 1)}, "reason": {"value": "It says it."}}},
            {"user_id": BOB, "status": "discarded", "values": {}}],
        "suggestions": [], "metadata": {}, "external_id": "e1"}])
    report = import_file(store, path)
    assert (report.added, report.skipped) == (1, {"an answer with the status discarded": 1})
    assert store.comparisons.current()[0].answer.rationale == "It says it."


def test_argillas_parquet_from_the_hub(store: Store, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [flat_v1("ranking", (ANN, ranks(1, 2), "submitted"), **{**TWO, "prompt": f"Q{i}"})
            for i in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), path := tmp_path / "train-00000-of-00001.parquet")
    assert import_file(store, path).added == 300
    rows[270]["prompt"] = " "
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(BadInput, match=r"parquet, record 271: .*prompt"):
        import_file(Store(tmp_path / "other.db"), path)


def test_the_best_of_many_says_nothing_of_the_others(store: Store, tmp_path: Path) -> None:
    fields = {"prompt": "Q", **{f"response-{i}": f"Text {i}" for i in (1, 2, 3)}}
    import_file(store, saved(tmp_path / "best.jsonl", [
        flat_v1("best", (ANN, "response-2", "submitted"), **fields)]))
    assert [r for _, _, r, _ in said(store)] == [[["Text 2"], ["Text 1"]], [["Text 2"], ["Text 3"]]]


@pytest.mark.parametrize(("label", "names", "best"), [
    ("response-1", ["response-0", "response-1"], 1),
    # It could be the name, or the first one as people count: never guessed.
    ("Response 1", ["response-0", "response-1"], None), ("1", ["response-0", "response-1"], None),
    ("Response 1", ["response1", "response2"], 0), ("B", ["response-0", "response-1"], 1),
    ("A is slightly better than B", ["answer1", "answer2"], 0),
    ("Right is better", ["left", "right"], 1), ("a bit", ["answer1", "answer2"], None),
    ("2", ["response_a", "response_b"], 1), ("3", ["answer1", "answer2"], None),
    ("left", ["r1", "r2", "r3"], None), ("Neutral", ["answer1", "answer2"], None),
])
def test_labels_are_read_only_where_they_leave_no_doubt(label: str, names: list[str],
                                                        best: int | None) -> None:
    choice = choice_of(label, names)
    assert (choice.best if choice else None) == best


# OpenAssistant

def message(name: str, role: str, text: str, *replies: dict[str, Any],
            **more: Any) -> dict[str, Any]:
    return {"message_id": name, "user_id": "u", "text": text, "role": role, "lang": "en",
            "review_count": 3, "review_result": True, "deleted": False, "synthetic": False,
            "emojis": {"+1": 2}, "labels": {"quality": {"value": 0.7, "count": 3}},
            "rank": None, "replies": list(replies), **more}


def assistant(name: str, text: str, rank: int | None, *replies: dict[str, Any],
              **more: Any) -> dict[str, Any]:
    return message(name, "assistant", text, *replies, rank=rank, **more)


TREE = {"message_tree_id": "p", "tree_state": "ready_for_export", "prompt": message(
    "p", "prompter", "Why?",
    assistant("a", "Because.", 1, message(
        "q", "prompter", "And how?", assistant("d", "So.", 0), assistant("e", "Thus.", 1))),
    assistant("b", "Why not.", 0), assistant("c", "Dunno.", 2),
    assistant("x", "Spam.", 3, deleted=True), assistant("y", "Unranked.", None))}
RANKINGS = [("oasst", "Why?", [["Why not."], ["Because."], ["Dunno."]], 3),
            ("oasst", "And how?", [["So."], ["Thus."]], 3)]


def messages_of(tree: dict[str, Any], parent: str | None = None) -> Iterator[dict[str, Any]]:
    """A tree as its messages, as the flat files hold them."""
    flat = {key: value for key, value in tree.items() if key != "replies"}
    yield {**flat, "parent_id": parent, "message_tree_id": "p", "tree_state": "ready_for_export"}
    for reply in tree["replies"]:
        yield from messages_of(reply, tree["message_id"])


def test_openassistants_trees_and_messages_say_the_same(store: Store, tmp_path: Path) -> None:
    packed = tmp_path / "2023-04-12_oasst_ready.trees.jsonl.gz"
    packed.write_bytes(gzip.compress((json.dumps(TREE) + "\n").encode()))
    assert sniff(packed) == "oasst"
    report = import_file(store, packed)
    assert (report.added, report.skipped) == (
        2, {"a deleted or rejected message, with what is below it": 1})
    assert said(store) == RANKINGS
    assert [[m["content"] for m in p.messages] for p in store.prompts.all()] == [
        ["Why?"], ["Why?", "Because.", "And how?"]]
    assert store.prompts.all()[0].tags == ["en"]
    rows = list(messages_of(TREE["prompt"]))  # type: ignore[arg-type]
    random.Random(1).shuffle(rows)
    flat = saved(tmp_path / "messages.jsonl", rows)
    assert import_file(store, flat) == ImportReport("comparisons", 0, 2, {}, 0)
    other = Store(tmp_path / "other.db")
    assert import_file(other, flat).added == 2
    assert sorted(said(other)) == sorted(RANKINGS)


def test_openassistants_single_rankings_have_their_people(store: Store, tmp_path: Path) -> None:
    def ranking(user: str | None, *ids: str, **more: Any) -> dict[str, Any]:
        return {"type": "ranking", "user_id": user, "ranking": [0, 1], "ranked_message_ids":
                list(ids), "ranking_parent_id": "p", "message_tree_id": "p", **more}

    tree = copy.deepcopy(TREE)
    tree["prompt"]["events"] = {"ranking": [  # type: ignore[index]
        ranking("u1", "b", "a", "c"), ranking("u2", "a", "b"), ranking("u3", "c"),
        ranking("u4", "a", "b", not_rankable=True)]}
    report = import_file(store, saved(tmp_path / "t.jsonl", [tree]))
    assert report.skipped["a ranking of fewer than two replies"] == 1
    assert sorted(said(store)) == sorted([
        ("oasst/u1", "Why?", [["Why not."], ["Because."], ["Dunno."]], 3),
        ("oasst/u2", "Why?", [["Because."], ["Why not."]], 3),
        ("oasst/u4", "Why?", [["Because.", "Why not."]], 0), RANKINGS[1]])
    assert "both_bad" in [c.answer.verdict for c in store.comparisons.current()]


def test_openassistants_loose_ends(store: Store, tmp_path: Path) -> None:
    rows = [*messages_of(TREE["prompt"]),  # type: ignore[arg-type]
            *[{**m, "parent_id": "gone"} for m in (
                message("o1", "prompter", "Orphan?"),)],
            {**message("o2", "assistant", "A"), "parent_id": "o1"},
            {**message("l1", "prompter", "Loop?"), "parent_id": "l2"},
            {**message("l2", "assistant", "B"), "parent_id": "l1"}]
    report = import_file(store, saved(tmp_path / "m.jsonl", rows))
    assert report.added == 2
    assert report.skipped["a message whose conversation is not whole in the file"] == 3
    for row, wrong in (({"thread_id": "t", "thread": []}, "hold no ranks"),
                       ({**rows[0], "message_id": 7}, "message_id, parent_id: wanted text"),
                       (rows[0], "message_id: 'p' stands there twice")):
        with pytest.raises(BadInput, match=rf"m\.jsonl, line 14: {wrong}|line 14: .*{wrong}"):
            import_file(store, saved(tmp_path / "m.jsonl", [*rows, row]))


# For all of them

def test_importing_again_adds_only_what_is_new(store: Store, tmp_path: Path) -> None:
    """A later export of the same project: the same answers, a changed one and a new person."""
    path = tmp_path / "export.json"
    ann, bob = annotation(pairwise("left")), annotation(pairwise("right"), by=2)
    assert import_file(store, saved(path, [task(PAIR, ann)])).added == 1
    assert import_file(store, saved(path, [task(PAIR, ann, bob)])) == ImportReport(
        "comparisons", 1, 1, {}, 1)
    changed = annotation(pairwise("right"), updated_at="2024-05-09T00:00:00Z")
    assert import_file(store, saved(path, [task(PAIR, changed, ann, bob)])) == ImportReport(
        "comparisons", 1, 1, {"an answer that the same annotator changed later": 1}, 1)
    assert [(name, r[0]) for name, _, r, _ in said(store)] == [
        ("label-studio/2", ["A river."]), ("label-studio/1", ["A river."])]
    assert [c.revision for c in store.comparisons.history(1, 1)] == [1, 2]
    assert len(store.responses.all()) == 2
    assert store.database.value("SELECT group_concat(labels) FROM tasks") == "2"


def test_hostile_names_stay_apart_and_are_nobodys(store: Store, tmp_path: Path) -> None:
    person = store.people.add("label-studio/1")
    evil = "\u202e<script>alert(1)</script>" + "x" * 200
    path = saved(tmp_path / "e.json", [
        task({**PAIR, "prompt": str(i)}, annotation(pairwise("left"), by=by))
        for i, by in enumerate((1, evil, evil + "y", {"email": "=cmd|'/c calc'!A1"}))])
    assert import_file(store, path).labelers == 4
    names = [labeler.name for labeler in store.people.all(kind="imported")]
    assert len(set(names)) == 4 and person.name not in names
    assert all(name.isprintable() and len(name) <= 80 for name in names)
    assert person.id not in {c.labeler_id for c in store.comparisons.current()}
    assert import_file(store, path).duplicates == 4  # the same names find the same labelers
    assert len(store.people.all()) == 5


def test_duplicate_and_empty_responses_are_no_comparison(store: Store, tmp_path: Path) -> None:
    fields = {"prompt": "Q", "response1": "Same.", "response2": " Same. ", "response3": ""}
    order = [{"rank": i, "value": f"response{i}"} for i in (1, 2, 3)]
    path = saved(tmp_path / "d.jsonl", [
        flat_v1("ranking", (ANN, order, "submitted"), **fields),
        flat_v1("ranking", (ANN, order, "submitted"), **{**fields, "response3": "Other."})])
    report = import_file(store, path)
    assert report.skipped == {"fewer than two different responses are ranked": 1}
    assert [r for _, _, r, _ in said(store)] == [[["Same."], ["Other."]]]


FINE = task(PAIR, annotation(pairwise("left")))


@pytest.mark.parametrize(("broken", "where"), [
    (task("text"), "data: wanted an object, found str"),  # type: ignore[arg-type]
    ({**FINE, "annotations": {}}, "annotations: wanted a list, found dict"),
    ({**FINE, "annotations": [7]}, r"annotations\[1\]: wanted an object, found int"),
    (task(PAIR, annotation(), {**annotation(), "result": None}),
     r"annotations\[2\]\.result: wanted a list, found NoneType"),
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
     r"prompt\[1\]: 'robot' is no role"),
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


@pytest.mark.parametrize(("row", "where"), [
    ({"fields": TWO, "responses": {"ranking": "best"}}, "responses.ranking: wanted a list"),
    ({"fields": TWO, "responses": 3}, "responses: wanted an object or a list"),
    ({"fields": TWO, "responses": {"ranking": [{"user_id": ANN, "value": [
        "response-0", "response-9"]}]}}, "ranking: 'response-9' is the name of no response"),
    ({"fields": TWO, "responses": {"ranking": [{"user_id": ANN, "value": [
        {"value": "response-0", "rank": "first"}]}]}}, r"ranking\[1\]\.rank: wanted a number"),
    ({"fields": TWO, "responses": [{"user_id": ANN, "values": []}]}, r"responses\[1\]\.values"),
    ({**TWO, "p.responses": ["response-0"], "p.responses.users": []}, "p.responses: 1 answers"),
])
def test_a_malformed_record_is_named(store: Store, tmp_path: Path, row: dict[str, Any],
                                     where: str) -> None:
    good = flat_v1("ranking", (ANN, ranks(1, 2), "submitted"), **TWO)
    with pytest.raises(BadInput, match=f"bad.jsonl, line 2: {where}"):
        import_file(store, saved(tmp_path / "bad.jsonl", [good, row]))
    assert store.prompts.count() == 0


@pytest.mark.parametrize(("field", "value", "where"), [
    ("text", None, r"prompt\.replies\[2\]\.text: wanted text, found NoneType"),
    ("role", "robot", r"prompt\.replies\[2\]\.role: 'robot'"),
    ("rank", "first", r"prompt\.replies\[2\]\.rank: wanted a number, found 'first'"),
    ("replies", {"a": 1}, r"prompt\.replies\[2\]\.replies: wanted a list, found dict"),
    ("events", {"ranking": [1]}, r"prompt\.replies\[2\]\.events\.ranking"),
])
def test_a_malformed_tree_is_named(store: Store, tmp_path: Path, field: str, value: Any,
                                   where: str) -> None:
    tree = copy.deepcopy(TREE)
    tree["prompt"]["replies"][1][field] = value  # type: ignore[index]
    with pytest.raises(BadInput, match=f"t.jsonl, line 2: {where}"):
        import_file(store, saved(tmp_path / "t.jsonl", [TREE, tree]))
    assert store.prompts.count() == 0


JUNK: list[Any] = [
    None, True, 0, -1, 1e400, 10**400, float("nan"), "", "x", "\ud800", "\0", [], [[]], {},
    {"a": 1}, ["x"], [None], [{"value": 1}], {"rank": [1], "value": ["x"]}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to everything inside a document."""
    yield path
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, inner in items:
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("document", [
    task(PAIR, annotation(pairwise("left"), result("choices", {"choices": ["tie"]}),
                          result("rating", {"rating": 3}, "s", "answer1"))),
    task({"prompt": "Q", "items": [{"id": "a", "body": "A"}, {"id": "b", "body": "B"}]},
         annotation(result("ranker", {"ranker": {"rank": ["a", "b"]}}))),
    {**PAIR, "comparison": [{"selected": "right"}], "annotator": 1, "annotation_id": 11},
    flat_v1("ranking", (ANN, ranks(1, 2), "submitted"), **TWO),
    {"fields": TWO, "responses": {"ranking": [{"value": ranks(1, 2), "user_id": ANN}]}},
    TREE, next(messages_of(TREE["prompt"])),  # type: ignore[arg-type]
], ids=["pairwise", "ranker", "min", "flat", "nested", "tree", "message"])
def test_whatever_is_wrong_anywhere_is_one_line_or_nothing(tmp_path: Path,
                                                           document: dict[str, Any]) -> None:
    """Junk in the place of each value: never a traceback, never half an import."""
    store = Store(tmp_path / "prefloop.db")
    path, choose = tmp_path / "junk.jsonl", random.Random(3)
    tool = sniff(saved(path, [document]))
    for place in list(places(document))[1:]:
        for junk in choose.sample(JUNK, 3):
            broken = copy.deepcopy(document)
            inner: Any = broken
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = junk
            before = store.database.value("SELECT count(*) FROM prompts")
            try:
                import_file(store, saved(path, [broken]), tool=tool)
            except BadInput as error:
                assert "\n" not in str(error) and str(error).startswith(str(path))
                assert store.database.value("SELECT count(*) FROM prompts") == before
