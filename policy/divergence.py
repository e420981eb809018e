"""How far a policy has moved from the reference, measured on responses it has sampled."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backbone.model import Backbone
from policy.logprobs import response_logprobs
from policy.responses import join


@torch.no_grad()
def sampled_kl(backbone: Backbone, adapter: str | None, reference: str | None,
               prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]],
               temperature: float, batch_size: int = 16) -> list[float]:
    """log π(y) − log π_ref(y) of each response y ~ π, in nats: their mean estimates KL(π‖π_ref).

    Both at the temperature that the responses were sampled at.
    """
    texts = join(prompts, responses, backbone.pad_id, backbone.device)
    found = torch.zeros(len(prompts))
    for rows in texts.by_length(batch_size):
        new, old = (response_logprobs(backbone, name, texts.select(rows), temperature).logprobs
                    for name in (adapter, reference))
        found[rows.cpu()] = (new - old).sum(1).cpu()
    return found.tolist()
