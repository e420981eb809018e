"""What holds for imports of every tool's files: again, hostile, doubled, broken anywhere."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exchange_files import (
    ANN,
    PAIR,
    TREE,
    TWO,
    annotation,
    flat_v1,
    messages_of,
    pairwise,
    ranks,
    result,
    said,
    saved,
    task,
)

from data.errors import BadInput
from data.exchange.import_report import ImportReport
from data.exchange.importing import import_file
from data.exchange.sniffing import sniff
from data.store import Store


def test_what_is_asked_for_is_what_is_read(store: Store, tmp_path: Path) -> None:
    tasks = saved(tmp_path / "tasks.json", [task(PAIR, annotation(pairwise("left")))])
    prompts = saved(tmp_path / "p.jsonl", [{"prompt": "Why?"}])
    for path, tool, what, message in (
            (tasks, "label-studio", "prompts", "--what prompts: label-studio is read as comp"),
            (prompts, None, "comparisons", "line 1: the fields are prompt; wanted resp"),
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


def test_importing_again_adds_only_what_is_new(store: Store, tmp_path: Path) -> None:
    """A later export of the same project: the same answers, a changed one and a new person."""
    path = tmp_path / "export.json"
    ann, bob = annotation(pairwise("left")), annotation(pairwise("right"), by=2)
    assert import_file(store, saved(path, [task(PAIR, ann)])).added == 1
    assert import_file(store, saved(path, [task(PAIR, ann, bob)])) == ImportReport(
        "comparisons", 1, 1, {}, 1)
    changed = annotation(pairwise("right"), updated_at="2024-05-09T00:00:00Z")
    assert import_file(store, saved(path, [task(PAIR, changed, ann, bob)])) == ImportReport(
        "comparisons", 1, 1, {"an answer that a later one of the same annotator replaces": 1}, 1)
    assert [(name, r[0]) for name, _, r, _ in said(store)] == [
        ("label-studio/2", ["A river."]), ("label-studio/1", ["A river."])]
    assert [c.revision for c in store.comparisons.history(1, 1)] == [1, 2]
    assert len(store.responses.all()) == 2
    assert store.database.value("SELECT group_concat(labels) FROM tasks") == "2"


def test_who_comes_back_to_an_earlier_answer_is_heard(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    for side in ("left", "right", "left", "right", "left"):
        again = saved(path, [task(PAIR, annotation(pairwise(side)))])
        assert import_file(store, again).added == 1
        assert import_file(store, again).duplicates == 1
        assert [r[0] for _, _, r, _ in said(store)] == [
            ["The Nile." if side == "left" else "A river."]]
    assert [c.revision for c in store.comparisons.history(1, 1)] == [1, 2, 3, 4, 5]
    assert store.database.value("SELECT group_concat(labels) FROM tasks") == "1"


def test_responses_keep_the_blanks_around_them(store: Store, tmp_path: Path) -> None:
    code = {**PAIR, "answer1": "    return 1\n", "answer2": "\treturn 2"}
    path = saved(tmp_path / "code.json", [task(code, annotation(pairwise("left")))])
    assert import_file(store, path).added == 1
    assert said(store)[0][2] == [["    return 1\n"], ["\treturn 2"]]
    assert import_file(store, path).duplicates == 1
    saved(path, [task({**code, "answer1": " \n"}, annotation(pairwise("left")))])
    with pytest.raises(BadInput, match="no line can be used: fewer than two different responses"):
        import_file(store, path)


def test_numbers_of_thousands_of_digits_say_nothing(store: Store, tmp_path: Path) -> None:
    many = "9" * 5000
    items = {"prompt": "Q", "items": [{"id": "a", "body": "A"}, {"id": "b", "body": "B"}]}
    path = saved(tmp_path / "digits.json", [
        task(PAIR, annotation(result("choices", {"choices": [f"Answer {many}"]}, "preference"))),
        task(items, annotation(result("ranker", {"ranker": {f"rank {many}": ["a"], "1": ["b"]}}))),
        task({**PAIR, "prompt": "Fine?"}, annotation(pairwise("left")))])
    report = import_file(store, path)
    assert (report.added, sum(report.skipped.values())) == (1, 2)


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
