"""Sampling from a server: through real HTTP, from another process, and never from another model."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from completion_server import Running, free_port, running
from models import one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from policy_world import items, randomise, saved_adapter

from backbone.model import Backbone
from backbone.storage import save_adapter
from data.errors import BadInput, PrefloopError
from data.progress import Silent, Stopped
from data.records import Message, Round
from data.store import Store
from policy import endpoint as endpoint_module
from policy.collecting import Collected, collect, plan_round
from policy.config import SampleConfig
from policy.endpoint import KEY_VARIABLE, Endpoint
from policy.logprobs import response_logprobs
from policy.responses import join
from policy.roles import POLICY
from policy.samplers import Wanted
from policy.sampling import Sample
from policy.served import Gap, Published, ServedSampler, serving

CONFIG = SampleConfig(max_new_tokens=12, temperature=0.7, batch_size=3, server_timeout=20,
                      responses=2, prompts=8, evaluate_share=0.25)
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


@pytest.mark.parametrize("flags", [(), ("--processed",)])
def test_what_is_sampled_is_the_version_that_was_asked_for(
        folder: Path, backbone: Backbone, flags: tuple[str, ...]) -> None:
    known, reasons = versions(folder), set[str]()
    with running(folder / "tiny", *flags) as server:
        for version, adapter in ((BASE, None), (TRAINED, POLICY)):
            server.fault("")
            with serving(config(server), backbone, known) as sampler:
                found = drawn(sampler, version, wanted(backbone))
                assert list(server.call("/seen")["loaded"]) == [known[TRAINED].model("")]
            seen = server.call("/seen")
            assert not seen["loaded"], "adapters are taken out of the server again"
            assert {a["model"] for a in seen["asked"]} == {known[version].model(backbone.folder)}
            # The server computes with transformers and PEFT, and agrees with our own backbone.
            assert sampler.figures["sampling_gap"] <= sampler.figures["sampling_gap_max"] < 1e-4
            reasons |= _as_sampled_here(backbone, adapter, found)
    assert reasons == {"eos", "length"}


def _as_sampled_here(backbone: Backbone, adapter: str | None, found: list[Sample]) -> set[str]:
    """Log-probabilities and texts are those that sampling here would have recorded; returns why
    responses ended."""
    texts = join([one.prompt for one in wanted(backbone)], [s.ids for s in found],
                 backbone.pad_id, backbone.device)
    ours = response_logprobs(backbone, adapter, texts, CONFIG.temperature).logprobs
    for row, sample in enumerate(found):
        torch.testing.assert_close(ours[row, :len(sample.ids)].detach(),
                                   torch.tensor(sample.logprobs), atol=1e-5, rtol=1e-5)
        kept = [i for i in sample.ids if i not in backbone.end_ids]
        assert sample.text == backbone.tokenizer.decode(kept, skip_special_tokens=True).strip()
        assert (sample.finish_reason == "eos") == (sample.ids[-1] in backbone.end_ids)
        assert sample.finish_reason == "eos" or len(sample.ids) == CONFIG.max_new_tokens
    return {s.finish_reason for s in found}


def test_a_request_leaves_nothing_to_the_servers_defaults(server: Running, folder: Path,
                                                          backbone: Backbone) -> None:
    sampled(config(server, stop=["cat"]), backbone, folder)
    asked = server.call("/seen")["asked"]
    assert len({a.pop("seed") for a in asked}) == len(asked), "each response has its own seed"
    assert sorted(a.pop("prompt") for a in asked) == sorted(w.prompt for w in wanted(backbone))
    assert all(a == {
        "model": versions(folder)[TRAINED].model(""), "max_tokens": 12, "temperature": 0.7, "n": 1,
        "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "stop": ["cat"],
        "stop_token_ids": [2], "logprobs": 1, "return_token_ids": True,
        "return_tokens_as_token_ids": True} for a in asked)


def test_the_same_names_give_the_same_responses_and_no_more_at_a_time_than_allowed(
        server: Running, folder: Path, backbone: Backbone) -> None:
    first = sampled(config(server), backbone, folder)
    assert 1 < server.call("/seen")["most"] <= CONFIG.batch_size
    alone = sampled(config(server, batch_size=1), backbone, folder)
    for one, other in zip(first, alone, strict=True):
        assert one.ids == other.ids and one.text == other.text
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert sampled(config(server), backbone, folder, BASE) != first


def test_stop_texts_end_a_response_as_they_do_here(server: Running, folder: Path,
                                                   backbone: Backbone) -> None:
    before = sampled(config(server, temperature=1.5), backbone, folder)
    word = before[0].text.split()[2]
    after = sampled(config(server, temperature=1.5, stop=[word]), backbone, folder)
    assert after[0].finish_reason == "stop"
    for plain, stopped in zip(before, after, strict=True):
        assert plain.ids[:len(stopped.ids)] == stopped.ids and word not in stopped.text
        assert (stopped.finish_reason == "stop") == (word in plain.text)


def test_older_vllms_name_tokens_by_their_ids(server: Running, folder: Path,
                                              backbone: Backbone) -> None:
    plain = sampled(config(server), backbone, folder)
    server.fault("named-ids")
    named = sampled(config(server), backbone, folder)
    assert [s.ids for s in named] == [s.ids for s in plain]


@pytest.mark.parametrize("fault", ["429", "500", "drop"])
def test_trouble_that_passes_is_waited_out(server: Running, folder: Path, backbone: Backbone,
                                           fault: str) -> None:
    plain = sampled(config(server), backbone, folder)
    server.fault(fault, times=2)
    again = sampled(config(server), backbone, folder)
    assert [s.ids for s in again] == [s.ids for s in plain]
    assert len(server.call("/seen")["asked"]) == len(plain) + 2


@pytest.mark.parametrize(("fault", "said"), [
    ("500", "HTTP 500: the engine is dead"),
    ("429", "HTTP 429: too many requests"),
    ("drop", "it closed the connection in the middle of an answer|Connection reset"),
    ("malformed", "its answer is no JSON object; is it an OpenAI-compatible server"),
    ("redirect", "it redirects to http://127.0.0.1:9/v1/elsewhere, and redirects are not"),
    ("wrong-model", "asked for prefloop-ppo-1-[0-9a-f]{12}, it answers as another"),
    ("no-ids", "its answer holds no token ids, without which"),
    ("no-logprobs", "its answer holds no log-probability for each token"),
    ("prompt", "it did not go on from the token ids that it was given"),
    ("two", "its answer does not hold one completion"),
    ("strange-ids", "it answers with token 1000000, and the checkpoint has"),
    ("cut", "it ended a response after 1 tokens where nothing ends it here"),
    ("bare", "is not this policy version: its log-probabilities are .* nats a token from ours"),
    ("hang", r"no answer within 0\.3 seconds \(server_timeout\)")])
def test_a_bad_answer_is_one_clear_line(server: Running, folder: Path, backbone: Backbone,
                                        fault: str, said: str) -> None:
    server.fault(fault)
    timeout = 0.3 if fault == "hang" else 20.0
    with pytest.raises(PrefloopError) as caught:
        sampled(config(server, server_timeout=timeout), backbone, folder)
    assert re.search(said, str(caught.value)), str(caught.value)
    assert str(caught.value).startswith(f"server {server.address}: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_prompt_that_is_too_long_is_one_clear_line(server: Running, folder: Path,
                                                     backbone: Backbone) -> None:
    with (serving(config(server), backbone, versions(folder)) as sampler,
          pytest.raises(PrefloopError, match=r"maximum context length is 128 tokens.* \(asked for "
                        r"12 tokens after a prompt of 120; vLLM's --max-model-len limits")):
        drawn(sampler, BASE, [Wanted([5] * 120, (1,))])


def test_nobody_there_another_checkpoint_and_no_such_path(server: Running, folder: Path,
                                                          backbone: Backbone) -> None:
    nobody = replace(CONFIG, server=f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(PrefloopError, match="Connection refused"):
        sampled(nobody, backbone, folder)
    with pytest.raises(PrefloopError, match=r"does not serve qwen, but .*tiny: name the checkpoint "
                                            "as it does with server_model"):
        sampled(config(server, server_model="qwen"), backbone, folder)
    with pytest.raises(PrefloopError, match=r"nothing at this address .* ends in /v1"):
        sampled(replace(CONFIG, server=server.address.removesuffix("/v1")), backbone, folder)


def test_what_answers_but_speaks_no_http(folder: Path, backbone: Backbone,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "WAITS", ())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def speak() -> None:
            talk, _ = listening.accept()
            talk.sendall(b"220 mail.example.org ready\r\n")
            talk.close()

        threading.Thread(target=speak, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        with pytest.raises(PrefloopError, match=r"its answer is not HTTP|reset"):
            sampled(replace(CONFIG, server=address), backbone, folder)


def test_an_answer_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "WAITS", ())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def drip() -> None:
            talk, _ = listening.accept()
            try:
                talk.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
                for _ in range(100):
                    talk.sendall(b" ")
                    time.sleep(0.1)
            except OSError:
                pass

        threading.Thread(target=drip, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        began = time.monotonic()
        with pytest.raises(PrefloopError, match=r"no answer within 0\.5 seconds"):
            Endpoint(address, 0.5).get("/models")
        assert time.monotonic() - began < 5


def test_an_adapter_that_lies_elsewhere_for_the_server(server: Running, folder: Path,
                                                       backbone: Backbone) -> None:
    lost = {TRAINED: replace(versions(folder)[TRAINED], seen_as="/nowhere/ppo-1")}
    with pytest.raises(PrefloopError, match=r"No adapter found for /nowhere/ppo-1 \(while loading "
                                            "the adapter of ppo-1 .*; server_workspace names"), \
            serving(config(server), backbone, lost):
        pass


def test_an_adapter_that_is_there_already_is_the_same_or_has_another_name(
        server: Running, folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    there = versions(folder)[TRAINED]
    server.call("/fault", {"kind": "", "times": 0, "after": 0})
    with serving(config(server), backbone, versions(folder)):
        sampled(config(server), backbone, folder)  # finds it, and leaves it where it is
        assert there.model("") in server.call("/seen")["loaded"]
    randomise(backbone, POLICY, seed=9)
    save_adapter(backbone, POLICY, tmp_path / "ppo-1")
    assert replace(there, folder=tmp_path / "ppo-1").model("") != there.model("")


def test_a_server_with_a_key_that_cannot_load_adapters(
        folder: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "WAITS", ())
    base = {BASE: versions(folder)[BASE]}

    def ask(known: dict[int, Published]) -> list[Sample]:
        with serving(config(server), backbone, known) as sampler:
            return drawn(sampler, BASE, wanted(backbone)[:2])

    with running(folder / "tiny", "--key", "sk-very-secret", "--no-loading") as server:
        with pytest.raises(PrefloopError, match=f"it wants an API key.*{KEY_VARIABLE}"):
            ask(base)
        monkeypatch.setenv(KEY_VARIABLE, "sk-very-secret\n")
        assert len(ask(base)) == 2
        with pytest.raises(PrefloopError, match="it cannot load the adapter of ppo-1; start vLLM "
                           "with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment and "
                           "--enable-lora --max-lora-rank 4, or with --lora-modules prefloop-ppo"):
            ask(versions(folder))
        server.fault("key")
        with pytest.raises(PrefloopError, match="bad request with Bearer …") as caught:
            ask(base)
        assert "secret" not in str(caught.value)
        monkeypatch.setenv(KEY_VARIABLE, "sk-other")
        with pytest.raises(PrefloopError, match="or another one"):
            ask(base)
        monkeypatch.setenv(KEY_VARIABLE, "sk-secret\nX-Other: 1")
        with pytest.raises(BadInput, match="the key holds characters") as refused:
            ask(base)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("address", [
    "127.0.0.1:8000", "file:///etc/passwd", "http://", "http://host:port/v1", "ftp://host/v1",
    "http://me:secret@host/v1", "http://host/v1?key=1", "http://host/v1#x", "http://host/ v1",
    "http://host/v1\r\nX: 1"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(BadInput, match="--server: ") as caught:
        SampleConfig(server=address)
    assert "secret" not in str(caught.value)


def test_a_stop_request_does_not_wait_for_a_server_that_hangs(server: Running, folder: Path,
                                                              backbone: Backbone) -> None:
    server.fault("hang")
    began = time.monotonic()

    def check() -> None:
        if server.call("/seen")["asked"]:
            raise Stopped

    with (serving(config(server), backbone, versions(folder)) as sampler,
          pytest.raises(Stopped)):
        list(sampler(TRAINED, wanted(backbone), check))
    assert time.monotonic() - began < 10


def test_the_gap_is_judged_by_what_is_certain() -> None:
    few, many, rounding = Gap(), Gap(), Gap()
    few.add(torch.tensor([0.2]))
    many.add(torch.full((400,), 0.12))
    rounding.add(torch.full((400,), 0.04))
    assert not few.is_too_large and many.is_too_large and not rounding.is_too_large
    assert many.mean == pytest.approx(0.12) and many.largest == pytest.approx(0.12)


# A round, as `prefloop sample` opens it.

@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "prefloop.db")


def filled(path: Path) -> Store:
    found = Store(path)
    for number in range(12):
        words = f"tell me about the cat {'one ' * number}"
        found.prompts.add([Message(role="user", content=words)], "test",
                          split="held_out" if number % 3 == 0 else "train")
    base = found.versions.add_policy(name="base", base="tiny", method="base")
    found.versions.add_policy(name="ppo-1", base="tiny", method="ppo", parent_id=base.id)
    return found


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
        fresh = filled(tmp_path / "fresh.db")
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
