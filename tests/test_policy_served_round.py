"""A round, as `prefloop sample` opens it, from a server that fails: nothing is lost or doubled."""

import json
from pathlib import Path

import pytest
from completion_process import Running, running
from models import one_thread
from policy_world import filled
from processes import free_port
from served_world import BASE, TRAINED, backbone, config, folder, server, shared, versions

from backbone.model import Backbone
from data.errors import PrefloopError
from data.progress import Silent
from data.records import Round
from data.store import Store
from policy import endpoint as endpoint_module
from policy.collecting import Collected, collect, plan_round
from policy.served import serving

assert backbone and folder and one_thread and server and shared  # fixtures


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "prefloop.db", 12)


def collected(store: Store, server: Running, backbone: Backbone, folder: Path,
              round_: Round) -> Collected:
    asked = config(server)
    plan = plan_round(store, backbone, round_, asked, 3)
    with serving(asked, backbone, versions(folder)) as sampler:
        return collect(store, sampler, plan, round_, asked, 3, Silent())


def rows(store: Store, round_: Round) -> list[tuple[object, ...]]:
    return sorted((r.prompt_id, r.policy_version_id, r.sample_index, r.text, tuple(r.token_ids),
                   r.finish_reason) for r in store.responses.of_round(round_.id))


def test_a_server_that_dies_loses_and_doubles_nothing(
        store: Store, folder: Path, backbone: Backbone, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "WAITS", (0.01,))
    round_ = store.rounds.open(TRAINED, BASE)
    port = free_port()
    with running(folder / "tiny", port=port) as server:
        server.fault("die", after=9)
        with pytest.raises(PrefloopError, match=f"server http://127.0.0.1:{port}/v1: "):
            collected(store, server, backbone, folder, round_)
    part = rows(store, round_)
    assert 0 < len(part) <= 9
    with running(folder / "tiny", port=port) as server:
        collected(store, server, backbone, folder, round_)
        assert len(server.call("/seen")["asked"]) == 16 - len(part)
        fresh = filled(tmp_path / "fresh.db", 12)
        whole = fresh.rounds.open(TRAINED, BASE)
        collected(fresh, server, backbone, folder, whole)
    assert len(rows(store, round_)) == 16 and set(part) <= set(rows(store, round_))
    assert rows(store, round_) == rows(fresh, whole)
    assert (sorted((t.prompt_id, t.purpose) for t in store.tasks.of_round(round_.id))
            == sorted((t.prompt_id, t.purpose) for t in fresh.tasks.of_round(whole.id)))
    assert {json.dumps(r.sampling) for r in store.responses.of_round(round_.id)} == {
        json.dumps({"temperature": 0.7, "max_new_tokens": 12, "stop": [], "sampler": "server"})}


def test_what_came_before_an_error_is_kept(store: Store, server: Running, folder: Path,
                                           backbone: Backbone) -> None:
    round_ = store.rounds.open(TRAINED, BASE)
    server.fault("malformed", after=6)
    with pytest.raises(PrefloopError, match="no JSON object"):
        collected(store, server, backbone, folder, round_)
    kept = store.responses.of_round(round_.id)
    assert kept and all(r.token_ids and r.logprob is not None for r in kept)
    assert Store(store.database.path).responses.of_round(round_.id) == kept
