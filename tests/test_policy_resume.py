"""PPO killed anywhere and resumed ends where it would have ended, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import one_thread  # noqa: F401
from policy_world import GOODNESS, Recorder, items, policy_weights, randomise, roles

from backbone import resume
from data.errors import PrefloopError
from data.progress import Stopped
from policy.config import PPOConfig
from policy.ppo import train
from policy.roles import POLICY

CONFIG = PPOConfig(steps=5, batch_size=6, minibatch_size=3, microbatch_size=2, epochs=2,
                   max_new_tokens=12, learning_rate=1e-2, value_learning_rate=1e-2,
                   checkpoint_every=2, probe_every=2, kl_target=3.0, kl_horizon=50)
SETUPS: list[dict[str, Any]] = [
    {}, {"sft": True, "two_checkpoints": True, "value_from_reward": True},
    {"trains_value_adapter": False, "value_from_reward": True}]
TESTS = Path(__file__).parent


class Killed(BaseException):
    """Stands for a process that ends without another word."""


class Doomed(Recorder):
    """Ends the run at the n-th report, in good order or not."""

    def __init__(self, reports: int, error: type[BaseException]) -> None:
        super().__init__()
        self.left = reports
        self.error = error

    def update(self, fraction: float, message: str) -> None:
        """Count down."""
        self._count()

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Keep a step's figures, which is after its updates and before its checkpoint."""
        super().metrics(step, values)
        if self.error is Killed:  # nobody is asked to stop here
            self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error


def _run(folder: Path, record: Recorder, config: PPOConfig = CONFIG,
         **setup: Any) -> dict[str, torch.Tensor]:
    """A process's share of a run: fresh models, global random numbers that are anybody's."""
    state = random.randrange(1000)
    torch.manual_seed(state)
    np.random.seed(state)
    of = roles(folder, **setup)
    if list((folder / "c").glob("step-*")):  # what is loaded then is all that counts
        randomise(of.policy, POLICY, seed=state)
    train(of, items(of.policy), GOODNESS, config, 7, record, folder / "c")
    return policy_weights(of)


def _ended_alike(one: Path, other: Path) -> None:
    """Everything in the last checkpoints: weights, optimizers, β, the history, the reference's
    texts; all but the time it took."""
    (first,), (second,) = ((list((f / "c").glob("step-*"))) for f in (one, other))
    assert (first / resume.TENSORS).read_bytes() == (second / resume.TENSORS).read_bytes()
    states = [json.loads((f / resume.STATE).read_text()) for f in (first, second)]
    assert _untimed(states[0].pop("last")) == _untimed(states[1].pop("last"))
    assert states[0] == states[1]


def _untimed(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {k: repr(v) for k, v in figures.items() if not k.startswith("seconds_")}


@pytest.mark.parametrize("setup", SETUPS, ids=lambda s: "+".join(s) or "plain")
def test_killed_or_stopped_anywhere_it_ends_the_same(tmp_path: Path,
                                                     setup: dict[str, Any]) -> None:
    whole = Recorder()
    wanted = _run(tmp_path / "whole", whole, **setup)
    points = random.Random(str(setup))
    for number in range(4):
        folder, steps = tmp_path / str(number), {}
        # It ends early in the run, or late, and often a second time.
        for reports in (6 * number + points.randrange(1, 7), points.randrange(1, 30), 10_000):
            doomed = Doomed(reports, points.choice([Stopped, Killed]))
            try:
                found = _run(folder, doomed, **setup)
                break
            except (Stopped, Killed):
                continue
            finally:
                steps.update({s["step"]: _untimed(s) for s in doomed.steps})
        assert all(torch.equal(wanted[key], value) for key, value in found.items())
        _ended_alike(tmp_path / "whole", folder)
        # The same prompts, samples and figures in every step, whoever computed it.
        assert steps == {s["step"]: _untimed(s) for s in whole.steps}


def test_a_run_that_ended_early_is_not_gone_on_with(tmp_path: Path) -> None:
    """Killed after the KL had ended it, before anybody kept the result."""
    config = replace(CONFIG, kl_stop=1e-6, kl_target=0.0, checkpoint_every=1)
    first, again = Recorder(), Recorder()
    wanted = _run(tmp_path / "run", first, config)
    found = _run(tmp_path / "run", again, config)
    assert len(first.steps) < CONFIG.steps and again.steps == []
    assert all(torch.equal(wanted[key], value) for key, value in found.items())


@pytest.mark.parametrize(("reports", "how"), [(8, Stopped), (1, Killed)])
def test_prompts_that_came_meanwhile_wait_for_the_next_run(
        tmp_path: Path, reports: int, how: type[BaseException]) -> None:
    wanted = _run(tmp_path / "whole", Recorder())
    with pytest.raises(how):
        _run(tmp_path / "cut", Doomed(reports, how))
    assert how is Stopped or not list((tmp_path / "cut" / "c").glob("step-*"))
    of, record = roles(tmp_path / "cut"), Recorder()
    mine = items(of.policy)
    new = [replace(item, id=100 + item.id) for item in mine]
    train(of, [*new, *reversed(mine)], GOODNESS, CONFIG, 7, record, tmp_path / "cut" / "c")
    assert all(torch.equal(wanted[key], value) for key, value in policy_weights(of).items())
    with pytest.raises(PrefloopError, match="8 of the 8 prompts that this run began with"):
        train(roles(tmp_path / "cut"), new, GOODNESS, CONFIG, 7, record, tmp_path / "cut" / "c")


def test_a_run_that_an_older_prefloop_began_keeps_its_prompts(tmp_path: Path) -> None:
    wanted = _run(tmp_path / "whole", Recorder())
    with pytest.raises(Stopped):
        _run(tmp_path / "cut", Doomed(8, Stopped))
    of = roles(tmp_path / "cut")
    mine = items(of.policy)
    (tmp_path / "cut" / "c" / resume.BEGINNING).unlink()
    state, = (tmp_path / "cut" / "c").glob(f"step-*/{resume.STATE}")
    state.write_text(json.dumps({**json.loads(state.read_text()),
                                 "prompts": [item.id for item in mine]}))
    new = [replace(item, id=100 + item.id) for item in mine]
    train(of, [*new, *mine], GOODNESS, CONFIG, 7, Recorder(), tmp_path / "cut" / "c")
    assert all(torch.equal(wanted[key], value) for key, value in policy_weights(of).items())


PROCESS = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_policy_resume import Recorder, _run
from backbone import resume

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

class Dies(Recorder):
    def metrics(self, step, values):
        super().metrics(step, values)
        if step == 2 and {moment!r} == "before the checkpoint":
            die()
        if step == 3 and {moment!r} == "while it is written":
            resume.save_file = lambda tensors, path: die(path.write_bytes(b"half"))
        if step == 3 and {moment!r} == "before the old one goes":
            resume.shutil.rmtree = lambda path, **_: die() if path.name == "step-00000002" else None

_run(Path({folder!r}), Dies())
"""


@pytest.mark.parametrize("moment", ["before the checkpoint", "while it is written",
                                    "before the old one goes"])
def test_a_process_that_is_killed_leaves_what_another_goes_on_from(tmp_path: Path,
                                                                   moment: str) -> None:
    code = PROCESS.format(tests=str(TESTS), folder=str(tmp_path / "cut"), moment=moment)
    ended = subprocess.run([sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True,
                           text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert list((tmp_path / "cut" / "c").glob("step-*"))
    whole = _run(tmp_path / "whole", Recorder())
    found = _run(tmp_path / "cut", Recorder())
    assert all(torch.equal(whole[key], value) for key, value in found.items())
    _ended_alike(tmp_path / "whole", tmp_path / "cut")
