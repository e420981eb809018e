"""Scalar heads: a hidden state in, one number out (a reward or a value)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ScalarHead(nn.Module):
    """A linear map from hidden states to numbers, fp32.

    Starts with standard deviation 1/√(d+1) (Stiennon et al. 2020), from a seed of its own. A
    reward head has no bias, as in PEFT's layout; a value head has one, which starts at 0.
    """

    def __init__(self, hidden_size: int, device: torch.device, seed: int = 0,
                 bias: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(1, hidden_size, generator=generator) / math.sqrt(hidden_size + 1)
        self.weight = nn.Parameter(weight.to(device))
        self.bias = nn.Parameter(torch.zeros(1, device=device)) if bias else None

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., d] hidden states to [...] numbers."""
        return nn.functional.linear(hidden.float(), self.weight, self.bias).squeeze(-1)
