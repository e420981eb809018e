"""Exports: opened by `datasets` offline, trained on by TRL as they are, whole or not there."""

import csv
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from data_world import World, user

from data.errors import BadInput, PrefloopError
from data.exchange import exporting
from data.exchange.answers import answer_from
from data.exchange.exporting import FORMATS, KINDS, export
from data.exchange.importing import import_file
from data.exchange.reading import read_rows
from data.questions import Question
from data.records import Answer, NewResponse, Rewrite
from data.store import Store

EVIL = "=HYPERLINK(\"http://x\")"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two pairs, a tie, a ranking of three, a flag, a rationale, and an imported preference."""
    world = World.make(tmp_path / "prefloop.db")
    ann, bob = world.people(2)
    first = world.task((EVIL, "two\nlines"), prompt="What is 1 + 1?")
    world.choose(ann, first, 1, strength=4)
    world.choose(bob, first, None)
    a, b, c = (ranked := world.task(("a", "b", "č"), purpose="evaluate")).response_ids
    world.answer(bob, ranked, Answer(
        ((c,), (a, b)), 2, flags={a: ("unsafe", "untrue")}, scores={a: 2, c: 6},
        rationale="-1 for the tone, \"why\"?", active_seconds=4.5, rewrite=Rewrite(c, "Č!"),
        question_version=world.store.questions.change(Question(rewrite=True)),
        guidelines_version=world.store.questions.write_guidelines("Be fair.")))
    (tmp_path / "given.jsonl").write_text(
        '{"prompt": "P", "chosen": "good", "rejected": "bad"}\n')
    import_file(world.store, tmp_path / "given.jsonl")
    return world


Load = Callable[[Path], Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """`datasets.load_dataset`, without network."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    def opened(path: Path) -> Any:
        builder = {".jsonl": "json"}.get(path.suffix, path.suffix[1:])
        return load_dataset(builder, data_files=str(path), split="train",
                            cache_dir=str(tmp_path / "cache"))

    return opened


def test_preferences_are_trls_conversational_form(world: World, tmp_path: Path) -> None:
    report = export(world.store, tmp_path / "p.jsonl")
    assert (report.rows, report.ties_left_out) == (4, 2)
    assert str(report) == "4 preferences written as jsonl; 2 ties left out"
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "prompt": [{"role": "user", "content": "What is 1 + 1?"}],
        "chosen": [{"role": "assistant", "content": "two\nlines"}],
        "rejected": [{"role": "assistant", "content": EVIL}],
        "strength": 4, "labeler": "Labeler 0", "labeler_kind": "human",
        "set_aside": False, "purpose": "train", "split": world.store.prompts.get(1).split,
        "round": 0, "chosen_policy": "better",
        "rejected_policy": "reference", "prompt_id": 1, "task_id": 1, "comparison_id": 1,
        "chosen_id": 2, "rejected_id": 1}
    assert [row["chosen"][0]["content"] for row in rows[1:]] == ["č", "č", "good"]
    assert (rows[3]["labeler"], rows[3]["labeler_kind"], rows[3]["chosen_policy"],
            rows[3]["round"]) == ("given.jsonl", "imported", "import", None)


def test_comparisons_keep_ties_flags_and_sides(world: World, tmp_path: Path) -> None:
    assert export(world.store, tmp_path / "c.jsonl", "comparisons").rows == 4
    rows = {row["comparison_id"]: row for row in map(
        json.loads, (tmp_path / "c.jsonl").read_text().splitlines())}
    assert rows[2]["ranking"] == [[1, 2]] and rows[2]["strength"] == 0
    assert sorted(rows[1]["shown"]) == [1, 2] and rows[4]["shown"] == []
    assert [r["flags"] for r in rows[3]["responses"]] == ["unsafe,untrue", "", ""]
    assert [r["id"] for r in rows[3]["responses"]] == [3, 4, 5]
    assert [r["policy"] for r in rows[3]["responses"]] == ["reference", "better", "better"]
    assert [r["score"] for r in rows[3]["responses"]] == [2, None, 6]
    assert rows[3]["rationale"].startswith("-1")
    assert [rows[3][name] for name in ("active_seconds", "question_version",
                                       "guidelines_version")] == [4.5, 1, 1]
    assert [rows[1][name] for name in ("active_seconds", "question_version")] == [None, None]


def test_hidden_tasks_are_in_comparisons_alone_and_kinds_are_told(world: World,
                                                                  tmp_path: Path) -> None:
    (robot,) = world.people(1, kind="simulated")
    for purpose in ("gold", "repeat"):
        world.choose(robot, world.task(purpose=purpose), 0)
    export(world.store, tmp_path / "c.jsonl", "comparisons")
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [(r["purpose"], r["labeler_kind"]) for r in rows if r["task_id"] > 3] == [
        ("gold", "simulated"), ("repeat", "simulated")]
    report = export(world.store, tmp_path / "p.jsonl")
    assert (report.rows, report.ties_left_out) == (4, 2)
    report = export(world.store, tmp_path / "c.json", "comparisons", "label-studio")
    assert (report.rows, report.hidden_left_out) == (3, 2)
    assert "2 answers to gold and repeats left out" in str(report)


def test_demonstrations_are_trls_prompts_with_completions(world: World, tmp_path: Path) -> None:
    export(world.store, tmp_path / "d.jsonl", "demonstrations")
    (row,) = map(json.loads, (tmp_path / "d.jsonl").read_text().splitlines())
    assert row["completion"] == [{"role": "assistant", "content": "Č!"}]
    assert (row["prompt"][0]["role"], row["rewritten"], row["policy"], row["labeler"],
            row["labeler_kind"], row["purpose"], row["comparison_id"]) == (
        "user", "č", "better", "Labeler 1", "human", "evaluate", 3)
    task = world.store.tasks.get(2)
    a, b, c = task.response_ids
    bob = world.store.people.named("Labeler 1").id
    world.store.comparisons.submit(bob, task, Answer(((c,), (a, b))), "without it", 1)
    with pytest.raises(BadInput, match="no demonstrations to export"):
        export(world.store, tmp_path / "d.jsonl", "demonstrations")


def test_only_answers_that_stand_are_exported(world: World, tmp_path: Path) -> None:
    task = world.store.tasks.get(1)
    ann = world.store.people.named("Labeler 0").id
    world.store.comparisons.submit(ann, task, Answer(((1,), (2,)), 1), "revised", 1)
    export(world.store, tmp_path / "p.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [(r["chosen_id"], r["strength"]) for r in rows if r["task_id"] == 1] == [(1, 1)]


def test_csv_holds_no_formulas(world: World, tmp_path: Path) -> None:
    found: list[str] = []
    for what in KINDS:
        export(world.store, tmp_path / f"{what}.csv", what)
        with (tmp_path / f"{what}.csv").open(newline="") as file:
            found += [cell for row in csv.reader(file) for cell in row]
    assert f"'{EVIL}" in found and "'-1 for the tone, \"why\"?" in found
    assert not [cell for cell in found if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_a_csv_export_comes_back_in(world: World, tmp_path: Path) -> None:
    export(world.store, tmp_path / "p.csv")
    other = Store(tmp_path / "other.db")
    assert import_file(other, tmp_path / "p.csv").added == 4
    assert {r.text for r in other.responses.all()} == {
        r.text for r in world.store.responses.all()}


@pytest.mark.parametrize("what", KINDS)
def test_datasets_opens_every_kind_in_every_format(world: World, tmp_path: Path, load: Load,
                                                   what: str) -> None:
    columns = {}
    for suffix in FORMATS:
        rows = export(world.store, tmp_path / f"{what}.{suffix}", what).rows
        opened = load(tmp_path / f"{what}.{suffix}")
        assert len(opened) == rows > 0
        columns[suffix] = opened.column_names
        if suffix != "csv":
            assert opened[0]["prompt"][0]["role"] == "user"
    assert columns["jsonl"] == columns["csv"] == columns["parquet"]


def test_columns_keep_their_types_over_many_rows(tmp_path: Path, load: Load) -> None:
    """What is missing in the first thousands of rows must not decide the type of the rest."""
    world = World.make(tmp_path / "prefloop.db")
    given = tmp_path / "given.jsonl"
    given.write_text("".join(json.dumps({
        "prompt": f"P {i} " + "x" * 1000, "chosen": "good", "rejected": "bad"}) + "\n"
        for i in range(12_000)))
    import_file(world.store, given)
    (ann,) = world.people(1)
    prompt_id, _ = world.store.prompts.add(user("Sampled?"), "test")
    ids = world.store.responses.add([
        NewResponse(prompt_id, text, world.policy, world.round.id, [1, 2], {"top_p": 1.0}, i,
                    logprob=-1.5) for i, text in enumerate(("one", "two"))])
    task = world.store.tasks.get(
        world.store.tasks.add(prompt_id, ids, round_id=world.round.id))
    world.answer(ann, task, Answer(
        ((ids[0],), (ids[1],)), rationale="clear", flags={ids[1]: ("untrue",)},
        scores={ids[0]: 7}, active_seconds=1.5, rewrite=Rewrite(ids[0], "three")))
    for what in KINDS:
        for suffix in ("jsonl", "csv"):  # Parquet states its types
            report = export(world.store, tmp_path / f"{what}.{suffix}", what)
            assert len(load(tmp_path / f"{what}.{suffix}")) == report.rows > (
                0 if what == "demonstrations" else 12_000)


@pytest.mark.parametrize("what", ["preferences", "demonstrations"])
def test_trls_trainers_take_the_file_as_it_is(world: World, tmp_path: Path, load: Load,
                                              what: str) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        PreTrainedTokenizerFast,
    )
    from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

    words = ["<pad>", "</s>", "<unk>", "user", "assistant", *"abcdefghijklmnopqrstuvwxyz0123"]
    plain = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>",
                                        eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = ("{% for m in messages %}{{ m['role'] }} {{ m['content'] }} "
                               "</s> {% endfor %}")
    size = LlamaConfig(vocab_size=len(words), hidden_size=8, intermediate_size=8, pad_token_id=0,
                       num_hidden_layers=1, num_attention_heads=1, num_labels=1)
    settings = {"output_dir": str(tmp_path / "out"), "max_steps": 1, "use_cpu": True,
                "bf16": False, "per_device_train_batch_size": 4, "report_to": "none",
                "save_strategy": "no", "disable_tqdm": True}
    for suffix in ("jsonl", "parquet"):
        rows = export(world.store, tmp_path / f"e.{suffix}", what).rows
        data = load(tmp_path / f"e.{suffix}")
        trainer = (RewardTrainer(LlamaForSequenceClassification(size), RewardConfig(**settings),
                                 train_dataset=data, processing_class=tokenizer)
                   if what == "preferences" else
                   SFTTrainer(LlamaForCausalLM(size), SFTConfig(**settings),
                              train_dataset=data, processing_class=tokenizer))
        trainer.train()
        assert len(trainer.train_dataset) == rows  # nothing was filtered out
        assert trainer.state.global_step == 1


def test_a_failed_export_leaves_what_was_there(world: World, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("precious")
    before = sorted(os.listdir(tmp_path))

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data.exchange.export_files.to_json", full)
    with pytest.raises(PrefloopError, match="No space left on device"):
        export(world.store, path)
    assert path.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == before


def test_what_cannot_be_exported_gives_one_line(world: World, tmp_path: Path) -> None:
    for path, what, format, message in (
        (tmp_path / "p.xlsx", "preferences", None, "no format"),
        (tmp_path / "p", "preferences", None, "no suffix"),
        (tmp_path / "p.csv", "opinions", None, "none of preferences, comparisons"),
        (tmp_path, "preferences", "csv", "folder"),
        (tmp_path / "missing" / "p.csv", "preferences", None, "No such file"),
        (tmp_path / "p.json", "preferences", "argilla", "argilla takes comparisons"),
        (tmp_path / "p.csv", "comparisons", "oasst", r"a file for oasst ends in \.jsonl"),
    ):
        with pytest.raises(PrefloopError, match=message):
            export(world.store, path, what, format)
    export(world.store, tmp_path / "p.data", format="csv")
    empty = Store(tmp_path / "empty.db")
    for format in FORMATS:
        with pytest.raises(BadInput, match="no preferences to export"):
            export(empty, tmp_path / f"e.{format}")
        assert not (tmp_path / f"e.{format}").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_two_exports_to_one_file_do_not_mix(world: World, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is written while another process writes the same file, and then replaces it."""
    path, mine = tmp_path / "p.jsonl", tmp_path / "p.jsonl.partial"
    mine.write_text("a file of somebody's")
    write = exporting.WRITERS["jsonl"]

    def interrupted(partial: Path, records: Iterable[Any]) -> int:
        rows = write(partial, records)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 4194305)  # above the largest there is
            other.setitem(exporting.WRITERS, "jsonl", write)
            export(world.store, path)
        return rows

    monkeypatch.setitem(exporting.WRITERS, "jsonl", interrupted)
    assert export(world.store, path).rows == len(path.read_text("utf-8").splitlines())
    assert mine.read_text() == "a file of somebody's"
    assert not [*tmp_path.glob(".*.partial")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_exported_responses_can_be_scored(world: World, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"responses.{suffix}"
    export(world.store, path, "responses")
    read = [answer_from(row.values, cells=row.is_cells) for row in read_rows(path)]
    assert sorted((messages[-1]["content"], text) for messages, text in read) == sorted(
        (world.store.prompts.get(response.prompt_id).text, response.text)
        for response in world.store.responses.all())
