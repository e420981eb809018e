"""Same text, same score: alone, batched, padded either way, saved, reloaded, by other tools."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from models import at_last_token, one_thread, tiny_backbone, tiny_checkpoint  # noqa: F401
from peft import AutoPeftModelForSequenceClassification
from reward_world import text

from backbone.model import Backbone
from backbone.packing import pack
from backbone.storage import SCORE_KEY, WEIGHTS, save_adapter
from backbone.text import pad
from data.errors import BadInput
from data.records import Message
from reward.batches import encode
from reward.model import RewardModel

SPECIAL = ["<|im_end|>", "well <|im_end|> then", "<|im_start|> user no <|im_end|>", "<pad> one",
           "ends with <|im_end|> <|im_end|>", "<unk>", "<pad>"]


def conversations(count: int = 9, seed: int = 0) -> list[list[Message]]:
    draw = random.Random(seed)
    answers = [text(draw, draw.randint(1, 30)) for _ in range(count)] + SPECIAL
    return [[{"role": "user", "content": text(draw, draw.randint(1, 8))},
             {"role": "assistant", "content": answer}] for answer in answers]


def moved(backbone: Backbone, max_length: int = 1024) -> RewardModel:
    """A reward model whose adapter does something."""
    model = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), max_length, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.adapter_parameters:
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(params=[False, True], ids=["pad", "pad-is-eos"])
def backbone(request: pytest.FixtureRequest, tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path, pad_is_eos=request.param)


def test_alone_batched_and_padded_either_way(backbone: Backbone) -> None:
    model = moved(backbone)
    asked = conversations()
    alone = [model.score([one])[0] for one in asked]
    assert len(set(alone)) > len(asked) // 2
    for batch_size in (1, 3, 32):
        assert model.score(asked, batch_size) == pytest.approx(alone, abs=2e-5)
    shuffled = random.Random(1).sample(range(len(asked)), len(asked))
    assert model.score([asked[i] for i in shuffled]) == pytest.approx(
        [alone[i] for i in shuffled], abs=2e-5)
    ids = [encode(backbone, one, 1024)[0] for one in asked]
    with torch.no_grad():
        for left in (False, True):
            batch = pad(ids, backbone.pad_id, backbone.device, left)
            scores = model.head(at_last_token(backbone.hidden(batch, model.adapter), batch))
            assert scores.tolist() == pytest.approx(alone, abs=2e-5)


def test_responses_that_share_a_prompt_score_as_if_they_did_not(backbone: Backbone) -> None:
    model = moved(backbone)
    asked = [[*prompt, Message(role="assistant", content=" ".join(["good", "cat"][:n % 3] * n))]
             for prompt in ([Message(role="user", content="tell me about the cat and the dog")],
                            [Message(role="user", content="one two three four five six")])
             for n in range(1, 6)]
    ids = [encode(backbone, one, 1024)[0] for one in asked]
    packed = pack(ids, backbone.pad_id, backbone.device)
    assert packed.ids.shape[0] == 2, "five responses a row"
    assert packed.ids.numel() < sum(map(len, ids))
    alone = [model.score([one])[0] for one in asked]
    scores = model.scores_of(ids)
    assert scores.tolist() == pytest.approx(alone, abs=2e-5)
    weights = torch.arange(len(ids)) - 4.5
    parameters = [*model.adapter_parameters, *model.head.parameters()]
    together = torch.autograd.grad((scores * weights).sum(), parameters)
    singly = torch.autograd.grad(sum(
        model.scores_of([one])[0] * weight for one, weight in zip(ids, weights, strict=True)),
        parameters)
    for one, other in zip(together, singly, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_packing_takes_any_texts(backbone: Backbone) -> None:
    texts = [[5, 6, 7], [5, 6, 7], [5, 6, 7, 8], [9], [5, 6, 8, 8, 8, 8, 8]]
    packed = pack(texts, 0, backbone.device)
    for number, one in enumerate(texts):
        row, last = int(packed.rows[number]), int(packed.last[number])
        seen = packed.sees[row, last]
        assert packed.ids[row][seen].tolist() == one
        assert packed.positions[row][seen].tolist() == list(range(len(one)))


def test_other_tools_load_it_and_give_the_same_scores(backbone: Backbone, tmp_path: Path) -> None:
    model = moved(backbone)
    asked = conversations()
    ours = model.score(asked)
    model.save(tmp_path / "reward")
    theirs: Any = AutoPeftModelForSequenceClassification.from_pretrained(
        tmp_path / "reward", num_labels=1).eval()
    tokenizer = backbone.tokenizer
    texts = [tokenizer.apply_chat_template(one, tokenize=False) for one in asked]
    with torch.no_grad():
        alone = [theirs(**tokenizer(one, return_tensors="pt", add_special_tokens=False,
                                    return_token_type_ids=False)).logits.item() for one in texts]
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False,
                          return_token_type_ids=False)
        together = theirs(**batch).logits[:, 0].tolist()
    assert alone == pytest.approx(ours, abs=2e-5)
    assert together == pytest.approx(ours, abs=2e-5)


def test_merged_into_the_checkpoint_it_gives_the_same_scores(backbone: Backbone,
                                                             tmp_path: Path) -> None:
    model = moved(backbone)
    asked = conversations()
    ours = model.score(asked)
    model.save(tmp_path / "reward")
    theirs: Any = AutoPeftModelForSequenceClassification.from_pretrained(
        tmp_path / "reward", num_labels=1).eval().merge_and_unload()
    assert not any("lora" in name for name, _ in theirs.named_parameters())
    with torch.no_grad():
        merged = [theirs(input_ids=torch.tensor([encode(backbone, one, 1024)[0]])).logits.item()
                  for one in asked]
    assert merged == pytest.approx(ours, abs=5e-5)


def test_saved_and_reloaded_with_its_head(backbone: Backbone, tmp_path: Path) -> None:
    model = moved(backbone, max_length=17)
    asked = conversations()
    ours = model.score(asked)
    assert moved(tiny_backbone(tmp_path)).score(asked) != ours, "some were cut"
    model.save(tmp_path / "reward")
    other = tiny_backbone(tmp_path)
    again = RewardModel.load(other, tmp_path / "reward", adapter="another name")
    assert torch.equal(again.head.weight, model.head.weight)
    assert again.score(asked) == ours
    assert again.max_length == 17


def test_a_tokenizer_without_pad(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    for name, key in (("tokenizer_config.json", "pad_token"), ("config.json", "pad_token_id")):
        found = json.loads((folder / name).read_text())
        found.pop(key, None)
        (folder / name).write_text(json.dumps(found))
    backbone = tiny_backbone(tmp_path)
    assert backbone.tokenizer.pad_token_id is None and backbone.config_pad_id is None
    model = moved(backbone)
    asked = conversations()
    alone = [model.score([one])[0] for one in asked]
    assert model.score(asked) == pytest.approx(alone, abs=2e-5)
    model.save(tmp_path / "reward")
    theirs: Any = AutoPeftModelForSequenceClassification.from_pretrained(
        tmp_path / "reward", num_labels=1).eval()
    with torch.no_grad():
        for one, ours in zip(asked, alone, strict=True):
            ids = torch.tensor([encode(backbone, one, 1024)[0]])
            assert theirs(input_ids=ids).logits.item() == pytest.approx(ours, abs=2e-5)


def test_the_adapter_off_leaves_the_checkpoint_as_it_was(backbone: Backbone) -> None:
    model = moved(backbone)
    from backbone.text import pad

    batch = pad([[5, 6, 7]], 0, backbone.device)
    with torch.no_grad():
        bare = backbone.trunk.__class__.from_pretrained(backbone.folder)(batch.ids)[0]
        torch.testing.assert_close(backbone.hidden(batch, None), bare)
        assert not torch.allclose(backbone.hidden(batch, model.adapter), bare, atol=1e-3)


def test_over_long_conversations_lose_their_oldest_turns(backbone: Backbone) -> None:
    model = moved(backbone, max_length=40)
    recent: list[Message] = [{"role": "user", "content": "yes or no"},
                             {"role": "assistant", "content": "maybe often"}]
    old: list[Message] = [{"role": "user", "content": "cat " * 60},
                          {"role": "assistant", "content": "dog " * 60}]
    assert model.score([[*old, *recent]]) == pytest.approx(model.score([recent]), abs=1e-6)


def test_what_is_no_reward_model_is_refused_in_one_line(backbone: Backbone,
                                                        tmp_path: Path) -> None:
    model = moved(backbone)
    with pytest.raises(BadInput, match="no adapter there"):
        RewardModel.load(backbone, tmp_path / "nothing")
    save_adapter(backbone, model.adapter, tmp_path / "policy")
    with pytest.raises(BadInput, match="no score head"):
        RewardModel.load(backbone, tmp_path / "policy", adapter="other")
    assert "other" not in backbone.adapters
    model.save(tmp_path / "reward")
    (tmp_path / "reward" / "reward.json").write_text("{")
    with pytest.raises(BadInput, match=r"reward\.json"):
        RewardModel.load(backbone, tmp_path / "reward", adapter="other")


def test_the_file_holds_the_head_where_peft_keeps_it(backbone: Backbone, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    moved(backbone).save(tmp_path / "reward")
    assert SCORE_KEY in load_file(tmp_path / "reward" / WEIGHTS)
    assert not list((tmp_path / "reward").glob("*.bin"))


@pytest.mark.embedded
def test_the_embedded_model_scores_the_same_padded(tmp_path: Path) -> None:
    backbone = Backbone("embedded", torch.device("cpu"), torch.float32)
    model = moved(backbone)
    asked = conversations(3)[:6]
    alone = [model.score([one])[0] for one in asked]
    assert model.score(asked) == pytest.approx(alone, abs=1e-3)
    model.save(tmp_path / "reward")
    theirs: Any = AutoPeftModelForSequenceClassification.from_pretrained(
        tmp_path / "reward", num_labels=1, dtype=torch.float32).eval()
    batch = backbone.tokenizer(
        [backbone.tokenizer.apply_chat_template(one, tokenize=False) for one in asked],
        return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.no_grad():
        assert theirs(**batch).logits[:, 0].tolist() == pytest.approx(alone, abs=1e-3)
