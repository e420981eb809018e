"""The gate: its rule, in what commands ask, and in the browser's form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from data_world import user
from gate_world import metrics
from processes import PATIENCE
from streamlit.testing.v1 import AppTest

from data.errors import BadInput
from data.records import Job
from data.reward_reports import judge, latest_report
from data.store import Store
from loop.stages import gate


@pytest.mark.parametrize(("report", "standing"), [
    (metrics(70, 100), "beats"), (metrics(18, 20), "beats"),
    (metrics(70, 100, longer=0.69), "beats"),     # better than length on the same pairs, if barely
    (metrics(70, 100, longer=0.7), "fails"),      # no better than length, with enough pairs
    (metrics(30, 60), "fails"),                   # an interval of a quarter rules out enough
    (metrics(55, 100), "fails"),                  # not told from chance
    (metrics(30, 100), "fails"),
    (metrics(13, 20), "too few"), (metrics(5, 20), "too few"),
    (metrics(9, 10, longer=1.0), "too few"),
    ({"held_out_accuracy": None, "baselines": {"longer": None}}, "too few"),
    ({}, "unknown"), ({"held_out_accuracy": {"value": .7}}, "unknown")])
def test_the_rule(report: dict[str, Any], standing: str) -> None:
    found = judge(report)
    assert found.standing == standing and found.offered == (standing in ("beats", "unknown"))
    assert "\n" not in found.reason
    if standing == "too few":
        assert "too few held-out pairs to tell" in found.reason


def add(store: Store, name: str, report: dict[str, Any]) -> Any:
    return store.versions.add_reward_model(name=name, base="tiny", path=f"adapters/{name}",
                                           comparisons={}, metrics=report)


def test_few_pairs_are_told_in_counts() -> None:
    assert judge(metrics(1, 2, longer=0.5)).reason.endswith(
        "it is right in 1 of 2; chance is 50 %, the longer response wins in 1 of 2")
    assert "right in 65.0 % (" in judge(metrics(13, 20)).reason


def test_who_is_let_through_and_what_is_said(store: Store) -> None:
    good, bad = add(store, "reward-1", metrics(70, 100)), add(store, "reward-2", metrics(50, 100))
    old = add(store, "reward-3", {"loss": 1.0})
    assert gate.check(store, good, force=False) == ""
    with pytest.raises(BadInput, match=r"reward-2: does not beat its baselines.*50.0 %.*--force"):
        gate.check(store, bad, force=False)
    assert gate.check(store, bad, force=True).startswith("reward-2 was forced: does not beat")
    assert "let through unseen" in gate.check(store, old, force=False)
    assert gate.check_named(store, "reward-1", force=False) == ""
    assert "reward-3" in gate.check_named(store, "", force=False), "the newest"


def evaluated(store: Store, right: int, data: str = "", job: Job | None = None) -> None:
    """A report on reward-1, over 100 held-out pairs or a file's."""
    job = job or store.jobs.add("eval-reward", {"data": data} if data else {})
    assert store.jobs.claim(job.id)
    store.jobs.set_resolved(job.id, {"data": data})
    store.jobs.finish(job.id, {"reward_model": "reward-1", **metrics(right, 100)})


def test_a_later_evaluation_counts_unless_it_was_on_a_file(store: Store) -> None:
    model = add(store, "reward-1", metrics(50, 100))
    evaluated(store, 70)
    evaluated(store, 20, "/some/file.jsonl")
    found = latest_report(store, model)
    assert found.again and found.metrics["held_out_accuracy"]["value"] == 0.7
    assert gate.check(store, model, force=False) == ""


def test_of_several_evaluations_the_one_that_ended_last_counts(store: Store) -> None:
    model = add(store, "reward-1", metrics(70, 100))
    jobs = [store.jobs.add("eval-reward") for _ in range(3)]
    for right, offered in ((70, True), (50, False), (80, True)):
        evaluated(store, right, job=jobs.pop())
        assert latest_report(store, model).metrics["held_out_accuracy"]["value"] == right / 100
        assert (gate.check(store, model, force=True) == "") is offered


def _form(folder: str) -> None:
    from pathlib import Path

    import streamlit as st

    from annotate.engineers import job_form
    from data.store import Store

    kept = Store(Path(folder) / "prefloop.db")
    job_form.store = lambda: kept
    job_form.token = lambda: st.session_state["secret"]
    model = {"name": "reward_model", "type": "str", "default": "", "choices": [], "help": ""}
    job_form.show({"kind": "ppo", "title": "Improve", "help": "", "common": ["steps"], "fields": [
        {"name": "steps", "type": "int", "default": 20, "choices": [], "help": ""}, model,
        {"name": "force", "type": "bool", "default": False, "choices": [], "help": ""}]})
    job_form.show({"kind": "eval-reward", "title": "Evaluate", "help": "",
                   "common": ["reward_model"], "fields": [model]})


@pytest.fixture
def form(store: Store, tmp_path: Path) -> AppTest:
    """The forms of PPO and of an evaluation before an engineer, not run yet."""
    store.prompts.add(user("Why?"), "test", split="train")  # without one PPO is refused
    fields = [{"name": n} for n in ("steps", "reward_model", "force")]
    store.put_setting("job_kinds", [{"kind": "ppo", "fields": fields},
                                    {"kind": "eval-reward", "fields": fields[1:2]}])
    engineer = store.people.add("Eve", "engineer")
    app = AppTest.from_function(_form, args=(str(tmp_path),), default_timeout=PATIENCE)
    app.session_state["secret"] = store.people.redeem(store.people.create_code(engineer.id))
    return app


def test_the_form_starts_nothing_that_no_reward_model_will_be_there_for(store: Store,
                                                                        form: AppTest) -> None:
    app = form.run()
    assert "There is no reward model yet" in app.warning[0].value
    for button in range(2):
        app.button[button].click().run()
        assert "no reward model yet" in app.session_state["jobs-error"] and not store.jobs.all()
        del app.session_state["jobs-error"]
    training = store.jobs.add("train-reward")
    for button in range(2):
        app.button[button].click().run()
    assert {job.kind for job in store.jobs.all("queued")} == {"eval-reward", "ppo", "train-reward"}
    assert not app.warning and "in training" in app.info[0].value
    store.jobs.claim(training.id)
    assert not app.run().warning
    store.jobs.fail(training.id, "no labels")
    assert app.run().warning and not app.exception


def test_the_form_says_why_and_takes_a_word_for_it(store: Store, form: AppTest) -> None:
    add(store, "reward-1", metrics(70, 100))
    add(store, "reward-2", metrics(50, 100))
    app = form.run()
    assert not app.exception
    assert "does not beat its baselines" in app.warning[0].value.replace("\\", "")
    app.button[0].click().run()
    assert "NOT started" in app.session_state["jobs-error"] and not store.jobs.all()
    app.checkbox[0].check().run()
    app.button[0].click().run()
    assert store.jobs.all()[0].config == {"force": True, "reward_model": "reward-2"}
    add(store, "reward-3", metrics(50, 100))  # while the page stood: nobody insisted on this one
    app.button[0].click().run()
    assert len(store.jobs.all()) == 1 and not app.checkbox[0].value
    app.selectbox[0].select("reward-1").run()
    assert not app.warning and not app.checkbox
    app.button[0].click().run()
    assert store.jobs.all()[0].config == {"reward_model": "reward-1"}, "nor on this one"
    assert not app.selectbox[0].select("").run().checkbox[0].value
    assert not app.exception and sys.modules["annotate.engineers.job_form"]
