"""Imports of published sets and of trainers' files: who won, what was asked, what was left out."""

from __future__ import annotations

import copy
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exchange_files import Said, counts, lines, said, table, turn
from published_sets import (
    ARENA,
    ASKED,
    BRIEF,
    CELLS,
    COMPARED,
    NO_RIVER,
    PAIRS,
    RIVER,
    TIE,
    TWO,
    by,
    cells,
    said_by,
)
from test_data_foreign import JUNK, places

from data.errors import BadInput
from data.exchange.file_pairs import read_pairs
from data.exchange.foreign_fields import Fields
from data.exchange.importing import import_file, import_prompts
from data.exchange.sniffing import sniff
from data.store import Store

DATA = Path(__file__).resolve().parents[2] / "shared/data"
PAIR = {"prompt": ASKED, "chosen": [RIVER[1]], "rejected": [NO_RIVER[1]]}
TOOL = {"prompt": [*ASKED, {"role": "assistant", "content": None,
                            "tool_calls": [{"id": "c1", "function": {"name": "map"}}]},
                   {"role": "tool", "tool_call_id": "c1", "content": "Nile"}, turn("user", "So?")],
        "chosen": [RIVER[1]], "rejected": [NO_RIVER[1]]}


def plain(found: list[Said]) -> list[Any]:
    """Answers in an order of their own, as groups have none."""
    return sorted((name, question, [sorted(group) for group in ranking], strength)
                  for name, question, ranking, strength in found)


def saved(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"x.{kind}"
    if kind == "csv":
        return table(path, *cells(rows))
    if kind == "jsonl":
        return lines(path, *rows)
    names = cells(rows)[0]
    pq.write_table(pa.Table.from_pylist([{n: row.get(n) for n in names} for row in rows]), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_as_published(store: Store, tmp_path: Path, name: str, kind: str) -> None:
    row, prompt = PAIRS[name]
    path = saved(tmp_path, kind, [row])
    assert sniff(path) == "preferences"
    assert import_file(store, path).added == 1
    assert plain(said(store)) == [by(path.name, question=prompt[-1]["content"])]
    assert [p.messages for p in store.prompts.all()] == [prompt]


@pytest.mark.parametrize(("name", "kind"), [
    (name, kind) for name in COMPARED for kind in ("jsonl", "parquet", "csv")
    if kind != "csv" or name in CELLS])
def test_comparisons_as_published(store: Store, tmp_path: Path, name: str, kind: str) -> None:
    rows, answers = COMPARED[name]
    path = saved(tmp_path, kind, rows)
    wanted = plain([(one[0] or path.name, *one[1:]) for one in answers])
    assert sniff(path) == "comparisons"
    assert import_file(store, path).added == len(answers)
    assert plain(said(store)) == wanted
    assert len(store.prompts.all()) == len({question for _, question, _, _ in answers})
    before = counts(store)
    assert import_file(store, path).duplicates == len(answers)
    assert counts(store) == before
    # The same file is what a reward model can be measured on.
    strict = [ranking for _, _, ranking, _ in wanted if len(ranking) > 1]
    if strict:
        pairs, _ = read_pairs(path)
        assert {pair.chosen for pair in pairs} <= {t for r in strict for g in r[:-1] for t in g}
        assert sum(pair.weight for pair in pairs) == pytest.approx(len(strict))


def test_what_was_not_read_is_told(store: Store, tmp_path: Path) -> None:
    rows = [{"prompt": "Name a river.", "chosen": "The Nile.", "rejected": "A river.",
             "source": None, "note": "", "margin": 2}]
    report = import_file(store, lines(tmp_path / "p.jsonl", *rows, {**rows[0], "source": "x"}))
    assert report.unread == ("margin", "source")
    assert str(report).endswith("; fields not read: margin, source")
    assert report.as_dict()["unread"] == ["margin", "source"]
    rows = [{**TWO, "prompt": "Why?", "context": "So.", "system": "Be brief.", "winner": "tie",
             "subset": "x"}]
    assert import_file(store, lines(tmp_path / "c.jsonl", *rows)).unread == ("subset",)
    alone = import_file(store, lines(tmp_path / "q.jsonl", {
        "prompt": "How?", "response": "So.", "score": 3.5}))  # as `prefloop score` writes it
    assert (alone.what, alone.added, alone.unread) == ("prompts", 1, ("response", "score"))
    inside = import_file(store, lines(tmp_path / "s.jsonl", *COMPARED["stack exchange"][0]))
    assert inside.unread == ("qid", "date", "metadata", "answers.answer_id", "answers.author",
                             "answers.selected")
    # Nobody looked into the one, and the other is no more than looked at.
    row = {"prompt": "Where?", "chosen": RIVER[1:], "rejected": NO_RIVER[1:], "meta": {"a": 1}}
    assert import_file(store, lines(tmp_path / "m.jsonl", row)).unread == ("meta",)
    assert import_file(store, lines(tmp_path / "u.jsonl", PAIRS["ultrafeedback binarized"][0])
                       ).unread == ("prompt_id", "score_chosen", "score_rejected")
    graded = import_file(store, lines(tmp_path / "r.jsonl", *COMPARED["helpsteer"][0]))
    assert "; ranked by helpfulness; fields not read: correctness, " in str(graded)


def test_a_dialogue_with_its_answer_is_a_prompt(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "sft.jsonl", {"messages": [BRIEF, *RIVER]},
                 {"conversations": [said_by("human", "Why?"), said_by("gpt", "So.")]},
                 {"instruction": "How?", "input": "", "output": "So."})
    report = import_file(store, path)
    assert (report.added, report.unread) == (3, ("output",))
    assert report.skipped == {"the answer at the end of a dialogue, whose prompt is taken": 2}
    assert [p.messages for p in store.prompts.all()] == [
        [BRIEF, *ASKED], [turn("user", "Why?")], [turn("user", "How?")]]


def test_dialogues_with_tools_are_left_out_and_counted(store: Store, tmp_path: Path) -> None:
    reason = "a dialogue with tools"
    glaive = {"conversations": [said_by("human", "x"), said_by("function_call", "{}"),
                                said_by("observation", "1"), said_by("gpt", "y")]}
    offered = {**PAIR, "tools": [{"type": "function", "function": {"name": "map"}}]}
    in_json = {**PAIR, "tools": '[{"name": "map"}]'}
    path = lines(tmp_path / "p.jsonl", TOOL, {**PAIR, "tools": []}, offered, in_json)
    report = import_file(store, path)
    assert (report.added, report.skipped) == (1, {reason: 3})
    assert read_pairs(path)[1] == {reason: 3}
    prompts = import_prompts(store, lines(tmp_path / "q.jsonl", glaive, {"prompt": "Why?"}))
    assert (prompts.added, prompts.skipped) == (1, {reason: 1})
    with pytest.raises(BadInput, match=rf"no line can be used: {reason} \(1\)$"):
        import_file(store, lines(tmp_path / "r.jsonl", TOOL))


def test_rows_that_say_nothing_are_counted(store: Store, tmp_path: Path) -> None:
    whole = {**ARENA, "winner": "model_a", "turn": 2}
    path = lines(tmp_path / "p.jsonl", {**ARENA, "winner": "model_b"}, whole,
                 {**ARENA, "winner": None}, {**ARENA, "winner": "unclear"},
                 {**ARENA, "winner": "model_a", "conversation_b": None})
    assert import_file(store, path).skipped == {
        "the dialogues differ before their last answer": 1,
        "a row that does not say which response is better": 2,
        "a response that is missing or no text": 1}
    rows = [{**TWO, "annotator1": 1}, {**TWO, "response_2": True, "annotator1": 1}]
    assert import_file(store, lines(tmp_path / "q.jsonl", *rows)).skipped == {
        "a response that is missing or no text": 1}


@pytest.mark.parametrize(("row", "message"), [
    ({**PAIR, "prompt": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
     r"prompt\[1\]\.content\[1\]: is of type image_url, and only texts are taken"),
    ({**PAIR, "chosen": [{"role": "assistant", "content": [7]}]},
     r"chosen\[1\]\.content\[1\]: is of type int"),
    ({**PAIR, "prompt": [BRIEF, *ASKED], "system": "Be long."}, "system: is not the system messag"),
    ({"instruction": "x", "history": "y", "chosen": "a", "rejected": "b"}, "history: wanted pairs"),
    ({"question": "x", "context": {"y": 1}, "chosen": "a", "rejected": "b"},
     "context: wanted text beside question, found dict; write it into question, or take it out"),
    ({**PAIR, "prompt": None, "input": {"messages": []}}, "input: wanted text or messages"),
    ({**PAIR, "images": ["nile.png"]}, "images: only texts are taken; leave out the rows with im"),
    ({"chosen": "The sky is blue.", "rejected": "The sky is green."},
     "prompt: missing, .*write what both begin with into a field prompt"),
])
def test_pairs_that_cannot_be_read_are_named_with_their_field(
        store: Store, tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=f"p.jsonl, line 2: {message}"):
        import_file(store, lines(tmp_path / "p.jsonl", PAIR, row))
    assert sum(counts(store)) == 0


@pytest.mark.parametrize(("rows", "message"), [
    ([{**TWO, "winner": 1}, {**TWO, "winner": 3}],
     "line 2: winner: 3 does not say which of response_1, response_2 is better; write the name"),
    ([{"prompt": "x", "response_a": "a", "response_b": "b", "winner": 1}],
     "line 1: winner: 1 does not say which of response_a, response_b"),
    ([{"history": "", "human_ref_A": "a", "human_ref_B": "b", "labels": 1}], "history: is empty"),
    ([{"data": [TWO], "total": 1}], "line 1: the fields are data, total.* what data holds, save"),
    ([{**TWO, "winner": True}], "line 1: winner: True does not say"),
    ([{**TWO, "overall_preference": 5}], "line 1: overall_preference: 5 does not say"),
    ([{**TWO, "votes": [{"labeler": "x", "choice": 7}]}], r"line 1: votes\[1\]\.choice: 7 does"),
    ([{**TWO, "winner": "response_1", "strength": 9}], "line 1: strength: 9 is none of 1"),
    ([{"prompt": "x", "answers": [{"answer": "a", "rank": i} for i in range(51)]}],
     r"no line can be used: a prompt with more than 50 responses \(1\)"),
    ([{"prompt": "x", "response": "y", "helpfulness": 3}],
     r"whose prompt has no other \(1\); --what prompts takes the prompts alone"),
    ([{"prompt": "x", "response": "y", "rating": 3}, {"prompt": 7, "response": "z", "rating": 1}],
     "line 2: prompt: wanted text"),
])
def test_comparisons_that_cannot_be_read_are_named_with_their_field(
        store: Store, tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        import_file(store, lines(tmp_path / "p.jsonl", *rows))
    assert sum(counts(store)) == 0


def test_people_of_a_file_are_themselves_in_the_next_one(store: Store, tmp_path: Path) -> None:
    """Two judges of one pair share its task; the same one in another file is the same labeler."""
    rows, _ = COMPARED["mt-bench"]
    assert import_file(store, lines(tmp_path / "a.jsonl", *rows)).labelers == 2
    assert len({c.task_id for c in store.comparisons.current()}) == 1
    changed = {**rows[0], "winner": "tie"}
    assert import_file(store, lines(tmp_path / "b.jsonl", changed)).added == 1
    assert plain(said(store)) == [by("judge/author_2", TIE, 0), by("judge/expert_1", TIE, 0)]


def test_fields_of_own_names_are_named(store: Store, tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", {"user_turn": "Name a river.", "llama": "A river.",
                                        "gpt": "The Nile.", "winner": "gpt", "id": "x"})
    with pytest.raises(BadInput, match="line 1: the fields are user_turn, llama, gpt, winner, id;"):
        import_file(store, path)
    with pytest.raises(BadInput, match="line 1: nobody: missing; the fields are user_turn, llama"):
        import_file(store, path, fields=Fields("user_turn", ("nobody", "gpt")))
    with pytest.raises(BadInput, match="line 1: turn: missing; the fields are user_turn, winner"):
        import_file(store, path, fields=Fields("turn", ("llama", "gpt")))
    report = import_file(store, path, fields=Fields("user_turn", ("llama", "gpt")))
    assert (report.added, report.unread) == (1, ("id",))
    assert said(store) == [by("p.jsonl")]


JUNK_IN = [*[name for name in PAIRS if name in ("openai", "contents in parts")],
           "summarize from feedback", "oasst k-wise", "mt-bench", "helpsteer"]


@pytest.mark.parametrize("name", JUNK_IN)
def test_whatever_is_wrong_anywhere_is_one_line(store: Store, tmp_path: Path, name: str) -> None:
    """Junk in the place of each value of the first row, for imports and measurements."""
    rows, choose = [PAIRS[name][0]] if name in PAIRS else COMPARED[name][0], random.Random(5)
    for place in list(places(rows[0]))[1:]:
        for junk in choose.sample(JUNK, 3):
            broken = copy.deepcopy(rows[0])
            inner: Any = broken
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = junk
            path = lines(tmp_path / "junk.jsonl", broken, *rows[1:])
            for read in (lambda path: import_file(store, path), read_pairs):
                try:
                    read(path)
                except BadInput as error:
                    assert "\n" not in str(error) and str(error).startswith(str(path))


def test_opposite_answers_of_nobody_both_count(store: Store, tmp_path: Path) -> None:
    rows = [{**TWO, "preference_strength": way} for way in (-1, 1, 0, 0)]
    report = import_file(store, lines(tmp_path / "p.jsonl", *rows))
    assert (report.added, report.contradictions, report.repeats) == (3, 1, 1)
    assert Counter(strength for *_, strength in said(store)) == {2: 2, 0: 1}
    pairs, skipped = read_pairs(tmp_path / "p.jsonl")
    assert (len(pairs), skipped) == (
        2, {"a tie": 1, "an answer that the file has more than once": 1})


def test_a_label_studio_annotation_without_an_answer_is_counted(store: Store,
                                                                tmp_path: Path) -> None:
    task = {"id": 1, "data": {"prompt": "Name a river.", "answer1": "x", "answer2": "y"}}
    blank = {"id": 2, "completed_by": 1, "was_cancelled": False, "result": None}
    given = {**blank, "completed_by": 2, "result": [
        {"type": "pairwise", "from_name": "c", "to_name": "c", "value": {"selected": "left"}}]}
    path = lines(tmp_path / "p.jsonl", {**task, "annotations": [blank, given]})
    report = import_file(store, path)
    assert (report.added, report.skipped) == (
        1, {"an annotation that does not compare responses": 1})
    assert [(pair.chosen, pair.rejected) for pair in read_pairs(path)[0]] == [("x", "y")]


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize(("name", "added", "people", "skipped"), [
    ("pandalm", 1584, 3, {"fewer than two different responses are ranked": 84,
                          "a response that is missing or no text": 6,
                          "an answer that a later one of the same annotator replaces": 2}),
    ("oasst1_kwise", 279, 1, {})])
def test_shared_sets_come_in_whole(store: Store, name: str, added: int, people: int,
                                   skipped: dict[str, int]) -> None:
    report = import_file(store, DATA / f"{name}.jsonl.gz")
    assert (report.added, report.labelers, report.skipped) == (added, people, skipped)
