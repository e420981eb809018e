"""What the tests of sampling from a server share: a server, the versions it gets, what is drawn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from completion_process import Running, running
from models import tiny_backbone, tiny_checkpoint
from policy_world import items, randomise, saved_adapter
from processes import PATIENCE

from backbone.model import Backbone
from policy import endpoint as endpoint_module
from policy.config import SampleConfig
from policy.roles import POLICY
from policy.samplers import Wanted
from policy.sampling import Sample
from policy.served import Published, ServedSampler, serving

CONFIG = SampleConfig(max_new_tokens=12, temperature=0.7, batch_size=3, responses=2,
                      server_timeout=PATIENCE, prompts=8, evaluate_share=0.25)
BASE, TRAINED = 1, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and an adapter that does something."""
    made = tmp_path_factory.mktemp("served")
    tiny_checkpoint(made, context=128)
    backbone = tiny_backbone(made)
    saved_adapter(made / "ppo-1", backbone)
    return made


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Running]:
    with running(folder / "tiny") as server:
        yield server


@pytest.fixture
def server(shared: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The shared server, well again; tries follow each other quickly."""
    monkeypatch.setattr(endpoint_module, "WAITS", (0.01, 0.02))
    shared.fault("")
    return shared


@pytest.fixture
def backbone(folder: Path) -> Backbone:
    made = tiny_backbone(folder)
    made.add_adapter(POLICY, made.new_lora_config(4, 8))
    randomise(made, POLICY)  # the same weights as those on disk
    return made


def versions(folder: Path) -> dict[int, Published]:
    return {BASE: Published("base", None, None),
            TRAINED: Published("ppo-1", POLICY, folder / "ppo-1", str(folder / "ppo-1"))}


def wanted(backbone: Backbone) -> list[Wanted]:
    return [Wanted(item.ids, (5, item.id)) for item in items(backbone)]


def config(server: Running, **changes: object) -> SampleConfig:
    return replace(CONFIG, server=server.address, **changes)  # type: ignore[arg-type]


def drawn(sampler: ServedSampler, version: int, asked: list[Wanted]) -> list[Sample]:
    found = dict(pair for part in sampler(version, asked, lambda: None) for pair in part)
    return [found[place] for place in range(len(asked))]


def sampled(config: SampleConfig, backbone: Backbone, folder: Path,
            version: int = TRAINED) -> list[Sample]:
    with serving(config, backbone, versions(folder)) as sampler:
        return drawn(sampler, version, wanted(backbone))
