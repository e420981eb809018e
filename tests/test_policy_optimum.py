"""PPO learns what is known: it ends within 0.05 total variation of π* ∝ π_ref exp(r/β).

More seeds, and both ways to take the KL, are in `benchmarks/ppo_optimum.py`.
"""

from pathlib import Path

import pytest
import torch
from known_optimum import CONFIGS, MODELS, Problem
from models import one_thread  # noqa: F401

from policy.roles import POLICY, load_policy


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_optimum_of_one_token(tmp_path: Path, seed: int) -> None:
    problem = Problem(tmp_path, 1, CONFIGS[1].kl_coefficient, seed)
    outcome = problem.solve(CONFIGS[1], tmp_path / "checkpoint")
    assert outcome.before > 0.3
    assert outcome.after < 0.05


def test_it_finds_the_optimum_of_two_tokens(tmp_path: Path) -> None:
    problem = Problem(tmp_path, 2, CONFIGS[2].kl_coefficient, 0)
    outcome = problem.solve(CONFIGS[2], tmp_path / "checkpoint")
    assert outcome.before > 0.3
    assert outcome.after < 0.05


def test_the_problem_lists_every_response_once(tmp_path: Path) -> None:
    problem = Problem(tmp_path, 2, 0.5, 0)
    load_policy(problem.backbone, MODELS, None)
    vocabulary = len(problem.backbone.tokenizer)
    ends = len(problem.backbone.end_ids)
    assert len(problem.responses) == ends + (vocabulary - ends) * vocabulary
    assert len({tuple(ids) for ids in problem.responses}) == len(problem.responses)
    for adapter in (None, POLICY):
        assert float(problem.distribution(adapter).sum()) == pytest.approx(1.0, abs=1e-6)


def test_the_closed_form_is_the_best_there_is(tmp_path: Path) -> None:
    problem = Problem(tmp_path, 1, 0.5, 0)
    start, best = problem.distribution(None), problem.optimum()
    reward = torch.tensor([problem.reward[problem.text(ids)] for ids in problem.responses])

    def objective(p: torch.Tensor) -> float:
        return float((p * (reward - 0.5 * (p / start).log())).sum())

    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        nudge = torch.randn(len(best), generator=generator, dtype=torch.float64)
        other = best * (0.3 * nudge).exp()
        assert objective(other / other.sum()) <= objective(best)
    assert objective(start) < objective(best)
