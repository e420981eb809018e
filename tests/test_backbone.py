"""The backbone: padding that does not matter, texts that are cut, and honest errors."""

import json
from datetime import datetime
from pathlib import Path

import pytest
import torch
from models import ASK, LONG, at_last_token, one_thread, tiny_backbone, tiny_checkpoint
from transformers.utils import chat_template_utils

from backbone.checkpoint import load_tokenizer
from backbone.device import choose_device, choose_dtype
from backbone.model import Backbone
from backbone.resume import load_training, save_training
from backbone.text import conversation_ids, pad, prompt_ids
from data.errors import BadInput
from data.records import Message

assert one_thread  # a fixture, used by every test here


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


def test_a_cut_conversation_begins_with_the_user(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_checkpoint(tmp_path)))
    turns = [Message(role="system", content="be red"), *LONG,
             Message(role="assistant", content="four five"), *ASK,
             Message(role="assistant", content="yes")]
    whole, _ = conversation_ids(tokenizer, turns, 100, None)
    cut, number = conversation_ids(tokenizer, turns, len(whole) - 1, None)
    assert number == 2
    assert cut == conversation_ids(tokenizer, [turns[0], *turns[3:]], 100, None)[0]


def test_the_date_in_a_chat_template_stands_still(tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load_tokenizer(str(tiny_checkpoint(tmp_path)))
    plain = tokenizer.apply_chat_template(ASK, tokenize=False)
    tokenizer.chat_template = (
        "\n{% if not date_string is defined %}{% if strftime_now is defined %}"
        "{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{% endif %}"
        "{{ date_string + strftime_now(' %A %-d %B, %Y-%m-%d') }}" + tokenizer.chat_template)
    seen: list[str] = []

    def read(_: object, text: str, **__: object) -> dict[str, list[int]]:
        seen.append(text)
        return {"input_ids": [len(text)]}

    monkeypatch.setattr(type(tokenizer), "__call__", read)
    for day in (1, 2):
        clock = type("Clock", (), {"now": lambda day=day: datetime(2031, 5, day)})
        monkeypatch.setattr(chat_template_utils, "datetime", clock)
        assert tokenizer.apply_chat_template(ASK, tokenize=False).startswith(f"\n0{day} May 2031")
        prompt_ids(tokenizer, ASK)
        conversation_ids(tokenizer, ASK, 100, None)
    assert seen[:2] == seen[2:]
    assert seen[1] == f"\n26 Jul 2024 Friday 26 July, 2024-07-26{plain}"


def test_a_prompt_longer_than_the_context_is_named(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_checkpoint(tmp_path)))
    with pytest.raises(BadInput, match="tokens, and the checkpoint's context leaves room for 5"):
        prompt_ids(tokenizer, LONG, longest=5)


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


def test_a_pretrained_checkpoint_is_read_in_another_template(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    template = load_tokenizer(str(folder)).chat_template
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(str(folder), template).chat_template == template


def test_devices_and_precisions() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(BadInput, match="--device"):
        choose_device("abacus")
    cpu = torch.device("cpu")
    assert choose_dtype("bf16", cpu) is torch.bfloat16
    assert choose_dtype("fp32", cpu) is torch.float32
    assert choose_dtype("auto", cpu) in (torch.bfloat16, torch.float32)


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
