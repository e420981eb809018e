"""A response is encoded once a step, and how a step is cut up changes nothing."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import example, good_wins, text
from torch import Tensor

from backbone.model import Backbone
from backbone.packing import Packed
from reward.batches import Encoder, by_length, microbatches, plan_steps
from reward.config import RewardConfig
from reward.examples import Example, PreferenceData
from reward.model import RewardModel
from reward.train import backward, train


def rankings(prompts: int, responses: int, seed: int = 0) -> list[Example]:
    """Prompts with full rankings of K responses."""
    draw = random.Random(seed)
    return [example(p, [text(draw, draw.randint(1, 40)) for _ in range(responses)],
                    [(a, b, 3) for a, b in combinations(range(responses), 2)])
            for p in range(1, prompts + 1)]


def test_every_pair_once_an_epoch_and_the_limit_holds() -> None:
    examples = [*rankings(7, 4), *rankings(20, 2, seed=1)[7:], *rankings(21, 9, seed=2)[20:]]
    steps = plan_steps(examples, 2, 8, seed=3)
    for epoch in (0, 1):
        pairs = [p for s in steps if s.epoch == epoch for u in s.units for p in u.pairs]
        assert Counter(pairs) == Counter(p for e in examples for p in e.pairs)
    for step in steps:
        ids = [i for unit in step.units for i in unit.response_ids]
        assert len(ids) <= 8 and len(set(ids)) == len(ids)
    assert [s.ends_epoch for s in steps].count(True) == 2 and steps[-1].ends_epoch


def test_a_ranking_stays_in_one_step() -> None:
    steps = plan_steps(rankings(6, 4), 1, 8, seed=0)
    assert [len(u.pairs) for s in steps for u in s.units] == [6] * 6
    assert len(steps) == 3


def test_the_plan_follows_from_the_seed() -> None:
    examples = rankings(12, 3)
    assert plan_steps(examples, 2, 6, 1) == plan_steps(examples, 2, 6, 1)
    assert plan_steps(examples, 2, 6, 1) != plan_steps(examples, 2, 6, 2)
    first, second = (([u.example.prompt_id for s in plan_steps(examples, 2, 6, 1)
                       if s.epoch == e for u in s.units]) for e in (0, 1))
    assert first != second and sorted(first) == sorted(second)


def test_by_length_keeps_within_the_tokens_asked_for() -> None:
    lengths = {i: random.Random(i).randint(1, 50) for i in range(40)}
    parts = by_length(lengths, 100, rows=6)
    assert sorted(i for part in parts for i in part) == list(range(40))
    assert all(len(p) * lengths[p[0]] <= 100 and len(p) <= 6 for p in parts)
    flat = [lengths[i] for part in parts for i in part]
    assert flat == sorted(flat, reverse=True)


def test_one_forward_for_each_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone(tmp_path)
    seen: list[tuple[int, ...]] = []
    tokens: list[int] = []
    original, forward = RewardModel.scores_of, Backbone.hidden_of_packed

    def counted(self: RewardModel, sequences: Sequence[Sequence[int]]) -> Tensor:
        if torch.is_grad_enabled():
            seen.extend(tuple(sequence) for sequence in sequences)
        return original(self, sequences)

    def encoded(self: Backbone, packed: Packed, adapter: str | None) -> Tensor:
        if torch.is_grad_enabled():
            tokens.append(int((packed.segments >= 0).sum()))
        return forward(self, packed, adapter)

    monkeypatch.setattr(RewardModel, "scores_of", counted)
    monkeypatch.setattr(Backbone, "hidden_of_packed", encoded)
    data = PreferenceData(tuple(rankings(4, 5)), ())
    train(backbone, data, RewardConfig(epochs=1), backbone.new_lora_config(2, 4))
    assert len(seen) == 20 and len(set(seen)) == 20, "20 responses in 40 pairs"
    assert sum(tokens) < sum(map(len, seen)), "a prompt's tokens once for its responses"


def gradients(backbone: Backbone, examples: list[Example], tokens: int) -> tuple[float, Any, int]:
    model = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 512, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.adapter_parameters:
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    (step,) = plan_steps(examples, 1, 64, seed=0)
    encoder = Encoder(backbone, 512)
    found = microbatches(step.units, encoder, tokens)
    lookup = {i: u.example for u in step.units for i in u.response_ids}
    loss = sum(backward(model, batch, encoder, lookup, step.weight)[0] for batch in found)
    return (loss, [p.grad for p in [*model.adapter_parameters, model.head.weight]],
            sum(len(b.parts) for b in found))


def test_eight_by_one_is_one_by_eight(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    examples = [*rankings(4, 3), *rankings(8, 2, seed=1)[4:]]
    whole_loss, whole, passes = gradients(backbone, examples, 100_000)
    assert passes == 1
    for tokens in (200, 1):  # units of one microbatch each, then single responses in two passes
        loss, found, passes = gradients(backbone, examples, tokens)
        assert passes > 5
        assert loss == pytest.approx(whole_loss, rel=1e-5)
        for ours, theirs in zip(found, whole, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_sorting_saves_padding(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path)
    (step,) = plan_steps(good_wins(16).train, 1, 64, seed=0)
    encoder = Encoder(backbone, 512)
    lengths = {i: len(encoder.ids(u.example, i)) for u in step.units for i in u.response_ids}
    padded = sum(len(part) * max(lengths[i] for i in part)
                 for batch in microbatches(step.units, encoder, 150) for part in batch.parts)
    assert padded < 0.85 * len(lengths) * max(lengths.values())
