"""What this machine does in products of matrices and in copying, which nothing that is made of them
outruns."""

from __future__ import annotations

import time
from typing import Any

GIB = 2 ** 30


def matrix_rate(dtype: Any, device: str = "cpu", size: int = 2048) -> float:
    """Floating-point operations a second in a product of square matrices."""
    import torch

    best = float("inf")
    left = torch.full((size, size), 0.5, dtype=dtype, device=device)
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(left, left)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size ** 3 / best


def copy_rate() -> float:
    """Bytes a second that memory gives: reads and writes of a tensor of a GiB that is copied."""
    import torch

    left = torch.zeros(GIB, dtype=torch.uint8, device="cuda")
    right, best = torch.empty_like(left), float("inf")
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        right.copy_(left)
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * GIB / best
