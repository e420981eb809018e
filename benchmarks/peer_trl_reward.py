"""TRL's RewardTrainer on the pairs of a job file; runs in the peers' environment.

LoRA on all linear layers, the score head trained, texts as token ids already. Its own defaults
stand but for what the job says and for activation checkpointing, which would make it slower.
"""

# mypy: ignore-errors
# (what it stands on is not in the environment that types are checked in)

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, TrainerCallback
from trl import RewardConfig, RewardTrainer

from benchmarks.turns import Worker

_SCORED_TOGETHER = 16


class _Counted(RewardTrainer):
    """Counts the pairs of a step and their tokens, padding left out."""

    pairs = tokens = 0

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """The trainer's own."""
        self.pairs += len(inputs["input_ids"]) // 2
        self.tokens += int(inputs["attention_mask"].sum())
        return super().compute_loss(model, inputs, *rest, **more)


class _Turns(TrainerCallback):
    """Tells the worker of every optimizer step; the first one warms up."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.trainer: _Counted | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """An optimizer step is done."""
        if state.global_step == 1:
            self.worker.mark()
        else:
            self.worker.step_done(self.trainer.pairs, self.trainer.tokens)
        self.trainer.pairs = self.trainer.tokens = 0


def main(job: dict[str, Any]) -> None:
    """Train as the job says, then score the texts that it wants scored."""
    torch.set_num_threads(job["threads"])
    worker = Worker()
    texts: list[list[int]] = job["ids"]
    rows = [{"chosen_ids": texts[chosen], "rejected_ids": texts[rejected]}
            for chosen, rejected in job["pairs"]]
    tokenizer = AutoTokenizer.from_pretrained(job["checkpoint"])
    turns = _Turns(worker)
    with tempfile.TemporaryDirectory() as folder:
        config = RewardConfig(
            output_dir=folder, num_train_epochs=job["epochs"], learning_rate=job["learning_rate"],
            per_device_train_batch_size=job["pairs_per_pass"],
            gradient_accumulation_steps=job["pairs_per_step"] // job["pairs_per_pass"],
            lr_scheduler_type="linear", warmup_steps=job["warm_up"], weight_decay=0.01,
            max_length=job["max_length"], bf16=job["precision"] == "bf16",
            gradient_checkpointing=job["checkpointing"], use_cpu=not torch.cuda.is_available(),
            save_strategy="no", report_to=[], disable_tqdm=True, seed=job["seed"])
        lora = LoraConfig(r=job["rank"], lora_alpha=job["alpha"], lora_dropout=0.0,
                          target_modules="all-linear", modules_to_save=["score"],
                          task_type="SEQ_CLS")
        turns.trainer = _Counted(
            job["checkpoint"], config, train_dataset=Dataset.from_list(rows), peft_config=lora,
            processing_class=tokenizer, callbacks=[turns])
        turns.trainer.train()
    worker.finish({"scores": _scores(turns.trainer, texts, job["scored"], tokenizer.pad_token_id)})


@torch.no_grad()
def _scores(trainer: Any, texts: list[list[int]], wanted: list[int], pad: int) -> list[float]:
    """The score of each wanted text, in their order."""
    model = trainer.model.eval()
    found: dict[int, float] = {}
    order = sorted(wanted, key=lambda i: len(texts[i]))
    for start in range(0, len(order), _SCORED_TOGETHER):
        part = order[start:start + _SCORED_TOGETHER]
        width = max(len(texts[i]) for i in part)
        ids = torch.tensor([texts[i] + [pad] * (width - len(texts[i])) for i in part])
        mask = torch.tensor([[1] * len(texts[i]) + [0] * (width - len(texts[i])) for i in part])
        device = model.device
        with torch.autocast(device.type, torch.bfloat16, enabled=trainer.args.bf16):
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        found.update(zip(part, logits[:, 0].float().tolist(), strict=True))
    return [found[i] for i in wanted]


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
