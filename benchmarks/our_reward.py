"""Our reward training on the pairs of a job file, again and again until the benchmark has seen
enough; the first run is the one whose scores are handed over."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbone.config import ModelConfig
from backbone.model import Backbone
from benchmarks.turns import Worker
from data.records import Message
from reward.config import RewardConfig
from reward.examples import Example, Pair, PreferenceData
from reward.model import RewardModel
from reward.train import train


class _Counted(RewardModel):
    """Counts the tokens of the texts that are trained on."""

    tokens = 0

    def scores_of(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The model's own."""
        if torch.is_grad_enabled():
            _Counted.tokens += sum(map(len, sequences))
        return super().scores_of(sequences)


class _Turns:
    """A progress that tells the worker of every step; the first one of a run warms up."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.steps = 0

    def update(self, fraction: float, message: str) -> None:
        """Nobody watches."""

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """An optimizer step is done."""
        self.steps = step
        if step == 1:
            self.worker.mark()
        else:
            self.worker.step_done(values["pairs"], _Counted.tokens)
        _Counted.tokens = 0


def main(job: dict[str, Any]) -> None:
    """Train as the job says and score the texts that it wants scored; train on until told."""
    torch.set_num_threads(job["threads"])
    worker = Worker()
    backbone = Backbone.load(job["checkpoint"], ModelConfig(
        gradient_checkpointing=job["recomputes"]))
    config = RewardConfig(epochs=job["epochs"], learning_rate=job["learning_rate"],
                          max_length=job["max_length"],
                          responses_per_step=job["responses_per_step"])
    data = PreferenceData(tuple(_examples(job)), ())
    progress, scores, seed = _Turns(worker), None, job["seed"]
    fresh, RewardModel.fresh = RewardModel.fresh, _Counted.fresh  # type: ignore[method-assign]
    while not worker.over:
        model = train(backbone, data, config, backbone.new_lora_config(job["rank"], job["alpha"]),
                      seed=seed, progress=progress).model
        if progress.steps < 2:
            sys.exit("a run of a single step cannot be timed: give it more pairs")
        assert isinstance(model, RewardModel)
        scores = scores or model.score_ids([job["ids"][i] for i in job["scored"]])
        seed += 1
    RewardModel.fresh = fresh  # type: ignore[method-assign]
    worker.finish({"scores": scores})


def _examples(job: dict[str, Any]) -> list[Example]:
    """The pairs by prompt."""
    prompts: dict[int, list[Pair]] = {}
    for number, (chosen, rejected) in enumerate(job["pairs"]):
        prompt = job["prompts"][chosen]
        prompts.setdefault(prompt, []).append(
            Pair(chosen, rejected, 1, 1.0, number, 0, prompt))
    return [Example(prompt, _messages(job, pairs[0].chosen_id),
                    {i: job["responses"][i] for p in pairs for i in (p.chosen_id, p.rejected_id)},
                    tuple(pairs)) for prompt, pairs in prompts.items()]


def _messages(job: dict[str, Any], text: int) -> list[Message]:
    return [Message(role=role, content=content) for role, content in job["messages"][text]]


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
