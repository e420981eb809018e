"""The documentation's examples are tested: settings, SQL and files are accepted as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_world import World
from docs_pages import ALL, Block

from data.exchange import exporting
from data.exchange.importing import import_file
from data.exchange.reading import read_rows
from data.measures.agreement import win_rate
from data.questions import Question
from data.records import Answer, Rewrite
from data.store import Store
from loop.commands.exchange import _conversation
from loop.settings import SETTINGS_NAME, read_settings


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "toml"], ids=lambda b: b.page)
def test_settings_in_the_text_are_accepted(block: Block, tmp_path: Path) -> None:
    (tmp_path / SETTINGS_NAME).write_text(block.text, "utf-8")
    read_settings(tmp_path)


SQL = [block for block in ALL if block.language == "sql"]


@pytest.mark.parametrize("number", range(len(SQL)))
def test_sql_runs_on_an_empty_store(number: int, tmp_path: Path) -> None:
    store = Store(tmp_path / "prefloop.db")
    assert store.database.rows(SQL[number].text) == []


def test_lineage_leads_back_to_the_labelers(tmp_path: Path) -> None:
    world = World.make(tmp_path / "prefloop.db")
    ada, *_ = world.people(1)
    comparison = world.choose(ada, world.task(purpose="evaluate"), 1)
    model = world.store.versions.add_reward_model(
        name="reward-1", base="tiny", path="adapters/reward-1",
        comparisons={comparison.id: "train"}, round_id=world.round.id)
    world.store.versions.add_policy(name="ppo-2", base="tiny", method="ppo",
                                    parent_id=world.policy, reward_model_id=model.id)
    origin, behind, wins = (world.store.database.rows(block.text) for block in SQL[:3])
    assert [row["name"] for row in origin] == ["ppo-2", "better", "reference"]
    assert origin[0]["reward_model"] == "reward-1"
    assert {(row["labeler"], row["written_by"], row["comparisons"]) for row in behind} == {
        (ada.name, "reference", 1), (ada.name, "better", 1)}
    assert [tuple(row) for row in wins] == [(0, 1, 1.0)]


def test_head_to_head_in_sql_is_the_apps_win_rate(tmp_path: Path) -> None:
    """Blind answers of people who count, on pairs of the two policies; a lead decides one task."""
    world = World.make(tmp_path / "prefloop.db")
    ann, bob, careless = world.people(3)
    (robot,) = world.people(1, kind="simulated")
    lead = world.store.people.add("Lea", "lead")
    for number in range(6):
        task = world.task(purpose="evaluate", wanted=4)
        for who, winner in ((ann, 1), (bob, number % 2), (careless, 0), (robot, 0)):
            world.choose(who, task, None if number == 5 and who is bob else winner)
        if number == 1:  # against both of them
            world.store.decisions.decide(lead.id, task.id, Answer(
                tuple((one,) for one in task.response_ids)), "decided")
    world.store.people.set_aside(careless.id, True)
    wanted = win_rate(world.store, world.round.id, ("human",))
    assert wanted is not None
    ((number, answers, value),) = world.store.database.rows(SQL[2].text)
    assert (number, answers, value) == (0, wanted.n, pytest.approx(wanted.value))
    assert (wanted.n, wanted.value) == (12, pytest.approx(8.5 / 12))


def test_json_examples_parse() -> None:
    for block in ALL:
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "jsonl":
            for line in block.text.splitlines():
                json.loads(line)


@pytest.mark.parametrize("block", [b for b in ALL if b.mark.startswith("file: ")],
                         ids=lambda b: b.mark)
def test_examples_of_files_are_imported(block: Block, tmp_path: Path) -> None:
    path = tmp_path / block.mark.removeprefix("file: ")
    path.write_text(block.text, "utf-8")
    report = import_file(Store(tmp_path / "prefloop.db"), path)
    assert report.what == path.stem
    assert report.added == sum(1 for _ in read_rows(path)) > 0
    assert not report.skipped


def test_examples_of_rows_to_score_are_taken(tmp_path: Path) -> None:
    found = [block for block in ALL if block.mark.startswith("score: ")]
    assert found
    for block in found:
        path = tmp_path / block.mark.removeprefix("score: ")
        path.write_text(block.text, "utf-8")
        assert all(_conversation(row)[-1]["role"] == "assistant" for row in read_rows(path))


@pytest.mark.parametrize("kind", exporting.KINDS)
def test_examples_of_exports_have_the_fields_of_exports(kind: str, tmp_path: Path) -> None:
    world = World.make(tmp_path / "prefloop.db")
    task = world.task()
    first, second = task.response_ids
    world.answer(world.people(1)[0], task, Answer(
        ((first,), (second,)), 3, active_seconds=2.5, rewrite=Rewrite(first, "Better."),
        question_version=world.store.questions.change(Question(rewrite=True)),
        guidelines_version=world.store.questions.write_guidelines("Be fair.")))
    exporting.export(world.store, tmp_path / "out.jsonl", kind)
    real = json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[0])
    block, = (b for b in ALL if b.mark == f"exported: {kind}")
    shown = json.loads(block.text)
    assert list(shown) == list(real)
    # logprob is unknown for the response that the test made up.
    assert {k: type(v) for k, v in shown.items() if k != "logprob"} == {
        k: type(v) for k, v in real.items() if k != "logprob"}
