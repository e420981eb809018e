"""Best-of-n: the winners are the best, they are learned, and a killed run ends the same."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import Recorder, goodness, items, watched_steps
from test_policy_resume import Doomed, Killed

from backbone.model import Backbone
from data.errors import PrefloopError
from data.progress import Stopped
from data.records import Message
from policy import best_of_n
from policy.best_of_n import train
from policy.config import BestOfNConfig
from policy.logprobs import response_logprobs
from policy.responses import join
from policy.roles import POLICY
from policy.rollout import PromptItem
from policy.sampling import generate, uniform_draws

CONFIG = BestOfNConfig(n=6, max_new_tokens=8, temperature=1.0, batch_size=16, epochs=6,
                       learning_rate=1e-2, microbatch_size=4, checkpoint_every=2)


def _backbone(folder: Path) -> Backbone:
    backbone = tiny_backbone(folder)
    backbone.add_adapter(POLICY, backbone.new_lora_config(4, 8))
    return backbone


def _weights(backbone: Backbone) -> list[torch.Tensor]:
    return [p.detach().clone() for p in backbone.adapter_parameters(POLICY)]


def test_the_best_are_learned(tmp_path: Path) -> None:
    backbone, record = _backbone(tmp_path), Recorder()
    prompts = items(backbone)
    found = train(backbone, prompts, goodness, CONFIG, 0, record, tmp_path / "checkpoint")
    assert found["best_score"] > found["mean_score"]
    assert found["kl_bound"] == pytest.approx(math.log(6) - 5 / 6)
    assert record.steps[-1]["loss"] < record.steps[0]["loss"]
    draws = uniform_draws([(9, row) for row in range(200)], 8)
    before, after = (
        sum(goodness([[*prompts[0].messages, {"role": "assistant", "content": s.text}]])[0]
            for s in generate(backbone, adapter, [prompts[0].ids] * 200, draws, 1.0))
        for adapter in (None, POLICY))
    assert after > before


def test_a_stop_is_heard_between_parts_of_the_scoring(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best_of_n, "SCORED_TOGETHER", 20)
    backbone, scored = _backbone(tmp_path), 0

    def score(conversations: Sequence[Sequence[Message]]) -> list[float]:
        nonlocal scored
        scored += len(conversations)
        return goodness(conversations)

    prompts = items(backbone)
    whole = train(backbone, prompts, score, replace(CONFIG, epochs=1), 0, Recorder(),
                  tmp_path / "whole")
    assert scored == 48 and whole["best_score"] > whole["mean_score"]
    scored = 0
    with pytest.raises(Stopped):  # three reports of sampling, one of scoring, and then no more
        train(_backbone(tmp_path), prompts, score, CONFIG, 0, Doomed(4, Stopped), tmp_path / "cut")
    assert scored == 20


def test_the_winner_of_each_prompt_is_the_one_that_scores_best(tmp_path: Path) -> None:
    backbone = _backbone(tmp_path)
    seen: list[list[float]] = []

    def score(conversations: object) -> list[float]:
        seen.append(goodness(conversations))  # type: ignore[arg-type]
        return seen[-1]

    found = train(backbone, items(backbone), score, replace(CONFIG, epochs=1), 0, Recorder(),
                  tmp_path / "checkpoint")
    rows = [seen[0][i:i + 6] for i in range(0, len(seen[0]), 6)]
    assert found["best_score"] == pytest.approx(sum(map(max, rows)) / len(rows))


def test_each_response_is_judged_behind_its_own_prompt_and_drawn_by_its_name(
        tmp_path: Path) -> None:
    """Prompts whose ids are no places among them, and all of them taken."""
    backbone = _backbone(tmp_path)
    judged: list[Sequence[Message]] = []
    prompts = [replace(item, id=70 + 3 * item.id) for item in items(backbone)]
    expected = [(item, sample) for item in prompts for sample in generate(
        backbone, POLICY, [item.ids] * 3, uniform_draws([(5, item.id, n) for n in range(3)], 8),
        1.0)]

    def score(conversations: Sequence[Sequence[Message]]) -> list[float]:
        judged.extend(conversations)
        return goodness(conversations)

    found = train(backbone, prompts, score, replace(CONFIG, n=3, prompts=0, epochs=1, batch_size=5),
                  5, Recorder(), tmp_path / "checkpoint")
    assert judged == [[*item.messages, Message(role="assistant", content=sample.text)]
                      for item, sample in expected]
    scores = np.array(goodness(judged)).reshape(-1, 3)
    assert found["prompts"] == 8
    assert found["mean_score"] == pytest.approx(scores.mean())
    assert found["best_score"] == pytest.approx(scores.max(1).mean())
    best = [expected[3 * row + column] for row, column in enumerate(scores.argmax(1))]
    assert found["samples"] == [{"prompt": item.messages[-1]["content"], "text": sample.text}
                                for item, sample in best[:3]]


@pytest.mark.parametrize(("error", "reports", "goes_on_at"), [
    (Stopped, 3, 0), (Stopped, 6, 2), (Stopped, 9, 5), (Stopped, 12, 8),
    (Killed, 2, 0), (Killed, 13, 4), (Killed, 14, 4)])
def test_a_stopped_or_killed_run_ends_where_it_would_have_ended(
        tmp_path: Path, error: type[BaseException], reports: int, goes_on_at: int) -> None:
    """Sampling reports three times, and scoring once. A killed one goes on from the last
    checkpoint, of every other step; one that was stopped in good order from where it was."""
    whole, resumed = _backbone(tmp_path), Recorder()
    prompts = items(whole)
    train(whole, prompts, goodness, CONFIG, 4, Recorder(), tmp_path / "whole")
    wanted = _weights(whole)
    with pytest.raises(error):
        train(_backbone(tmp_path), prompts, goodness, CONFIG, 4, Doomed(reports, error),
              tmp_path / "cut")
    again = _backbone(tmp_path)
    later = [*prompts, PromptItem(99, prompts[0].messages, prompts[1].ids)]  # imported meanwhile
    train(again, later, goodness, CONFIG, 4, resumed, tmp_path / "cut")
    assert resumed.steps[0]["step"] == goes_on_at
    assert all(torch.equal(a, b) for a, b in zip(wanted, _weights(again), strict=True))


def test_gradients_are_clipped_and_the_learning_rate_falls_to_0(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, taken = _backbone(tmp_path), watched_steps(monkeypatch)
    train(backbone, items(backbone), goodness, replace(CONFIG, max_grad_norm=1e-3), 0, Recorder(),
          tmp_path / "checkpoint")
    assert [norm for norm, _ in taken] == pytest.approx([1e-3] * 12, rel=0.02)
    assert [rate for _, rate in taken] == pytest.approx([1e-2 * (1 - n / 12) for n in range(12)])


def test_the_first_prompts_are_taken_and_one_that_is_gone_is_said(tmp_path: Path) -> None:
    backbone, config = _backbone(tmp_path), replace(CONFIG, prompts=3, epochs=1)
    prompts = items(backbone)
    found = train(backbone, prompts, goodness, config, 0, Recorder(), tmp_path / "checkpoint")
    assert found["prompts"] == 3
    with pytest.raises(PrefloopError, match="1 of the 3 prompts that this run began with"):
        train(backbone, prompts[1:], goodness, config, 0, Recorder(), tmp_path / "checkpoint")


def test_fine_tuning_is_the_mean_negative_log_likelihood_a_token_as_sampled(tmp_path: Path) -> None:
    backbone, record = _backbone(tmp_path), Recorder()
    prompts = items(backbone)[:3]
    config = replace(CONFIG, n=2, epochs=1, microbatch_size=3, temperature=0.7)
    samples = [generate(backbone, POLICY, [p.ids] * 2, uniform_draws(
        [(5, p.id, index) for index in range(2)], 8), 0.7) for p in prompts]
    # Scores that let the second response of each prompt win.
    train(backbone, prompts, lambda c: [0.0, 1.0] * (len(c) // 2), config, 5, record,
          tmp_path / "checkpoint")
    winners = [pair[1].ids for pair in samples]
    texts = join([p.ids for p in prompts], winners, backbone.pad_id, backbone.device)
    plain = response_logprobs(backbone, None, texts, 0.7).logprobs
    assert record.steps[0]["loss"] == pytest.approx(
        float(-plain.sum() / sum(map(len, winners))), rel=1e-4)
