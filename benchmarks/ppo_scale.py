"""PPO on one GPU with models of larger shapes, beside TRL 1.12's PPOTrainer.

Shapes of Qwen2.5 0.5B, 1.5B and 7B with random weights, which serve for speed, memory and shares of
what the chip can do, and for nothing else. Settings as in `benchmarks.ppo_speed` (32 prompts x 48
new tokens, 4 epochs x 1 minibatch, LoRA of rank 16 on all linear layers of policy and value model),
both in bf16 and, but for the size of microbatches, alike; in turns of one step each. Of each shape:

`speed_ratio_*`, `memory_ratio_*`: samples a second and peak GPU memory, ours to TRL's.
`update_share_*`: floating-point operations that our updates need, by their time, over the rate of a
product of 8192 x 8192 matrices measured here. `bandwidth_share_*`: bytes of weights that are read
for each new token, by the time of sampling, over the rate at which a tensor is copied here.
`largest`: billions of weights of the largest shape (up to 32B) that does a PPO step of ours on this
card, with gradient checkpointing and a microbatch of 2. `--quick`: 0.5B and 1.5B. Needs a CUDA GPU
and `make peers`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, exact, flags, median_ratio, rate, say, show, spread
from benchmarks.machine_rates import copy_rate, matrix_rate
from benchmarks.ppo_speed import (
    PEER,
    SETTINGS,
    alone,
    asked,
    contender,
    prompts,
    side_by_side,
)
from benchmarks.turns import Contender

BESIDE, LARGEST = ("0.5b", "1.5b", "7b"), ("7b", "14b", "32b")
STEPS = 4
"""The first of them warms up."""
BYTES = 2
"""Of a weight in bf16."""


def main() -> None:
    """Each shape beside TRL, then the largest alone."""
    import torch

    given = flags(__doc__ or "")
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here, and this measures nothing else")
    if not PEER.is_file():
        raise SystemExit(f"{PEER}: not there; run `make peers` first")
    matrices, copies = matrix_rate(torch.bfloat16, "cuda", 8192), copy_rate()
    say(f"matrix products {matrices / 1e12:.0f} TFLOP/s, memory {copies / 1e12:.2f} TB/s")
    figures: dict[str, Figure] = {"matrix_tflops": exact(matrices / 1e12),
                                  "memory_tb_per_s": exact(copies / 1e12)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shape in BESIDE[:2] if given.quick else BESIDE:
            say(f"{shape} ...")
            ours, theirs = side_by_side(job_of(folder, shape), folder)
            figures |= figures_of(shape, ours, theirs, matrices, copies)
        figures["largest"] = exact(largest(folder))
    show(figures, {key: words(key) for key in figures}, given.json)


def job_of(folder: Path, shape: str, **changed: Any) -> dict[str, Any]:
    """All that either side needs. The tokenizer is one of whole words: none has to be fetched."""
    from backbone.tiny import make_tiny_checkpoint
    from benchmarks.shapes import shape_config

    checkpoint = folder / shape
    if not checkpoint.exists():
        make_tiny_checkpoint(checkpoint, [m["content"] for each in prompts() for m in each],
                             words=20_000)
        shape_config(shape).save_pretrained(checkpoint)
    return {**SETTINGS, **asked(str(checkpoint)), "head": "", "shape": shape, "steps": STEPS,
            "precision": "bf16", "ours_in": "bf16", "pad_token": "<pad>", **changed}


def figures_of(shape: str, ours: Contender, theirs: Contender, matrices: float,
               copies: float) -> dict[str, Figure]:
    """What a shape's two runs say."""
    assert ours.result is not None
    steps = ours.result["steps"][1:]
    of_update = [update_operations(shape, step["tokens"]) / step["phases"]["seconds_update"]
                 / matrices for step in steps]
    of_sampling = [read_bytes(shape) / step["phases"]["seconds_generate"] / copies
                   for step in steps]
    return {f"{key}_{shape}": figure for key, figure in {
        "speed_ratio": median_ratio(ours.rates(), theirs.rates()),
        "memory_ratio": exact(ours.peak_gb / theirs.peak_gb),
        "samples_per_s": rate(1.0, [1 / each for each in ours.rates()]),
        "samples_per_s_trl": rate(1.0, [1 / each for each in theirs.rates()]),
        "peak_gb": exact(ours.peak_gb), "peak_gb_trl": exact(theirs.peak_gb),
        "update_share": spread(of_update), "bandwidth_share": spread(of_sampling)}.items()}


def update_operations(shape: str, tokens: Sequence[int]) -> float:
    """Floating-point operations of a step's updates, for the tokens of a step's texts, [all,
    those of responses].

    2 a weight and token forward, as many for the gradient, since the weights are frozen; policy and
    value model, each epoch; the vocabulary for response tokens of the policy alone. Attention and
    LoRA are not counted.
    """
    from benchmarks.shapes import head_weights, linear_weights

    every, answers = tokens
    return float(4 * SETTINGS["epochs"] * (
        2 * linear_weights(shape) * every + head_weights(shape) * answers))


def read_bytes(shape: str) -> float:
    """Bytes of weights that sampling a step's responses has to read: all, once a new token."""
    from benchmarks.shapes import head_weights, linear_weights

    return float(BYTES * SETTINGS["new_tokens"] * (linear_weights(shape) + head_weights(shape)))


def largest(folder: Path) -> float:
    """Billions of weights of the largest shape that does a step of ours; 0 where none does."""
    from benchmarks.shapes import head_weights, linear_weights

    found = 0.0
    for shape in LARGEST:
        job = job_of(folder, shape, gradient_checkpointing=True, microbatch=2, steps=2)
        side = contender(job, folder, "ours")
        try:
            steps = alone(side, shape)
        except SystemExit as ended:  # out of memory, most likely: its own words are above
            say(f"{shape}: no step ({ended})")
            break
        found = (linear_weights(shape) + 2 * head_weights(shape)) / 1e9
        say(f"{shape}: a step in {steps[-1]['seconds']:.0f} s, {side.peak_gb:.0f} GB")
    return found


def words(key: str) -> str:
    """A figure's name as people read it."""
    name, _, shape = key.rpartition("_")
    return f"{shape.upper()}: {_WORDS[name]}" if name in _WORDS else _WORDS[key]


_WORDS = {"speed_ratio": "samples/s, ours to TRL's", "memory_ratio": "peak memory, ours to TRL's",
          "samples_per_s": "ours, samples/s", "samples_per_s_trl": "TRL, samples/s",
          "peak_gb": "ours, peak GB", "peak_gb_trl": "TRL, peak GB",
          "update_share": "update, share of the matrix rate",
          "bandwidth_share": "sampling, share of memory's rate",
          "matrix_tflops": "matrix products, TFLOP/s", "memory_tb_per_s": "memory, TB/s",
          "largest": "largest that steps, billions"}


if __name__ == "__main__":
    main()
