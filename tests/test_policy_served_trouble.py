"""Trouble with the server that is sampled from: waited out, or told in one clear line."""

import re
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from completion_process import Running, running
from models import one_thread
from processes import PATIENCE, free_port
from served_world import (
    BASE,
    CONFIG,
    TRAINED,
    backbone,
    config,
    drawn,
    folder,
    sampled,
    server,
    shared,
    versions,
    wanted,
)

from backbone.model import Backbone
from data.errors import BadInput, PrefloopError
from data.progress import Stopped
from policy import endpoint as endpoint_module
from policy.config import SampleConfig
from policy.endpoint import KEY_VARIABLE, Endpoint
from policy.samplers import Wanted
from policy.sampling import Sample
from policy.served import Published, serving

assert backbone and folder and one_thread and server and shared  # fixtures


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
    timeout = 0.3 if fault == "hang" else PATIENCE
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
                for _ in range(1000):
                    talk.sendall(b" ")
                    time.sleep(0.1)
            except OSError:
                pass

        threading.Thread(target=drip, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        began = time.monotonic()
        with pytest.raises(PrefloopError, match=r"no answer within 0\.5 seconds"):
            Endpoint(address, 0.5).get("/models")
        assert time.monotonic() - began < 60  # it drips for longer


def test_an_adapter_that_lies_elsewhere_for_the_server(server: Running, folder: Path,
                                                       backbone: Backbone) -> None:
    lost = {TRAINED: replace(versions(folder)[TRAINED], seen_as="/nowhere/ppo-1")}
    with pytest.raises(PrefloopError, match=r"No adapter found for /nowhere/ppo-1 \(while loading "
                                            "the adapter of ppo-1 .*; server_workspace names"), \
            serving(config(server), backbone, lost):
        pass


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

    def check() -> None:
        if server.call("/seen")["asked"]:
            raise Stopped

    with serving(config(server), backbone, versions(folder)) as sampler:
        began = time.monotonic()
        with pytest.raises(Stopped):
            list(sampler(TRAINED, wanted(backbone), check))
        assert time.monotonic() - began < 50  # it hangs for longer
