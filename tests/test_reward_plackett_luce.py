"""The likelihood of rankings: against enumeration, against pairs, and by planted values."""

import itertools
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from reward_world import Recorder, example, text
from torch import Tensor

from data.errors import BadInput
from reward.config import RewardConfig
from reward.examples import Pair, PreferenceData
from reward.losses import bradley_terry_loss
from reward.plackett_luce import MOST_TIED, Ranking, plackett_luce_losses, rankings_of
from reward.train import train

ROWS = {i: i for i in range(12)}


def order_probability(scores: list[float], order: tuple[int, ...]) -> float:
    """P(order), worth by worth, as Plackett wrote it."""
    worth = [math.exp(scores[i]) for i in order]
    return math.prod(worth[j] / sum(worth[j:]) for j in range(len(worth)))


def orders(groups: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
    """Every order that agrees with a ranking with ties."""
    return [tuple(itertools.chain(*parts))
            for parts in itertools.product(*(itertools.permutations(g) for g in groups))]


def by_enumeration(scores: list[float], groups: tuple[tuple[int, ...], ...]) -> float:
    """Mean −log P over the orders, a choice."""
    found = [-math.log(order_probability(scores, order)) for order in orders(groups)]
    return sum(found) / len(found) / (sum(map(len, groups)) - 1)


RANKINGS = [((2,), (0,), (1,), (3,)), ((1, 3), (0,), (2,)), ((0,), (1, 2, 3)), ((3, 2, 1, 0),),
            ((0, 1), (2, 3)), ((1,), (3,)), ((4, 0, 2), (1,), (3, 5))]


def test_losses_are_those_of_every_order_enumerated() -> None:
    values = np.random.default_rng(0).normal(size=6).tolist()
    assert sum(order_probability(values, o) for o in itertools.permutations(range(5))) == (
        pytest.approx(1))
    scores = torch.tensor(values, dtype=torch.float64)
    found = plackett_luce_losses(scores, [Ranking(g) for g in RANKINGS], ROWS)
    assert found.tolist() == pytest.approx([by_enumeration(values, g) for g in RANKINGS])


def test_gradients_are_the_slopes_of_the_enumerated_loss() -> None:
    values = np.random.default_rng(1).normal(size=6)
    for groups in RANKINGS:
        scores = torch.tensor(values, requires_grad=True)
        torch.autograd.backward(plackett_luce_losses(scores, [Ranking(groups)], ROWS).sum())
        assert scores.grad is not None
        slopes = []
        for i in range(6):
            step = 1e-5 * np.eye(6)[i]
            slopes.append((by_enumeration((values + step).tolist(), groups)
                           - by_enumeration((values - step).tolist(), groups)) / 2e-5)
        assert scores.grad.numpy() == pytest.approx(slopes, abs=1e-8)
        assert float(scores.grad.sum()) == pytest.approx(0, abs=1e-12), "only differences count"


def test_two_responses_are_the_pair_loss_tie_or_not() -> None:
    scores = torch.tensor([0.3, -1.2], dtype=torch.float64)
    found = plackett_luce_losses(scores, [Ranking(((0,), (1,))), Ranking(((1,), (0,))),
                                          Ranking(((0, 1),))], ROWS)
    difference = scores[0] - scores[1]
    expected = bradley_terry_loss(torch.stack([difference, -difference, difference]),
                                  torch.tensor([1, 1, 0]))
    torch.testing.assert_close(found, expected)


def test_large_ties_are_symmetric_and_smallest_at_equal_scores() -> None:
    size = MOST_TIED + 2
    ranking = [Ranking((tuple(range(size)),))]
    equal = plackett_luce_losses(torch.zeros(size, dtype=torch.float64), ranking, ROWS)
    # Every order of equals is as likely as any: log K!, a choice.
    assert equal.item() == pytest.approx(math.log(math.factorial(size)) / (size - 1))
    drawn = torch.tensor(np.random.default_rng(2).normal(size=size))
    assert plackett_luce_losses(drawn, ranking, ROWS).item() > equal.item()
    turned = plackett_luce_losses(drawn.roll(3), ranking, ROWS)
    torch.testing.assert_close(plackett_luce_losses(drawn, ranking, ROWS), turned)
    # Of a group below the limit all orders are averaged over; going round only comes close.
    scores = np.linspace(-1, 1, 6).tolist()
    assert plackett_luce_losses(torch.tensor(scores), [Ranking((tuple(range(6)),))],
                                ROWS).item() == pytest.approx(
        by_enumeration(scores, (tuple(range(6)),)), rel=1e-5)


def test_planted_rewards_come_back_from_simulated_rankings() -> None:
    rng = np.random.default_rng(3)
    true = np.array([1.5, 0.6, 0.0, -0.7, -1.4])
    drawn = []
    for _ in range(3000):  # the order of Gumbel-perturbed rewards is Plackett–Luce (Yellott 1977)
        shown = rng.choice(5, size=4, replace=False)
        noisy = true[shown] + rng.gumbel(size=4)
        drawn.append(Ranking(tuple((int(i),) for i in shown[np.argsort(-noisy)])))
    scores = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = plackett_luce_losses(scores, drawn, ROWS).mean()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    found = (scores - scores.mean()).detach().numpy()
    assert found == pytest.approx(true - true.mean(), abs=0.1)


def test_rankings_are_found_again_in_their_pairs() -> None:
    # 0 ≻ {1, 2} ≻ 3, all six pairs of it, and another answer about two of them
    said = [(0, 1, 2), (0, 2, 2), (0, 3, 2), (1, 2, 0), (1, 3, 2), (2, 3, 2)]
    pairs = [Pair(a, b, s, 1 / 6, 7, 1, 1) for a, b, s in said]
    pairs.append(Pair(3, 1, 1, 1.0, 8, 2, 1))
    first, second = rankings_of(pairs)
    assert [set(g) for g in first.groups] == [{0}, {1, 2}, {3}]
    assert first.weight == pytest.approx(1)
    assert second == Ranking(((3,), (1,)), 1.0)
    # 1 and 2 hold the same text, so nothing is said of that pair; order of the rest is kept
    partial = rankings_of([p for p in pairs[:6] if {p.chosen_id, p.rejected_id} != {1, 2}])
    assert [set(g) for g in partial[0].groups] == [{0}, {1, 2}, {3}]
    all_tied = example(1, ["a", "b", "c"], [(0, 1, 0)]).pairs
    assert rankings_of(all_tied)[0].groups == ((100, 101),)


def test_every_ranking_with_ties_survives_the_way_through_pairs() -> None:
    for places in itertools.product(range(4), repeat=4):
        groups = tuple(tuple(i for i in range(4) if places[i] == p)
                       for p in sorted(set(places)))
        pairs = [Pair(a, b, 0 if places[a] == places[b] else 1, 1 / 6, 1, 1, 1)
                 if places[a] <= places[b] else Pair(b, a, 1, 1 / 6, 1, 1, 1)
                 for a, b in itertools.combinations((2, 0, 3, 1), 2)]
        [found] = rankings_of(pairs)
        assert [set(g) for g in found.groups] == [set(g) for g in groups]


def test_training_can_learn_from_rankings_as_a_whole(tmp_path: Path) -> None:
    draw = random.Random(0)
    examples = []
    for prompt_id in range(1, 25):  # good ≻ nothing said ≻ bad, all three in one comparison
        texts = [text(draw, draw.randint(2, 6), word) for word in ("good", "", "bad")]
        made = example(prompt_id, texts, [(0, 1, 1), (0, 2, 1), (1, 2, 1)])
        pairs = tuple(replace(p, comparison_id=prompt_id, weight=1 / 3) for p in made.pairs)
        examples.append(replace(made, pairs=pairs))
    data = PreferenceData(tuple(examples), ())
    first = {}
    for rankings in ("pairs", "plackett-luce"):
        backbone, heard = tiny_backbone(tmp_path), Recorder()
        config = RewardConfig(epochs=8, responses_per_step=12, learning_rate=1e-2,
                              rankings=rankings)
        model = train(backbone, data, config, backbone.new_lora_config(4, 8), progress=heard).model
        scores = [model.score([e.conversation(i) for i in e.texts]) for e in examples]
        assert sum(good > plain > bad for good, plain, bad in scores) >= 20
        first[rankings] = heard.steps[1]["loss"]
    assert first["pairs"] != first["plackett-luce"]
    with pytest.raises(BadInput, match="--margin-per-strength"):
        RewardConfig(rankings="plackett-luce", margin_per_strength=0.5)


def test_extreme_rewards_stay_finite() -> None:
    scores = torch.tensor([1e4, -1e4, 0.0, 5e3], requires_grad=True)
    loss = plackett_luce_losses(scores, [Ranking(((1,), (2, 3), (0,)))], ROWS).sum()
    torch.autograd.backward(loss)
    assert loss.isfinite() and scores.grad is not None and scores.grad.isfinite().all()
