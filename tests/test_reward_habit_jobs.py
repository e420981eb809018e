"""Labelers' habits in training jobs: estimated from what the store knows, said, the same after a
kill."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from data_world import World
from models import one_thread, tiny_checkpoint  # noqa: F401
from reward_world import ask, tiny_workspace
from safetensors.numpy import load_file

from annotate.engineers.reward_figures import habits_words
from data.progress import Stopped
from data.records import Answer
from data.store import Store
from loop import cli
from loop.jobs import JobProgress

TERMS = ["--correct-side", "--correct-reliability", "--correct-length", "--round-weight", "0.5"]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Three labelers who take the first side two times in three, in two rounds; the third of them
    likes what the others do not."""
    folder = tiny_workspace(tmp_path, precision="fp32")
    store, draw = Store.of_workspace(folder), random.Random(0)
    reference = store.versions.policies()[0].id
    for number in range(2):
        made = World(store, store.rounds.open(reference, reference), reference, reference)
        people = [p for p in store.people.all() if p.kind == "human"] or made.people(3)
        for n in range(30):
            task = made.task((f"yes {n}", f"no no never {n}"), wanted=3,
                             prompt=f"tell me about the {draw.choice(('cat', 'dog'))} {number} {n}")
            for place, person in enumerate(people):
                first, second = store.assignments.assign(task.id, person.id).shown
                liked = task.response_ids[place == 2]
                winner = first if draw.random() < 0.4 else liked
                loser = second if winner == first else first
                made.answer(person, task, Answer(((winner,), (loser,))))
    return folder


def tensors(workspace: Path) -> dict[str, bytes]:
    """The newest version's numbers, to the bit."""
    folder = workspace / Store.of_workspace(workspace).versions.reward_models()[-1].path
    return {name: values.tobytes()
            for name, values in load_file(folder / "adapter_model.safetensors").items()}


@pytest.mark.parametrize("form", ["best", "tuned"])
def test_a_job_estimates_says_and_keeps_them(workspace: Path, form: str,
                                             capsys: pytest.CaptureFixture[str],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    at = ["--workspace", str(workspace), "--epochs", "2", "--responses-per-step", "16",
          "--checkpoint-every", "2", "--form", form, *TERMS]
    made = ask(capsys, "train-reward", *at)
    habits = made["train"]["habits"]
    assert habits["side"] > 0.4 and habits["pairs_of_known_side"] == habits["pairs"] > 100
    assert habits["pairs"] == made["train"]["pairs"] and "length" in habits
    assert habits["side_low"] < habits["side"] < habits["side_high"] < habits["side"] + 1
    assert habits["length_low"] < habits["length"] < habits["length_high"]
    *reliable, other = (habits["reliability"][key] for key in sorted(habits["reliability"]))
    assert min(reliable) > other + 0.2
    if form == "best":
        assert made["selection"]["form"] == "lora" and "habits" in made["selection"]["why"]
    assert made["train"]["prompts"] + made["prompts"] == 60, "nothing is set aside"
    store = Store.of_workspace(workspace)
    (version,) = store.versions.reward_models()
    assert version.metrics["train"] == made["train"]
    assert version.config["correct_side"] and version.config["round_weight"] == 0.5
    assert habits_words(made) in shown(capsys, "train-reward", *at)
    first = tensors(workspace)

    update, calls = JobProgress.update, []

    def stop(self: JobProgress, fraction: float, message: str) -> None:
        calls.append(message)
        if message.startswith("step 3/"):
            raise Stopped("enough")
        update(self, fraction, message)

    monkeypatch.setattr(JobProgress, "update", stop)
    assert cli.run(["train-reward", *at]) != 0
    monkeypatch.setattr(JobProgress, "update", update)
    assert "step 3/" in calls[-1]
    job = max(job.id for job in store.jobs.all())
    # who answers meanwhile, and how, is of no consequence to a run that has begun
    later = World(store, store.rounds.all()[-1], 1, 1)
    later.choose(store.people.all()[0], later.task(("yes", "no"), prompt="late"), 1)
    resumed = ask(capsys, "train-reward", "--workspace", str(workspace), "--resume", str(job))
    assert resumed["train"] == made["train"]
    assert tensors(workspace) == first


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints for people, its lines joined."""
    capsys.readouterr()
    assert cli.run(list(words)) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("wrong", "says"), [
    (["--label-smoothing", "0.5"], "--label-smoothing: must be at least 0 and below 0.5"),
    (["--round-weight", "0"], "--round-weight: must be above 0"),
    (["--centering", "-1"], "--centering: must be at least 0, not -1.0"),
    (["--rankings", "plackett-luce", "--correct-side"], "--correct-side: the likelihood")])
def test_wrong_settings_are_refused_before_a_job(workspace: Path, wrong: list[str], says: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train-reward", "--workspace", str(workspace), *wrong]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not Store.of_workspace(workspace).jobs.all()


def test_words_say_what_was_kept_out() -> None:
    assert habits_words({}) == habits_words({"train": {"pairs": 3}}) == ""
    words = habits_words({"train": {"habits": {
        "pairs": 1200, "side": 0.314, "pairs_of_known_side": 1000, "length": -0.25,
        "length_deviation": 0.5, "reliability": {"1": 0.97, "2": 0.52}}}})
    assert "1,200 training pairs" in words and "+0.31 logits, of 1,000 pairs" in words
    assert "-0.25 logits" in words and "2 labelers judge by the reward in 52 to 97 %" in words
    words = habits_words({"train": {"habits": {
        "pairs": 5, "side": 0.1, "side_low": -0.2, "side_high": 0.4, "pairs_of_known_side": 0}}})
    assert "length" not in words
    assert "+0.10 logits, 95 % interval -0.20 to +0.40, of 0 pairs" in words
