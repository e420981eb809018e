"""Ensembles in the product: one version from one job, used by all that uses a reward model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from reward_world import ask, good_wins, import_pairs, tiny_workspace, yes_over_no

from backbone.config import ModelConfig
from data.progress import Stopped
from data.records import RewardModel as Version
from data.store import Store
from loop import cli
from loop.stages.judges import Obeyed
from policy.config import BestOfNConfig, PPOConfig
from reward.config import RewardConfig
from reward.ensemble import RULES, Ensemble, combined
from reward.model import RewardModel
from reward.scorer import load_scorer
from reward.train import train


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace on a tiny model, with imported preferences for yes over no."""
    folder = tiny_workspace(tmp_path, precision="fp32")
    import_pairs(folder, yes_over_no(32))
    return folder


def test_one_job_makes_one_version_that_everything_takes(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace)]
    made = ask(capsys, "train-reward", *at, "--epochs", "1", "--members", "3")
    store = Store.of_workspace(workspace)
    (version,) = store.versions.reward_models()
    assert made["reward_model"] == version.name and version.config["members"] == 3
    assert version.metrics["ensemble"]["members"] == 3
    assert sorted(p.name for p in (workspace / version.path).iterdir()) == [
        "ensemble.json", "member-0", "member-1", "member-2"]
    learned = store.database.value("SELECT count(*) FROM reward_model_comparisons")
    assert learned == made["train"]["comparisons"] + made["comparisons"]
    assert not list((workspace / "checkpoints").glob("*"))

    # the report again, from what was saved
    again = ask(capsys, "eval-reward", *at)
    for key in ("held_out_accuracy", "cross_entropy"):
        assert again[key]["value"] == pytest.approx(made[key]["value"], rel=1e-4), key
    for rule in RULES:
        assert again["ensemble"]["rules"][rule]["score"]["value"] == pytest.approx(
            made["ensemble"]["rules"][rule]["score"]["value"], abs=1e-4)

    file = ask(capsys, "eval-reward", *at, "--data", str(tmp_path / "pairs.jsonl"))
    assert file["ensemble"]["members"] == 3 and file["ensemble"]["spread"]["n"] == 64

    # a file's rows: mean and spread are those of the members that lie there
    rows = [{"prompt": "tell me about the cat", "response": text} for text in ("yes cat", "no no")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scored = ask(capsys, "score", str(tmp_path / "rows.jsonl"), *at)["rows"]
    centers = json.loads((workspace / version.path / "ensemble.json").read_text())["centers"]
    members = [RewardModel.load(tiny_backbone(tmp_path), workspace / version.path / f"member-{n}")
               for n in range(3)]
    for row in scored:
        texts = [[{"role": "user", "content": row["prompt"]},
                  {"role": "assistant", "content": row["response"]}]]
        each = np.array([m.score(texts)[0] for m in members]) - centers  # type: ignore[arg-type]
        assert row["score"] == pytest.approx(each.mean(), abs=1e-4)
        assert row["spread"] == pytest.approx(each.std(), abs=1e-4)

    # a second version is compared with it, and the policy is improved against either
    second = ask(capsys, "train-reward", *at, "--epochs", "1")
    assert second["baselines"]["previous"]["name"] == version.name
    assert "ensemble" not in second
    quick = ["--batch-size", "4", "--max-new-tokens", "4", "--reward-model", version.name,
             "--force"]
    improved = ask(capsys, "ppo", *at, *quick, "--steps", "2", "--minibatch-size", "4",
                   "--ensemble-score", "worst")
    assert improved["member_spread"] > 0 and improved["judge_std"] is not None
    (job,) = [job for job in store.jobs.all() if job.kind == "ppo"]
    steps = store.jobs.metrics(job.id)
    assert len(steps) == 2 and all(step["member_spread"] > 0 for step in steps)
    assert store.versions.policies()[-1].config["ensemble_score"] == "worst"
    best = ask(capsys, "best-of-n", *at, *quick, "--n", "2", "--prompts", "2", "--epochs", "1",
               "--ensemble-score", "variance-penalised", "--variance-penalty", "0.5")
    assert best["reward_model"] == version.name


def test_a_stopped_job_goes_on_to_the_same_version(
        workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    from loop.jobs import JobProgress

    at = ["--workspace", str(workspace), "--epochs", "2", "--responses-per-step", "8",
          "--members", "2", "--checkpoint-every", "2"]
    whole = ask(capsys, "train-reward", *at)
    update, calls = JobProgress.update, []

    def stop(self: JobProgress, fraction: float, message: str) -> None:
        calls.append(message)
        if len(calls) == 5:
            raise Stopped("enough")
        update(self, fraction, message)

    monkeypatch.setattr(JobProgress, "update", stop)
    assert cli.run(["train-reward", *at]) != 0
    monkeypatch.setattr(JobProgress, "update", update)
    job = max(job.id for job in Store.of_workspace(workspace).jobs.all())
    resumed = ask(capsys, "train-reward", "--workspace", str(workspace), "--resume", str(job))
    assert resumed["train"] == whole["train"] and resumed["ensemble"] == whole["ensemble"]
    for number in range(2):
        first, second = ((workspace / "adapters" / name / f"member-{number}" /
                          "adapter_model.safetensors").read_bytes()
                         for name in (whole["reward_model"], resumed["reward_model"]))
        assert first == second


@pytest.mark.parametrize("rule", RULES)
def test_what_is_obeyed_is_the_rule_and_is_computed_once(tmp_path: Path, rule: str) -> None:
    backbone, data = tiny_backbone(tmp_path), good_wins(8)
    model = train(backbone, data, RewardConfig(members=3, epochs=1),
                  backbone.new_lora_config(4, 8)).model
    assert isinstance(model, Ensemble)
    texts = [e.conversation(i) for e in data.train for i in e.texts]
    expected = model.member_scores(texts)
    passes = []
    score_all = model.member_scores

    def counted(*given: Any) -> Any:
        passes.append(len(given[0]))
        return score_all(*given)

    model.member_scores = counted  # type: ignore[method-assign]
    obeyed = Obeyed(model, replace(PPOConfig(), ensemble_score=rule, variance_penalty=0.5))
    assert obeyed.score(texts) == combined(expected, rule, 0.5).tolist()  # type: ignore[arg-type]
    assert obeyed.spread(texts) == expected.std(axis=0).tolist()
    assert passes == [len(texts)]
    assert obeyed.score(texts[:3]) == pytest.approx(
        combined(expected[:, :3], rule, 0.5).tolist(), abs=1e-5)  # type: ignore[arg-type]
    assert len(passes) == 2


def test_the_value_model_starts_by_predicting_the_ensembles_rewards(tmp_path: Path) -> None:
    """Members of one seed agree, so the first one's shifted head says what the mean says."""
    from policy.roles import VALUE, load_value

    backbone = tiny_backbone(tmp_path)
    lora = backbone.new_lora_config(4, 8)
    members = [RewardModel.fresh(backbone, lora, 100, 5, f"reward-{n}") for n in range(2)]
    Ensemble(members, [0.75, 0.75]).save(tmp_path / "kept")
    model = load_scorer(backbone, tmp_path / "kept")
    obeyed, mean, spread = Obeyed(model, PPOConfig()), 0.2, 1.5
    version = Version(1, "reward-1", "tiny", "", None, None, {}, {
        "score_mean": mean, "score_std": spread}, "")
    texts = [e.conversation(i) for e in good_wins(3).train for i in e.texts]
    rewards = [(score - mean) / spread for score in obeyed.score(texts)]
    head = load_value(backbone, ModelConfig(), *obeyed.value_start(version, tmp_path / "kept"))
    assert head.bias is not None
    started = RewardModel(backbone, VALUE, head, 100).score(texts)  # type: ignore[arg-type]
    assert started == pytest.approx(rewards, abs=1e-5)


def test_wrong_settings_are_named() -> None:
    from data.errors import BadInput

    for config in (PPOConfig, BestOfNConfig):
        with pytest.raises(BadInput, match="--ensemble-score"):
            config(ensemble_score="best")  # type: ignore[arg-type]
        with pytest.raises(BadInput, match="--variance-penalty"):
            config(variance_penalty=-1.0)
