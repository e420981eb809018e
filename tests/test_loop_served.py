"""`prefloop sample` with a server: settings in, a round out; trouble is one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from completion_process import Running, running
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import saved_adapter

from backbone.config import ModelConfig
from data.records import Message
from data.store import Store
from loop import cli, models
from loop.kinds import KINDS, catalogue
from loop.settings import Settings
from loop.workspace import Plan, make_workspace
from policy import endpoint
from policy.endpoint import KEY_VARIABLE

KEY = "sk-in-no-file"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    backbone = tiny_backbone(made)
    saved_adapter(made / "sft", backbone, seed=4)
    return made


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Running]:
    with running(folder / "tiny", "--name", "tiny-instruct", "--key", KEY) as server:
        yield server


@pytest.fixture
def server(shared: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setattr(endpoint, "WAITS", ())
    monkeypatch.setattr(models, "_loaded", {})
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    shared.fault("")
    return shared


@pytest.fixture
def workspace(tmp_path: Path, folder: Path, server: Running) -> Path:
    """An SFT adapter as the reference, and a policy with an adapter of its own."""
    made = tmp_path / "w"
    make_workspace(made, Plan(ModelConfig(checkpoint=str(folder / "tiny"),
                                          sft_adapter=str(folder / "sft"), precision="fp32"),
                              starter_prompts=False))
    settings = made / "prefloop.toml"
    settings.write_text(settings.read_text().replace("[sample]\n", f"""[sample]
server = "{server.address}"
server_model = "tiny-instruct"
prompts = 6
max_new_tokens = 8
batch_size = 2
evaluate_share = 0.5
"""))
    store = Store.of_workspace(made)
    for number in range(8):
        store.prompts.add([Message(role="user", content=f"tell me about the {'one ' * number}")],
                          "test", split="held_out" if number % 2 else "train")
    saved_adapter(made / "adapters" / "ppo-1", tiny_backbone(folder), seed=5)
    store.versions.add_policy(name="ppo-1", base=str(folder / "tiny"), method="ppo",
                              path="adapters/ppo-1", parent_id=1)
    return made


def sample(workspace: Path, capsys: pytest.CaptureFixture[str], *flags: str
           ) -> tuple[int, dict[str, Any], str]:
    code = cli.run(["sample", "--workspace", str(workspace), "--json", *flags])
    shown = capsys.readouterr()
    return code, json.loads(shown.out) if shown.out else {}, shown.err


def test_a_round_is_sampled_from_the_server(workspace: Path, server: Running,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    code, result, said = sample(workspace, capsys, "--evaluate-share", "0.2")
    assert code == 0, said
    assert result["responses"] == 12 and result["sampling_gap_max"] < 1e-3
    store = Store.of_workspace(workspace)
    asked = server.call("/seen")["asked"]
    assert len(asked) == 12
    assert {a["model"].rsplit("-", 1)[0] for a in asked} == {
        f"prefloop-{version.name}" for version in store.versions.policies()}
    responses = store.responses.of_round(1)
    assert {r.sampling["sampler"] for r in responses} == {"server"}
    held_out = {prompt.id for prompt in store.prompts.all(split="held_out")}
    measured = [r.prompt_id for r in responses
                if r.policy_version_id == 2 and r.prompt_id in held_out]
    assert result["kl"]["value"] != 0
    assert result["kl"]["n"] == len(set(measured)) < len(measured)  # two of a prompt are no two
    kept = b"".join(path.read_bytes() for path in workspace.rglob("*") if path.is_file())
    assert b"ppo-1" in kept and KEY.encode() not in kept


def test_trouble_is_one_line_and_the_round_goes_on(workspace: Path, server: Running,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    server.fault("500", after=5)
    code, result, said = sample(workspace, capsys)
    assert code == 1 and not result.get("responses")
    assert f"server {server.address}: HTTP 500: the engine is dead" in said.splitlines()[-1]
    store = Store.of_workspace(workspace)
    begun = store.responses.of_round(1)
    assert 0 < len(begun) < 12
    server.fault("")
    code, result, _ = sample(workspace, capsys, "--resume", "1")
    assert code == 0 and result["responses"] == 12 and result["round"] == 0
    assert len(server.call("/seen")["asked"]) == 12 - len(begun)
    found = store.responses.of_round(1)
    assert [r for r in found if r.id <= begun[-1].id] == begun and len(found) == 12
    assert len({(r.prompt_id, r.policy_version_id, r.sample_index) for r in found}) == 12


def test_the_server_may_see_the_workspace_elsewhere(workspace: Path, server: Running,
                                                    tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = sample(workspace, capsys, "--server-workspace", "/mnt/w")
    assert code == 1 and "No adapter found for /mnt/w/adapters/" in said
    (tmp_path / "mounted").symlink_to(workspace)
    code, _, _ = sample(workspace, capsys, "--server-workspace", str(tmp_path / "mounted"))
    assert code == 0


def test_addresses_are_no_field_of_the_browsers_forms() -> None:
    entry = next(e for e in catalogue(Settings()) if e["kind"] == "sample")
    shown = {field["name"] for field in entry["fields"]}
    known = {field.name for field in KINDS["sample"].config_fields()}
    assert {"server", "server_model", "server_workspace", "server_timeout"} <= known - shown


def test_a_wrong_address_is_refused_before_a_job_is_queued(
        workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = sample(workspace, capsys, "--server", "http://me:secret@host/v1")
    assert code == 2 and "--server: the address must hold no name or password" in said
    assert "secret" not in said and not Store.of_workspace(workspace).jobs.all()
