"""Imports of prompts and preferences, in every form that people have."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exchange_files import PREFERENCE, counts, lines, table, turn

from data.errors import BadInput
from data.exchange.import_report import ImportReport
from data.exchange.importing import import_file, import_preferences, import_prompts
from data.exchange.sniffing import sniff
from data.measures.agreement import first_shown_wins
from data.store import Store

HH = Path(__file__).resolve().parents[2] / "shared/data/hh_harmless.jsonl.gz"
DIALOGUE = [turn("user", "Hi"), turn("assistant", "Hello"), turn("user", "Why?")]


def stored(store: Store) -> list[tuple[list[Any], str, str]]:
    """(messages, chosen, rejected) of everything imported."""
    text = {r.id: r.text for r in store.responses.all()}
    return [([dict(m) for m in store.prompts.get(p.prompt_id).messages], text[p.chosen_id],
             text[p.rejected_id]) for p in store.comparisons.preferences()]


def test_prompts_in_every_form(store: Store, tmp_path: Path) -> None:
    rows = [{"prompt": "One?", "tags": ["a", "b"]}, {"prompt": [turn("user", "Two?")]},
            {"messages": DIALOGUE}, {"prompt": "\n\nHuman: Three?\n\nAssistant:"},
            {"prompt": "Four?", "messages": [turn("user", "Four?"), turn("assistant", "Yes")]}]
    report = import_prompts(store, lines(tmp_path / "p.jsonl", *rows))
    assert report == ImportReport("prompts", 5, 0)
    assert [[m["content"] for m in p.messages] for p in store.prompts.all()] == [
        ["One?"], ["Two?"], ["Hi", "Hello", "Why?"], ["Three?"], ["Four?"]]
    assert store.prompts.all()[0].tags == ["a", "b"]
    assert {p.source for p in store.prompts.all()} == {"p.jsonl"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_csv_and_text_in_every_encoding(store: Store, tmp_path: Path, encoding: str,
                                        packed: bool) -> None:
    table = 'tags,prompt\n"art, music","Čí je ""to"",\nmyslíš?"\n\n,Second\n'
    plain = "First line \r\n\r\n  Druhý řádek\u2028stays one\n"
    for name, text in (("p.csv", table), ("p.txt", plain)):
        data = text.encode(encoding)
        path = tmp_path / (name + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(data) if packed else data)
        assert sniff(path) == "prompts"
        assert import_file(store, path).added == 2
    assert [p.text for p in store.prompts.all()] == [
        'Čí je "to",\nmyslíš?', "Second", "First line", "Druhý řádek\u2028stays one"]
    assert store.prompts.all()[0].tags == ["art", "music"]


def test_tags_may_hold_commas(store: Store, tmp_path: Path) -> None:
    """As the search's CSV writes them."""
    path = tmp_path / "p.csv"
    path.write_text('prompt,tags\nOne?,"[""art, music"", ""old""]"\nTwo?,"art, music"\n')
    assert import_prompts(store, path).added == 2
    assert [p.tags for p in store.prompts.all()] == [["art, music", "old"], ["art", "music"]]


def test_a_json_list_and_json_lines_named_json(store: Store, tmp_path: Path) -> None:
    array = tmp_path / "a.json"
    array.write_text(json.dumps([{"prompt": "One?"}, {"prompt": "Two?"}], indent=2))
    assert import_prompts(store, array).added == 2
    assert import_prompts(store, lines(tmp_path / "b.json", {"prompt": "Three?"})).added == 1


def test_duplicates_are_counted_not_stored(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", {"prompt": "One?"}, {"prompt": " One?  "}, {"prompt": "2"})
    assert import_prompts(store, path) == ImportReport("prompts", 2, 0, repeats=1)
    again = import_prompts(store, path)
    assert again == ImportReport("prompts", 0, 2, repeats=1)
    assert str(again) == "0 prompts added; 2 there already; 1 in the file more than once"


@pytest.mark.parametrize("row", [
    {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
    {"prompt": [turn("user", "Why?")], "chosen": [turn("assistant", "Because.")],
     "rejected": [turn("assistant", "No.")]},
    {"chosen": [turn("user", "Why?"), turn("assistant", "Because.")],
     "rejected": [turn("user", "Why?"), turn("assistant", "No.")]},
    {"prompt": "Why?", "chosen": [turn("user", "Why?"), turn("assistant", "Because.")],
     "rejected": [turn("user", "Why?"), turn("assistant", "No.")]},
    {"messages": [turn("user", "Why?")], "chosen": "Because.", "rejected": "No."},
    # UltraFeedback as it is mostly trained on: the chosen dialogue stands there once more.
    {"prompt": "Why? ", "chosen": [turn("user", "Why?"), turn("assistant", "Because.")],
     "rejected": [turn("user", "Why?"), turn("assistant", "No.")], "score_chosen": 8.0,
     "messages": [turn("user", "Why?"), turn("assistant", "Because.")], "score_rejected": 3.5},
    {"prompt": "\n\nHuman: Why?\n\nAssistant:", "chosen": " Because.", "rejected": " No."},
    {"chosen": "\n\nHuman: Why?\n\nAssistant: Because.",
     "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
    # The same with the chosen dialogue beside it as messages, as trainers of chat models want it.
    {"chosen": "\n\nHuman: Why?\n\nAssistant: Because.",
     "rejected": "\n\nHuman: Why?\n\nAssistant: No.",
     "messages": [turn("user", "Why?"), turn("assistant", "Because.")]},
    {"chosen": "\n\nHuman: Why?\n\nAssistant: Because.",
     "rejected": "\n\nHuman: Why?\n\nAssistant: No.", "messages": [turn("user", "Why?")]},
])
def test_every_form_of_a_preference_is_the_same(store: Store, tmp_path: Path,
                                                row: dict[str, Any]) -> None:
    path = lines(tmp_path / "p.jsonl", row)
    assert sniff(path) == "preferences"
    assert import_file(store, path).added == 1
    assert stored(store) == [([turn("user", "Why?")], "Because.", "No.")]


def test_texts_about_lists_of_messages_stay_texts(store: Store, tmp_path: Path) -> None:
    """What is no cell of CSV was no list when it was written; nor was a cell that goes on."""
    printed = str([turn("user", "x")])
    rows = [{**PREFERENCE, "chosen": printed}, {**PREFERENCE, "prompt": f"{printed}: what is it?"}]
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "p.parquet")
    for path, added in ((lines(tmp_path / "p.jsonl", rows[0]), 1), (tmp_path / "p.parquet", 0),
                        (table(tmp_path / "p.csv", rows[1]), 1)):
        assert import_preferences(store, path).added == added
    assert stored(store) == [([turn("user", "Why?")], printed, "No."),
                             ([turn("user", f"{printed}: what is it?")], "Because.", "No.")]


def test_a_preference_has_its_whole_lineage(store: Store, tmp_path: Path) -> None:
    import_preferences(store, lines(tmp_path / "mine.jsonl", PREFERENCE))
    (comparison,), (labeler,) = store.comparisons.current(), store.people.all()
    assert (labeler.name, labeler.kind, labeler.id) == ("mine.jsonl", "imported",
                                                         comparison.labeler_id)
    assert (comparison.answer.strength, comparison.shown) == (3, ())
    assert {(r.source, r.policy_version_id) for r in store.responses.all()} == {("import", None)}
    assert store.tasks.labels_missing() == 0
    assert store.assignments.next_for(store.people.add("Ann").id) is None
    # Nobody knows on which side they stood, so they say nothing about sides.
    assert comparison.shown == ()
    assert first_shown_wins([comparison]) is None


def test_hh_transcripts_keep_the_dialogue_and_join_repeated_turns(store: Store,
                                                                  tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nHuman: You there?\n\nAssistant: Yes\n\nHuman: Quote 'Human: x'?"
    import_preferences(store, lines(tmp_path / "hh.jsonl", {
        "chosen": f"{start}\n\nAssistant: A", "rejected": f"{start}\n\nAssistant: B"}))
    assert stored(store) == [([turn("user", "Hi\n\nYou there?"), turn("assistant", "Yes"),
                               turn("user", "Quote 'Human: x'?")], "A", "B")]


def test_what_teaches_nothing_is_left_out_and_counted(store: Store, tmp_path: Path) -> None:
    path = lines(
        tmp_path / "p.jsonl", PREFERENCE, {**PREFERENCE, "rejected": "Because. "},
        {**PREFERENCE, "chosen": " "},
        {"chosen": "\n\nHuman: A\n\nAssistant: B", "rejected": "\n\nHuman: C\n\nAssistant: D"})
    report = import_preferences(store, path)
    assert (report.added, report.duplicates, sum(report.skipped.values())) == (1, 0, 3)
    assert len(report.skipped) == 3
    assert "1 left out: chosen and rejected are the same" in str(report)
    same = lines(tmp_path / "q.jsonl", {**PREFERENCE, "rejected": "Because."})
    with pytest.raises(BadInput, match="no line can be used"):
        import_preferences(store, same)


def test_importing_again_adds_nothing_and_shared_texts_are_shared(store: Store,
                                                                  tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", PREFERENCE, {**PREFERENCE, "rejected": "Maybe."}, PREFERENCE,
                 {**PREFERENCE, "chosen": "No.", "rejected": "Because."})
    once = import_preferences(store, path)
    assert once == ImportReport("preferences", 3, 0, repeats=1, contradictions=1)
    assert "1 in the file the other way round as well (both count)" in str(once)
    assert len(store.responses.all()) == 3
    before = counts(store)
    assert import_preferences(store, path) == ImportReport(
        "preferences", 0, 3, repeats=1, contradictions=1)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    assert import_preferences(store, copy).added == 0
    assert counts(store)[2:] == before[2:]


@pytest.mark.parametrize("row", [PREFERENCE, {"prompt": "Why?"}])
def test_an_import_that_cannot_be_logged_is_not_done(store: Store, tmp_path: Path,
                                                     row: dict[str, Any]) -> None:
    path = lines(tmp_path / "p.jsonl", row)
    with store.database.write() as db:
        db.conn.execute("CREATE TRIGGER full BEFORE INSERT ON audit "
                        "BEGIN SELECT RAISE(ABORT, 'no room'); END")
    before = counts(store)
    with pytest.raises(sqlite3.IntegrityError, match="no room"):
        import_file(store, path)
    assert counts(store) == before
    with store.database.write() as db:
        db.conn.execute("DROP TRIGGER full")
    assert import_file(store, path).added == 1
    assert [(e.action, e.subject, e.details["added"]) for e in store.audit.entries()] == [
        ("import", "p.jsonl", 1)]


def test_a_person_is_never_taken_for_a_file(store: Store, tmp_path: Path) -> None:
    person = store.people.add("p.jsonl")
    import_preferences(store, lines(tmp_path / "p.jsonl", PREFERENCE))
    (comparison,) = store.comparisons.current()
    assert comparison.labeler_id != person.id
    long = tmp_path / ("x" * 200 + "\u200b.jsonl")
    assert import_preferences(store, lines(long, {**PREFERENCE, "prompt": "Other?"})).added == 1


def test_csv_preferences(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    messages = json.dumps([turn("assistant", "Because.")]).replace('"', '""')
    path.write_text(f'prompt,chosen,rejected\nWhy?,"{messages}",'
                    f'"{messages.replace("Because", "No")}"\nHow?,So.,"Like, this."\n')
    assert import_file(store, path).added == 2
    assert [(c, r) for _, c, r in stored(store)] == [("Because.", "No."), ("So.", "Like, this.")]


@pytest.mark.skipif(not HH.is_file(), reason="the shared data are not here")
def test_anthropic_hh_comes_in_whole_and_fast(store: Store) -> None:
    report = import_file(store, HH)
    assert (report.added, report.duplicates, report.skipped) == (
        1471, 0, {"an answer is empty": 2})
    assert {p.messages[-1]["role"] for p in store.prompts.all()} == {"user"}
    for prompt in store.prompts.all():
        roles = [m["role"] for m in prompt.messages]
        assert all(a != b for a, b in pairwise(roles))


def test_by_how_much_is_taken_from_the_row_and_never_guessed(store: Store, tmp_path: Path) -> None:
    pair = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    rows = [{**pair, "prompt": f"Why {n}?", "strength": said}
            for n, said in enumerate((1, "2", None, "4.0", ""))]
    assert import_preferences(store, lines(tmp_path / "p.jsonl", *rows)).added == 5
    assert [p.strength for p in store.comparisons.preferences()] == [1, 2, 3, 4, 3]
    for wrong in (9, 0, "very", 2.5, True):
        with pytest.raises(BadInput, match=r"line 1: strength: .* none of 1"):
            import_preferences(store, lines(tmp_path / "q.jsonl", {**pair, "strength": wrong}))


@pytest.mark.parametrize(("row", "said"), [
    ({"prompt": "", "chosen": "a", "rejected": "b"}, "prompt: is empty"),
    ({"prompt": None, "chosen": "a", "rejected": "b"}, "prompt: "),
    ({"prompt": "Why?", "chosen": None, "rejected": "b"}, "chosen: is null"),
    ({"prompt": "a\0b", "chosen": "a", "rejected": "b"}, "prompt: holds a NUL"),
    ({"Prompt": "Why?", "Tags": ""}, "write Prompt in small letters"),
    ({"prompt;tags": "Why?"}, "separated by ';'")])
def test_what_is_wrong_is_said_of_what_stands_in_the_file(
        store: Store, tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        import_file(store, lines(tmp_path / "p.jsonl", row))
    assert f"line 1: {said}" in str(error.value) or said in str(error.value)
    assert "[1]" not in str(error.value)


def test_a_file_whose_name_is_no_text(store: Store, tmp_path: Path) -> None:
    """Names are bytes, and those of old archives are often Latin-1."""
    path = lines(tmp_path / os.fsdecode(b"caf\xe9.jsonl"), PREFERENCE)
    assert import_file(store, path).added == import_file(store, path).duplicates == 1
    assert import_prompts(store, lines(path, {"prompt": "Other?"})).added == 1
    assert [p.source for p in store.prompts.all()] == ["caf\ufffd.jsonl"] * 2
    (labeler,) = store.people.all()
    assert labeler.config == {"file": "caf\ufffd.jsonl"}
