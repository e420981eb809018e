"""What the benchmarks stand on: their statistics, the workspaces they make, their ledger."""

import json
import random
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import harness, labeling_load, labeling_scale
from benchmarks.labeling_check import Ledger
from benchmarks.labeling_world import Past, World, make
from data.records import Answer


def test_a_percentile_lies_in_its_interval_as_often_as_it_says() -> None:
    rng, share, covered = random.Random(0), 0.9, 0
    for _ in range(400):
        found = harness.percentile([rng.random() for _ in range(200)], share)
        assert found["low"] <= found["value"] <= found["high"]
        covered += found["low"] <= share <= found["high"]  # of a uniform sample
    assert covered / 400 == pytest.approx(0.95, abs=0.03)


def test_a_percentile_of_few_values_is_one_of_them() -> None:
    assert harness.percentile([3.0], 0.95) == {"value": 3.0, "low": 3.0, "high": 3.0, "n": 1}
    assert harness.percentile([2.0, 1.0, 3.0], 0.5)["value"] == 2.0
    with pytest.raises(ValueError, match="no values"):
        harness.percentile([], 0.5)


def test_a_ratio_of_medians_has_an_interval_around_it() -> None:
    rng = random.Random(0)
    above, below = ([rng.gauss(mean, 1) for _ in range(50)] for mean in (30, 10))
    found = harness.median_ratio(above, below)
    assert found["value"] == statistics.median(above) / statistics.median(below)
    assert found["low"] < 3 < found["high"] < 3.5 and found["n"] == 50


def test_figures_come_as_one_flat_document(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"p95_ms": harness.percentile([1.0, 2.0], 0.5), "lost": harness.exact(0, 2)}
    harness.show(figures, {}, True, ("streamlit",))
    found = json.loads(capsys.readouterr().out)
    assert (found["p95_ms"], found["p95_ms_low"], found["p95_ms_n"]) == (1.0, 1.0, 2)
    assert (found["lost"], found["lost_n"], found["gpu"]) == (0, 2, None)
    assert found["streamlit"] and found["processor"] and found["date"]
    harness.show(figures, {"p95_ms": "milliseconds", "lost": "answers"}, False, ("streamlit",))
    table = capsys.readouterr().out
    assert "milliseconds" in table and "streamlit" in table


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make(tmp_path / "workspace", people=2, questions=3, wanted=2, past=Past(80, 160))


def test_a_workspace_with_a_past_is_what_the_store_would_have_left(world: World) -> None:
    store = world.store
    Ledger().check(store)  # raises where a count or a link is wrong
    assert len(store.responses.all()) == 80 + 2 * 3
    answers = store.comparisons.current()
    assert len(answers) == 160 == len(store.comparisons.current(decisions=True)) - 1
    assert len({(c.task_id, c.labeler_id) for c in answers}) == 160
    assert [turn.closed_at is None for turn in store.rounds.all()] == [False] * 5 + [True]
    current = store.rounds.current()
    assert current and store.tasks.progress(current.id) == (80, 80 + 2 * 3)
    assert store.comparisons.count(world.people[0].id) == 160 // 20
    assert {c.winner and c.shown.index(c.winner) for c in answers} == {0, 1, None}
    # The words can be searched for, and the new questions come to the labelers.
    text = store.responses.all()[0].text.split()[0].strip(".,")
    assert store.database.value(
        "SELECT count(*) FROM response_search WHERE response_search MATCH ?", [text])
    assignment = store.assignments.next_for(world.people[0].id)
    assert assignment is not None and assignment.task.wanted == 2


def answered(world: World, side: int, key: str) -> tuple[int, str]:
    """The first person answers their next question; returns who, and the question's mark."""
    me = world.people[0].id
    assignment = world.store.assignments.next_for(me)
    assert assignment is not None
    shown = assignment.shown
    world.store.comparisons.submit(
        me, assignment.task, Answer(((shown[side],), (shown[1 - side],))), key)
    prompt = world.store.prompts.get(assignment.task.prompt_id)
    return me, prompt.text.rsplit("(", 1)[1].rstrip(")")


def test_the_ledger_finds_what_is_lost_doubled_or_turned_round(world: World) -> None:
    ledger = Ledger()
    kept, turned, unheard = (answered(world, side, f"key {side} {number}")
                             for number, side in enumerate((0, 1, 0)))
    assert unheard
    ledger.acknowledge(*kept, 0)
    ledger.acknowledge(*turned, 0)
    ledger.acknowledge(world.people[1].id, kept[1], 0)
    ledger.check(world.store)
    assert (ledger.lost, ledger.doubled, ledger.unacknowledged) == (2, 0, 1)
    comparison = world.store.comparisons.current(labeler_id=kept[0])[-1]
    world.store.comparisons.submit(kept[0], world.store.tasks.get(comparison.task_id),
                                   replace(comparison.answer, rationale="once more"), "again",
                                   comparison.revision)
    ledger.check(world.store)
    assert ledger.doubled == 1


def test_the_ledger_refuses_a_database_that_contradicts_itself(world: World) -> None:
    with world.store.database.write() as db:
        db.conn.execute("UPDATE tasks SET labels = labels + 1 WHERE id = 1")
    with pytest.raises(RuntimeError, match="labels of a task"):
        Ledger().check(world.store)


def test_labelers_over_websockets_are_timed_and_nothing_of_theirs_is_lost(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labeling_load, "EVERY_SECONDS", 0.6)
    level = labeling_load.run(2, 6.0)  # also on a machine that takes a second for an answer
    assert level.errors == []
    assert level.ledger.lost == level.ledger.doubled == level.ledger.unacknowledged == 0
    assert len(level.answers) == len(level.ledger.entries) >= 4
    figures = level.figures()
    assert figures["p95_ms_2"]["value"] >= figures["p50_ms_2"]["value"] > 0
    assert figures["server_cpu_ms_per_answer_2"]["value"] > 0


def test_a_full_workspace_is_held_against_an_empty_one(tmp_path: Path) -> None:
    found = labeling_scale.compare(tmp_path, Past(400, 800), labeling_scale.Repeats(1, 1, 1, 3))
    assert found.keys() >= {"ratio_full_to_empty", "page_ratio", "startup_ratio", "answer_ratio",
                            "export_ratio_per_row", "page_quality_ratio", "page_browse_ratio"}
    assert all(figure["value"] > 0 for figure in found.values())
    assert found["ratio_full_to_empty"]["value"] == max(
        found[key]["value"] for key in found if key.endswith("_ratio") and (
            key.startswith(("export_", "page_")) or key in labeling_scale.MUST_NOT_GROW))
