"""One run on several processes: each takes every n-th microbatch, and all of them keep whole models
that stay equal.

Started by `accelerate launch` (or torchrun), which tells a process its place; alone, nothing here
does anything. Only what differs between processes travels: samples, what the models say of them,
the adapters' gradients. Deliberately left out: models too large for one device, which FSDP or
DeepSpeed would cut up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from torch import Tensor, distributed, nn

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """A process's place among those that work on one run."""

    rank: int = 0
    count: int = 1

    @classmethod
    def of_this_process(cls, device: torch.device) -> Share:
        """As the launcher says; joins the others (by gloo on a CPU, NCCL on GPUs)."""
        state = PartialState(cpu=device.type == "cpu")
        return cls(state.process_index, state.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether it is this process that writes checkpoints and reports."""
        return self.rank == 0

    def mine(self, work: Iterable[T]) -> list[T]:
        """Every n-th piece of work."""
        return list(work)[self.rank::self.count]

    def gather(self, parts: Sequence[T]) -> list[T]:
        """What all processes made of their pieces (`mine`), in the order of the whole work."""
        if self.count == 1:
            return list(parts)
        everybody = self.everybody(list(parts))
        total = sum(map(len, everybody))
        return [everybody[place % self.count][place // self.count] for place in range(total)]

    def everybody(self, value: T) -> list[T]:
        """A value of every process, by rank."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value)
        return found

    def add_up(self, *tensors: Tensor | None) -> None:
        """Sum tensors over the processes, in place."""
        for tensor in tensors:
            if self.count > 1 and tensor is not None:
                distributed.all_reduce(tensor)

    def add_up_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum gradients over the processes; a process without work has none, which counts as 0."""
        if self.count == 1:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten()
                          for p in parameters])
        distributed.all_reduce(flat)
        start = 0
        for parameter in parameters:
            size = parameter.numel()
            parameter.grad = flat[start:start + size].view_as(parameter).clone()
            start += size

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


ALONE = Share()
