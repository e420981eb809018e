"""Our side of `benchmarks.ppo_speed`: PPO on the prompts of a job file, in a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.turns import Worker


class _Turns:
    """Progress that tells the worker of every step, and keeps each step's time and responses."""

    def __init__(self, worker: Worker, lengths: Sequence[int]) -> None:
        self.worker = worker
        self.lengths = lengths
        """Of the prompts, in tokens."""
        self.steps: list[dict[str, Any]] = []
        self.scored: list[list[Any]] = []
        """[prompt, response] of the step that runs."""
        self.since = time.perf_counter()

    def update(self, fraction: float, message: str) -> None:
        """Nothing to do."""

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """A step is done; the first one warms up."""
        phases = {name: value for name, value in values.items() if name.startswith("seconds_")}
        answers = round(values["length"] * values["responses"])
        every = answers + sum(self.lengths[number] for number, _ in self.scored)
        self.steps.append({"seconds": time.perf_counter() - self.since, "scored": self.scored,
                           "phases": phases, "tokens": [every, answers]})
        self.scored = []
        if step == 0:
            self.worker.mark()
        else:
            self.worker.step_done(int(values["responses"]), 0)
        self.since = time.perf_counter()


def main(job: dict[str, Any]) -> None:
    """Train as the job says."""
    import torch

    from backbone.config import ModelConfig
    from backbone.model import Backbone
    from policy.config import PPOConfig
    from policy.ppo import train
    from policy.roles import Roles, load_policy, load_value
    from policy.rollout import PromptItem, Reward
    from reward.model import RewardModel

    torch.set_num_threads(job["threads"])
    turns = _Turns(Worker(), [len(ids) for ids in job["ids"]])
    models = ModelConfig(checkpoint=job["checkpoint"], lora_rank=job["rank"],
                         lora_alpha=job["alpha"], precision=job["ours_in"],
                         gradient_checkpointing=job["gradient_checkpointing"])
    if job["shape"]:
        _of_shape(job["shape"])
    backbone = Backbone.load(models.checkpoint, models)
    judge = RewardModel.fresh(backbone, backbone.new_lora_config(job["rank"], job["alpha"]), 1024)
    reference = load_policy(backbone, models, None)
    roles = Roles(backbone, backbone, load_value(backbone, models, None), reference,
                  job["value_training"] == "adapter")
    items = [PromptItem(n, messages, ids) for n, (messages, ids) in enumerate(zip(
        job["messages"], job["ids"], strict=True))]
    numbers = {messages[-1]["content"]: n for n, messages in enumerate(job["messages"])}

    def score(conversations: Sequence[Sequence[Any]]) -> Sequence[float]:
        turns.scored.extend([numbers[c[-2]["content"]], c[-1]["content"]] for c in conversations)
        return judge.score(conversations)

    config = PPOConfig(
        steps=job["steps"], batch_size=job["responses"], minibatch_size=job["responses"],
        microbatch_size=job["microbatch"], epochs=job["epochs"], max_new_tokens=job["new_tokens"],
        temperature=job["temperature"], kl_coefficient=job["kl_coefficient"], gamma=job["gamma"],
        gae_lambda=job["gae_lambda"], clip_range=job["clip_range"],
        value_clip_range=job["value_clip_range"], learning_rate=job["learning_rate"],
        value_learning_rate=job["learning_rate"], value_training=job["value_training"],
        update_kl_stop=job["update_kl_stop"], checkpoint_every=job["steps"], probe_every=0,
        keep_every=0)
    with tempfile.TemporaryDirectory() as folder:
        train(roles, items, Reward(score), config, job["seed"], turns, Path(folder) / "checkpoint")
    turns.worker.finish({"steps": turns.steps})


def _of_shape(shape: str) -> None:
    """Let the checkpoint have random weights of a known shape; its tokenizer stays."""
    from backbone import model
    from benchmarks.shapes import random_model

    def load_model(_checkpoint: str, device: Any, dtype: Any) -> Any:
        return random_model(shape, device, dtype).requires_grad_(False).eval()

    vars(model)["load_model"] = load_model


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
