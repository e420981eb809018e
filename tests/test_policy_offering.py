"""What a PPO run offers: policies kept along the way, the best of them chosen, killed or not."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread  # noqa: F401
from policy_world import GOODNESS, Recorder, items, policy_weights, roles
from safetensors.torch import load_file
from test_policy_resume import Doomed, Killed

from data.errors import BadInput
from data.progress import Stopped
from data.records import Message
from policy.config import PPOConfig
from policy.frontier import Point, choose
from policy.offering import FOLDER, copy_kept, keep, offer
from policy.ppo import train
from policy.roles import POLICY
from policy.rollout import Reward

CONFIG = PPOConfig(steps=5, batch_size=6, minibatch_size=3, microbatch_size=6, epochs=1,
                   max_new_tokens=8, learning_rate=2e-2, value_learning_rate=1e-2,
                   checkpoint_every=3, probe_every=0, keep_every=2)


def _run(folder: Path, record: Recorder, config: PPOConfig = CONFIG,
         judges: Sequence[Reward] = ()) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    of = roles(folder)
    told = train(of, items(of.policy), GOODNESS, config, 7, record, folder / "c", judges=judges)
    return policy_weights(of), told


def _kept(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(folder / "c" / FOLDER / f"step-{step}" / "adapter_model.safetensors")


def test_the_policy_ends_as_the_one_that_is_offered(tmp_path: Path) -> None:
    weights, told = _run(tmp_path, Recorder())
    assert [point["step"] for point in told["frontier"]] == [2, 4, 5]  # the last is measured too
    best = max(told["frontier"], key=lambda p: p["reward"] - p["uncertainty"])
    assert told["offered_step"] == best["step"] and told["offered_kl"] == best["kl"]
    kept = _kept(tmp_path, told["offered_step"])
    assert all(torch.equal(weights[f"policy/{name}"], value) for name, value in kept.items())
    assert not all(torch.equal(kept[name], value) for step in {2, 4, 5} - {told["offered_step"]}
                   for name, value in _kept(tmp_path, step).items())


def test_what_is_kept_is_what_was_measured(tmp_path: Path) -> None:
    """The policy after two updates is the one that sampled in the third step."""
    short = replace(CONFIG, steps=2, keep_every=0)
    wanted, _ = _run(tmp_path / "short", Recorder(), short)
    record = Recorder()
    _, told = _run(tmp_path / "long", record)
    kept = _kept(tmp_path / "long", 2)
    assert all(torch.equal(wanted[f"policy/{name}"], value) for name, value in kept.items())
    point = told["frontier"][0]
    assert (point["kl"], point["reward"]) == (record.steps[2]["kl"], record.steps[2]["reward"])


@pytest.mark.parametrize("reports", [4, 9, 14, 19])
def test_killed_and_resumed_it_keeps_and_offers_the_same(tmp_path: Path, reports: int) -> None:
    wanted, told = _run(tmp_path / "whole", Recorder())
    for error in (Killed, Stopped, None):
        try:
            found, again = _run(tmp_path / "cut", Doomed(reports, error) if error else Recorder())
            break
        except (Killed, Stopped):
            continue
    assert all(torch.equal(wanted[name], value) for name, value in found.items())
    assert {k: v for k, v in told.items() if not k.startswith("seconds_")}.keys() == {
        k for k in again if not k.startswith("seconds_")}
    for name in ("offered_step", "offered_kl", "offered_reward", "frontier"):
        assert json.dumps(told[name]) == json.dumps(again[name])
    for step in (2, 4, 5):
        first, second = _kept(tmp_path / "whole", step), _kept(tmp_path / "cut", step)
        assert all(torch.equal(first[name], value) for name, value in second.items())


def test_keeping_changes_nothing_of_what_is_learned(tmp_path: Path) -> None:
    plain, _ = _run(tmp_path / "plain", Recorder(), replace(CONFIG, keep_every=0))
    _run(tmp_path / "kept", Recorder())
    last = _kept(tmp_path / "kept", 5)
    assert all(torch.equal(plain[f"policy/{name}"], value) for name, value in last.items())
    assert not (tmp_path / "plain" / "c" / FOLDER).exists()


def test_a_judge_that_is_not_obeyed_has_a_say_in_what_is_offered(tmp_path: Path) -> None:
    calls: list[int] = []

    def likes_the_second(conversations: Sequence[Sequence[Message]]) -> list[float]:
        calls.append(len(conversations))
        return [9.0 if len(calls) == 3 else -9.0] * len(conversations)  # asked once a step

    _, told = _run(tmp_path, Recorder(), judges=[Reward(likes_the_second)])
    assert told["offered_step"] == 2 and len(calls) == CONFIG.steps + 1


def _offer(folder: Path, config: PPOConfig, history: Sequence[dict[str, Any]],
           kept_from: int = 0) -> tuple[int, str]:
    of = roles(folder / "models")
    for step in history[kept_from:]:
        keep(of.policy, folder, step["step"])
        for parameter in of.policy.adapter_parameters(POLICY):
            parameter.data.add_(1.0)
    told = offer(of.policy, folder, config, history)
    return told["offered_step"], told["offered_because"]


def _measured(step: int, kl: float, reward: float, **more: float) -> dict[str, Any]:
    return {"step": step, "kl": kl, "reward": reward, "reward_std": 0.1, "responses": 64,
            "length": 30.0, "entropy": 1.0, "repetition": 0.0, "reference_perplexity": 4.0, **more}


def test_the_budget_and_the_alarm_bound_what_is_offered(tmp_path: Path) -> None:
    run = [_measured(n, kl, reward) for n, (kl, reward) in enumerate(
        [(0.1, 0.0), (2.0, 1.0), (5.0, 2.0), (8.0, 3.0)])]
    best = "it is the best of those kept"
    assert _offer(tmp_path / "free", CONFIG, run) == (3, best)
    assert _offer(tmp_path / "within", replace(CONFIG, kl_budget=5.5), run) == (
        2, f"{best} within 5.5 nats (kl_budget)")
    assert _offer(tmp_path / "none", replace(CONFIG, kl_budget=0.05), run) == (
        0, "none of those kept is within 0.05 nats (kl_budget), and it is the nearest to the "
        "reference")
    cheats = [*run, _measured(4, 9.0, 4.0, repetition=0.8), _measured(5, 9.5, 5.0, repetition=0.9)]
    quiet = _measured(6, 9.5, 5.0)  # the alarm has stopped, and the last step does not tell of it
    wrong = "step 4, from which on the run looks over-optimised: 90% of 3-grams are repeated"
    for name, history in (("alarm", cheats), ("earlier", [*cheats, quiet])):
        step, why = _offer(tmp_path / name, CONFIG, history)
        assert step == 3 and why.startswith(f"{best}, before {wrong}")
    step, why = _offer(tmp_path / "late", CONFIG, cheats, kept_from=4)
    assert step == 5 and why.startswith(f"{best}, and none of them is from before {wrong}")


def test_of_points_after_the_alarm_one_is_chosen_only_where_there_are_no_others() -> None:
    points = [Point(2, 1.0, 1.0), Point(4, 2.0, 2.0), Point(6, 3.0, 3.0)]
    assert choose(points, 10.0) == points[2]
    assert choose(points, 10.0, wrong=6) == points[1]
    assert choose(points, 10.0, wrong=1) == points[2]
    assert choose(points, 0.5, wrong=6) is None


def test_what_is_not_known_is_never_taken_for_the_best() -> None:
    nan = float("nan")
    unknown = [Point(2, 1.0, nan), Point(4, 2.0, 9.0, nan)]
    assert choose([*unknown, Point(6, 3.0, -5.0)], 10.0) == Point(6, 3.0, -5.0)
    assert choose(unknown[::-1], 10.0) == unknown[0]  # the nearest, whatever the order


def test_what_was_kept_goes_where_the_adapter_is(tmp_path: Path) -> None:
    weights, _ = _run(tmp_path, Recorder())
    (tmp_path / "adapter").mkdir()
    for _ in range(2):  # killed after it, it is done again
        copy_kept(tmp_path / "c", tmp_path / "adapter")
    assert {f.name for f in (tmp_path / "adapter" / FOLDER).iterdir()} == {
        "step-2", "step-4", "step-5"}
    again, _ = _run(tmp_path, Recorder())  # and the run ends as it did
    assert all(torch.equal(weights[name], value) for name, value in again.items())


@pytest.mark.parametrize("name", ["judges", "keep_every", "kl_budget"])
def test_settings_below_nothing_are_named(name: str) -> None:
    wrong: dict[str, Any] = {name: -1}
    with pytest.raises(BadInput, match=f"--{name.replace('_', '-')}"):
        PPOConfig(**wrong)
