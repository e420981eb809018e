"""Adapters: they keep to themselves, compute what PEFT computes, and survive the disk."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from models import ASK, LONG, one_thread, tiny_backbone  # noqa: F401
from peft import LoraConfig
from safetensors.torch import save_file

from backbone.flat import flatten
from backbone.flat_pass import runs_flat, states_at
from backbone.heads import ScalarHead
from backbone.model import Backbone
from backbone.storage import CONFIG, WEIGHTS, copy_adapter, load_adapter, save_adapter
from backbone.text import pad, prompt_ids
from data.errors import BadInput


def _randomise(backbone: Backbone, name: str, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in backbone.adapter_parameters(name):
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def _with_adapters(folder: Path, *names: str) -> Backbone:
    backbone = tiny_backbone(folder)
    for number, name in enumerate(names):
        backbone.add_adapter(name, backbone.new_lora_config(4, 8), seed=number)
        _randomise(backbone, name, number)
    return backbone


def test_a_fresh_adapter_changes_nothing(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    batch = pad([prompt_ids(backbone.tokenizer, ASK)], backbone.pad_id, backbone.device)
    bare = backbone.hidden(batch, None)
    backbone.add_adapter("policy", backbone.new_lora_config(4, 8))
    assert torch.equal(backbone.hidden(batch, "policy"), bare)
    assert torch.equal(backbone.hidden(batch, None), bare)


def test_adapters_do_not_touch_each_other(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    batch = pad([prompt_ids(backbone.tokenizer, ASK)], backbone.pad_id, backbone.device)
    bare = backbone.hidden(batch, None)
    backbone = _with_adapters(tmp_path, "policy", "reward")
    first = backbone.hidden(batch, "policy").detach()
    loss = backbone.hidden(batch, "reward").sum()
    loss.backward()
    assert all(p.grad is None for p in backbone.adapter_parameters("policy"))
    assert all(p.grad is not None for p in backbone.adapter_parameters("reward"))
    torch.optim.SGD(backbone.adapter_parameters("reward"), lr=1.0).step()
    assert torch.equal(backbone.hidden(batch, "policy"), first)
    assert torch.equal(backbone.hidden(batch, None), bare)
    backbone.drop_adapter("policy")
    backbone.drop_adapter("reward")
    assert backbone.adapters == []
    assert torch.equal(backbone.hidden(batch, None), bare)


def test_the_checkpoint_is_frozen(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "policy")
    backbone.switch_to("policy")
    trainable = {n for n, p in backbone.trunk.named_parameters() if p.requires_grad}
    assert trainable and all("lora_" in name for name in trainable)


def test_an_unknown_adapter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no adapter 'x'"):
        tiny_backbone(tmp_path).switch_to("x")


def test_bf16_adapters_are_fp32_and_train(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path, dtype=torch.bfloat16)
    backbone.add_adapter("policy", backbone.new_lora_config(4, 8))
    batch = pad([prompt_ids(backbone.tokenizer, ASK)], backbone.pad_id, backbone.device)
    backbone.hidden(batch, "policy").float().square().sum().backward()
    assert {p.dtype for p in backbone.adapter_parameters("policy")} == {torch.float32}
    assert any(p.grad is not None and p.grad.abs().sum() > 0
               for p in backbone.adapter_parameters("policy"))


def test_lora_layers_compute_what_pefts_own_code_computes(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "policy")
    batch = pad([prompt_ids(backbone.tokenizer, m) for m in (ASK, LONG)], backbone.pad_id,
                backbone.device)
    parameters = backbone.adapter_parameters("policy")

    def run(adapter: str | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        states = backbone.hidden(batch, adapter)
        wanted = parameters if adapter else []
        return states.detach(), list(torch.autograd.grad(
            states.square().sum(), wanted)) if wanted else []

    ours = [run("policy"), run(None)]
    for layer in backbone._lora_layers():
        del layer.forward  # what hides peft's own
    for (mine, of_mine), (its, of_its) in zip(ours, (run("policy"), run(None)), strict=True):
        torch.testing.assert_close(mine, its, atol=1e-5, rtol=1e-5)
        for a, b in zip(of_mine, of_its, strict=True):
            torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    assert not torch.equal(ours[0][0], ours[1][0])


@pytest.mark.parametrize("adapter", ["policy", None])
def test_a_flat_row_has_the_states_of_each_text_alone(tmp_path: Path, adapter: str | None) -> None:
    backbone = _with_adapters(tmp_path, "policy")
    assert runs_flat(backbone)
    shared = prompt_ids(backbone.tokenizer, LONG)
    texts = [[*shared, 5, 6, 7], [*shared, 8], [9, 10], [*shared, 5, 6]]
    flat = flatten(texts, backbone.device)
    assert len(flat.ids) < sum(map(len, texts))
    found = states_at(backbone, flat, adapter, torch.cat(flat.columns)).split(
        [len(text) for text in texts])
    for text, states in zip(texts, found, strict=True):
        alone = backbone.hidden(pad([text], backbone.pad_id, backbone.device), adapter)
        torch.testing.assert_close(states, alone[0], atol=1e-5, rtol=1e-5)


def test_an_adapter_and_its_score_head_survive_the_disk(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "reward")
    head = ScalarHead(backbone.hidden_size, backbone.device, seed=3)
    save_adapter(backbone, "reward", tmp_path / "saved", head)
    score = load_adapter(backbone, "again", tmp_path / "saved")
    assert score is not None and torch.equal(score, head.weight)
    batch = pad([prompt_ids(backbone.tokenizer, ASK)], backbone.pad_id, backbone.device)
    assert torch.equal(backbone.hidden(batch, "again"), backbone.hidden(batch, "reward"))


def test_a_copy_is_independent(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "reference")
    copy_adapter(backbone, "reference", "policy")
    before = backbone.adapter_state("reference")["base_model.model.model.layers.0.mlp.down_proj"
                                                 ".lora_A.weight"].clone()
    _randomise(backbone, "policy", 9)
    after = backbone.adapter_state("reference")["base_model.model.model.layers.0.mlp.down_proj"
                                                ".lora_A.weight"]
    assert torch.equal(before, after)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path / "a", "policy")
    save_adapter(backbone, "policy", tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / CONFIG).read_text())
    other = tiny_backbone(tmp_path / "b", layers=3)
    with pytest.raises(BadInput, match="trained on another base"):
        load_adapter(other, "policy", tmp_path / "saved")
    assert other.adapters == []
    config["base_model_name_or_path"] = "somebody/else-1B"
    (tmp_path / "saved" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(BadInput, match="was trained on else-1B"):
        load_adapter(backbone, "again", tmp_path / "saved")


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "policy")
    save_adapter(backbone, "policy", tmp_path / "saved")
    (tmp_path / "saved" / WEIGHTS).rename(tmp_path / "saved" / "adapter_model.bin")
    with pytest.raises(BadInput, match=r"pickled \.bin weights are not read"):
        load_adapter(backbone, "again", tmp_path / "saved")
    (tmp_path / "saved" / WEIGHTS).write_bytes(b"not safetensors")
    with pytest.raises(BadInput, match="cannot be read"):
        load_adapter(backbone, "again", tmp_path / "saved")


def test_safetensors_of_wrong_shape_are_refused(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "policy")
    save_adapter(backbone, "policy", tmp_path / "saved")
    save_file({"base_model.model.model.norm.lora_A.weight": torch.zeros(2)},
              tmp_path / "saved" / WEIGHTS)
    with pytest.raises(BadInput, match="does not fit"):
        load_adapter(backbone, "again", tmp_path / "saved")


def _saved_by_peft(backbone: Backbone, folder: Path, **settings: Any) -> None:
    """An adapter on the backbone's checkpoint, as peft alone makes and saves it."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"],
                           "init_lora_weights": False, "task_type": "CAUSAL_LM", **settings})
    get_peft_model(AutoModelForCausalLM.from_pretrained(backbone.folder), config).save_pretrained(
        folder)


@pytest.mark.parametrize("settings", [
    {"use_rslora": True}, {"alpha_pattern": {"q_proj": 32}},
    {"rank_pattern": {"layers.1.self_attn.q_proj": 2}, "alpha_pattern": {"down_proj": 1}},
    {"layers_to_transform": [1]}, {"exclude_modules": ["layers.0.mlp.down_proj"]}])
def test_adapters_of_other_tools_act_as_strongly_here(tmp_path: Path,
                                                      settings: dict[str, Any]) -> None:
    from peft import AutoPeftModelForCausalLM

    backbone = tiny_backbone(tmp_path)
    _saved_by_peft(backbone, tmp_path / "theirs", **settings)
    load_adapter(backbone, "reference", tmp_path / "theirs")
    copy_adapter(backbone, "reference", "copy")
    save_adapter(backbone, "copy", tmp_path / "saved")
    load_adapter(backbone, "again", tmp_path / "saved")
    batch = pad([prompt_ids(backbone.tokenizer, ASK)], backbone.pad_id, backbone.device)
    theirs, back = (AutoPeftModelForCausalLM.from_pretrained(tmp_path / name).eval()(
        input_ids=batch.ids).logits for name in ("theirs", "saved"))
    torch.testing.assert_close(back, theirs, atol=1e-5, rtol=1e-5)
    for name in ("reference", "copy", "again"):
        ours = backbone.logits(backbone.hidden(batch, name))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(theirs, backbone.logits(backbone.hidden(batch, None)), atol=1e-3)


@pytest.mark.parametrize(("name", "settings"), [
    ("use_dora", {"use_dora": True}), ("lora_bias", {"lora_bias": True}),
    ("bias", {"bias": "all"}), ("modules_to_save", {"modules_to_save": ["lm_head"]}),
    ("init_lora_weights", {"init_lora_weights": "pissa"}),
    ("target_modules", {"target_modules": ["q_proj", "lm_head"]}),
    ("target_modules", {"target_modules": r".*\.q_proj|lm_head"})])
def test_what_is_no_plain_lora_is_refused_by_the_name_of_its_setting(
        tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    backbone = tiny_backbone(tmp_path)
    _saved_by_peft(backbone, tmp_path / "theirs", **settings)
    with pytest.raises(BadInput, match=f"has {name} = .*plain LoRA only"):
        load_adapter(backbone, "policy", tmp_path / "theirs")
    assert backbone.adapters == []


@pytest.mark.parametrize("modules", [["lm_head", "q_proj"], "lm_head|.*q_proj"])
def test_the_modules_that_are_refused_are_shown_as_they_are_named(
        tmp_path: Path, modules: list[str] | str) -> None:
    backbone = tiny_backbone(tmp_path)
    _saved_by_peft(backbone, tmp_path / "theirs", target_modules=modules)
    with pytest.raises(BadInput, match=re.escape(f"has target_modules = {json.dumps(modules)},")):
        load_adapter(backbone, "policy", tmp_path / "theirs")


def test_a_setting_that_peft_does_not_know_yet_is_refused(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "policy")
    save_adapter(backbone, "policy", tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / CONFIG).read_text())
    (tmp_path / "saved" / CONFIG).write_text(json.dumps({**config, "use_newest": "trick"}))
    with pytest.raises(BadInput, match='has use_newest = "trick"'):
        load_adapter(backbone, "again", tmp_path / "saved")


def test_other_tools_load_a_policys_adapter(tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    backbone = _with_adapters(tmp_path, "policy")
    save_adapter(backbone, "policy", tmp_path / "saved")
    theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    batch = pad([prompt_ids(backbone.tokenizer, ASK)], backbone.pad_id, backbone.device)
    ours = backbone.logits(backbone.hidden(batch, "policy"))
    torch.testing.assert_close(theirs(input_ids=batch.ids).logits, ours, atol=1e-5, rtol=1e-5)
