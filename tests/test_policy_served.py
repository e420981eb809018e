"""Sampling from a server: through real HTTP, from another process, and never from another model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from completion_process import Running, running
from models import one_thread
from policy_world import randomise
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
from backbone.storage import save_adapter
from policy.logprobs import response_logprobs
from policy.responses import join
from policy.roles import POLICY
from policy.sampling import Sample
from policy.served import Gap, serving

assert backbone and folder and one_thread and server and shared  # fixtures


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
    sampled(config(server, stop=["cat", "<|im_start|>"]), backbone, folder)
    start = backbone.tokenizer.convert_tokens_to_ids("<|im_start|>")
    asked = server.call("/seen")["asked"]
    assert len({a.pop("seed") for a in asked}) == len(asked), "each response has its own seed"
    assert sorted(a.pop("prompt") for a in asked) == sorted(w.prompt for w in wanted(backbone))
    assert all(a == {
        "model": versions(folder)[TRAINED].model(""), "max_tokens": 12, "temperature": 0.7, "n": 1,
        "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
        "stop": ["cat", "<|im_start|>"], "stop_token_ids": sorted([2, start]), "logprobs": 1,
        "return_token_ids": True, "return_tokens_as_token_ids": True} for a in asked)


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


def test_the_gap_is_judged_by_what_is_certain() -> None:
    few, many, rounding = Gap(), Gap(), Gap()
    few.add(torch.tensor([0.2]))
    many.add(torch.full((400,), 0.12))
    rounding.add(torch.full((400,), 0.04))
    assert not few.is_too_large and many.is_too_large and not rounding.is_too_large
    assert many.mean == pytest.approx(0.12) and many.largest == pytest.approx(0.12)
