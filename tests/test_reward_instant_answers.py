"""What the instant model makes of rankings and ties as they come in, and when it chooses anew."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_reward_instant import answers, features

from data.asking import RANDOM, AskedPair
from reward.instant import model as instant
from reward.instant.comparisons import Comparisons
from reward.instant.davidson import Fit
from reward.instant.model import CHOOSE_FROM, CHOOSE_PROMPTS, InstantModel, Setup
from reward.instant.response_features import FeatureTable


def _ranking(comparison: int, *ids: int, tie: bool = False) -> list[AskedPair]:
    return [AskedPair(comparison, ids[0] // 2, a, b, tie, False, RANDOM)
            for n, a in enumerate(ids) for b in ids[n + 1:]]


def _by_torch(before: Fit, rows: np.ndarray, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """The mode, and the covariance there, of a normal prior and one answer of so many pairs."""
    x, middle, precision = (torch.tensor(each) for each in (
        rows, before.coefficients, np.linalg.inv(before.covariance)))
    tie = torch.full((len(rows),), before.log_tie, dtype=torch.float64)

    def loss(w: torch.Tensor) -> torch.Tensor:
        half = x @ w / 2
        chosen = (tie if ties else half) - torch.stack([half, tie, -half]).logsumexp(0)
        return (w - middle) @ precision @ (w - middle) / 2 - chosen.mean()

    w = middle.clone()
    for _ in range(20):  # Newton's method, by autograd
        start = w.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(start), start)
        hessian = torch.autograd.functional.hessian(loss, w)
        w = w - torch.linalg.solve(hessian, gradient)
    return w.numpy(), torch.linalg.inv(hessian).numpy()


@pytest.mark.parametrize("answer", [
    _ranking(99, 118, 121, 119), _ranking(99, 120, 121, tie=True),
    _ranking(99, 118, 119, 120, 121)], ids=["three", "tie", "four"])
def test_a_quick_update_takes_an_answer_in_as_one(answer: list[AskedPair]) -> None:
    """Its pairs one after the other come to what they come to together, each with its share."""
    table = features(122)
    before = answers(table, 56)
    model = InstantModel(table)
    model.learn(before)
    began = model.posterior
    assert model.learn([*before, *answer]) == 1, "quickly"
    rows = np.array([model.table[p.chosen_id] - model.table[p.rejected_id] for p in answer])
    wanted, covariance = _by_torch(began, rows, answer[0].tie)
    moved = np.linalg.norm(wanted - began.coefficients)
    assert np.linalg.norm(model.posterior.coefficients - wanted) < 0.1 * moved
    told, learned = (np.trace(began.covariance - each)
                     for each in (covariance, model.posterior.covariance))
    assert learned == pytest.approx(told, rel=0.1) and told > 0
    assert model.posterior.log_tie == began.log_tie


def _in_clusters(table: FeatureTable, count: int) -> FeatureTable:
    return replace(table, clusters=table.prompts % count)


def test_features_are_chosen_again_once_answers_have_doubled() -> None:
    table = features(500)
    pairs, model = answers(table, 250), InstantModel(table)
    for count, chosen_at in ((CHOOSE_FROM + 20, CHOOSE_FROM + 20),
                             (2 * CHOOSE_FROM + 20, CHOOSE_FROM + 20),
                             (3 * CHOOSE_FROM, 3 * CHOOSE_FROM)):
        model.learn(pairs[:count])
        assert model.setup.chosen_at == chosen_at


def test_prompts_that_only_ties_are_known_of_choose_nothing() -> None:
    table = _in_clusters(features(400), CHOOSE_PROMPTS)
    decided = [replace(pair, tie=False) for pair in answers(table, 200)]
    tied = [replace(pair, tie=pair.prompt_id % CHOOSE_PROMPTS == 0) for pair in decided]
    for pairs, chosen_at in ((tied, 0), (decided, 200)):
        model = InstantModel(table)
        model.learn(pairs)
        assert model.setup.chosen_at == chosen_at
        assert chosen_at or model.setup == Setup()


def test_the_newest_answers_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Comparisons] = []
    prepare = instant.prepare_compared

    def watched(table: Any, sets: Any, comparisons: Comparisons, components: int) -> Any:
        seen.append(comparisons)
        return prepare(table, sets, comparisons, components)

    monkeypatch.setattr(instant, "prepare_compared", watched)
    monkeypatch.setattr(instant, "_MOST_PAIRS", 70)
    table = features(300)
    pairs = answers(table, 150)
    InstantModel(table).learn(pairs)
    assert [c.first.tolist() for c in seen] == [[pair.chosen_id for pair in pairs[-70:]]]


def test_on_other_features_all_that_was_learned_is_fitted_anew() -> None:
    """Not taken in one by one, which comes only near."""
    pairs = answers(features(122), 60)
    model, other = InstantModel(features(122)), InstantModel(features(122, seed=5))
    model.learn(pairs)
    model.use(features(122, seed=5))
    assert model.learned == {} and model.learn(pairs) == 0
    other.learn(pairs)
    assert np.allclose(model.posterior.coefficients, other.posterior.coefficients, atol=1e-6)


def test_of_leading_directions_each_has_the_prior_that_it_had_among_all(
        monkeypatch: pytest.MonkeyPatch) -> None:
    table = features(80)
    whole = InstantModel(table)
    monkeypatch.setattr(instant, "COMPONENTS", 5)
    few = InstantModel(table)
    assert (whole.table.shape[1], few.table.shape[1]) == (12, 5)
    # [80, k] around the prompts' means: over all directions a reward varies by the spread
    around = [model.table - model.table.reshape(40, 2, -1).mean(1).repeat(2, axis=0)
              for model in (whole, few)]
    of_all, of_few = (float((each**2 / model.precision).sum(1).mean())
                      for each, model in zip(around, (whole, few), strict=True))
    assert of_all == pytest.approx(whole.setup.spread**2)
    share = (around[1]**2).sum() / (around[0]**2).sum()
    assert of_few == pytest.approx(share * of_all) and 0.3 < share < 0.95


def test_accuracy_is_a_share_of_pairs_and_its_interval_one_over_prompts() -> None:
    table = features(122)
    model, pairs = InstantModel(table), [replace(p, tie=False) for p in answers(table, 60)]
    model.learn(pairs[:30])
    asked = pairs[30:]
    scores = model.table @ model.posterior.coefficients
    once, thrice = model.accuracy(asked), model.accuracy([*asked, *asked, *asked])
    assert once is not None and thrice is not None
    assert once.value == thrice.value == pytest.approx(np.mean(
        [scores[p.chosen_id] > scores[p.rejected_id] for p in asked]))
    assert (thrice.n, thrice.low, thrice.high) == pytest.approx((90, once.low, once.high))
    assert model.accuracy([]) is None
