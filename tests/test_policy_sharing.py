"""Two processes give the update that one gives with the same batch, and stop and resume as one."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread  # noqa: F401
from policy_world import GOODNESS, Recorder, items, policy_weights, roles
from processes import free_port
from safetensors.torch import load_file

from backbone import resume
from data.errors import BadInput
from data.progress import Stopped
from policy.config import PPOConfig
from policy.ppo import train
from policy.roles import Roles
from policy.sharing import Share

TESTS = Path(__file__).parent
#: 7 responses in microbatches of 2: the processes get unlike shares, and one of them none at times.
CONFIG = PPOConfig(steps=3, batch_size=7, minibatch_size=7, microbatch_size=2, epochs=2,
                   max_new_tokens=8, learning_rate=1e-3, value_learning_rate=1e-3,
                   checkpoint_every=1, kl_penalty="exact", probe_every=2)
SETUP: dict[str, Any] = {"sft": True, "two_checkpoints": True, "value_from_reward": True}

PROCESS = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from test_policy_sharing import SETUP, Recorder, Stopped, roles, rounds_otherwise, run
from policy.sharing import Share

folder = Path({folder!r}) / "models" / os.environ["RANK"]
of = roles(folder, **SETUP)  # before they have joined: then the first one alone writes checkpoints
share = Share.of_this_process(of.policy.device)
if share.same_work:
    of = roles(folder, **SETUP)  # cut up
    if share.rank == 1:
        rounds_otherwise(of)

class StopsOnce(Recorder):
    def update(self, fraction, message):
        if share.rank == 1 and fraction > 0.3 and not Path({folder!r}, "stopped").exists():
            Path({folder!r}, "stopped").touch()
            raise Stopped

record = StopsOnce()
try:
    weights = run(of, Path({folder!r}), record, share)
except Stopped:
    print("stopped", len(record.steps))
else:
    save_file(weights, Path({folder!r}) / f"{{share.rank}}.safetensors")
    print("steps", json.dumps([s["step"] for s in record.steps]))
"""


def run(of: Roles, folder: Path, record: Recorder, share: Share) -> dict[str, torch.Tensor]:
    """One process's part of a run."""
    train(of, items(of.policy), GOODNESS, CONFIG, 5, record, folder / "c", share=share)
    return policy_weights(of)


def rounds_otherwise(of: Roles) -> None:
    """The worst that rounding could do: every response is over at its first token."""
    logits, ends = of.policy.logits, list(of.policy.end_ids)

    def rounded(hidden: torch.Tensor) -> torch.Tensor:
        scores = logits(hidden)
        scores[:, ends] += 1000
        return scores

    of.policy.logits = rounded  # type: ignore[method-assign]


def _two(folder: Path, cut_up: bool = False) -> list[str]:
    """What two processes that work together print."""
    port = free_port()
    code = PROCESS.format(tests=str(TESTS), folder=str(folder))
    started = [subprocess.Popen(
        [sys.executable, "-c", code], cwd=TESTS.parent, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={
            **os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "ACCELERATE_USE_CPU": "true", "ACCELERATE_USE_FSDP": str(cut_up)})
        for rank in range(2)]
    ended = [process.communicate(timeout=300) for process in started]
    assert [p.returncode for p in started] == [0, 0], "\n".join(error for _, error in ended)
    return [out.strip() for out, _ in ended]


def test_two_processes_are_one(tmp_path: Path) -> None:
    alone = Recorder()
    wanted = run(roles(tmp_path / "models", **SETUP), tmp_path / "alone", alone, Share())
    (tmp_path / "two").mkdir()
    # The second process is asked to stop in the second step: both do, after one checkpoint.
    assert _two(tmp_path / "two") == ["stopped 1", "stopped 0"]
    assert _two(tmp_path / "two") == ["steps [1, 2]", "steps []"]
    first, second = (load_file(tmp_path / "two" / f"{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    for key, value in wanted.items():
        torch.testing.assert_close(first[key], value, atol=2e-5, rtol=1e-3)
    step, = (tmp_path / "two" / "c").glob("step-*")
    found = json.loads((step / resume.STATE).read_text())["last"]
    for name in ("reward", "kl", "policy_loss", "value_loss", "approx_kl", "clip_fraction",
                 "policy_grad_norm", "explained_variance", "updates", "ratio_gap"):
        assert found[name] == pytest.approx(alone.steps[-1][name], rel=1e-3, abs=1e-4), name
    assert found["samples"] == alone.steps[-1]["samples"]


def test_processes_that_do_the_same_sample_the_first_ones_tokens(tmp_path: Path) -> None:
    """Else they run unlike numbers of passes, and wait for each other for ever."""
    wanted = run(roles(tmp_path / "models", **SETUP), tmp_path / "alone", Recorder(), Share())
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "stopped").touch()
    assert _two(tmp_path / "two", cut_up=True) == ["steps [0, 1, 2]", "steps []"]
    first, second = (load_file(tmp_path / "two" / f"{rank}.safetensors") for rank in range(2))
    for key, value in wanted.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], value, atol=2e-5, rtol=1e-3)


def test_work_is_shared_out_and_put_together_again() -> None:
    work = list(range(7))
    parts = [Share(rank, 3).mine(work) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    alone = Share()
    assert alone.gather(alone.mine(work)) == work and alone.is_first
    tensor = torch.ones(2)
    alone.add_up(tensor, None)
    assert tensor.tolist() == [1, 1] and alone.everybody(3) == [3] and alone.total(3) == 3
    same = Share(1, 3, same_work=True)
    assert same.mine(work) == work and same.parts == 1 and not same.is_first


def test_more_processes_than_responses_are_refused(tmp_path: Path) -> None:
    of = roles(tmp_path)
    with pytest.raises(BadInput, match="--batch-size: 8 processes cannot share 7"):
        train(of, items(of.policy), GOODNESS, replace(CONFIG), 0, Recorder(), tmp_path / "c",
              share=Share(0, 8))


__all__ = ["Recorder", "Stopped", "roles", "rounds_otherwise", "run"]
