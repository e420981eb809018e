"""Texts laid out for a pass: flat, packed or padded, whole or begun behind the lower blocks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401

from backbone import flat_pass, layouts
from backbone.layouts import Layout, blocks_of, lay_out, upper_blocks
from backbone.model import Backbone
from data.errors import BadInput

#: Two that begin alike, one by itself.
TEXTS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [5, 6, 7, 8, 9, 10, 11, 12, 13, 9, 10], [11, 12]]


@pytest.fixture(params=["flat", "packed", "padded"])
def backbone(request: pytest.FixtureRequest, tmp_path: Path,
             monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """With an adapter that has moved the upper two of four blocks."""
    found = tiny_backbone(tmp_path, layers=4)
    lora = found.new_lora_config(4, 8)
    lora.target_modules = set(upper_blocks(found, 2))
    found.add_adapter("reward", lora, seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in found.adapter_parameters("reward"):
            parameter.normal_(std=0.2, generator=generator)
    if request.param != "flat":
        monkeypatch.setattr(layouts, "runs_flat", lambda _: False)
    if request.param == "padded":
        monkeypatch.setattr(Backbone, "can_pack", False)
    return found


def by_themselves(backbone: Backbone, text: list[int]) -> list[torch.Tensor]:
    """[T, d] states of a text alone behind each number of blocks, from the model's own output;
    the last are normalised."""
    backbone.switch_to("reward")
    found = backbone.trunk(input_ids=torch.tensor([text]), output_hidden_states=True,
                           use_cache=False).hidden_states
    return [states[0] for states in found]


def behind(layout: Layout, layers: set[int], lower: Any = None) -> dict[int, torch.Tensor]:
    found: dict[int, torch.Tensor] = {}
    layout.climb(layers, "reward", lambda layer, states: found.update({layer: states}), lower)
    assert found.keys() == layers
    return found


def counted(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Hears the number of each block that is run, from 1 on."""
    run: list[int] = []
    blocks = list(blocks_of(backbone.trunk))
    for number, block in enumerate(blocks, 1):
        for part in block.children():
            part.register_forward_hook(lambda *_, number=number: run.append(number))
    as_it_is = flat_pass._layer
    monkeypatch.setattr(flat_pass, "_layer", lambda layer, *more: (
        run.append(blocks.index(layer) + 1), as_it_is(layer, *more))[1])
    return run


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1]], ids=["several", "one"])
def test_states_are_those_of_each_text_by_itself(backbone: Backbone,
                                                 texts: list[list[int]]) -> None:
    layout = lay_out(backbone, texts)
    found, ends = behind(layout, {1, 3}), layout.ends("reward")
    for text, columns, end in zip(texts, layout.columns, ends, strict=True):
        alone = by_themselves(backbone, text)
        assert len(columns) == len(text) and columns.max() < layout.width
        for layer, states in found.items():
            torch.testing.assert_close(states[columns], alone[layer], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(end, alone[-1][-1], atol=2e-5, rtol=1e-4)
    spans = [(0, len(texts[0])), (4, 5), (1, 2)][:len(texts)]
    share = layout.share(spans)
    for row, text, (start, end) in zip(share, texts, spans, strict=True):
        torch.testing.assert_close(row @ found[3], by_themselves(backbone, text)[3][start:end]
                                   .mean(0), atol=2e-5, rtol=1e-4)
    places = layout.at([end - 1 for _, end in spans])
    for state, text, (_, end) in zip(found[3][places], texts, spans, strict=True):
        torch.testing.assert_close(state, by_themselves(backbone, text)[3][end - 1],
                                   atol=2e-5, rtol=1e-4)


def test_a_pass_begun_behind_the_lower_blocks_is_the_same_and_runs_none_of_them(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name.split(".")[1] for name in upper_blocks(backbone, 2)} == {"2", "3"}
    parameters = backbone.adapter_parameters("reward")
    layout = lay_out(backbone, TEXTS)
    weight = torch.randn(len(TEXTS), backbone.hidden_size,
                         generator=torch.Generator().manual_seed(2))

    def learned(lower: Any) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
        third, ends = behind(layout, {3}, lower)[3], layout.ends("reward", lower)
        loss = (ends * weight).sum() + third[layout.last].square().sum()
        return [third, ends], torch.autograd.grad(loss, parameters)

    run = counted(backbone, monkeypatch)
    lower = layout.lower(2)
    assert set(run) == {1, 2}
    run.clear()
    found = learned(lower)
    assert set(run) == {3, 4}
    run.clear()
    whole = learned(None)
    assert set(run) == {1, 2, 3, 4}, "the blocks are themselves again"
    for ours, theirs in zip((*found[0], *found[1]), (*whole[0], *whole[1]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    assert any(gradient.abs().max() > 0 for gradient in found[1])


def test_what_lower_blocks_made_serves_in_any_other_layout(backbone: Backbone) -> None:
    layout = lay_out(backbone, TEXTS)
    parts = layout.split(layout.lower(2))
    assert [len(part.states) for part in parts] == [len(text) for text in TEXTS]
    for order in ([2, 0], [1], [1, 2, 0], [0, 1]):
        other = lay_out(backbone, [TEXTS[i] for i in order])
        joined = other.join([parts[i] for i in order])
        found, ends = behind(other, {3}, joined)[3], other.ends("reward", joined)
        whole, whole_ends = behind(other, {3})[3], other.ends("reward")
        torch.testing.assert_close(ends, whole_ends, atol=2e-5, rtol=1e-4)
        for columns in other.columns:
            torch.testing.assert_close(found[columns], whole[columns], atol=2e-5, rtol=1e-4)
    other, moved = lay_out(backbone, TEXTS[:2]), replace(parts[1], states=parts[1].states + 1)
    joined = other.join([parts[0], moved])
    assert torch.equal(joined.states[other.columns[0]], parts[0].states), "the first one's holds"
    assert torch.equal(joined.states[other.columns[1][-1]], moved.states[-1])


def test_a_pass_ends_behind_the_deepest_block_asked_for(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    run = counted(backbone, monkeypatch)
    behind(lay_out(backbone, TEXTS), {1, 3})
    assert set(run) == {1, 2, 3}


def test_blocks_that_are_not_there_hold_nothing_to_adapt(backbone: Backbone) -> None:
    with pytest.raises(BadInput, match="4 blocks"):
        upper_blocks(backbone, 4)
