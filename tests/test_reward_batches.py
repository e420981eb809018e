"""A response is encoded once a step, and how a step is cut up changes nothing."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import Recorder, example, text

from backbone import layouts
from backbone.flat import SHARED_TOKENS, Flat, flatten
from backbone.model import Backbone
from reward.batches import Encoder, Microbatch, microbatches, plan_steps
from reward.config import RewardConfig
from reward.examples import Example, PreferenceData
from reward.gradients import backward
from reward.model import RewardModel
from reward.passes import Size, by_length, parts_within
from reward.plackett_luce import rankings_of
from reward.train import train


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
        assert len(set(ids)) == len(ids)
        assert len(ids) <= 8 or (len(ids) == 9 and len(step.units) == 1)
    assert [s.ends_epoch for s in steps].count(True) == 2 and steps[-1].ends_epoch


def test_a_ranking_stays_in_one_step() -> None:
    steps = plan_steps(rankings(6, 4), 1, 8, seed=0)
    assert [len(u.pairs) for s in steps for u in s.units] == [6] * 6
    assert len(steps) == 3


def test_a_prompt_a_little_too_large_stays_whole_and_a_larger_one_is_cut() -> None:
    whole, cut = (plan_steps(rankings(1, k), 1, 8, seed=0) for k in (10, 11))
    assert [len(u.pairs) for s in whole for u in s.units] == [45]
    assert len(cut) > 1 and sum(len(u.pairs) for s in cut for u in s.units) == 55
    assert all(len(u.response_ids) <= 8 for s in cut for u in s.units)


def test_whole_rankings_are_never_cut_however_small_a_step_is() -> None:
    """Four labelers rank four of twelve responses each; a step holds five, and then three."""
    ranked = [[(3 * k + n) % 12 for n in range(4)] for k in range(4)]
    made = example(1, [f"text {n}" for n in range(12)],
                   [(*pair, 3) for mine in ranked for pair in combinations(mine, 2)])
    made = replace(made, pairs=tuple(replace(p, comparison_id=n // 6, weight=1 / 6)
                                     for n, p in enumerate(made.pairs)))
    for limit in (5, 3):
        steps = plan_steps([made], 2, limit, seed=1, whole_rankings=True)
        for epoch in (0, 1):
            units = [u for s in steps if s.epoch == epoch for u in s.units]
            assert Counter(p for u in units for p in u.pairs) == Counter(made.pairs)
            found = [ranking.groups for u in units for ranking in rankings_of(u.pairs)]
            assert sorted(found) == sorted(
                tuple((100 + n,) for n in mine) for mine in ranked), "nobody tied anything"


def test_training_on_rankings_does_not_cut_them(tmp_path: Path) -> None:
    """With a step too small for them the first step's loss is that of what labelers said."""
    made = example(1, ["good one", "good two", "bad one", "bad two"],
                   [(a, b, 3) for a, b in combinations(range(4), 2)])
    made = replace(made, pairs=tuple(replace(p, comparison_id=1, weight=1 / 6)
                                     for p in made.pairs))
    data = PreferenceData((made, replace(made, prompt_id=2)), ())
    found = []
    for size in (3, 8):
        backbone, heard = tiny_backbone(tmp_path), Recorder()
        train(backbone, data, RewardConfig(epochs=1, responses_per_step=size,
                                           rankings="plackett-luce"),
              backbone.new_lora_config(4, 8), progress=heard)
        found.append((heard.steps[1]["loss"], heard.steps[1]["pairs"]))
    assert found[0][1] == 6, "all that was said of four responses"
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)


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


class Passes:
    """Counts what goes through the decoder with gradients: texts, and tokens of each pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[tuple[int, ...]] = []
        self.tokens: list[int] = []

        def counted(texts: Sequence[Sequence[int]], device: torch.device) -> Flat:
            flat = flatten(texts, device)
            if torch.is_grad_enabled():
                self.texts += [tuple(text) for text in texts]
                self.tokens.append(len(flat.ids))
            return flat

        monkeypatch.setattr(layouts, "flatten", counted)


@pytest.mark.parametrize("voters", [1, 4])
def test_each_response_is_encoded_once_a_step_however_many_comparisons(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voters: int) -> None:
    backbone, passes = tiny_backbone(tmp_path), Passes(monkeypatch)
    asked = [replace(e, pairs=e.pairs * voters) for e in rankings(4, 5)]
    config = RewardConfig(epochs=2, responses_per_step=20)
    train(backbone, PreferenceData(tuple(asked), ()), config, backbone.new_lora_config(2, 4))
    assert len(passes.tokens) == 2, "one pass a step, for 40 pairs or for 160"
    assert len(passes.texts) == 2 * 20 and len(set(passes.texts)) == 20
    prompt = 4 * len(common(passes.texts[:20]))
    assert passes.tokens[0] < sum(map(len, passes.texts[:20])) - 3 * prompt, "prompts once"


def common(texts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """What all begin with."""
    length = next(n for n in range(999) if len({text[:n + 1] for text in texts}) > 1)
    return texts[0][:length]


@pytest.mark.parametrize("responses", [4, 8, 24])
def test_a_pass_does_not_grow_with_the_responses_of_a_prompt(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, responses: int) -> None:
    backbone, passes = tiny_backbone(tmp_path), Passes(monkeypatch)
    config = RewardConfig(epochs=1, responses_per_step=24, microbatch_tokens=120)
    data = PreferenceData(tuple(rankings(2, responses)), ())
    train(backbone, data, config, backbone.new_lora_config(2, 4))
    assert max(passes.tokens) <= 120
    assert len(passes.texts) == 2 * responses == len(set(passes.texts))


def gradients(backbone: Backbone, examples: list[Example], tokens: int,
              config: RewardConfig) -> tuple[float, Any, int]:
    model = RewardModel.fresh(backbone, backbone.new_lora_config(4, 8), 512, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.adapter_parameters:
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    (step,) = plan_steps(examples, 1, 64, seed=0)
    encoder = Encoder(backbone, 512)
    found = microbatches(step.units, encoder, tokens)
    lookup = {i: u.example for u in step.units for i in u.response_ids}

    def scores_of(part: Sequence[int]) -> torch.Tensor:
        return model.scores_of([encoder.ids(lookup[i], i) for i in part])

    loss = sum(backward(scores_of, batch, step.weight, config)[0] for batch in found)
    return (loss, [p.grad for p in [*model.adapter_parameters, model.head.weight]],
            sum(len(b.parts) for b in found))


@pytest.mark.parametrize("config", [
    RewardConfig(), RewardConfig(label_smoothing=0.1, centering=0.3, margin_per_strength=0.2),
    RewardConfig(rankings="plackett-luce", centering=0.3),
    RewardConfig(label_smoothing=0.1, correct_side=True, correct_reliability=True)],
    ids=["plain", "terms", "rankings", "habits"])
def test_eight_by_one_is_one_by_eight(tmp_path: Path, config: RewardConfig) -> None:
    backbone = tiny_backbone(tmp_path)
    examples = [*rankings(4, 3), *rankings(8, 2, seed=1)[4:]]
    if config.corrects:  # of some pairs, so that microbatches with habits and without add up too
        examples = [replace(e, pairs=tuple(replace(p, offset=0.4 - 0.2 * n, flipped=0.1 * n)
                                           for n, p in enumerate(e.pairs)))
                    if e.prompt_id % 2 else e for e in examples]
    whole_loss, whole, passes = gradients(backbone, examples, 100_000, config)
    assert passes == 1
    for tokens in (60, 1):  # units of one microbatch each, then single responses in two passes
        loss, found, passes = gradients(backbone, examples, tokens, config)
        assert passes > 5
        assert loss == pytest.approx(whole_loss, rel=1e-5)
        for ours, theirs in zip(found, whole, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rankings_as", ["pairs", "plackett-luce"])
def test_centering_weighs_as_its_pair(rankings_as: Literal["pairs", "plackett-luce"]) -> None:
    """Against the formula, on scores that are given."""
    (made,) = rankings(1, 3)
    pairs = tuple(replace(p, weight=w) for p, w in zip(made.pairs, (0.5, 2.0, 0.25), strict=True))
    ids = list(made.texts)
    scores = torch.tensor([0.7, -0.4, 1.5])

    def loss(centering: float) -> float:
        config = RewardConfig(centering=centering, rankings=rankings_as)
        return backward(lambda part: scores.clone().requires_grad_(),
                        Microbatch((tuple(ids),), pairs), 2.75, config)[0]

    sums = [(0.7 - 0.4)**2, (0.7 + 1.5)**2, (-0.4 + 1.5)**2]  # pairs (0, 1), (0, 2), (1, 2)
    expected = 0.3 * sum(w * s for w, s in zip((0.5, 2.0, 0.25), sums, strict=True)) / 2.75
    assert loss(0.3) - loss(0.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("flat", [False, True])
def test_parts_hold_every_text_within_the_tokens_asked_for(flat: bool) -> None:
    draw = random.Random(0)

    def some(count: int) -> list[int]:
        return [draw.randrange(99) for _ in range(count)]

    beginnings = [some(20) for _ in range(4)]
    texts = {i: [*draw.choice(beginnings), *some(draw.randint(1, 20))] for i in range(40)}
    parts = parts_within(texts, 90, flat, rows=7)
    assert sorted(i for part in parts for i in part) == list(range(40))
    assert max(map(len, parts)) <= 7
    for part in parts:
        inside = [texts[i] for i in part]
        assert Size.of(inside, flat).tokens_of_pass(flat) <= 90
        if flat:  # a few tokens in common are not worth sharing
            assert len(flatten(inside, torch.device("cpu")).ids) <= 90 + SHARED_TOKENS
    if flat:
        assert len(parts) < len(parts_within(texts, 90, False, rows=7))


def test_sizes_count_what_is_computed() -> None:
    texts = [[1, 2, 3, 4], [1, 2, 5], [7]]
    assert Size.of(texts, False).tokens_of_pass(False) == 12
    assert Size.of(texts, True).tokens_of_pass(True) == 6
    assert Size.of(texts, True).with_more(Size.of([[1] * 9], True)).tokens_of_pass(True) == 15
    assert Size.of(texts, False).with_more(Size.of([[1] * 9], False)).tokens_of_pass(False) == 36
