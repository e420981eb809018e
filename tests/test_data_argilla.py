"""Imports of Argilla's own files, in the shapes that its versions write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exchange_files import ANN, BOB, TWO, flat_v1, ranks, said, saved

from data.errors import BadInput
from data.exchange.foreign_choices import choice_of
from data.exchange.import_report import ImportReport
from data.exchange.importing import import_file
from data.exchange.sniffing import sniff
from data.store import Store


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


def test_ratings_in_several_respects_are_no_comparison(store: Store, tmp_path: Path) -> None:
    """A harmless answer may be of no help, and a file does not say which of them counts."""
    def rated(**values: int) -> dict[str, Any]:
        return {"id": "r", "fields": TWO, "responses": {
            name: [{"user_id": ANN, "value": value}] for name, value in values.items()}}

    helpful = {"response-0-helpful": 5, "response-1-helpful": 2}
    path = saved(tmp_path / "records.json", [
        rated(**helpful, **{"response-0-harmful": 1, "response-1-harmful": 5}), rated(**helpful)])
    report = import_file(store, path)
    assert (report.added, report.skipped) == (1, {"ratings of responses in several respects": 1})
    assert [ranking for _, _, ranking, _ in said(store)] == [[["The Nile."], ["A river."]]]
