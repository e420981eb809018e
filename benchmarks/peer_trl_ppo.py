"""TRL's PPOTrainer on the prompts of a job file; runs in the peers' environment.

LoRA on all linear layers of the policy and of the value model, whose score head is trained too; a
reward model with a fixed head. Its own defaults stand but for what the job says and for activation
checkpointing, which would make it slower. Weights are held in the number format of the products.
"""

# mypy: ignore-errors
# (what it stands on is not in the environment that types are checked in)

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from benchmarks.shapes import random_model
from benchmarks.turns import Worker


class _Turns(TrainerCallback):
    """Tells the worker of every step, and keeps each step's time and responses."""

    def __init__(self, worker: Worker, responses: int) -> None:
        self.worker, self.responses = worker, responses
        self.steps: list[dict[str, Any]] = []
        self.scored: list[list[Any]] = []
        """[prompt, response] of the step that runs."""
        self.since = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """A step is done; the first one warms up."""
        self.steps.append({"seconds": time.perf_counter() - self.since, "scored": self.scored})
        self.scored = []
        if state.global_step == 1:
            self.worker.mark()
        else:
            self.worker.step_done(self.responses, 0)
        self.since = time.perf_counter()


def main(job: dict[str, Any]) -> None:
    """Train as the job says."""
    torch.set_num_threads(job["threads"])
    worker = Worker()
    turns = _Turns(worker, job["responses"])
    dtype = torch.bfloat16 if job["precision"] == "bf16" else torch.float32
    if dtype == torch.bfloat16:
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"], padding_side="left")
    # The trainer finds padding by its id, so it must stand in no prompt, as the end token does.
    tokenizer.pad_token = job["pad_token"]
    _watch(turns, tokenizer, {tuple(ids): n for n, ids in enumerate(job["ids"])})
    with tempfile.TemporaryDirectory() as folder:
        config = PPOConfig(
            output_dir=folder, total_episodes=job["steps"] * job["responses"],
            per_device_train_batch_size=job["microbatch"],
            gradient_accumulation_steps=job["responses"] // job["microbatch"],
            num_mini_batches=1, num_ppo_epochs=job["epochs"], response_length=job["new_tokens"],
            local_rollout_forward_batch_size=job["responses"], stop_token="eos",
            temperature=job["temperature"], kl_coef=job["kl_coefficient"], gamma=job["gamma"],
            lam=job["gae_lambda"], cliprange=job["clip_range"],
            cliprange_value=job["value_clip_range"], learning_rate=job["learning_rate"],
            lr_scheduler_type="constant", bf16=dtype == torch.bfloat16,
            gradient_checkpointing=False, num_sample_generations=0, seed=job["seed"],
            use_cpu=not torch.cuda.is_available(), save_strategy="no", report_to=[],
            disable_tqdm=True)
        policy = _model(AutoModelForCausalLM, job, dtype)
        lora = {"r": job["rank"], "lora_alpha": job["alpha"], "lora_dropout": 0.0}
        rows = Dataset.from_list([{"input_ids": ids} for ids in job["ids"]])
        trainer = PPOTrainer(
            args=config, processing_class=tokenizer, model=policy, ref_model=None,
            reward_model=_scorer(job, dtype, tokenizer.pad_token_id), train_dataset=rows,
            value_model=_value_model(job, dtype, tokenizer.pad_token_id, lora),
            eval_dataset=rows.select(range(job["responses"])), callbacks=[turns],
            peft_config=LoraConfig(**lora, target_modules="all-linear", task_type="CAUSAL_LM"))
        trainer.train()
    worker.finish({"steps": turns.steps})


def _model(auto: Any, job: dict[str, Any], dtype: torch.dtype, **more: Any) -> Any:
    """The job's checkpoint, or random weights of its shape."""
    if job["shape"]:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return random_model(job["shape"], device, dtype, auto, **more)
    return auto.from_pretrained(job["checkpoint"], dtype=dtype, **more)


def _scorer(job: dict[str, Any], dtype: torch.dtype, pad: int) -> Any:
    """The checkpoint with the job's score head."""
    model = _model(AutoModelForSequenceClassification, job, dtype, num_labels=1, pad_token_id=pad)
    if not job["shape"]:
        model.score.weight.data.copy_(load_file(job["head"])["weight"])
    return model.requires_grad_(False).eval()


def _value_model(job: dict[str, Any], dtype: torch.dtype, pad: int, lora: dict[str, Any]) -> Any:
    """As the reward model, with LoRA inside it: the trainer reaches into the model for its parts,
    which peft's wrapper would hide."""
    model = _scorer(job, dtype, pad)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    inject_adapter_in_model(LoraConfig(**lora, target_modules=names), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name or name.startswith("score."))
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return model


def _watch(turns: _Turns, tokenizer: Any, numbers: dict[tuple[int, ...], int]) -> None:
    """Keep what the trainer has its reward model score."""
    own = ppo_trainer.get_reward

    def get_reward(model: Any, texts: torch.Tensor, pad: int, start: int) -> Any:
        if not any(p.requires_grad for p in model.parameters()):
            for row in texts.tolist():
                prompt = tuple(i for i in row[:start] if i != pad)
                turns.scored.append([numbers[prompt], tokenizer.decode(
                    row[start:], skip_special_tokens=True).strip()])
        return own(model, texts, pad, start)

    ppo_trainer.get_reward = get_reward


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
