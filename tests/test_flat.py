"""Texts in one flat row: nothing is lost, and a pass is the checkpoint's own."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import at_last_token, one_thread, tiny_backbone  # noqa: F401

from backbone import flat as layout
from backbone.flat import Flat, Tile, flatten
from backbone.flat_pass import last_states, runs_flat
from backbone.model import Backbone
from backbone.packing import pack
from backbone.text import pad
from backbone.tile_attention import attention

CPU = torch.device("cpu")


def texts(seed: int = 0) -> list[list[int]]:
    """Three prompts behind one system message, four responses each, and what is awkward."""
    draw = random.Random(seed)

    def some(count: int) -> list[int]:
        return [draw.randrange(40) for _ in range(count)]

    system = some(12)
    found = [[*prompt, *some(draw.randint(1, 30))]
             for prompt in ([*system, *some(draw.randint(9, 20))] for _ in range(3))
             for _ in range(4)]
    return [*found, found[0], found[0][:-1], [5], [5], [5, 6], some(300)]


def seen_by(flat: Flat, tiles: list[Tile], row: int) -> list[int]:
    """Columns that a query sees, in order, from whichever tile it is in."""
    for tile in tiles:
        for stretch, query in (~tile.padding).nonzero().tolist():
            if int(tile.queries[stretch, query]) == row:
                return [int(c) for c in tile.keys[stretch][tile.unseen[stretch, query] == 0]]
    raise AssertionError(f"no tile has query {row}")


@pytest.mark.parametrize("stretch", [256, 7])
def test_every_text_can_be_read_back_from_what_its_tokens_see(
        monkeypatch: pytest.MonkeyPatch, stretch: int) -> None:
    monkeypatch.setattr(layout, "STRETCH", stretch)
    asked = texts()
    flat = flatten(asked, CPU)
    for number, text in enumerate(asked):
        for tiles, row in ((flat.tiles, int(flat.last[number])), (flat.last_tiles, number)):
            columns = seen_by(flat, tiles, row)
            assert flat.ids[columns].tolist() == text
            assert flat.positions[columns].tolist() == list(range(len(text)))
    rows = torch.cat([t.queries[~t.padding] for t in flat.tiles])
    assert sorted(rows.tolist()) == list(range(len(flat.ids))), "each token is a query once"


def test_what_is_shared_stands_there_once() -> None:
    system, prompts = list(range(20)), [[100 + p] * 10 for p in range(3)]
    asked = [[*system, *prompt, 200 + 10 * p + k] for p, prompt in enumerate(prompts)
             for k in range(5)]
    assert len(flatten(asked, CPU).ids) == 20 + 3 * 10 + 15
    assert len(flatten(list(reversed(asked)), CPU).ids) == 20 + 3 * 10 + 15


def test_tiles_stay_small_and_hold_little_padding() -> None:
    draw = random.Random(0)
    asked = [[draw.randrange(99) for _ in range(draw.randint(1, 900))] for _ in range(60)]
    for tile in flatten(asked, CPU).tiles:
        pairs = tile.unseen.numel()
        assert pairs <= layout.TILE_PAIRS
        if pairs > layout.SMALL_TILE:
            real = sum(len(set(keys.tolist())) for keys in tile.keys) * tile.unseen.shape[1]
            assert pairs < 1.5 * real


@pytest.mark.parametrize("heads", [(4, 4), (6, 2)])
def test_attention_is_softmax_over_what_is_seen_and_so_are_its_gradients(
        heads: tuple[int, int]) -> None:
    size, flat = 4, flatten([[1] * 9 + [2, 3], [1] * 9 + [4, 5, 6], [7, 8]], CPU)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(len(flat.ids), count * size, generator=generator,
                           dtype=torch.float64, requires_grad=True)
               for count in (heads[0], heads[1], heads[1]))
    found = attention(q, k, v, flat.tiles, size)
    group = heads[0] // heads[1]
    for row in range(len(flat.ids)):
        columns = seen_by(flat, flat.tiles, row)
        for head in range(heads[0]):
            mine = slice(head * size, (head + 1) * size)
            its = slice(head // group * size, (head // group + 1) * size)
            scores = np.array([(q[row, mine] @ k[c, its]).item() for c in columns]) / size ** 0.5
            weights = np.exp(scores) / np.exp(scores).sum()
            expected = weights @ v[columns][:, its].detach().numpy()
            np.testing.assert_allclose(found[row, mine].detach().numpy(), expected, rtol=1e-6)
    torch.autograd.gradcheck(
        lambda queries, keys, values: attention(queries, keys, values, flat.tiles, size),
        (q, k, v), atol=1e-4, rtol=1e-3)  # keys' gradients are summed in fp32


def adapted(backbone: Backbone) -> list[torch.nn.Parameter]:
    backbone.add_adapter("one", backbone.new_lora_config(4, 8))
    generator = torch.Generator().manual_seed(2)
    parameters = backbone.adapter_parameters("one")
    for parameter in parameters:
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return parameters


def test_flat_packed_and_padded_are_the_same_forward_and_backward(tmp_path: Path) -> None:
    backbone, asked = tiny_backbone(tmp_path, layers=3), texts()
    parameters = adapted(backbone)
    assert runs_flat(backbone)
    weight = torch.randn(len(asked), backbone.hidden_size,
                         generator=torch.Generator().manual_seed(1))

    def alone() -> torch.Tensor:
        return torch.cat([at_last_token(backbone.hidden(b, "one"), b)
                          for b in (pad([text], 0, CPU) for text in asked)])

    def padded() -> torch.Tensor:
        batch = pad(asked, 0, CPU)
        return at_last_token(backbone.hidden(batch, "one"), batch)

    def packed() -> torch.Tensor:
        found = pack(asked, 0, CPU)
        return backbone.hidden_of_packed(found, "one")[found.rows, found.last]

    def flat() -> torch.Tensor:
        return last_states(backbone, flatten(asked, CPU), "one")

    expected = alone()
    gradients = torch.autograd.grad((expected * weight).sum(), parameters)
    for way in (padded, packed, flat):
        found = way()
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        for one, other in zip(torch.autograd.grad((found * weight).sum(), parameters), gradients,
                              strict=True):
            assert (one - other).abs().max() <= 2e-4 * other.abs().max()


def test_half_precision_is_as_near_as_the_checkpoints_own_code(tmp_path: Path) -> None:
    asked = texts()
    tiny_backbone(tmp_path, layers=3)
    exact, half = (tiny_backbone(tmp_path, dtype=d) for d in (torch.float32, torch.bfloat16))
    for backbone in (exact, half):
        adapted(backbone)
    batch, flat = pad(asked, 0, CPU), flatten(asked, CPU)
    with torch.no_grad():
        truth = last_states(exact, flat, "one")
        ours = (last_states(half, flat, "one").float() - truth).abs().mean()
        theirs = (at_last_token(half.hidden(batch, "one"), batch).float() - truth).abs().mean()
    assert 0 < ours < 1.5 * theirs


def test_only_adapters_get_gradients_and_no_other_adapter(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    adapted(backbone)
    backbone.add_adapter("other", backbone.new_lora_config(2, 4))
    last_states(backbone, flatten(texts(), CPU), "other")  # whichever ran before
    torch.autograd.backward(last_states(backbone, flatten(texts(), CPU), "one").sum())
    for name, parameter in backbone.trunk.named_parameters():
        assert (parameter.grad is not None) == (".one." in name), name


def test_a_target_without_lora_is_the_weight_alone(tmp_path: Path) -> None:
    backbone, asked = tiny_backbone(tmp_path), texts()
    lora = backbone.new_lora_config(4, 8)
    lora.target_modules = {"q_proj", "down_proj"}
    backbone.add_adapter("one", lora)
    for parameter in backbone.adapter_parameters("one"):
        torch.nn.init.normal_(parameter, std=0.3)
    batch = pad(asked, 0, CPU)
    with torch.no_grad():
        torch.testing.assert_close(last_states(backbone, flatten(asked, CPU), "one"),
                                   at_last_token(backbone.hidden(batch, "one"), batch),
                                   atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("spoil", ["bias", "merged", "dropout", "name"])
def test_what_is_not_known_takes_the_checkpoints_own_code(tmp_path: Path, spoil: str) -> None:
    backbone = tiny_backbone(tmp_path)
    adapted(backbone)
    trunk: Any = backbone.trunk
    layer = trunk.layers[0].self_attn.q_proj
    if spoil == "bias":
        layer.base_layer.bias = torch.nn.Parameter(torch.zeros(32))
    elif spoil == "merged":
        layer.merge()
    elif spoil == "dropout":
        layer.lora_dropout["one"] = torch.nn.Dropout(0.1)
    else:
        trunk.__class__ = type("OtherModel", (type(trunk),), {})
    assert not runs_flat(backbone)
