"""Several responses to each of a step's prompts: who is asked, what is shared, what is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models import one_thread  # noqa: F401
from policy_world import GOODNESS, Recorder, goodness, items, policy_weights, roles

from data.errors import BadInput
from data.records import Message
from policy import logprobs
from policy.config import PPOConfig
from policy.ppo import train
from policy.responses import join
from policy.rollout import Reward
from policy.update import _order

CONFIG = PPOConfig(steps=2, batch_size=8, responses=4, minibatch_size=4, microbatch_size=4,
                   epochs=2, max_new_tokens=8, temperature=1.0, learning_rate=1e-3,
                   value_learning_rate=1e-3)


def test_each_prompt_of_a_step_is_answered_so_many_times_and_differently(tmp_path: Path) -> None:
    asked: list[Sequence[Sequence[Message]]] = []

    def score(conversations: Sequence[Sequence[Message]]) -> Sequence[float]:
        asked.append(conversations)
        return goodness(conversations)

    of = roles(tmp_path)
    prompts = items(of.policy)
    train(of, prompts, Reward(score), replace(CONFIG, steps=len(prompts) // 2, keep_every=0), 0,
          Recorder(), tmp_path / "c")
    seen: Counter[str] = Counter()
    for conversations in asked:
        texts = [str(c[:-1]) for c in conversations]
        assert texts == [texts[0]] * 4 + [texts[4]] * 4 and texts[0] != texts[4]
        assert len({c[-1]["content"] for c in conversations}) > 4
        seen.update(set(texts))
    assert set(seen.values()) == {1} and len(seen) == len(prompts)  # all before any again


def test_a_pass_reads_a_prompt_once_for_all_its_responses(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[int, int]] = []
    whole = logprobs.flatten

    def counted(texts: Sequence[Sequence[int]], *rest: Any) -> Any:
        flat = whole(texts, *rest)
        passes.append((len({tuple(text[:shortest]) for text in texts}), len(flat.ids)))
        return flat

    monkeypatch.setattr(logprobs, "flatten", counted)
    of = roles(tmp_path)
    prompts = items(of.policy)
    shortest = min(len(prompt.ids) for prompt in prompts)
    train(of, prompts, GOODNESS, replace(CONFIG, steps=1), 0, Recorder(), tmp_path / "c")
    longest = max(len(prompt.ids) for prompt in prompts)
    assert len(passes) >= 8
    assert all(count == 1 and tokens <= longest + 4 * 8 for count, tokens in passes)


def test_rows_of_a_prompt_stay_together_whatever_their_lengths() -> None:
    texts = join([[5], [5], [6, 6], [6, 6], [7], [7]],
                 [[1] * n for n in (1, 6, 2, 3, 5, 2)], 0, torch.device("cpu"))
    assert [part.tolist() for part in texts.by_length(2, together=2)] == [[2, 3], [4, 5], [0, 1]]
    assert [part.tolist() for part in texts.by_length(4, torch.tensor([4, 5, 0, 1, 2, 3]), 2)] \
        == [[2, 3, 4, 5], [0, 1]]


@pytest.mark.parametrize("microbatch", [1, 3, 8])
def test_microbatches_that_cut_a_prompt_apart_learn_the_same(tmp_path: Path,
                                                             microbatch: int) -> None:
    weights = []
    for size in (4, microbatch):
        of = roles(tmp_path / str(size))
        train(of, items(of.policy), GOODNESS, replace(CONFIG, microbatch_size=size), 0,
              Recorder(), tmp_path / f"c{size}")
        weights.append(policy_weights(of))
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], atol=2e-5, rtol=1e-3)


def test_minibatches_are_of_whole_prompts_in_an_order_of_their_own() -> None:
    rollout: Any = SimpleNamespace(mask=torch.ones(12, 3))
    config = replace(CONFIG, batch_size=12, responses=3, minibatch_size=6)
    orders = [_order(rollout, config, [0, step, 0]).tolist() for step in range(5)]
    for order in orders:
        assert sorted(order) == list(range(12))
        assert all(order[i:i + 3] == [order[i], order[i] + 1, order[i] + 2] and order[i] % 3 == 0
                   for i in range(0, 12, 3))
    assert len(set(map(tuple, orders))) > 1


def test_what_does_not_divide_is_named() -> None:
    with pytest.raises(BadInput, match="--responses: 3 to a prompt do not divide "
                                       "--minibatch-size 4"):
        replace(CONFIG, responses=3)
    with pytest.raises(BadInput, match="--responses: must be at least 1, not 0"):
        replace(CONFIG, responses=0)
