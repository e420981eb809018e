"""One run on several processes, which take their shares of the work or do all of it together.

Started by `accelerate launch` (or torchrun), which tells a process its place; alone, nothing here
does anything. Where each process holds whole models, each takes every n-th microbatch, and what
differs travels: samples, what the models say of them, the adapters' gradients. Where the launcher
asks for FSDP, the checkpoints' layers are cut up between the processes (`backbone/sharding.py`);
then all of them do the same work at the same time, and the first one's results count, so that no
rounding can drive them apart. Deliberately left out: both at once, and DeepSpeed, whose engine
wants a loop of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from torch import Tensor, distributed, nn

from backbone.sharding import is_cut_up

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """A process's place among those that work on one run."""

    rank: int = 0
    count: int = 1
    same_work: bool = False
    """Whether every process does all of the work, each on a part of every layer."""

    @classmethod
    def of_this_process(cls, device: torch.device) -> Share:
        """As the launcher says; joins the others (by gloo on a CPU, NCCL on GPUs)."""
        state = PartialState(cpu=device.type == "cpu")
        return cls(state.process_index, state.num_processes,
                   state.num_processes > 1 and is_cut_up())

    @property
    def is_first(self) -> bool:
        """Whether it is this process that writes checkpoints and reports."""
        return self.rank == 0

    @property
    def parts(self) -> int:
        """In how many parts the work is shared out."""
        return 1 if self.same_work else self.count

    def mine(self, work: Iterable[T]) -> list[T]:
        """Every n-th piece of work, or all of it."""
        return list(work) if self.same_work else list(work)[self.rank::self.count]

    def gather(self, parts: Sequence[T]) -> list[T]:
        """What all processes made of their pieces (`mine`), in the order of the whole work."""
        if self.count == 1:
            return list(parts)
        everybody = self.everybody(list(parts))
        if self.same_work:
            return everybody[0]
        total = sum(map(len, everybody))
        return [everybody[place % self.count][place // self.count] for place in range(total)]

    def everybody(self, value: T) -> list[T]:
        """A value of every process, by rank."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value)
        return found

    def total(self, value: float) -> float:
        """The sum of what each process's share came to."""
        found = self.everybody(value)
        return found[0] if self.same_work else sum(found)

    def agree(self, *tensors: Tensor) -> None:
        """Where all do the same work, go on with what the first one has, in place: how much is left
        to do must not hang on how a process rounds."""
        if self.same_work:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def add_up(self, *tensors: Tensor | None) -> None:
        """Sum tensors over the processes' shares, in place."""
        given = [tensor for tensor in tensors if tensor is not None]
        if self.same_work:
            self.agree(*given)
        elif self.count > 1:
            for tensor in given:
                distributed.all_reduce(tensor)

    def add_up_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum gradients over the processes' shares; who had no work has none, which counts as 0."""
        if self.count == 1:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten()
                          for p in parameters])
        self.add_up(flat)
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
