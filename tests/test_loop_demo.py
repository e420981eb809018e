"""The demonstration on a tiny model: all of it, its table, its page, and going on where it was."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_loop_resume import stopped_at

from data.errors import BadInput
from data.records import Answer, Labeler
from data.store import Store
from loop import cli, demo

FIGURES = ("agreement", "accuracy", "kl", "gold", "win_rate")


def run(*arguments: str) -> int:
    return cli.run(["demo", *arguments])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "workspace"
    assert run("--tiny", "--workspace", str(folder)) == 0
    return folder


def test_every_figure_has_its_n_and_interval(workspace: Path) -> None:
    report = json.loads((workspace / "report.json").read_text())
    assert report["claims"].startswith("none")
    assert [entry["round"] for entry in report["rounds"]] == [0, 1, 2]
    assert report["rounds"][0]["win_rate"] is None and report["rounds"][0]["kl"] is None
    assert report["rounds"][2]["accuracy"] is None
    for entry in report["rounds"]:
        assert isinstance(entry["comparisons"], int) and entry["comparisons"] > 0
        for name in FIGURES:
            figure = entry[name]
            if figure is not None:
                assert figure.keys() == {"value", "n", "low", "high"}
                assert figure["low"] <= figure["value"] <= figure["high"] and figure["n"] > 0
    assert all(entry["win_rate"] for entry in report["rounds"][1:])


def test_everything_simulated_says_so_and_the_lineage_has_no_gap(workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    assert {labeler.kind for labeler in store.people.all()} == {"simulated"}
    last = store.versions.policies()[-1]
    assert last.name == "ppo-2" and last.parent_id is not None
    assert len(store.versions.labelers_behind(last.id)) == 4
    final = store.rounds.all()[-1]
    assert final.policy_version_id == last.id
    for task in store.tasks.of_round(final.id, "evaluate"):
        assert store.prompts.get(task.prompt_id).split == "held_out"


def test_later_rounds_ask_the_earlier_reward_models_and_say_what_they_offer(
        workspace: Path) -> None:
    store = Store.of_workspace(workspace)
    first, second = (store.jobs.metrics(job.id)
                     for job in reversed(store.jobs.all("done")) if job.kind == "ppo")
    assert not any("ensemble_spread" in step for step in first)
    assert second and all("ensemble_spread" in step for step in second)
    version = store.versions.policies()[-1]
    steps = [point["step"] for point in version.metrics["frontier"]]
    assert version.metrics["offered_step"] in steps and steps[-1] == len(second)
    kept = workspace / str(version.path) / "kept"
    assert {folder.name for folder in kept.iterdir()} == {f"step-{step}" for step in steps}


def test_the_page_is_whole_and_loads_nothing(workspace: Path) -> None:
    page = (workspace / "report.html").read_text()
    assert "A tiny random model" in page and "claims nothing" in page
    assert "All labelers are simulated" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)\s*=", page)
    assert "plotly" in page and "<table>" in page


def test_a_page_of_a_real_model_says_who_labeled_and_is_not_called_tiny(
        workspace: Path, tmp_path: Path) -> None:
    from loop.reports.demonstration import build_report, write_html

    store = Store.of_workspace(workspace)
    report = build_report(store, store.jobs.all()[::-1], tiny=False, seed=0, paused=False)
    write_html(report, store, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "All labelers are simulated" in page
    assert "claims nothing" not in page and "tiny random" not in page


def test_a_second_run_has_nothing_left_to_do(workspace: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    jobs = len(Store.of_workspace(workspace).jobs.all())
    capsys.readouterr()
    assert run("--tiny", "--workspace", str(workspace), "--json") == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)["rounds"]) == 3
    assert len(Store.of_workspace(workspace).jobs.all()) == jobs


def answer_all(store: Store, labeler: Labeler) -> None:
    """Prefers the first response of every open task."""
    while (given := store.assignments.next_for(labeler.id)) is not None:
        first, *others = given.task.response_ids
        store.comparisons.submit(labeler.id, given.task, Answer(
            ((first,), *((i,) for i in others))), f"key {given.task.id}")


def test_what_people_do_in_its_workspace_is_none_of_it(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "used"
    shutil.copytree(workspace, folder)
    store = Store.of_workspace(folder)
    ann, final = store.people.add("Ann"), store.rounds.all()[-1]
    task = store.tasks.of_round(final.id, "evaluate")[0]
    with store.database.write() as db:
        db.conn.execute("UPDATE tasks SET wanted = wanted + 1 WHERE id = ?", [task.id])
    answer_all(store, ann)
    theirs = store.rounds.open(final.policy_version_id, final.reference_id)
    store.jobs.set_round(store.jobs.add("sample").id, theirs.id)
    store.tasks.add(task.prompt_id, task.response_ids, round_id=theirs.id)
    answer_all(store, ann)
    assert {store.comparisons.count(ann.id), *(
        len(store.comparisons.current(round_id=each.id, labeler_id=ann.id))
        for each in (final, theirs))} == {1, 2}
    before = json.loads((folder / "report.json").read_text())
    capsys.readouterr()
    assert run("--tiny", "--workspace", str(folder), "--json") == 0
    assert json.loads(capsys.readouterr().out) == before


def test_a_stopped_one_goes_on_where_it_was_and_ends_the_same(
        workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """As far as the first policy, which is enough of it."""
    folder, steps = tmp_path / "cut", demo._steps
    monkeypatch.setattr(demo, "_steps", lambda *asked: steps(*asked)[:4])
    with monkeypatch.context() as patch:
        stopped_at(patch, "step 2 of")
        assert run("--tiny", "--workspace", str(folder)) == 1
    jobs = Store.of_workspace(folder).jobs
    assert [job.kind for job in jobs.all("stopped")] == ["ppo"]
    capsys.readouterr()
    assert run("--tiny", "--workspace", str(folder)) == 0
    assert "with the pauses between its runs" in capsys.readouterr().out
    assert [job.kind for job in jobs.all("done")] == [job.kind for job in jobs.all()] == [
        "ppo", "train-reward", "simulate", "sample"]
    found, whole = (json.loads((each / "report.json").read_text()) for each in (folder, workspace))
    assert found["rounds"] == whole["rounds"][:1]
    assert found["paused"] and not whole["paused"]
    assert untimed(found["ppo"][0]["steps"]) == untimed(whole["ppo"][0]["steps"])


def untimed(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps' figures without the time that they took."""
    return [{name: value for name, value in step.items() if not name.startswith("seconds_")}
            for step in steps]


def test_other_flags_want_another_folder(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="with other flags"):
        demo.run(workspace, tiny=True, seed=5, json=False)
    Store(tmp_path / "prefloop.db")
    with pytest.raises(BadInput, match="not a demonstration's"):
        demo.run(tmp_path, tiny=True, seed=0, json=False)
