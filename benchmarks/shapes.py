"""Models of known shapes with random weights: how fast they are does not depend on what they know.

Runs in the peers' environment too, so it stands on torch and transformers alone.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

#: Width, width of the gate, blocks, heads, key heads, vocabulary, whether the head is the
#: embeddings: Qwen2.5's (Yang et al. 2024, table 1), and one for tests.
SHAPES: dict[str, tuple[int, int, int, int, int, int, bool]] = {
    "tiny": (64, 128, 2, 4, 2, 50_000, True),
    "0.5b": (896, 4864, 24, 14, 2, 151_936, True),
    "1.5b": (1536, 8960, 28, 12, 2, 151_936, True),
    "7b": (3584, 18_944, 28, 28, 4, 152_064, False),
    "14b": (5120, 13_824, 48, 40, 8, 152_064, False),
    "32b": (5120, 27_648, 64, 40, 8, 152_064, False)}


def shape_config(shape: str) -> Qwen2Config:
    """The configuration of a shape."""
    width, gate, blocks, heads, key_heads, vocabulary, tied = SHAPES[shape]
    return Qwen2Config(
        hidden_size=width, intermediate_size=gate, num_hidden_layers=blocks,
        num_attention_heads=heads, num_key_value_heads=key_heads, vocab_size=vocabulary,
        tie_word_embeddings=tied, max_position_embeddings=4096)


def random_model(shape: str, device: torch.device, dtype: torch.dtype,
                 auto: Any = AutoModelForCausalLM, **more: Any) -> Any:
    """A model of the shape, made on the device itself, the same each time."""
    torch.manual_seed(0)
    config = shape_config(shape)
    for name, value in more.items():
        setattr(config, name, value)
    with device:
        return auto.from_config(config, dtype=dtype)


def linear_weights(shape: str) -> int:
    """Weights of all linear layers in the blocks."""
    width, gate, blocks, heads, key_heads, *_ = SHAPES[shape]
    size = width // heads
    return blocks * (2 * width * width + 2 * width * key_heads * size + 3 * width * gate)


def head_weights(shape: str) -> int:
    """Weights of the head over the vocabulary."""
    return SHAPES[shape][0] * SHAPES[shape][5]
