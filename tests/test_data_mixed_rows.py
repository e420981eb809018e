"""Imports of files whose rows differ: the first one decides nothing alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from exchange_files import PREFERENCE, counts, lines, said, saved, table
from published_sets import COMPARED, TWO, by, cells

from data.errors import BadInput
from data.exchange.file_pairs import read_pairs
from data.exchange.importing import import_file
from data.exchange.sniffing import sniff
from data.store import Store

ALONE = {"prompt": "Alone?"}
WON = {**TWO, "winner": "response_1"}
GRADED: list[dict[str, Any]] = [{"prompt": "Name a river.", "response": text, "helpfulness": grade}
          for text, grade in (("The Nile.", 4), ("A river.", 1))]
LISTED = {"prompt": "Name a river.", "answers": [{"text": "The Nile.", "rank": 1},
                                                 {"text": "A river.", "rank": 2}]}
UNGRADED = {"prompt": "Why?", "answers": [{"text": "x", "rank": None}, {"text": "y"}]}
NO_VERDICT = "a row that does not say which response is better"


@pytest.mark.parametrize(("rows", "reason"), [
    ([ALONE, WON], "a row without responses to compare"),
    ([{"prompt": "Why?", "response_1": "x"}, WON], "a row without responses to compare"),
    ([{**TWO, "prompt": "Why?"}, WON], NO_VERDICT),
    ([{**TWO, "prompt": "Why?", "winner": None}, WON], NO_VERDICT),
    ([{"prompt": "Why?", "response": "x", "helpfulness": None}, *GRADED],
     "a response without a grade"),
    ([{"prompt": "Why?", "response": "x"}, *GRADED], "a response without a grade"),
    # A thumb in the first row, where all others are graded by a number.
    ([{"prompt": "Why?", "response": "x", "label": True}, *GRADED], "a response without a grade"),
    ([UNGRADED, LISTED], "fewer than two responses with a grade"),
    ([ALONE, LISTED], "a row without responses to compare"),
    ([{**ALONE, "answers": [{"text": "x"}, {"text": "y"}]}, LISTED], NO_VERDICT),
])
def test_a_row_that_lacks_what_others_have_is_counted(
        store: Store, tmp_path: Path, rows: list[dict[str, Any]], reason: str) -> None:
    """Wherever it stands, also at the beginning, and whether the field is null or not there."""
    for number, order in enumerate((rows, rows[::-1])):
        path = lines(tmp_path / f"p{number}.jsonl", *order)
        assert sniff(path) == "comparisons"
        report = import_file(store, path)
        assert report.skipped == {reason: 1}
        assert (report.added, report.duplicates) == ((1, 0) if number == 0 else (0, 1))
    assert said(store) == [by("p0.jsonl")]


def test_an_empty_cell_in_the_first_row_decides_nothing(store: Store, tmp_path: Path) -> None:
    rows = cells([{"prompt": "Why?", "response": "x", "helpfulness": None}, *GRADED])
    report = import_file(store, table(tmp_path / "p.csv", *rows))
    assert (report.what, report.added, report.ranked_by) == ("comparisons", 1, "helpfulness")


def test_bare_prompts_among_preferences_are_counted(store: Store, tmp_path: Path) -> None:
    nulls = {"prompt": "Null?", "chosen": None, "rejected": None}
    path = lines(tmp_path / "p.jsonl", ALONE, nulls, PREFERENCE)
    for again in (1, 0):
        report = import_file(store, path)
        assert (report.what, report.added, report.skipped) == (
            "preferences", again, {"a row without the two answers": 2})
    assert len(read_pairs(path)[0]) == 1
    assert import_file(store, path, what="prompts").added == 2  # the third came with its answers
    # One answer without the other is no row that lacks a column.
    with pytest.raises(BadInput, match="line 2: rejected: is null"):
        import_file(store, lines(path, PREFERENCE, {**PREFERENCE, "rejected": None}))


@pytest.mark.parametrize(("rows", "what", "message"), [
    ([ALONE, ALONE], "preferences", "line 1: chosen: missing; the fields are prompt"),
    ([TWO, TWO], "comparisons", "line 1: the fields are prompt, response_1, response_2; wanted"),
    ([{"id": 1}, {"id": 2, "text": "x"}], None, "line 1: the fields are id; wanted prompt or"),
    ([{"id": 1}, ALONE], None, "line 1: prompt: missing; the fields are id"),
    ([ALONE, PREFERENCE, WON], None,
     "line 3: holds comparisons, but line 2 holds preferences; make a file of each, or take one"),
])
def test_a_file_in_which_no_row_says_more_is_refused_with_its_line(
        store: Store, tmp_path: Path, rows: list[dict[str, Any]], what: str | None,
        message: str) -> None:
    with pytest.raises(BadInput, match=message):
        import_file(store, lines(tmp_path / "p.jsonl", *rows), what=what)
    assert sum(counts(store)) == 0


def test_of_two_kinds_the_one_that_is_said_is_taken(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", PREFERENCE, WON)
    for what, reason in (("comparisons", "a row without responses to compare"),
                         ("preferences", "a row without the two answers")):
        report = import_file(store, path, what=what)
        assert (report.what, report.added, report.skipped) == (what, 1, {reason: 1})


def test_every_field_that_ranked_is_told(store: Store, tmp_path: Path) -> None:
    """UltraFeedback has rows of which only the other score is a number."""
    first = COMPARED["ultrafeedback"][0][0]
    other = {"instruction": "Why?", "completions": [
        {"response": "x", "overall_score": 1.0, "fine-grained_score": None},
        {"response": "y", "overall_score": 2.0}]}
    report = import_file(store, lines(tmp_path / "p.jsonl", other, first, {
        **first, "instruction": "Which?"}))
    assert report.ranked_by == ("completions.fine-grained_score (2), "
                                "completions.overall_score (1)")


def test_a_record_of_a_tool_without_responses_is_counted(store: Store, tmp_path: Path) -> None:
    given = {"fields": {"prompt": "Name a river.", "response-1": "The Nile.",
                        "response-2": "A river."},
             "responses": {"best": [{"value": "response-1", "user_id": "u"}]}}
    path = saved(tmp_path / "p.json", [{**given, "fields": ALONE}, given])
    assert import_file(store, path).skipped == {"a row without responses to compare": 1}


def test_a_pipe_of_comparisons_is_read_where_it_is_said(store: Store) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, json.dumps(WON).encode())
    os.close(theirs)
    try:
        report = import_file(store, Path(f"/dev/fd/{ours}"), "jsonl", what="comparisons")
    finally:
        os.close(ours)
    assert (report.what, report.added) == ("comparisons", 1)
