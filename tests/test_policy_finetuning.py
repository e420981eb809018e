"""Learning given responses: each of them once a pass, by the likelihood alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import Recorder, backbone

from backbone.model import Backbone
from data.errors import PrefloopError
from policy import finetuning
from policy.config import BestOfNConfig
from policy.finetuning import Demonstration, finetune
from policy.responses import Responses, join
from policy.roles import POLICY

EXAMPLES = [Demonstration([1, 5], [token, 2]) for token in range(10, 15)]
CONFIG = BestOfNConfig(epochs=3, microbatch_size=2, learning_rate=1e-2)


assert backbone  # a fixture


def test_a_pass_learns_each_response_once_in_an_order_of_its_own(
        backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught: list[list[int]] = []

    def watched(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]],
                *rest: Any) -> Responses:
        taught.append([response[0] for response in responses])
        return join(prompts, responses, *rest)

    monkeypatch.setattr(finetuning, "join", watched)
    orders = []
    for seed in (0, 1):
        taught.clear()
        record = Recorder()
        found = finetune(backbone, EXAMPLES, CONFIG, seed, record, tmp_path / str(seed))
        assert [len(step) for step in taught] == [2, 2, 1] * 3
        orders += [tuple(token for step in taught[start:start + 3] for token in step)
                   for start in (0, 3, 6)]
        losses = [step["loss"] for step in record.steps]
        assert found["loss"] == pytest.approx(np.mean(losses[-3:]))
    assert all(sorted(order) == list(range(10, 15)) for order in orders)
    assert len(set(orders)) == 6


def test_without_a_gradient_nothing_moves(backbone: Backbone, tmp_path: Path) -> None:
    """So no weight decays."""
    before = [p.detach().clone() for p in backbone.adapter_parameters(POLICY)]
    finetune(backbone, EXAMPLES, BestOfNConfig(max_grad_norm=1e-30, learning_rate=1e-2), 0,
             Recorder(), tmp_path / "checkpoint")
    for now, then in zip(backbone.adapter_parameters(POLICY), before, strict=True):
        torch.testing.assert_close(now.detach(), then, atol=1e-12, rtol=0)


def test_a_loss_that_is_no_number_is_said_and_not_learned(backbone: Backbone,
                                                         tmp_path: Path) -> None:
    parameters = backbone.adapter_parameters(POLICY)
    parameters[0].data.fill_(float("inf"))
    before = [p.detach().clone() for p in parameters[1:]]
    with pytest.raises(PrefloopError, match="lower --learning-rate"):
        finetune(backbone, EXAMPLES, CONFIG, 0, Recorder(), tmp_path / "checkpoint")
    assert all(torch.equal(now, then) for now, then in zip(parameters[1:], before, strict=True))
    assert not (tmp_path / "checkpoint").exists()
