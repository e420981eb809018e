"""Imports of what is wrong: one line that says where, and nothing half stored."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from exchange_files import PREFERENCE, counts, lines, table, turn

from data.errors import BadInput
from data.exchange.importing import import_preferences, import_prompts
from data.exchange.sniffing import sniff
from data.store import Store

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
    ("a.jsonl", f'{GOOD}\n{{"prompt": ""}}\n'.encode(), r"line 2: prompt: is empty"),
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
    ("a.csv", b"prompt,x,prompt\na,,b\n", "line 1: the column 'prompt' is named twice"),
    ("a.jsonl", f'{GOOD}\n{{"prompt": "x", "prompt": "y"}}\n'.encode(),
     "line 2: malformed JSON: the name 'prompt' stands twice in one object"),
    ("a.json", b'[{"prompt": "x"},\n {"messages": [{"role": "user", "role": "system"}]}]',
     "line 2: malformed JSON: the name 'role' stands twice in one object"),
    ("a.jsonl", f"[{GOOD}, {GOOD}]".encode(), "line 1: wanted a whole object .* name a file of pl"),
    ("a.jsonl", b'\n{\n "prompt": "x"\n}\n', "line 2: wanted a whole object .* or say --format"),
    ("a.jsonl", GOOD.encode("utf-16-le"), "begins as no text in UTF-8 does, but as UTF-16 without"),
    ("a.csv", "prompt\nx\n".encode("utf-32"), "begins as no text in UTF-8 does"),
    ("a.jsonl", b"PAR1\x15\x04\x15", "such as Parquet; .* by its suffix or --format"),
    ("a.txt", "fine\nna\xefve".encode("latin-1"), "line 2: not UTF-8 at byte 7"),
    ("a.txt", b"\xef\xbb\xbffine\n\xff", "line 2: not UTF-8 at byte 8"),
    ("a.txt", b"\xff\xfea", "not UTF-16 at byte"),
    ("a.jsonl.gz", b'{"prompt": "x"}\n', "not a gzip file"),
    ("a.jsonl.gz", gzip.compress(b'{"prompt": "x"}\n' * 99, mtime=0)[:-9], "damaged or cut short"),
    ("a.jsonl.gz", gzip.compress(b"", mtime=0), "is empty"),
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
    ({"prompt": "x", "chosen": "y", "rejected": [turn("assistant", "z")]}, "str and list"),
    ({"prompt": "x", "chosen": [], "rejected": []}, "chosen: wanted messages"),
    ({"prompt": "x", "chosen": ["y"], "rejected": ["z"]}, r"chosen\[1\]: wanted an object"),
    ({"prompt": "x", "chosen": [turn("user", "y")], "rejected": [turn("assistant", "z")]},
     "chosen: the last message must be the assistant's"),
    ({"prompt": "other", "chosen": [turn("user", "x"), turn("assistant", "y")],
      "rejected": [turn("user", "x"), turn("assistant", "z")]}, "prompt: is not how"),
    ({"prompt": "x", "chosen": "y" * 200_001, "rejected": "z"}, "chosen: 200,001 characters"),
    ({"chosen": "\n\nHuman: x\n\nHuman: y", "rejected": "\n\nHuman: x\n\nHuman: z"},
     "chosen: the last message must be"),
])
def test_a_bad_preference_is_named_with_its_line_and_stores_nothing(
        store: Store, tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = lines(tmp_path / "p.jsonl", PREFERENCE, "", row)
    with pytest.raises(BadInput, match=f"p.jsonl, line 3: .*{message}"):
        import_preferences(store, path)
    assert sum(counts(store)) == 0


@pytest.mark.parametrize(("field", "printed"), [
    ("chosen", str([turn("assistant", "y")])), ("prompt", str([turn("user", "x")])),
    # What pandas makes of those that it read from Parquet.
    ("prompt", "[{'content': 'x', 'role': 'user'}\n {'role': 'user', 'content': 'y'}]"),
    ("messages", str([turn("user", "x")]))])
def test_messages_in_csv_as_python_prints_them_are_refused(store: Store, tmp_path: Path, field: str,
                                                           printed: str) -> None:
    path = table(tmp_path / "p.csv", {**PREFERENCE, field: printed})
    with pytest.raises(BadInput, match=f"p.csv, line 2: {field}: is a list of messages as Python"):
        import_preferences(store, path)
    assert sum(counts(store)) == 0


def test_a_missing_file_and_a_folder_give_one_line(store: Store, tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(BadInput, match=str(path)):
            import_prompts(store, path)
    for name in ("folder.csv", "folder.parquet", "folder"):
        (tmp_path / name).mkdir()
        with pytest.raises(BadInput, match=f"{name}: is a folder; name a file in it"):
            sniff(tmp_path / name)


def test_wrong_names_are_looked_for_in_the_line_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\nquestion,answer\nWhy?,So.\n")
    with pytest.raises(BadInput, match=r"a\.csv, line 2: the fields are question, answer"):
        sniff(tmp_path / "a.csv")


def test_a_failure_while_storing_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.database.connection.conn.execute(
        "CREATE TRIGGER broken AFTER INSERT ON preferences WHEN NEW.id = 2 "
        "BEGIN SELECT RAISE(ABORT, 'boom'); END")
    path = lines(tmp_path / "p.jsonl", PREFERENCE, {**PREFERENCE, "prompt": "How?"})
    with pytest.raises(Exception, match="boom"):
        import_preferences(store, path)
    assert sum(counts(store)) == 0
