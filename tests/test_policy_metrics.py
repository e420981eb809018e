"""What PPO reports of a step, against plain numpy over a rollout that is made up."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from policy.metrics import UpdateFigures, step_metrics
from policy.responses import join
from policy.rollout import ExactKL, PromptItem, Rollout
from policy.sampling import Sample

RNG = np.random.default_rng(0)
LENGTHS = [5, 3, 1, 6, 2, 4]
REASONS: Any = ["eos", "stop", "length", "eos", "length", "stop"]
REAL = np.array([[t < n for t in range(6)] for n in LENGTHS])


def _made(*shape: int) -> Tensor:
    """Also where the mask is 0, so that whoever reads there is caught."""
    return torch.tensor(RNG.normal(size=shape), dtype=torch.float32)


def _rollout(**more: Any) -> Rollout:
    responses = [RNG.integers(0, 3, n).tolist() for n in LENGTHS]
    texts = join([[7]] * 6, responses, 0, torch.device("cpu"))
    logprobs, reference, entropy, values, advantages, returns = _made(6, 6, 6)
    return Rollout(texts, logprobs, reference, entropy, values, None, _made(6) * 3 + 5, _made(6),
                   advantages, returns, **more)


def _samples(rollout: Rollout) -> list[Sample]:
    return [Sample(ids[:n].tolist(), RNG.normal(size=n).tolist(), "", reason) for ids, n, reason in
            zip(rollout.texts.tokens, LENGTHS, REASONS, strict=True)]


#: Two responses to each of three prompts.
PROMPTS = [PromptItem(n // 2, [{"role": "user", "content": f"ask {n // 2}"}], [7])
           for n in range(6)]
FIGURES = UpdateFigures(tokens=40.0, policy_loss=8.0, value_loss=4.0, approx_kl=2.0, clipped=10.0,
                        value_clipped=5.0, updates=4, ratio_gap=0.25, policy_norm=6.0,
                        value_norm=2.0)


def _figures(rollout: Rollout, samples: list[Sample], kl_coefficient: float = 0.3) -> Any:
    """Every figure as an attribute, and how far each is from those asked for is pytest's to say."""
    return SimpleNamespace(**step_metrics(rollout, FIGURES, samples, PROMPTS, kl_coefficient, {}))


def _clustered(values: np.ndarray) -> float:
    """Standard error of a mean of three prompts' means."""
    return float(values.reshape(3, 2).mean(1).std(ddof=1) / math.sqrt(3))


def test_every_figure_of_a_step_is_what_its_name_says() -> None:
    rollout = _rollout()
    samples = _samples(rollout)
    found = _figures(rollout, samples)
    rewards, scores = rollout.rewards.numpy(), rollout.scores.numpy()
    new, old = rollout.logprobs.numpy(), rollout.reference_logprobs.numpy()
    kl = np.where(REAL, new - old, 0).sum(1)
    ratio = np.exp(old - new)
    values, returns = rollout.values.numpy()[REAL], rollout.returns.numpy()[REAL]
    gaps = np.concatenate([np.abs(new[row, :n] - samples[row].logprobs)
                           for row, n in enumerate(LENGTHS)])
    expected = {
        "reward": rewards.mean(), "reward_std": rewards.std(ddof=1), "score": scores.mean(),
        "reward_error": _clustered(rewards), "responses": 6, "kl": kl.mean(),
        "kl_k3": np.where(REAL, ratio - 1 - np.log(ratio), 0).sum(1).mean(),
        "kl_coefficient": 0.3, "objective": rewards.mean() - 0.3 * kl.mean(),
        "entropy": rollout.entropy.numpy()[REAL].mean(), "length": np.mean(LENGTHS),
        "eos_share": 4 / 6,  # a stop text is an end too
        "clip_fraction": 0.25, "value_clip_fraction": 0.125, "approx_kl": 0.05,
        "policy_loss": 0.2, "value_loss": 0.1, "policy_grad_norm": 1.5, "value_grad_norm": 0.5,
        "updates": 4, "ratio_gap": 0.25, "stopped_early": False,
        "explained_variance": 1 - (returns - values).var() / returns.var(),
        "sampling_gap": gaps.mean(), "sampling_gap_max": gaps.max(),
        "reference_perplexity": math.exp(-old[REAL].mean())}
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-4)
    assert not hasattr(found, "judge_reward") and not hasattr(found, "member_spread")


def test_repeats_are_of_three_tokens_and_of_one_and_differences_of_one_and_two() -> None:
    rollout = _rollout()
    samples = [replace(sample, ids=[1, 2, 1, 2, 1, 2, 3]) for sample in _samples(rollout)]
    found = _figures(rollout, samples)
    # 121 212 121 212 123: three of five are new; and of seven tokens three
    assert (found.repetition, found.repeated_tokens) == pytest.approx((2 / 5, 4 / 7))
    assert (found.distinct_1, found.distinct_2) == pytest.approx((3 / 42, 3 / 36))


def test_judges_are_those_that_are_not_obeyed() -> None:
    opinions = _made(3, 6)
    rollout = _rollout(opinions=opinions, spread=_made(6))
    found = _figures(rollout, _samples(rollout))
    said = opinions.numpy()
    judges = said[1:].mean(0)
    expected = {
        "ensemble_mean": said.mean(), "ensemble_spread": said.std(0, ddof=1).mean(),
        "ensemble_worst": said.min(0).mean(), "judge_reward": judges.mean(),
        "judge_std": judges.std(ddof=1), "judge_error": _clustered(judges),
        "member_spread": float(rollout.spread.mean()) if rollout.spread is not None else None}
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-4)


def test_with_the_exact_kl_it_is_that_which_is_reported() -> None:
    tokens = _made(6, 6).abs() * torch.tensor(REAL)
    rollout = _rollout(exact_kl=ExactKL(tokens, _made(6, 6, 2), torch.tensor(0.1)))
    found = _figures(rollout, _samples(rollout))
    assert found.kl == pytest.approx(float(tokens.sum()) / 6)
    assert found.objective == pytest.approx(
        float(rollout.rewards.mean()) - 0.3 * float(tokens.sum()) / 6, rel=1e-4)
