"""A decoder's blocks: where they are, and gradient checkpointing (Chen et al. 2016), which makes
what stands inside a block again in the backward pass in place of keeping it.

A training pass then keeps the states between blocks, and all of one block at a time, for about one
forward pass more. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from data.errors import BadInput


def blocks_of(trunk: nn.Module) -> nn.ModuleList:
    """The decoder's blocks: the longest list among its children (`layers`, or `h` in GPT-2).

    Raises:
        BadInput: it has none.
    """
    lists = [child for child in trunk.children() if isinstance(child, nn.ModuleList)]
    if not lists:
        raise BadInput("--checkpoint: its decoder keeps no list of blocks to read features from")
    return max(lists, key=len)


def recomputed(run: Callable[..., Any], prepare: Callable[[], None]) -> Callable[..., Any]:
    """`run`, once more in the backward pass: nothing that it makes on the way is kept.

    `prepare` is called before each run: by the time of the second one, other passes may have left
    the checkpoint with another adapter on.
    """
    def prepared(*inputs: Any, **named: Any) -> Any:
        prepare()
        return run(*inputs, **named)

    # There is no dropout, so no random numbers to have again.
    return partial(checkpoint, prepared, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def recomputing(blocks: nn.ModuleList, prepare: Callable[[], None]) -> Iterator[None]:
    """Passes by the checkpoint's own code run every block so."""
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = recomputed(block.forward, prepare)
    try:
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            del block.forward
            if own is not None:
                block.forward = own
