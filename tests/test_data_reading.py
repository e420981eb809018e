"""Files as streams: pieces of any size give the same rows, lines and errors as the whole."""

import json
import os
import random
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import BadInput
from data.exchange import json_stream, reading, text_stream
from data.exchange.importing import import_file
from data.exchange.json_stream import JsonStream
from data.exchange.reading import Row, read_rows
from data.people import People
from data.store import Store

VALUES: list[Any] = ["", "ž\n\"\\\u2028", "😀", 0, -1.5e300, True, None, [], {}, [[1], {"a": "]"}],
                     {"n": {"m": ["}", "{"]}}]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_in_pieces_is_the_json_there_is(monkeypatch: pytest.MonkeyPatch, chunk: int,
                                             indent: int | None) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    choose = random.Random(chunk)
    rows = [{f"k{i}": choose.choice(VALUES) for i in range(choose.randrange(4))}
            for _ in range(30)]
    text = " \n" + json.dumps(rows, indent=indent, ensure_ascii=choose.random() < 0.5) + "\n\n"
    stream = JsonStream(Path("x.json"), StringIO(text))
    assert stream.peek() == "["
    stream.skip()
    found, lines = [], []
    while stream.peek() != "]":
        lines.append(stream.line)
        found.append(stream.value())
        if stream.peek() == ",":
            stream.skip()
    stream.skip()
    assert found == rows and stream.peek() == ""
    starts, line = [], 3 if indent else 2
    for row in rows:
        starts.append(line)
        line += json.dumps(row, indent=indent).count("\n") + (1 if indent else 0)
    assert lines == starts


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize(("text", "message"), [
    ('[\n {"a": 1},\n {"b": tru}\n]', "line 3: malformed JSON: Expecting value (column 8)"),
    ('[{"a": 1}, {"b": "open', "line 1: malformed JSON: Unterminated string starting at"),
    ('[{"a": 1},\n\n {"b" 2}]', "line 3: malformed JSON: Expecting ':' delimiter (column 7)"),
    ('{"a": 1}\n{"b": }\n', "line 2: malformed JSON: Expecting value (column 7)"),
    ('[{"a": 1} {"b": 2}]', "line 1: malformed JSON: expected , or ]"),
])
def test_errors_in_pieces_stand_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               chunk: int, text: str, message: str) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadInput) as caught:
        list(read_rows(tmp_path / "x.json"))
    assert message in str(caught.value)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4096])
@pytest.mark.parametrize("before", ["ab", "ž€😀\n", "\n\nžž"])
def test_undecodable_bytes_are_found_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               chunk: int, before: str) -> None:
    monkeypatch.setattr(text_stream, "_CHUNK", chunk)
    (tmp_path / "x.txt").write_bytes(before.encode() + b"\xff more")
    with pytest.raises(BadInput) as caught:
        list(read_rows(tmp_path / "x.txt"))
    line, byte = before.count("\n") + 1, len(before.encode())
    assert f"line {line}: not UTF-8 at byte {byte}; save" in str(caught.value)


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    for name, text in (("x.jsonl", '{"a": 1}\n{"a": 2}\n{wrong'), ("x.csv", 'a\n1\n2\n"wrong'),
                       ("x.json", '[{"a": 1}, {"a": 2}, {wrong')):
        (tmp_path / name).write_text(text)
        rows = read_rows(tmp_path / name)
        assert [int(next(rows).values["a"]), int(next(rows).values["a"])] == [1, 2]
        with pytest.raises(BadInput, match="malformed"):
            next(rows)


@pytest.mark.parametrize("wrong", [
    pa.array([b"a", b"b", b"\xff"], pa.binary()).view(pa.string()),
    pa.array([1, 2, 2**62], pa.timestamp("us"))])
def test_what_parquet_holds_and_python_cannot_is_named_by_its_record(tmp_path: Path,
                                                                     wrong: pa.Array) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": ["One", "Two", "Three"], "wrong": wrong}), path)
    rows = read_rows(path)
    assert [next(rows).values["prompt"] for _ in range(2)] == ["One", "Two"]
    with pytest.raises(BadInput, match=r"x\.parquet, record 3: "):
        next(rows)


def test_columns_of_one_name_are_refused_but_for_those_without(tmp_path: Path) -> None:
    """Spreadsheets write empty columns behind the last one."""
    (tmp_path / "x.csv").write_text("prompt,tags,,\nWhy?,a,,\n")
    assert [row.values["prompt"] for row in read_rows(tmp_path / "x.csv")] == ["Why?"]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["One"]), pa.array(["Two"])],
                                        names=["prompt", "prompt"]), path)
    with pytest.raises(BadInput, match=r"x\.parquet: the column 'prompt' is named twice"):
        list(read_rows(path))


def test_too_much_is_refused_before_it_is_held(tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jsonl").write_text('{"prompt": "' + "x" * 5000 + '"}\n')
    for module in ("data.exchange.reading", "data.exchange.json_stream"):
        monkeypatch.setattr(f"{module}.LONGEST_ROW", 1000)
    with pytest.raises(BadInput, match="line 1: longer than"):
        list(read_rows(tmp_path / "x.jsonl"))
    for rows in ("a\n" + "b," * 5000, "a\n" + '"b\n",' * 5000):
        (tmp_path / "x.csv").write_text(rows)
        with pytest.raises(BadInput, match="line 2: longer than"):
            list(read_rows(tmp_path / "x.csv"))
    (tmp_path / "x.csv").write_text("a\n" + "b\n" * 5000)
    assert len(list(read_rows(tmp_path / "x.csv"))) == 5000
    monkeypatch.setattr(json_stream, "_CHUNK", 100)
    (tmp_path / "x.json").write_text('[{"prompt": "' + "x" * 5000 + '"}]')
    with pytest.raises(BadInput, match=r"line 1: .*longer than"):
        list(read_rows(tmp_path / "x.json"))
    monkeypatch.undo()
    monkeypatch.setattr(text_stream, "MOST_BYTES", 2000)
    with pytest.raises(BadInput, match=r"more than .* GiB; split the file"):
        list(read_rows(tmp_path / "x.jsonl"))


@pytest.mark.parametrize(("text", "what", "wrong"), [
    (b"One\nTwo\n", None, "is a pipe"), (b"One\nTwo\n", "prompts", ""),
    (b"One\n\xff\n", "prompts", "not UTF-8")])
def test_a_pipe_is_read_whole_or_not_at_all(store: Store, text: bytes, what: str | None,
                                            wrong: str) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, text)
    os.close(theirs)
    pipe = Path(f"/dev/fd/{ours}")
    try:
        if wrong:
            with pytest.raises(BadInput, match=wrong):
                import_file(store, pipe, "txt", what=what)
        else:
            import_file(store, pipe, "txt", what=what)
    finally:
        os.close(ours)
    assert [p.text for p in store.prompts.all()] == ([] if wrong else ["One", "Two"])


def test_others_write_while_an_import_reads(tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is locked and nothing to be seen until all of the file is known to be good."""
    store, other = (Store(tmp_path / "prefloop.db") for _ in range(2))
    other.database.connection.conn.execute("PRAGMA busy_timeout = 0")
    (tmp_path / "p.jsonl").write_text("".join(
        json.dumps({"prompt": f"P {i}", "chosen": "a", "rejected": "b"}) + "\n"
        for i in range(20)))
    seen = []

    def watched(path: Path, format: str | None = None) -> Iterator[Row]:
        for row in read_rows(path, format):
            seen.append(other.prompts.count())
            People(other.database).add(f"person {len(seen)}")
            yield row

    monkeypatch.setattr(reading, "read_rows", watched)
    report = import_file(store, tmp_path / "p.jsonl")
    assert (report.added, set(seen)) == (20, {0})
    assert len(other.people.all(kind="human")) == len(seen) == 40  # twice, to tell what it is
    assert other.database.rows("SELECT name FROM temp.sqlite_master") == []
    assert store.database.rows("SELECT name FROM temp.sqlite_master") == []
