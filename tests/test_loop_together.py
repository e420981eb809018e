"""`prefloop ppo` under `accelerate launch`, with the configs that are shipped: the same update."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import saved_adapter, saved_reward_model
from processes import free_port
from safetensors.torch import load_file

from backbone.config import ModelConfig
from backbone.text import pad
from data.records import Message
from data.store import Store
from loop.lock import WorkerLock
from loop.settings import read_settings
from loop.workspace import Plan, make_workspace

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "docs" / "accelerate").glob("*.yaml"))
FLAGS = ["--force", "--batch-size", "6", "--minibatch-size", "6", "--microbatch-size", "2",
         "--max-new-tokens", "8", "--keep-every", "1", "--probe-every", "1", "--judges", "1",
         "--kl-penalty", "exact", "--learning-rate", "1e-3"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two reward models, an SFT adapter, and two checkpoints."""
    folder = tmp_path_factory.mktemp("together")
    policy, value = tiny_backbone(folder / "a"), tiny_backbone(folder / "b", layers=3)
    made = folder / "w"
    make_workspace(made, Plan(ModelConfig(
        checkpoint=str(folder / "a" / "tiny"), pretrained_checkpoint=str(folder / "b" / "tiny"),
        sft_adapter=str(saved_adapter(folder / "sft", policy)), lora_rank=4, lora_alpha=8,
        precision="fp32", device="cpu"), starter_prompts=False))
    store = Store.of_workspace(made)
    for number in range(8):
        store.prompts.add([Message(role="user", content=f"tell me about the {'one ' * number}")],
                          "test", split="train")
    for name in ("reward-1", "reward-2"):
        saved_reward_model(made / "adapters" / name, value)
        store.versions.add_reward_model(
            name=name, base=str(folder / "b" / "tiny"), path=f"adapters/{name}", comparisons={},
            metrics={"score_mean": 0.1, "score_std": 1.5})
    return made


def start(workspace: Path, *flags: str, config: Path | None = None,
          command: str = "ppo") -> subprocess.Popen[str]:
    launch = [] if config is None else [
        "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file", str(config),
        "--main_process_port", str(free_port())]
    return subprocess.Popen(
        [sys.executable, *launch, "-m", "loop", command, "--workspace", str(workspace), *flags],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"})


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, error = process.communicate(timeout=300)
    return process.returncode, out + error


def copied(template: Path, to: Path) -> Path:
    shutil.copytree(template, to)
    return to


def weights(workspace: Path) -> dict[str, torch.Tensor]:
    return load_file(workspace / "adapters" / "ppo-1" / "adapter_model.safetensors")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_what_is_shipped(config: Path) -> None:
    found = load_config_from_file(str(config))
    assert found.num_processes == 2 and found.mixed_precision == "no"
    given = launch_command_parser().parse_args(
        ["--config_file", str(config), "-m", "loop", "ppo"])
    arguments, _, _ = _validate_launch_command(given)
    assert arguments.use_fsdp == (config.stem == "fsdp") and not arguments.use_deepspeed
    assert arguments.multi_gpu == (config.stem == "processes")


def test_several_processes_give_the_update_of_one(template: Path, tmp_path: Path) -> None:
    assert [path.stem for path in CONFIGS] == ["fsdp", "processes"]
    alone = copied(template, tmp_path / "alone")
    assert ended(start(alone, *FLAGS, "--steps", "2"))[0] == 0
    before = Store.of_workspace(alone).versions.policy_named("ppo-1")
    for config in CONFIGS:
        workspace = copied(template, tmp_path / config.stem)
        if config.stem == "fsdp":  # a block is then put together once more, for its gradients
            settings = workspace / "prefloop.toml"
            settings.write_text(settings.read_text("utf-8").replace(
                "[models]\n", "[models]\ngradient_checkpointing = true\n"), "utf-8")
            assert read_settings(workspace).models.gradient_checkpointing
        code, said = ended(start(workspace, *FLAGS, "--steps", "2", config=config))
        assert code == 0, said
        store = Store.of_workspace(workspace)
        made = store.versions.policy_named("ppo-1")
        assert len(store.versions.policies()) == 2 and len(store.jobs.all()) == 1
        for key, value in weights(alone).items():
            torch.testing.assert_close(weights(workspace)[key], value, atol=2e-5, rtol=1e-3)
        for name in ("reward", "kl", "policy_loss", "value_loss", "approx_kl", "updates",
                     "judge_reward", "offered_step"):
            assert made.metrics[name] == pytest.approx(before.metrics[name], rel=1e-3, abs=1e-4)
        assert made.metrics["samples"] == before.metrics["samples"]
        assert made.metrics["probes"] == before.metrics["probes"]
        assert not list((workspace / "checkpoints").iterdir())


def test_a_stopped_run_ends_everywhere_and_goes_on(template: Path, tmp_path: Path) -> None:
    workspace, config = copied(template, tmp_path / "w"), ROOT / "docs/accelerate/fsdp.yaml"
    # More steps than half a second has, which may pass before a request to stop is read.
    running = start(workspace, *FLAGS, "--steps", "25", "--checkpoint-every", "100", config=config)
    store, deadline = Store.of_workspace(workspace), time.monotonic() + 200
    while not store.jobs.metrics(1) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    store.jobs.request_stop(1)
    _, said = ended(running)
    assert store.jobs.get(1).status == "stopped", said
    assert "[rank" not in said, "the others end without an error of their own"
    step, = (workspace / "checkpoints").glob("job-1-*/step-*")
    assert 0 < int(step.name.removeprefix("step-")) < 25
    code, said = ended(start(workspace, "--resume", "1"))  # in one process now
    assert code == 0 and len(store.jobs.metrics(1)) == 25, said


CUT_UP = """
import sys
import torch
from torch.distributed.tensor import DTensor
torch.set_num_threads(1)
from backbone.model import Backbone
from backbone.text import pad
from policy.sharing import Share
share = Share.of_this_process(torch.device("cpu"))
backbone = Backbone(sys.argv[1], torch.device("cpu"), torch.float32)
assert share.same_work and backbone.is_cut_up
backbone.add_adapter("a", backbone.new_lora_config(4, 8))

def held():
    parts = [p for p in backbone.trunk.layers.parameters() if isinstance(p, DTensor)]
    return [sum(p.to_local().numel() for p in parts), sum(p.numel() for p in parts)]

batch, found = pad([[5, 6, 7], [8, 9]], 0, backbone.device), held()
assert not any(isinstance(p, DTensor) for p in backbone.adapter_parameters("a"))
with torch.no_grad():
    states = backbone.hidden(batch, None)
found += held()
loss = backbone.hidden(batch, "a").square().sum()
found += held()
loss.backward()
found += held()
if share.is_first:
    torch.save([states, *(p.grad for p in backbone.adapter_parameters("a"))], sys.argv[2])
print(*found)
"""


def test_each_process_holds_a_part_of_every_layer(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    port = str(free_port())
    processes = [subprocess.Popen(
        [sys.executable, "-c", CUT_UP, str(tmp_path / "tiny"), str(tmp_path / "states")], cwd=ROOT,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={
            **os.environ, "OMP_NUM_THREADS": "1", "RANK": rank, "LOCAL_RANK": rank,
            "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "ACCELERATE_USE_CPU": "true", "ACCELERATE_USE_FSDP": "true"}) for rank in "01"]
    said = [process.communicate(timeout=200) for process in processes]
    assert [p.returncode for p in processes] == [0, 0], said
    layers = sum(p.numel() for p in backbone.trunk.layers.parameters())
    for out, _ in said:  # at first, after passes without and with gradients, and in the end
        assert list(map(int, out.split())) == [layers // 2, layers] * 4
    backbone.add_adapter("a", backbone.new_lora_config(4, 8))
    batch = pad([[5, 6, 7], [8, 9]], 0, backbone.device)
    backbone.hidden(batch, "a").square().sum().backward()
    wanted = [backbone.hidden(batch, None).detach(),
              *(p.grad for p in backbone.adapter_parameters("a"))]
    torch.testing.assert_close(torch.load(tmp_path / "states"), wanted)


def test_a_worker_keeps_its_workspace(template: Path, tmp_path: Path) -> None:
    workspace = copied(template, tmp_path / "w")
    with WorkerLock(workspace):
        code, said = ended(start(workspace, *FLAGS, config=ROOT / "docs/accelerate/processes.yaml"))
    assert code != 0 and "has a worker, which would run the job in one process" in said
    assert not Store.of_workspace(workspace).jobs.all()


def test_other_commands_run_in_one_process(template: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "loop", "sample", "--workspace", str(template)], cwd=ROOT,
        text=True, capture_output=True, env={**os.environ, "WORLD_SIZE": "2", "RANK": "0"})
    assert found.returncode == 2
    assert "sample runs in one process" in found.stderr


