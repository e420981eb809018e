"""Which checkpoints hold the four models, and how. Free of torch, so that `--help` is quick."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from data.errors import BadInput
from data.limits import at_least

EMBEDDED = "embedded"
Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True)
class ModelConfig:
    """The models of a workspace."""

    checkpoint: str = EMBEDDED
    """Instruction-tuned checkpoint that policy and reference start from: "embedded"
    (SmolLM2-135M-Instruct), a folder, or a Hugging Face hub id."""

    pretrained_checkpoint: str = ""
    """Pretrained checkpoint that reward and value start from; empty: the same as checkpoint."""

    sft_adapter: str = ""
    """Folder of a LoRA adapter (PEFT layout) that, on checkpoint, is the reference and the first
    policy; empty: the checkpoint itself is."""

    lora_rank: int = 16
    """Rank of the LoRA adapters, on all linear layers."""

    lora_alpha: int = 32
    """LoRA's alpha; a delta is scaled by alpha / rank."""

    precision: Precision = "auto"
    """Number format of matrix products: bf16, fp32, or auto, which measures and takes the faster.
    Adapters, heads and optimizer state are always fp32."""

    gradient_checkpointing: bool = False
    """Whether training makes what stands inside a block of the model again in the backward pass, in
    place of keeping it: less memory, for about a forward pass more."""

    device: str = "auto"
    """cpu, cuda, cuda:N, or auto, which takes a GPU where there is one."""

    def __post_init__(self) -> None:
        if not self.checkpoint:
            raise BadInput('--checkpoint: give a folder, a hub id or "embedded"')
        at_least(self, 1, "lora_rank", "lora_alpha")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise BadInput(f"--precision: {self.precision!r} is none of auto, bf16, fp32")
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", self.device):
            raise BadInput(f"--device: {self.device!r} is not auto, cpu, cuda or cuda:N")

    @property
    def reward_checkpoint(self) -> str:
        """The checkpoint that reward and value start from."""
        return self.pretrained_checkpoint or self.checkpoint
