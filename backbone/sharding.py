"""A checkpoint cut up between processes, for one that does not fit a device (FSDP, version 2).

Each process holds a part of every decoder layer, and a layer is whole only while it runs. What is
trained (adapters, heads) is small and stays whole everywhere, as do the embeddings and the head
over the vocabulary, which are read outside their modules. All processes must run the same passes in
the same order: a layer is put together by all of them at once.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import distributed


def is_cut_up() -> bool:
    """Whether the launcher asks for it, by `accelerate launch` with a config of type FSDP, and the
    processes have joined."""
    return (os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
            and distributed.is_available() and distributed.is_initialized()
            and distributed.get_world_size() > 1)


def cut_up(model: Any, device: torch.device) -> Any:
    """A causal language model in CPU memory with its layers cut up, on the device.

    Before adapters are added: what comes later stays whole.
    """
    # Seconds to import, which nobody else shall wait for.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for layer in model.get_decoder().layers:
        # Left to itself, what is cut up with nothing above it stays whole after its first pass.
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    return model.to(device)
