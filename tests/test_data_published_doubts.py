"""Imports of rows that could be read in two ways, or that lack something: refused or counted, and
never turned round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from exchange_files import counts, lines, said, table, turn
from published_sets import ARENA, ASKED, FIRST, TWO, by

from data.errors import BadInput
from data.exchange.file_pairs import read_pairs
from data.exchange.foreign_fields import Fields
from data.exchange.importing import import_file
from data.exchange.judgements import MOST_RESPONSES
from data.store import Store

LETTERED = {"prompt": "Name a river.", "response_a": "The Nile.", "response_b": "A river."}
KAGGLE = {"prompt": '["Name a river."]', "response_a": '["The Nile."]',
          "response_b": '["A river."]', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}


def won(store: Store) -> list[Any]:
    """Who is above whom, without the labelers' names."""
    return sorted((question, ranking) for _, question, ranking, _ in said(store))


@pytest.mark.parametrize("row", [
    {**LETTERED, "preference_strength": 2, "winner": "a"},
    {**TWO, "overall_preference": 3, "winner": 1},
    {**TWO, "preference_strength": 2, "chosen": "response_1"},
    {**LETTERED, "chosen": "response_a", "rejected": "response_b"},
    {**TWO, "preference_strength": None, "winner": 1},
    {**LETTERED, "votes": [], "winner": "a"},
])
def test_the_field_that_names_the_better_one_counts(store: Store, tmp_path: Path,
                                                    row: dict[str, Any]) -> None:
    """A number beside it may only say how much better that is."""
    assert import_file(store, lines(tmp_path / "p.jsonl", row)).what == "comparisons"
    assert won(store) == [("Name a river.", FIRST)]


@pytest.mark.parametrize(("row", "field"), [
    ({**LETTERED, "preference": 1}, "preference: 1"),
    ({**TWO, "preference": 0}, "preference: 0"),
    ({**LETTERED, "annotator1": 1}, "annotator1: 1"),
    ({"prompt": "x", "response_0": "a", "response_1": "b", "labels": 1}, "labels: 1"),
])
def test_a_number_that_may_be_a_place_is_refused(store: Store, tmp_path: Path,
                                                 row: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=f"line 1: {field} does not say which of response_"):
        import_file(store, lines(tmp_path / "p.jsonl", row))


MODELS = {**LETTERED, "model_a": "gpt-4", "model_b": "llama-2-7b"}


@pytest.mark.parametrize(("row", "wins"), [
    ({**MODELS, "winner": "gpt-4"}, True),
    ({**MODELS, "winner": "llama-2-7b"}, False),
    ({**MODELS, "winner": " gpt-4 ", "preference_strength": 2}, True),
    ({**TWO, "model_1": "gpt-4", "model_2": "mistral", "preferred": "mistral"}, False),
    ({**MODELS, "votes": [{"labeler": "x", "choice": "gpt-4"}]}, True),
    ({**MODELS, "winner": "model_b"}, False),
    # Models that are called as a response may be: only where both readings agree.
    ({**MODELS, "model_a": "assistant-b", "winner": "assistant-b"}, None),
    ({**MODELS, "model_b": "assistant-b", "winner": "assistant-b"}, False),
    ({**MODELS, "model_a": "tie", "winner": "tie"}, None),
    # Which of two answers of one model it was, or of a model that wrote neither.
    ({**MODELS, "model_b": "gpt-4", "winner": "gpt-4"}, None),
    ({**MODELS, "winner": "gpt-3"}, None),
])
def test_the_name_of_the_model_that_won(store: Store, tmp_path: Path, row: dict[str, Any],
                                        wins: bool | None) -> None:
    other = {**LETTERED, "prompt": "Why?", "winner": "tie"}
    import_file(store, lines(tmp_path / "p.jsonl", row, other))
    found = [ranking for question, ranking in won(store) if question == "Name a river."]
    assert found == ([] if wins is None else [FIRST if wins else FIRST[::-1]])


def test_a_row_without_votes_is_counted(store: Store, tmp_path: Path) -> None:
    voted = {**LETTERED, "votes": [{"labeler": "x", "choice": "a"}]}
    path = lines(tmp_path / "p.jsonl", voted, {**LETTERED, "prompt": "Why?", "votes": []})
    assert import_file(store, path).skipped == {
        "a row that does not say which response is better": 1}


def test_a_score_of_the_row_says_nothing_of_its_responses(store: Store, tmp_path: Path) -> None:
    report = import_file(store, lines(tmp_path / "p.jsonl", {**LETTERED, "score": 3}))
    assert (report.what, report.unread) == ("prompts", ("response_a", "response_b", "score"))


def test_a_column_without_a_name_is_no_grade(store: Store, tmp_path: Path) -> None:
    """pandas writes the numbers of the rows so."""
    rows = [{"": str(i), "prompt": "Name a river.", "response": f"r{i}", "left_text": "The Nile.",
             "right_text": "A river.", "winner": "left_text"} for i in range(2)]
    report = import_file(store, table(tmp_path / "p.csv", *rows),
                         fields=Fields(responses=("left_text", "right_text")))
    assert (won(store), report.unread) == ([("Name a river.", FIRST)], ("response",))


@pytest.mark.parametrize("name", ["messages", "conversations"])
def test_messages_that_are_no_json_are_no_prompt(store: Store, tmp_path: Path, name: str) -> None:
    row = {name: '[{"role": "user", "content": "Hi"'}
    for path in (lines(tmp_path / "p.jsonl", row), table(tmp_path / "p.csv", row)):
        with pytest.raises(BadInput, match=f"{name}: wanted a list of messages, found a text"):
            import_file(store, path)
    assert sum(counts(store)) == 0


@pytest.mark.parametrize("text", ['{"from": "Ada", "to": "Bob"}', '{"role": "admin"}',
                                  '{"article": "x", "tags": []}'])
def test_a_cell_that_asks_about_json_is_a_text(store: Store, tmp_path: Path, text: str) -> None:
    import_file(store, table(tmp_path / "p.csv", {"prompt": text}))
    assert [p.messages for p in store.prompts.all()] == [[turn("user", text)]]


@pytest.mark.parametrize("rows", [
    [{"instruction": q, "completions": [{"response": text, "overall_score": score}
                                        for text, score in found]} for q, found in (
        ("Name a river.", [("The Nile.", 2), ("A river.", 1)]), ("b", [("x", 1)]),
        ("c", [("x", None), ("y", None)]))],
    [{"instruction": q, "generations": ["The Nile.", "A river."], "ratings": ratings}
     for q, ratings in (("Name a river.", [5, 1]), ("b", None), ("c", [1]))],
])
def test_responses_without_grades_are_counted(store: Store, tmp_path: Path,
                                              rows: list[dict[str, Any]]) -> None:
    """As some rows of UltraFeedback and of distilabel's sets are."""
    assert import_file(store, lines(tmp_path / "p.jsonl", *rows)).skipped == {
        "fewer than two responses with a grade": 2}
    assert won(store) == [("Name a river.", FIRST)]


@pytest.mark.parametrize(("prompt", "a", "b"), [
    (["Why?", None], ["So.", "x"], ["So.", "y"]), (["Why?", "How?"], [None, "x"], [None, "y"]),
    (["Why?", "How?"], ["x"], ["y"])])
def test_arena_rows_that_lack_a_turn_are_counted(store: Store, tmp_path: Path, prompt: list[Any],
                                                 a: list[Any], b: list[Any]) -> None:
    row = {**KAGGLE, "prompt": json.dumps(prompt), "response_a": json.dumps(a),
           "response_b": json.dumps(b)}
    assert import_file(store, lines(tmp_path / "p.jsonl", KAGGLE, row)).skipped == {
        "a response that is missing or no text": 1}
    assert won(store) == [("Name a river.", FIRST)]


def test_many_responses_to_a_prompt_are_counted(store: Store, tmp_path: Path) -> None:
    """Nobody could split them up in the file."""
    rows = [{"prompt": "Hi", "completion": f"t{i}", "label": bool(i % 2)}
            for i in range(MOST_RESPONSES + 1)]
    rows += [{"prompt": "Name a river.", "completion": text, "label": text == "The Nile."}
             for text in ("A river.", "The Nile.")]
    assert import_file(store, lines(tmp_path / "p.jsonl", *rows)).skipped == {
        "a prompt with more than 50 responses": 1}
    assert won(store) == [("Name a river.", FIRST)]


@pytest.mark.parametrize("row", [
    {"prompt": "x", "summaries": [f"t{i}" for i in range(51)], "choice": 0},
    {"prompt": "x", "chosen": [f"t{i}" for i in range(50)], "rejected": ["y"]}])
def test_a_row_with_too_many_responses_is_counted_once(store: Store, tmp_path: Path,
                                                       row: dict[str, Any]) -> None:
    good = {**row, "chosen": ["The Nile."], "rejected": ["A river."]} if "chosen" in row else {
        **row, "summaries": ["The Nile.", "A river."]}
    report = import_file(store, lines(tmp_path / "p.jsonl", row, good), what="comparisons")
    assert (report.added, report.skipped) == (1, {"a prompt with more than 50 responses": 1})


def test_what_an_annotator_says_twice_counts_once(store: Store, tmp_path: Path) -> None:
    """PandaLM's rows repeat a pair where two models wrote the same; nobody changed their mind."""
    row = {**TWO, "annotator1": 1, "annotator2": 2}
    turned = {**TWO, "response_1": TWO["response_2"], "response_2": TWO["response_1"],
              "annotator1": 2, "annotator2": 2}
    path = lines(tmp_path / "p.jsonl", row, turned)
    later = "an answer that a later one of the same annotator replaces"
    report = import_file(store, path)
    assert (report.added, report.repeats, report.skipped) == (2, 1, {later: 1})
    assert said(store) == [by("annotator/1"), by("annotator/2")]
    pairs, skipped = read_pairs(path)
    assert (len(pairs), skipped) == (
        2, {"an answer that the file has more than once": 1, later: 1})


def test_a_turn_cuts_what_was_compared_and_not_the_prompt(store: Store, tmp_path: Path) -> None:
    asked = [turn("user", "1"), turn("assistant", "2"), turn("user", "3"), turn("assistant", "4"),
             turn("user", "5")]
    row = {"conversation": asked, "response_a": "a", "response_b": "b", "winner": "a", "turn": 1}
    import_file(store, lines(tmp_path / "p.jsonl", row))
    assert [p.messages for p in store.prompts.all()] == [asked]


def test_a_prompt_may_be_the_first_question_of_compared_dialogues(store: Store,
                                                                  tmp_path: Path) -> None:
    before = [*ASKED, turn("assistant", "A river.")]
    row = {"prompt": "Name a river.", "winner": "model_b",
           **{name: before + ARENA[name][2:] for name in ("conversation_a", "conversation_b")}}
    import_file(store, lines(tmp_path / "p.jsonl", row))
    assert won(store) == [("More", [["The Congo."], ["No."]])]
    assert [len(p.messages) for p in store.prompts.all()] == [3]


def test_the_field_of_the_prompt_is_told_for_lists_too(store: Store, tmp_path: Path) -> None:
    row = {"prompt": "no", "asked": "Name a river.", "answers": [
        {"text": "A river.", "rank": 2}, {"text": "The Nile.", "rank": 1}]}
    import_file(store, lines(tmp_path / "p.jsonl", row), fields=Fields("asked"))
    assert said(store) == [by("p.jsonl")]


@pytest.mark.parametrize(("row", "message"), [
    ({"prompt": "x"}, "holds prompts; --prompt-field and --response-fields tell the fields of com"),
    ({"prompt": "x", "chosen": "a", "rejected": "b"}, "holds preferences; --prompt-field"),
    ({"prompt": "x", "response": "a", "rating": 1}, "line 1: .*their prompts in a field prompt"),
])
def test_names_of_fields_are_never_passed_over(store: Store, tmp_path: Path, row: dict[str, Any],
                                               message: str) -> None:
    with pytest.raises(BadInput, match=message):
        import_file(store, lines(tmp_path / "p.jsonl", row), fields=Fields("asked"))


def test_fields_not_read_are_one_line_that_steers_no_terminal(store: Store, tmp_path: Path) -> None:
    row = {"prompt": "Why?", "a\x1b[31m\nb\ud800": 1, **{f"x{i}": 1 for i in range(40)}}
    report = import_file(store, lines(tmp_path / "p.jsonl", row))
    told = str(report)
    assert told.startswith("1 prompts added; fields not read: a⟨001B⟩[31m\\nb⟨D800⟩, x0, x1, ")
    assert told.endswith(", x28 and 11 more") and len(report.unread) == 41


def test_a_file_whose_rows_have_fields_of_their_own_fills_no_memory(store: Store,
                                                                    tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}?", f"x{i}": 1} for i in range(1100)]
    assert len(import_file(store, lines(tmp_path / "p.jsonl", *rows)).unread) < 1000


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_people_who_are_numbers_are_told_apart_where_some_are_missing(
        store: Store, tmp_path: Path, suffix: str) -> None:
    """A column of whole numbers that lacks one is a column of others, 7.0 in place of 7."""
    frame = pd.DataFrame([{**LETTERED, "winner": "a", "annotator_id": who} for who in (7, 8, None)])
    path, whole = tmp_path / f"some.{suffix}", tmp_path / f"whole.{suffix}"
    _write(frame, path)
    report = import_file(store, path)
    assert (report.added, report.labelers, report.repeats) == (3, 3, 0)
    assert sorted(who for who, *_ in said(store)) == ["annotator/7", "annotator/8", path.name]
    _write(frame[:2].astype({"annotator_id": int}), whole)
    assert import_file(store, whole).duplicates == 2


def _write(frame: pd.DataFrame, path: Path) -> None:
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            frame.to_csv(path, index=False)
        case _:
            frame.to_json(path, orient="records", lines=True)
