"""Imports of OpenAssistant's own files, in the shapes that it writes."""

from __future__ import annotations

import copy
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from exchange_files import RANKINGS, TREE, message, messages_of, said, saved

from data.errors import BadInput
from data.exchange.file_pairs import read_pairs
from data.exchange.import_report import ImportReport
from data.exchange.importing import import_file
from data.exchange.sniffing import sniff
from data.store import Store


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


def test_openassistants_files_are_measured_without_a_workspace(tmp_path: Path) -> None:
    trees = saved(tmp_path / "t.jsonl", [TREE])
    flat = saved(tmp_path / "m.jsonl", list(
        messages_of(TREE["prompt"])))  # type: ignore[arg-type]
    for path in (trees, flat):
        pairs, _ = read_pairs(path)
        assert [(pair.chosen, pair.rejected) for pair in pairs] == [
            ("Why not.", "Because."), ("Why not.", "Dunno."), ("Because.", "Dunno."),
            ("So.", "Thus.")]


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
