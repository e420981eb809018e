"""The backbone: adapters that keep to themselves, padding that does not matter, honest errors."""

import json
from pathlib import Path

import pytest
import torch
from models import at_last_token, one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from safetensors.torch import save_file

from backbone.checkpoint import load_tokenizer
from backbone.device import choose_device, choose_dtype
from backbone.flat import flatten
from backbone.flat_pass import runs_flat, states_at
from backbone.heads import ScalarHead
from backbone.model import Backbone
from backbone.resume import load_training, save_training
from backbone.storage import CONFIG, WEIGHTS, copy_adapter, load_adapter, save_adapter
from backbone.text import conversation_ids, pad, prompt_ids
from data.errors import BadInput
from data.records import Message

ASK = [Message(role="user", content="tell me about the cat")]
LONG = [Message(role="user", content="one two three four five six seven eight nine ten")]


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


@pytest.mark.parametrize("pad_is_eos", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_padding_does_not_change_hidden_states(tmp_path: Path, left: bool,
                                               pad_is_eos: bool) -> None:
    backbone = tiny_backbone(tmp_path, pad_is_eos=pad_is_eos)
    short, long = (prompt_ids(backbone.tokenizer, m) for m in (ASK, LONG))
    alone = backbone.hidden(pad([short], backbone.pad_id, backbone.device), None)
    batch = pad([short, long], backbone.pad_id, backbone.device, left=left)
    together = backbone.hidden(batch, None)[0][batch.mask[0].bool()]
    torch.testing.assert_close(together, alone[0], atol=1e-5, rtol=1e-5)


def test_the_last_token_is_found_by_the_mask(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path, pad_is_eos=True)
    # The end-of-sequence token, which is the pad token too, stands in the middle of the text.
    rows = [[5, backbone.pad_id, 7], [5, 6, 7, 8, backbone.pad_id]]
    for left in (False, True):
        batch = pad(rows, backbone.pad_id, backbone.device, left=left)
        picked = batch.ids[torch.arange(2), batch.last]
        assert picked.tolist() == [7, backbone.pad_id]
        hidden = torch.randn(2, 5, 3)
        assert torch.equal(at_last_token(hidden, batch)[0], hidden[0, batch.last[0]])


def test_over_long_conversations_lose_their_oldest_turns(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_checkpoint(tmp_path)))
    turns = [Message(role="user", content="one two three"),
             Message(role="assistant", content="four five"), *ASK]
    whole, none_cut = conversation_ids(tokenizer, turns, 100, None)
    cut, number = conversation_ids(tokenizer, turns, len(whole) - 1, None)
    assert none_cut == 0 and number == 1
    assert cut == conversation_ids(tokenizer, turns[1:], 100, None)[0]
    assert conversation_ids(tokenizer, LONG, 4, None)[1] == 1
    assert len(conversation_ids(tokenizer, LONG, 4, None)[0]) == 4


def test_a_prompt_longer_than_the_context_is_named(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_checkpoint(tmp_path)))
    with pytest.raises(BadInput, match="tokens, and the checkpoint's context leaves room for 5"):
        prompt_ids(tokenizer, LONG, longest=5)


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


def test_checkpoints_that_cannot_serve_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        load_tokenizer(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"holds no config\.json"):
        load_tokenizer(str(tmp_path / "empty"))
    folder = tiny_checkpoint(tmp_path)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(BadInput, match="no chat template"):
        load_tokenizer(str(folder))


def test_broken_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    (folder / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(BadInput, match="cannot be loaded"):
        Backbone(str(folder), torch.device("cpu"), torch.float32)


def test_devices_and_precisions() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(BadInput, match="--device"):
        choose_device("abacus")
    cpu = torch.device("cpu")
    assert choose_dtype("bf16", cpu) is torch.bfloat16
    assert choose_dtype("fp32", cpu) is torch.float32
    assert choose_dtype("auto", cpu) in (torch.bfloat16, torch.float32)


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


def test_training_state_survives_the_disk(tmp_path: Path) -> None:
    def run(steps: int, model: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        for step in range(steps):
            optimizer.zero_grad()
            model(torch.full((1, 3), step + 1.0)).sum().backward()
            optimizer.step()

    def fresh() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    assert load_training(tmp_path / "none", {}) is None
    whole, optimizer = fresh()
    run(3, whole, optimizer)
    save_training(tmp_path / "state", 2, {}, {}, {})
    save_training(tmp_path / "state", 3, whole.state_dict(), {"only": optimizer}, {"step": 3})
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-00000003"]
    again, again_optimizer = fresh()
    found = load_training(tmp_path / "state", {"only": again_optimizer})
    assert found is not None and found[1] == {"step": 3}
    again.load_state_dict(found[0])
    for model, its in ((whole, optimizer), (again, again_optimizer)):
        run(2, model, its)
    assert torch.equal(whole.weight, again.weight)
    assert not list(tmp_path.glob(".*"))


def test_safetensors_of_wrong_shape_are_refused(tmp_path: Path) -> None:
    backbone = _with_adapters(tmp_path, "policy")
    save_adapter(backbone, "policy", tmp_path / "saved")
    save_file({"base_model.model.model.norm.lora_A.weight": torch.zeros(2)},
              tmp_path / "saved" / WEIGHTS)
    with pytest.raises(BadInput, match="does not fit"):
        load_adapter(backbone, "again", tmp_path / "saved")


def test_a_pretrained_checkpoint_is_read_in_another_template(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    template = load_tokenizer(str(folder)).chat_template
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(str(folder), template).chat_template == template


def test_a_cut_conversation_begins_with_the_user(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_checkpoint(tmp_path)))
    turns = [Message(role="system", content="be red"), *LONG,
             Message(role="assistant", content="four five"), *ASK,
             Message(role="assistant", content="yes")]
    whole, _ = conversation_ids(tokenizer, turns, 100, None)
    cut, number = conversation_ids(tokenizer, turns, len(whole) - 1, None)
    assert number == 2
    assert cut == conversation_ids(tokenizer, [turns[0], *turns[3:]], 100, None)[0]


def test_other_tools_load_a_policys_adapter(tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    backbone = _with_adapters(tmp_path, "policy")
    save_adapter(backbone, "policy", tmp_path / "saved")
    theirs = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    batch = pad([prompt_ids(backbone.tokenizer, ASK)], backbone.pad_id, backbone.device)
    ours = backbone.logits(backbone.hidden(batch, "policy"))
    torch.testing.assert_close(theirs(input_ids=batch.ids).logits, ours, atol=1e-5, rtol=1e-5)


def test_scores_that_are_altered_after_the_head_are_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "final_logit_softcapping": 30.0}))
    with pytest.raises(BadInput, match="sets final_logit_softcapping"):
        Backbone(str(folder), torch.device("cpu"), torch.float32)
