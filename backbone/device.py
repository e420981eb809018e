"""Where the models live and in which number format their matrix products run."""

from __future__ import annotations

import os
import time
from functools import cache

import torch

from data.errors import BadInput

# Texts are laid out without padding, so nearly every pass on a CPU has shapes of its own, and
# oneDNN compiles its bf16 products for each. By default it keeps 1,024 of them: a gigabyte that is
# hardly ever read again. A layer's own fit into this many. It is read at the first such product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def choose_device(name: str = "auto") -> torch.device:
    """The device by its name; auto takes a GPU where there is one.

    Raises:
        BadInput: an unknown name, or CUDA where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BadInput(f"--device: {name!r} is not cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(f"--device {name}: torch finds no CUDA device here")
    if device.type not in ("cpu", "cuda"):
        raise BadInput(f"--device: {name!r} is not cpu, cuda or cuda:N")
    return device


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bf16 or fp32; auto measures both and takes bf16 only where it is clearly faster.

    On CPUs with avx512_bf16 or AMX and on GPUs bf16 products are several times faster; on other
    CPUs they are emulated and slower than fp32.
    """
    if precision == "bf16":
        return torch.bfloat16
    if precision == "fp32":
        return torch.float32
    return torch.bfloat16 if bf16_speedup(device) > 1.2 else torch.float32


@cache
def bf16_speedup(device: torch.device, size: int = 768) -> float:
    """How many times faster a bf16 matrix product is than an fp32 one, measured here and now."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return 0.0
    return _product_seconds(device, torch.float32, size) / _product_seconds(
        device, torch.bfloat16, size)


def _product_seconds(device: torch.device, dtype: torch.dtype, size: int) -> float:
    left = torch.full((size, size), 0.5, dtype=dtype, device=device)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(left, left)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
