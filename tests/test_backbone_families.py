"""Checkpoints of other families than Llama's: each computes here what its own code computes, or is
refused by the reason."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import checkpoint_of, one_thread, tiny_checkpoint  # noqa: F401
from peft import PeftModel
from policy_world import randomise
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PretrainedConfig

from backbone.checkpoint import check_early, check_unread
from backbone.decoding import decode
from backbone.layouts import lay_out, upper_blocks
from backbone.model import Backbone
from backbone.storage import load_adapter, save_adapter
from data.errors import BadInput
from policy.logprobs import response_logprobs
from policy.responses import join

CPU = torch.device("cpu")
SHAPE: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 16, "max_position_embeddings": 128,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
OLD = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128,
       "bos_token_id": 1, "eos_token_id": 2}
EXPERTS = {"moe_intermediate_size": 8, "num_experts_per_tok": 1}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "turned weights, absolute positions": ("GPT2", OLD),
    "no fused attention": ("GPTJ", {**OLD, "rotary_dim": 4}),
    "positions by distance": ("Bloom", {
        "vocab_size": 64, "hidden_size": 16, "n_layer": 2, "n_head": 2, "seq_length": 128}),
    "positions by distance, fused": ("Falcon", {
        **{k: v for k, v in SHAPE.items() if k != "num_key_value_heads"}, "alibi": True,
        "multi_query": False, "parallel_attn": False}),
    "an offset of positions": ("OPT", {
        **SHAPE, "ffn_dim": 16, "word_embed_proj_dim": 16}),
    "windows": ("Mistral", {**SHAPE, "sliding_window": 6}),
    "alternating windows": ("Gemma3Text", {
        **SHAPE, "head_dim": 8, "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"]}),
    "a head by another name": ("BioGpt", {
        k: v for k, v in SHAPE.items() if k != "num_key_value_heads"}),
    "experts beside a dense layer": ("DeepseekV3", {
        **SHAPE, **EXPERTS, "num_key_value_heads": 2, "n_routed_experts": 2,
        "n_shared_experts": 1, "kv_lora_rank": 4, "q_lora_rank": 4, "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4, "v_head_dim": 8, "n_group": 1, "topk_group": 1,
        "first_k_dense_replace": 1}),
    "convolutions between attention": ("Lfm2", {
        **SHAPE, "layer_types": ["conv", "full_attention"]}),
    "a state beside attention": ("FalconH1", {
        **SHAPE, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_d_ssm": 32,
        "mamba_chunk_size": 8}),
}


def _config(family: str) -> PretrainedConfig:
    name, shape = FAMILIES[family]
    config: PretrainedConfig = getattr(transformers, f"{name}Config")(**shape)
    return config


def _texts() -> list[list[int]]:
    draw = random.Random(0)

    def some(count: int) -> list[int]:
        return [draw.randrange(5, 60) for _ in range(count)]

    prompt = some(14)
    return [prompt + some(4), prompt + some(9), some(30), some(1), prompt + some(1)]


@torch.no_grad()
def _scores(model: Any, texts: list[list[int]]) -> list[torch.Tensor]:
    """[T, V] of each text alone, by transformers and peft without us."""
    return [model(input_ids=torch.tensor([text]), use_cache=False).logits[0] for text in texts]


def _same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_pass_is_the_checkpoints_own(tmp_path: Path, family: str) -> None:
    folder, texts = checkpoint_of(tmp_path, _config(family)), _texts()
    backbone = Backbone(str(folder), CPU, torch.float32)
    backbone.add_adapter("policy", backbone.new_lora_config(4, 8))
    randomise(backbone, "policy")
    save_adapter(backbone, "policy", tmp_path / "adapter")
    plain = AutoModelForCausalLM.from_pretrained(folder)
    bare = _scores(plain, texts)
    adapted = _scores(PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval(), texts)
    assert not torch.allclose(bare[0], adapted[0], atol=1e-2)

    again = Backbone(str(folder), CPU, torch.float32)
    load_adapter(again, "policy", tmp_path / "adapter")
    for adapter, wanted in (("policy", adapted), (None, bare)):
        for one in (backbone, again):
            with torch.no_grad():
                ends = one.logits(lay_out(one, texts).ends(adapter))
            _same(ends, torch.stack([scores[-1] for scores in wanted]))
        _decodes(backbone, adapter, texts, wanted)
        long = [row for row, text in enumerate(texts) if len(text) > 12]
        with torch.no_grad():
            found = response_logprobs(backbone, adapter, join(
                [texts[row][:12] for row in long], [texts[row][12:] for row in long],
                backbone.pad_id, CPU), 0.7).logprobs
        for logprobs, row in zip(found, long, strict=True):
            own = (wanted[row][11:-1] / 0.7).log_softmax(-1)
            of_tokens = own.gather(1, torch.tensor(texts[row][12:])[:, None])[:, 0]
            _same(logprobs[:len(of_tokens)], of_tokens)


def _decodes(backbone: Backbone, adapter: str | None, texts: list[list[int]],
             wanted: list[torch.Tensor]) -> None:
    """Token by token, with rows that leave on the way."""
    rows, read = [0, 1, 2, 4], [8, 3, 10, 5]
    going = decode(backbone, adapter, [texts[row][:n] for row, n in zip(rows, read, strict=True)],
                   10)
    for step in range(10):
        _same(backbone.logits(going.states),
              torch.stack([wanted[row][n - 1] for row, n in zip(rows, read, strict=True)]))
        if step == 4:
            going.keep(torch.tensor([1, 2]))
            rows, read = rows[1:3], read[1:3]
        going.feed(torch.tensor([texts[row][n] for row, n in zip(rows, read, strict=True)]))
        read = [n + 1 for n in read]


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_an_adapter_learns(tmp_path: Path, family: str) -> None:
    backbone = Backbone(str(checkpoint_of(tmp_path, _config(family))), CPU, torch.float32)
    for name, modules in (("whole", None), ("upper", set(upper_blocks(backbone, 1)))):
        config = backbone.new_lora_config(4, 8)
        config.target_modules = modules or config.target_modules
        backbone.add_adapter(name, config)
        randomise(backbone, name)
        parameters = backbone.adapter_parameters(name)
        loss = lay_out(backbone, _texts()).ends(name).square().sum()
        assert all(gradient.any() for gradient in torch.autograd.grad(loss, parameters))


@pytest.mark.parametrize(("name", "shape", "reason"), [
    ("Granite", {**SHAPE, "logits_scaling": 8.0}, "sets logits_scaling, and scores"),
    ("Bert", SHAPE, "its tokens see what comes after them"),
    ("Bloom", {"vocab_size": 64, "hidden_size": 16, "n_layer": 2, "n_head": 2},
     "add max_position_embeddings to it"),
])
def test_what_would_be_computed_wrongly_is_refused(tmp_path: Path, name: str,
                                                   shape: dict[str, Any], reason: str) -> None:
    folder = checkpoint_of(tmp_path, getattr(transformers, f"{name}Config")(**shape))
    _refused_also_unread(folder, reason)


@pytest.mark.parametrize(("name", "shape", "reason"), [
    ("OPT", {**SHAPE, "ffn_dim": 16, "word_embed_proj_dim": 8}, "answers with 8 numbers a token"),
    ("Mamba", {**SHAPE, "state_size": 4}, "cannot be sampled from"),
    ("BigBird", {**SHAPE, "attention_type": "original_full"}, "its tokens see what comes after"),
    ("XLM", {"vocab_size": 64, "emb_dim": 16, "n_layers": 2, "n_heads": 2, "causal": True,
             "max_position_embeddings": 128}, "its own code cannot be run"),
])
def test_what_only_its_weights_tell_is_refused_too(
        tmp_path: Path, name: str, shape: dict[str, Any], reason: str,
        monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint_of(tmp_path, getattr(transformers, f"{name}Config")(**shape))
    with pytest.raises(BadInput, match=f"--checkpoint .*{reason}") as loaded:
        Backbone(str(folder), CPU, torch.float32)
    with pytest.raises(BadInput) as early:
        check_early(str(folder))
    assert str(early.value) == str(loaded.value)
    monkeypatch.setattr("backbone.checkpoint.QUICKLY_READ", 1)
    check_early(str(folder))


@pytest.mark.parametrize("config", [transformers.BartConfig(), transformers.ModernBertConfig()])
def test_what_has_an_encoder_is_refused(tmp_path: Path, config: PretrainedConfig) -> None:
    folder = tiny_checkpoint(tmp_path)
    config.save_pretrained(folder)
    _refused_also_unread(folder, f"type {config.model_type} there is no causal")


def _refused_also_unread(folder: Path, reason: str) -> None:
    """In the same words, before anything is read that takes long."""
    with pytest.raises(BadInput, match=f"--checkpoint .*{reason}") as loaded:
        Backbone(str(folder), CPU, torch.float32)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput) as unread:
        check_unread(str(folder))
    assert str(unread.value) == str(loaded.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_can_be_loaded_is_not_refused_unread(tmp_path: Path, family: str) -> None:
    folder = checkpoint_of(tmp_path, _config(family))
    (folder / "model.safetensors").write_bytes(b"")
    check_unread(str(folder))
    check_unread(str(folder), for_rewards=True)


def test_for_rewards_neither_a_template_nor_a_head_is_needed(tmp_path: Path) -> None:
    folder = checkpoint_of(tmp_path, transformers.GraniteConfig(**SHAPE, logits_scaling=8.0))
    (folder / "chat_template.jinja").unlink()
    check_unread(str(folder), for_rewards=True)
    with pytest.raises(BadInput, match="has no chat template"):
        check_unread(str(folder))


@pytest.mark.parametrize("changed", [
    {"num_hidden_layers": "two"}, {"rope_parameters": {"rope_type": "unheard of"}},
    {"quantization_config": {"quant_method": "gptq", "bits": 4}}])
def test_configs_that_cannot_be_served_are_refused_in_one_line(tmp_path: Path,
                                                              changed: dict[str, Any]) -> None:
    folder = tiny_checkpoint(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changed}))
    with pytest.raises(BadInput, match=r"--checkpoint .*cannot be loaded: ."):
        Backbone(str(folder), CPU, torch.float32)


def test_weights_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    """What lacks would otherwise be drawn at random, anew at each start."""
    folder = tiny_checkpoint(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"lack 1 of the tensors .*layers\.1\.mlp\.up_proj"):
        Backbone(str(folder), CPU, torch.float32)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="a few tokens is not finite"):
        Backbone(str(folder), CPU, torch.float32)


def test_without_a_head_a_checkpoint_is_for_rewards_alone(tmp_path: Path) -> None:
    folder = checkpoint_of(tmp_path, _config("windows"))
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    backbone = Backbone(str(folder), CPU, torch.float32)
    states = lay_out(backbone, _texts()).ends(None)
    with pytest.raises(BadInput, match="no head over the vocabulary"):
        backbone.logits(states)


def test_texts_stay_where_rotations_do_not_depend_on_the_longest_one(tmp_path: Path) -> None:
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4,
            "long_factor": [4.0] * 4, "original_max_position_embeddings": 32}
    config = transformers.Phi3Config(**SHAPE, original_max_position_embeddings=32,
                                     rope_parameters=rope)
    assert Backbone(str(checkpoint_of(tmp_path, config)), CPU, torch.float32).context_length == 32


def test_tokens_without_an_embedding_are_named(tmp_path: Path) -> None:
    folder = checkpoint_of(tmp_path, transformers.LlamaConfig(**{**SHAPE, "vocab_size": 40}))
    backbone = Backbone(str(folder), CPU, torch.float32)
    backbone.tokenizer.pad_token = backbone.tokenizer.convert_ids_to_tokens(45)
    assert backbone.pad_id == backbone.tokenizer.eos_token_id
    beyond = backbone.tokenizer.pad_token
    for use in (lambda texts: lay_out(backbone, texts), lambda texts: decode(
            backbone, None, texts, 1)):
        use([[5, 6]])
        with pytest.raises(BadInput, match=f"holds the token {beyond!r}, for which"):
            use([[5, 6], [7, 45]])


def test_lora_on_experts_is_refused(tmp_path: Path) -> None:
    folder = checkpoint_of(tmp_path, _config("experts beside a dense layer"))
    backbone = Backbone(str(folder), CPU, torch.float32)
    config = backbone.new_lora_config(4, 8)
    config.target_modules = {"gate_proj", "up_proj"}
    with pytest.raises(BadInput, match="LoRA on the experts"):
        backbone.add_adapter("policy", config)
    assert backbone.adapters == []
