"""The benchmarks of the policy on tiny models: they run whole, and say what they planted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import one_thread  # noqa: F401

from backbone.config import ModelConfig
from benchmarks import (
    gold_runs,
    held_out_prompts,
    overoptimization,
    ppo_scale,
    ppo_speed,
    sentiment,
    sentiment_figures,
    shapes,
)
from benchmarks.gold_runs import BEST_OF, RESPONSES, Run, Setting
from benchmarks.gold_world import TOKENS, WORDS, World, ids_of, repeated_share
from benchmarks.overoptimization import SETTINGS
from benchmarks.turns import Turn
from data.records import Job
from data.store import Store
from loop import runs
from loop.context import Handlers


def _run(gold: Sequence[float], noise: float = 0.05, seed: int = 0,
         labels: int = 100) -> Run:
    rng = np.random.default_rng(seed)
    steps = [{"step": n, "kl": 0.1 * n, "reward": 0.02 * n, "reward_std": 1.0,
              "responses": RESPONSES, "length": 12.0, "entropy": 3.0, "repetition": 0.0,
              "repeated_tokens": 0.1, "reference_perplexity": 30.0} for n in range(len(gold))]
    seen = [g + noise * rng.normal() for g in gold]
    return Run(Setting(labels, 0.0, 1e-4), steps, seen, [1.0] * len(gold),
               {n: (float(n), float(n)) for n in BEST_OF})


def test_a_fall_is_found_where_it_was_planted_and_noise_is_none() -> None:
    rise = [2.0 * n / 50 for n in range(51)]
    for seed in range(10):
        fallen = _run([*rise, *(2.0 - 0.04 * n for n in range(1, 50))], seed=seed).fallen_at
        assert fallen is not None and 50 <= fallen <= 57  # 5 % of 2.0 are lost after 2.5 steps
        assert _run([*rise, *([2.0] * 49)], seed=seed).fallen_at is None


def test_a_run_that_alarms_after_the_fall_is_not_in_time() -> None:
    rise, fall = [n / 30 for n in range(31)], [1.0 - n / 30 for n in range(1, 31)]
    bad = _run([*rise, *fall])
    early, late = (replace(bad, steps=[dict(step, repetition=0.9 * (step["step"] >= at))
                                       for step in bad.steps]) for at in (20, 50))
    found = overoptimization.figures_of([early, late, bad, _run([n / 60 for n in range(61)])])
    assert found["alarm_recall"]["value"] == pytest.approx(1 / 3)
    assert found["alarm_recall"]["n"] == 3
    assert found["alarm_seen"]["value"] == pytest.approx(2 / 3)


def test_repeats_are_counted_and_padding_is_none() -> None:
    ids = ids_of(["tree river tree tree", "tree", "", "tree river stone"])
    assert ids.shape == (4, TOKENS)
    assert repeated_share(ids).tolist() == pytest.approx([0.5, 0.0, 0.0, 0.0])


def test_more_labels_make_better_proxies(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    with torch.no_grad():
        gold = world.gold(world.texts)
        assert float(gold.mean()) == pytest.approx(0, abs=1e-4)
        assert float(gold.std()) == pytest.approx(1, abs=1e-4)
    same = [world.proxy(50, 1)(world.texts[:5]).tolist() for _ in range(2)]
    few, many = (np.mean([np.corrcoef(world.proxy(n, k)(world.texts).detach(), gold)[0, 1]
                          for k in (1, 2)]) for n in (50, 1000))
    assert same[0] == same[1]
    assert 0.1 < few < many - 0.1 and many > 0.5
    assert len(WORDS) == len(set(WORDS))


def test_a_run_measures_gold_beside_what_ppo_reports() -> None:
    found = gold_runs.run(SETTINGS[0], 3, steps=3)
    assert len(found.gold) == len(found.steps) == 3
    assert all("judge_reward" in step for step in found.steps)
    proxy = [reward for reward, _ in found.best_of.values()]
    assert proxy == sorted(proxy) and proxy[0] > 0.3  # the best of 2 normal scores: 0.56


def test_a_kept_run_is_not_made_again_and_is_the_same(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rise = _run([n / 30 for n in range(31)])
    monkeypatch.setattr(gold_runs, "run", lambda setting, seed: rise)
    gold_runs._make(rise.setting, 7, tmp_path)
    monkeypatch.setattr(gold_runs, "run", lambda *_: pytest.fail("it is there"))
    again, = gold_runs.kept_runs([(rise.setting, 7)], tmp_path)
    assert again == rise
    with pytest.raises(SystemExit, match=r"7.json: was made with other settings"):
        list(gold_runs.kept_runs([(replace(rise.setting, labels=5), 7)], tmp_path))


TINY = sentiment.Scale(
    seeds=1, one_shot=(sentiment.Turn(6, 2, 1e-3, 12.0),),
    rounds=(sentiment.Turn(3, 1, 1e-3, 12.0), sentiment.Turn(3, 1, 1e-3, 12.0)), labelers=2,
    tokens=6, reward_epochs=1, batch=8, best_of_prompts=3, near_steps=2, held_out=5)


def test_the_sentiment_benchmark_goes_from_labels_to_figures(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loop.demo import _tiny_checkpoint

    monkeypatch.setattr(sentiment, "BEST_OF", 4)
    models = ModelConfig(checkpoint=str(_tiny_checkpoint()))
    went_on = runs.run_or_follow

    def killed(store: Store, workspace: Path, job: Job, handlers: Handlers) -> Job:
        if job.kind == "train-reward":
            raise KeyboardInterrupt
        return went_on(store, workspace, job, handlers)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(runs, "run_or_follow", killed)
        sentiment.kept_seed(tmp_path, models, TINY, 0)
    found = sentiment.kept_seed(tmp_path, models, TINY, 0)
    jobs = Store.of_workspace(tmp_path / "one-shot").jobs.all()
    assert [job.kind for job in reversed(jobs)] == [
        "sample", "simulate", "train-reward", "ppo", "ppo", "best-of-n", "best-of-n"]
    assert {job.attempts for job in jobs} == {1}
    monkeypatch.setattr(sentiment, "measure", lambda *_: pytest.fail("it is there"))
    assert sentiment.kept_seed(tmp_path, models, TINY, 0) == found
    with pytest.raises(SystemExit, match=r"measured.json: was made with other settings"):
        sentiment.kept_seed(tmp_path, models, replace(TINY, batch=9), 0)
    assert found.labels == 12
    assert len(found.policy) == len(found.iterated) == len(found.ppo_at_equal_kl) == 5
    figures: dict[str, Any] = sentiment_figures.figures_of([found])
    assert {"win_rate", "win_rate_rounds", "kl", "labels", "ppo_vs_bon16",
            "bon16_sft_share"} <= figures.keys()
    assert 0 <= figures["win_rate"]["low"] <= figures["win_rate"]["high"] <= 1
    assert figures["labels"]["value"] == 12


def test_a_gain_at_a_kl_lies_between_the_policies_around_it() -> None:
    frontier = [{"step": 1, "kl": 0.2}, {"step": 2, "kl": 1.0}, {"step": 3, "kl": 4.0}]
    assert held_out_prompts.around(frontier, 1.84) == (2, 3)
    assert held_out_prompts.around(frontier, 0.1) == (None, 1)
    assert held_out_prompts.around(frontier, 9.0) == (3, 3)
    near, far = (held_out_prompts.Sampled([gold], [kl]) for gold, kl in ((1.0, 1.0), (2.0, 4.0)))
    assert held_out_prompts.between(near, far, 1.5) == [1.5]  # half-way from √1 to √4
    assert held_out_prompts.between(near, far, 3.0) == [2.0]
    assert held_out_prompts.between(far, far, 0.5) == [2.0]


def test_gains_are_shares_of_what_the_best_of_16_gains() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=40)
    made = sentiment_figures.Measured(
        1, 0.75, start.tolist(), start.tolist(), (start + 1).tolist(), [2.0] * 40,
        (start - 1).tolist(), [3.0] * 40, (start + 2).tolist(), (start + 1.5).tolist(),
        [1.0] * 40, (start + 1.8).tolist())
    found = sentiment_figures.figures_of([made])
    assert found["ppo_vs_bon16"]["value"] == pytest.approx(0.9)
    assert found["bon16_sft_share"]["value"] == pytest.approx(0.75)
    assert found["win_rate"]["value"] == 1.0 and found["kl"]["value"] == pytest.approx(2.0)
    assert found["win_rate_rounds"]["value"] == 0.0
    assert found["kl_rounds"]["value"] == pytest.approx(3.0)


def test_the_time_to_a_peers_reward_counts_the_steps_to_it() -> None:
    theirs, ours = [0.0] * 5 + [1.0] * 5, [0.5, 0.5, 1.0, 1.0, 1.0, 1.5, 9.0]
    # the mean over five steps is .8 after five, 1 after six
    assert ppo_speed.ratio_of(theirs, [10.0] * 10, ours, [5.0] * 7) == (100 / 30, 6, 1.0)
    with pytest.raises(SystemExit, match="was not reached in 5 steps"):
        ppo_speed.ratio_of(theirs, [10.0] * 10, ours[:5], [5.0] * 5)


def test_a_long_comparison_goes_on_from_what_was_kept(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def alone(side: ppo_speed.Contender, name: str) -> list[dict[str, object]]:
        ran.append(side.command[2])
        return [{"seconds": 2.0, "scored": []}]

    monkeypatch.setattr(ppo_speed, "alone", alone)
    job = {**ppo_speed.SETTINGS, "steps": 1, "precision": "fp32"}
    steps = [ppo_speed.kept_steps(tmp_path, job, tmp_path, name)
             for name in ("trl", "ours", "trl")]
    assert ran == ["benchmarks.peer_trl_ppo", "benchmarks.our_ppo"]
    assert steps == [[{"seconds": 2.0, "scored": []}]] * 3
    with pytest.raises(SystemExit, match="other settings"):
        ppo_speed.kept_steps(tmp_path, {**job, "epochs": 9}, tmp_path, "trl")


def test_a_shape_with_random_weights_takes_steps_like_any_checkpoint(tmp_path: Path) -> None:
    job = ppo_scale.job_of(tmp_path, "tiny", steps=2, responses=4, new_tokens=6, microbatch=2,
                           threads=1, ours_in="fp32", gradient_checkpointing=True)
    side = ppo_speed.contender(job, tmp_path, "ours")
    first, second = ppo_speed.alone(side, "ours")
    every, answers = second["tokens"]
    assert 4 <= answers <= 24 and every - answers == sum(
        len(job["ids"][number]) for number, _ in second["scored"])
    assert second["phases"]["seconds_update"] > 0 and len(first["scored"]) == 4
    side.turns.append(Turn(4, 0, 1.0))
    assert ppo_scale.figures_of("tiny", side, side, 1e12, 1e9).keys() >= {
        "speed_ratio_tiny", "memory_ratio_tiny", "update_share_tiny", "bandwidth_share_tiny"}


def test_a_shapes_weights_are_counted_as_they_are() -> None:
    model = shapes.random_model("tiny", torch.device("cpu"), torch.bfloat16)
    linear = sum(m.weight.numel() for m in model.model.layers.modules()
                 if isinstance(m, torch.nn.Linear))
    assert shapes.linear_weights("tiny") == linear
    assert shapes.head_weights("tiny") == model.lm_head.weight.numel()
    assert model.lm_head.weight.dtype is torch.bfloat16
    # what the 7B is known to hold, without embeddings (6.53 billion; its biases are 0.0001)
    assert shapes.linear_weights("7b") / 1e9 == pytest.approx(6.525, abs=0.005)


def test_operations_and_bytes_are_those_of_the_formula() -> None:
    # 4 epochs x (policy and value, forward and backward) x 2 a weight
    linear, head = shapes.linear_weights("tiny"), shapes.head_weights("tiny")
    assert ppo_scale.update_operations("tiny", [100, 30]) == 4 * (
        2 * (2 * 2 * linear * 100) + 2 * 2 * head * 30)
    assert ppo_scale.read_bytes("tiny") == 2 * 48 * (linear + head)
