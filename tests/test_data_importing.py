"""Imports: every form people have, nothing half stored, and one line for whatever is wrong."""

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data.errors import BadInput
from data.exchange.importing import (
    ImportReport,
    import_file,
    import_preferences,
    import_prompts,
    sniff,
)
from data.measures.agreement import first_shown_wins
from data.store import Store

HH = Path(__file__).resolve().parents[2] / "shared/data/hh_harmless.jsonl.gz"
OTHERS = [HH.with_name(f"{name}.jsonl.gz") for name in ("pandalm", "oasst1_kwise")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "prefloop.db")


def lines(path: Path, *rows: Any) -> Path:
    """A JSON Lines file of these rows; a text is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n"
                            for row in rows), "utf-8")
    return path


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


PAIR = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
DIALOGUE = [said("user", "Hi"), said("assistant", "Hello"), said("user", "Why?")]


def stored(store: Store) -> list[tuple[list[Any], str, str]]:
    """(messages, chosen, rejected) of everything imported."""
    text = {r.id: r.text for r in store.responses.all()}
    return [([dict(m) for m in store.prompts.get(p.prompt_id).messages], text[p.chosen_id],
             text[p.rejected_id]) for p in store.comparisons.preferences()]


def counts(store: Store) -> list[int]:
    """Rows in every table that an import writes."""
    return [store.database.value(f"SELECT count(*) FROM {table}") for table in (
        "prompts", "labelers", "responses", "tasks", "task_responses", "assignments",
        "comparisons", "preferences")]


# Prompts

def test_prompts_in_every_form(store: Store, tmp_path: Path) -> None:
    rows = [{"prompt": "One?", "tags": ["a", "b"]}, {"prompt": [said("user", "Two?")]},
            {"messages": DIALOGUE}, {"prompt": "\n\nHuman: Three?\n\nAssistant:"}]
    report = import_prompts(store, lines(tmp_path / "p.jsonl", *rows))
    assert report == ImportReport("prompts", 4, 0)
    assert [[m["content"] for m in p.messages] for p in store.prompts.all()] == [
        ["One?"], ["Two?"], ["Hi", "Hello", "Why?"], ["Three?"]]
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


def test_a_json_list_and_json_lines_named_json(store: Store, tmp_path: Path) -> None:
    array = tmp_path / "a.json"
    array.write_text(json.dumps([{"prompt": "One?"}, {"prompt": "Two?"}], indent=2))
    assert import_prompts(store, array).added == 2
    assert import_prompts(store, lines(tmp_path / "b.json", {"prompt": "Three?"})).added == 1


def test_duplicates_are_counted_not_stored(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", {"prompt": "One?"}, {"prompt": " One?  "}, {"prompt": "2"})
    assert import_prompts(store, path) == ImportReport("prompts", 2, 1)
    assert import_prompts(store, path) == ImportReport("prompts", 0, 3)
    assert "there already" in str(import_prompts(store, path))


# Preferences

@pytest.mark.parametrize("row", [
    {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
    {"prompt": [said("user", "Why?")], "chosen": [said("assistant", "Because.")],
     "rejected": [said("assistant", "No.")]},
    {"chosen": [said("user", "Why?"), said("assistant", "Because.")],
     "rejected": [said("user", "Why?"), said("assistant", "No.")]},
    {"prompt": "Why?", "chosen": [said("user", "Why?"), said("assistant", "Because.")],
     "rejected": [said("user", "Why?"), said("assistant", "No.")]},
    {"prompt": "\n\nHuman: Why?\n\nAssistant:", "chosen": " Because.", "rejected": " No."},
    {"chosen": "\n\nHuman: Why?\n\nAssistant: Because.",
     "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
])
def test_every_form_of_a_preference_is_the_same(store: Store, tmp_path: Path,
                                                row: dict[str, Any]) -> None:
    path = lines(tmp_path / "p.jsonl", row)
    assert sniff(path) == "preferences"
    assert import_file(store, path).added == 1
    assert stored(store) == [([said("user", "Why?")], "Because.", "No.")]


def test_a_preference_has_its_whole_lineage(store: Store, tmp_path: Path) -> None:
    import_preferences(store, lines(tmp_path / "mine.jsonl", PAIR))
    (comparison,), (labeler,) = store.comparisons.current(), store.people.all()
    assert (labeler.name, labeler.kind, labeler.id) == ("mine.jsonl", "imported",
                                                         comparison.labeler_id)
    assert (comparison.answer.strength, comparison.shown) == (3, ())
    assert {(r.source, r.policy_version_id) for r in store.responses.all()} == {("import", None)}
    assert store.tasks.labels_missing() == 0
    assert store.assignments.next_for(store.people.add("Ann").id) is None
    # Nobody knows on which side they stood, so they say nothing about sides.
    assert comparison.first_shown_won is None
    assert first_shown_wins([comparison]) is None


def test_hh_transcripts_keep_the_dialogue_and_join_repeated_turns(store: Store,
                                                                  tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nHuman: You there?\n\nAssistant: Yes\n\nHuman: Quote 'Human: x'?"
    import_preferences(store, lines(tmp_path / "hh.jsonl", {
        "chosen": f"{start}\n\nAssistant: A", "rejected": f"{start}\n\nAssistant: B"}))
    assert stored(store) == [([said("user", "Hi\n\nYou there?"), said("assistant", "Yes"),
                               said("user", "Quote 'Human: x'?")], "A", "B")]


def test_what_teaches_nothing_is_left_out_and_counted(store: Store, tmp_path: Path) -> None:
    path = lines(
        tmp_path / "p.jsonl", PAIR, {**PAIR, "rejected": "Because. "}, {**PAIR, "chosen": " "},
        {"chosen": "\n\nHuman: A\n\nAssistant: B", "rejected": "\n\nHuman: C\n\nAssistant: D"})
    report = import_preferences(store, path)
    assert (report.added, report.duplicates, sum(report.skipped.values())) == (1, 0, 3)
    assert len(report.skipped) == 3
    assert "1 left out: chosen and rejected are the same" in str(report)
    with pytest.raises(BadInput, match="no line can be used"):
        import_preferences(store, lines(tmp_path / "q.jsonl", {**PAIR, "rejected": "Because."}))


def test_importing_again_adds_nothing_and_shared_texts_are_shared(store: Store,
                                                                  tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", PAIR, {**PAIR, "rejected": "Maybe."}, PAIR,
                 {**PAIR, "chosen": "No.", "rejected": "Because."})
    assert import_preferences(store, path) == ImportReport("preferences", 3, 1)
    assert len(store.responses.all()) == 3
    before = counts(store)
    assert import_preferences(store, path) == ImportReport("preferences", 0, 4)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    assert import_preferences(store, copy).added == 0
    assert counts(store)[2:] == before[2:]


def test_a_person_is_never_taken_for_a_file(store: Store, tmp_path: Path) -> None:
    person = store.people.add("p.jsonl")
    import_preferences(store, lines(tmp_path / "p.jsonl", PAIR))
    (comparison,) = store.comparisons.current()
    assert comparison.labeler_id != person.id
    long = tmp_path / ("x" * 200 + "\u200b.jsonl")
    assert import_preferences(store, lines(long, {**PAIR, "prompt": "Other?"})).added == 1


def test_csv_preferences(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    messages = json.dumps([said("assistant", "Because.")]).replace('"', '""')
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


@pytest.mark.parametrize("path", OTHERS, ids=lambda p: p.name)
def test_other_formats_are_refused_with_their_fields(store: Store, path: Path) -> None:
    if not path.is_file():
        pytest.skip("the shared data are not here")
    with pytest.raises(BadInput, match=r"line 1: the fields are .*wanted prompt or messages"):
        import_file(store, path)


# What is wrong, and where

GOOD = json.dumps({"prompt": "Fine?"})


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.jsonl", b"", "is empty"),
    ("a.txt", b" \n\n", "is empty"),
    ("a.json", b"[]", "no rows"),
    ("a.csv", b"prompt\n", "no rows"),
    ("a.parquet", b"PAR1", "not a Parquet file"),
    ("a.xlsx", b"PK", "cannot tell the format"),
    ("a", b"x", "cannot tell the format"),
    ("a.jsonl", f"{GOOD}\n\n{{'prompt': 1}}\n".encode(), "line 3: malformed JSON"),
    ("a.jsonl", f"{GOOD}\n[1, 2]\n".encode(), "line 2: wanted an object"),
    ("a.jsonl", f'{GOOD}\n{{"text": "x"}}\n'.encode(), "line 2: prompt: missing; .* text"),
    ("a.jsonl", f'{GOOD}\n{{"prompt": 7}}\n'.encode(), "line 2: prompt: wanted text"),
    ("a.jsonl", f'{GOOD}\n{{"prompt": ""}}\n'.encode(), r"line 2: prompt\[1\].content"),
    ("a.jsonl", f'{GOOD}\n{{"prompt": "x", "tags": [1]}}\n'.encode(), "line 2: tags"),
    ("a.jsonl", f'{GOOD}\n{{"prompt": "\\ud800"}}\n'.encode(), "line 2: .*surrogate"),
    ("a.jsonl", f'{GOOD}\n{{"prompt": "a\\u0000b"}}\n'.encode(), "line 2: .*NUL"),
    ("a.jsonl", b'{"prompt": ' + b"[" * 100_000 + b"\n", "line 1: malformed JSON: nested"),
    ("a.jsonl", b'{"prompt": ' + b"1" * 5000 + b"}\n", "line 1: malformed JSON"),
    ("a.jsonl", b'{"messages": [{"role": "robot", "content": "x"}]}\n',
     r"line 1: messages\[1\].role: 'robot'"),
    ("a.jsonl", b'{"messages": [{"role": "assistant", "content": "x"}]}\n',
     "line 1: messages: the last one must be the user's"),
    ("a.json", b'[\n {"prompt": "x"},\n {"prompt": }\n]', "line 3: malformed JSON"),
    ("a.json", b'[\n {"prompt": "x"}\n {"prompt": "y"}\n]', "line 3: malformed JSON: expected ,"),
    ("a.json", b'[\n {"prompt": "x"},\n "y"\n]', "line 3: wanted an object"),
    ("a.json", b'[{"prompt": "x"}]\n[]', "line 2: malformed JSON: text after"),
    ("a.json", b'[{"prompt": "x"}', "malformed JSON"),
    ("a.csv", b"text,tags\nx,y\n", "line 2: prompt: missing; the fields are text, tags"),
    ("a.csv", b'prompt,tags\n"a\nb",c\nd\n', "line 4: 1 cells, but the header has 2"),
    ("a.csv", b'prompt\n"never closed\n', "malformed CSV"),
    ("a.csv", b"prompt,prompt\na,b\n", "named twice"),
    ("a.txt", "fine\nna\xefve".encode("latin-1"), "line 2: not UTF-8 at byte 7"),
    ("a.txt", b"\xef\xbb\xbffine\n\xff", "line 2: not UTF-8 at byte 8"),
    ("a.txt", b"\xff\xfea", "not UTF-16 at byte"),
    ("a.jsonl.gz", b'{"prompt": "x"}\n', "not a gzip file"),
    ("a.jsonl.gz", gzip.compress(b'{"prompt": "x"}\n' * 99)[:-9], "damaged or cut short"),
    ("a.jsonl.gz", gzip.compress(b""), "is empty"),
    ("a.txt", b"x" * 5_000_000, "line 1: .*5,000,000 characters; at most 200,000"),
    ("a.csv", b"prompt\n" + b"x" * 5_000_000, "line 2: .*5,000,000 characters"),
])
def test_a_bad_file_is_named_with_its_line_and_stores_nothing(
        store: Store, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    before = counts(store)
    with pytest.raises(BadInput, match=message) as caught:
        import_prompts(store, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert counts(store) == before


@pytest.mark.parametrize(("row", "message"), [
    ({"prompt": "x", "chosen": "y"}, "rejected: missing"),
    ({"chosen": "y", "rejected": "z"}, "prompt: missing"),
    ({"prompt": "x", "chosen": 1, "rejected": 2}, "chosen, rejected: wanted two texts"),
    ({"prompt": "x", "chosen": "y", "rejected": [said("assistant", "z")]}, "str and list"),
    ({"prompt": "x", "chosen": [], "rejected": []}, "chosen: wanted messages"),
    ({"prompt": "x", "chosen": ["y"], "rejected": ["z"]}, r"chosen\[1\]: wanted an object"),
    ({"prompt": "x", "chosen": [said("user", "y")], "rejected": [said("assistant", "z")]},
     "chosen: the last message must be the assistant's"),
    ({"prompt": "other", "chosen": [said("user", "x"), said("assistant", "y")],
      "rejected": [said("user", "x"), said("assistant", "z")]}, "prompt: is not how"),
    ({"prompt": "x", "chosen": "y" * 200_001, "rejected": "z"}, "chosen: 200,001 characters"),
    ({"chosen": "\n\nHuman: x\n\nHuman: y", "rejected": "\n\nHuman: x\n\nHuman: z"},
     "chosen: the last message must be"),
])
def test_a_bad_preference_is_named_with_its_line_and_stores_nothing(
        store: Store, tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = lines(tmp_path / "p.jsonl", PAIR, "", row)
    with pytest.raises(BadInput, match=f"p.jsonl, line 3: .*{message}"):
        import_preferences(store, path)
    assert sum(counts(store)) == 0


def test_a_missing_file_and_a_folder_give_one_line(store: Store, tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(BadInput, match=str(path)):
            import_prompts(store, path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(BadInput, match=r"folder\.csv"):
        sniff(tmp_path / "folder.csv")


def test_a_failure_while_storing_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.database.connection.conn.execute(
        "CREATE TRIGGER broken AFTER INSERT ON preferences WHEN NEW.id = 2 "
        "BEGIN SELECT RAISE(ABORT, 'boom'); END")
    path = lines(tmp_path / "p.jsonl", PAIR, {**PAIR, "prompt": "How?"})
    with pytest.raises(Exception, match="boom"):
        import_preferences(store, path)
    assert sum(counts(store)) == 0
