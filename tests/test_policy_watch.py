"""What a run shows while it learns: probes beside the reference, several judges, the alarm. None of
it changes what is learned."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread  # noqa: F401
from policy_world import GOODNESS, Recorder, items, policy_weights, roles

from data.errors import BadInput
from data.records import Message
from policy import ppo
from policy.alarm import Alarm
from policy.config import PPOConfig
from policy.ppo import train
from policy.rollout import Reward

CONFIG = PPOConfig(steps=4, batch_size=8, minibatch_size=8, microbatch_size=8, epochs=1,
                   max_new_tokens=10, learning_rate=3e-2, value_learning_rate=1e-2, probe_every=2)


def _run(folder: Path, config: PPOConfig = CONFIG, judges: Sequence[Reward] = (),
         ) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], dict[str, Any]]:
    of, record = roles(folder, sft=True), Recorder()
    last = train(of, items(of.policy), GOODNESS, config, 0, record, folder / "checkpoint",
                 judges=judges)
    return record.steps, policy_weights(of), last


def _lengths(conversations: Sequence[Sequence[Message]]) -> list[float]:
    return [float(len(c[-1]["content"])) for c in conversations]


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_probes_set_the_policy_beside_the_reference(tmp_path: Path) -> None:
    steps, _, _ = _run(tmp_path)
    probed = {s["step"]: s["probes"] for s in steps if "probes" in s}
    assert list(probed) == [0, 2, 3]  # every second step, and the last
    for name in ("prompt", "reference"):  # the same all through the run
        assert len({tuple(p[name] for p in probes) for probes in probed.values()}) == 1
    assert all(p["text"] == p["reference"] for p in probed[0])  # nothing has moved yet
    assert any(p["text"] != p["reference"] for p in probed[3])
    assert len({p["prompt"] for p in probed[0]}) == 3
    assert all("seconds_probe" in s for s in steps if s["step"] in probed)


def test_watching_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, wanted, _ = _run(tmp_path / "a", replace(CONFIG, probe_every=0))
    _, probed, _ = _run(tmp_path / "b", judges=[Reward(_lengths, 5.0, 2.0)])
    monkeypatch.setattr(ppo, "check", lambda history: Alarm(0, ("always",)))
    steps, alarmed, last = _run(tmp_path / "c")
    assert _same(wanted, probed) and _same(wanted, alarmed)
    assert [s["alarm"] for s in steps] == ["always"] * 4 and "ended" not in last


def test_training_stops_on_the_alarm_only_where_it_is_asked_to(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def at_the_second(history: Sequence[dict[str, Any]]) -> Alarm | None:
        seen.append(len(history))
        return Alarm(1, ("odd", "very odd")) if len(history) == 2 else None

    monkeypatch.setattr(ppo, "check", at_the_second)
    config = replace(CONFIG, stop_on_alarm=True)
    steps, weights, last = _run(tmp_path, config)
    assert len(steps) == 2 and seen == [1, 2]
    assert last["alarm"] == "odd; very odd" and last["ended"].startswith("over-optimisation: odd")
    again, same, ended = _run(tmp_path, config)  # killed before anybody kept the result
    assert again == [] and ended == last and _same(weights, same)


def test_what_the_alarm_goes_by_is_what_it_is_given(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[dict[str, Any]]] = []
    monkeypatch.setattr(ppo, "check", lambda history: given.append([dict(h) for h in history]))
    steps, _, _ = _run(tmp_path, judges=[Reward(_lengths, 5.0, 2.0)])
    assert [len(history) for history in given] == [1, 2, 3, 4]
    assert set(given[-1][0]) == set(ppo.SIGNALS)
    for history, step in zip(given[-1], steps, strict=True):
        assert all(history[name] == step[name] for name in ppo.SIGNALS)


def test_a_policy_that_is_made_to_collapse_sets_it_off(tmp_path: Path) -> None:
    """A reward for one word, no KL penalty and a large learning rate: "good good good …"."""
    of, record = roles(tmp_path), Recorder()

    def good(conversations: Sequence[Sequence[Message]]) -> list[float]:
        return [float(c[-1]["content"].split().count("good")) for c in conversations]

    config = replace(CONFIG, steps=25, batch_size=32, minibatch_size=32, microbatch_size=32,
                     epochs=4, kl_coefficient=0.0, update_kl_stop=0.0, probe_every=0,
                     stop_on_alarm=True, temperature=1.0)
    last = train(of, items(of.policy), Reward(good), config, 0, record, tmp_path / "checkpoint")
    assert "over-optimisation" in last["ended"] and 3 < len(record.steps) < 25
    assert last["reward"] > record.steps[0]["reward"]


def test_further_judges_are_asked_in_their_own_units(tmp_path: Path) -> None:
    steps, _, _ = _run(tmp_path, replace(CONFIG, steps=1), [
        Reward(lambda c: [3.0] * len(c), 1.0, 2.0), Reward(lambda c: [-4.0] * len(c), 0.0, 4.0)])
    step = steps[0]
    assert step["ensemble_mean"] == pytest.approx((step["score"] + 1.0 - 1.0) / 3, abs=1e-5)
    assert step["ensemble_worst"] == pytest.approx(-1.0)
    # Deviation of (x, 1, −1) for x near 0: about 1.
    assert step["ensemble_spread"] == pytest.approx(1.0, abs=0.05)
    alone, _, _ = _run(tmp_path / "alone", replace(CONFIG, steps=1))
    assert not any(name.startswith("ensemble") for name in alone[0])


def test_a_missing_end_costs_as_much_by_every_judge(tmp_path: Path) -> None:
    """Else a reward without penalties would choose what is offered, and sound the alarm."""
    steps, _, _ = _run(tmp_path, replace(CONFIG, missing_eos_penalty=2.0, reward_clip=0.1),
                       [GOODNESS])
    assert 0 < steps[0]["eos_share"] < 1
    for step in steps:
        for name in ("ensemble_mean", "ensemble_worst", "judge_reward"):
            assert step[name] == pytest.approx(step["reward"], abs=1e-6)
        assert step["judge_error"] == pytest.approx(step["reward_error"])


def test_learning_rates_fall_to_nothing_where_they_are_asked_to(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def watch(self: torch.optim.AdamW, *rest: object) -> object:
        seen.append(self.param_groups[0]["lr"])
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", watch)
    _run(tmp_path / "a")
    assert seen == [3e-2, 1e-2] * 4
    seen.clear()
    _run(tmp_path / "b", replace(CONFIG, learning_rate_decay="linear"))
    assert seen == pytest.approx([rate * left for left in (1, 0.75, 0.5, 0.25)
                                  for rate in (3e-2, 1e-2)])


@pytest.mark.parametrize(("field", "value", "flag"), [
    ("kl_penalty", "k3", "--kl-penalty"),
    ("learning_rate_decay", "cosine", "--learning-rate-decay"),
    ("probe_every", -1, "--probe-every")])
def test_settings_that_cannot_be_are_named(field: str, value: Any, flag: str) -> None:
    with pytest.raises(BadInput, match=flag):
        PPOConfig(**{field: value})
