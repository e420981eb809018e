"""Credit: what each token of a response brings to a reward that is linear in pooled states.

A head on means is a sum over the response's tokens, and the state of a token knows nothing of what
comes after it. So PPO can pay tokens for what they bring, and need not pay all of it at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backbone.layouts import lay_out
from backbone.model import Backbone
from reward.instant.features import EncodedResponse, by_prompt
from reward.instant.linear import LinearReward
from reward.kinds import FeatureKind
from reward.states import token_parts

#: Responses in one pass.
_TOGETHER = 16


@torch.no_grad()
def linear_credit(backbone: Backbone, responses: Sequence[EncodedResponse],
                  kinds: Sequence[FeatureKind], head: LinearReward,
                  adapter: str | None = None) -> list[list[float]]:
    """Of each response, what each of its tokens brings to the head's score, with an adapter on (or
    none); they add up to it.

    What all responses have in common, the score where all features are 0, is shared out evenly.
    """
    slope, offset = head.slope_and_offset()
    whole = torch.tensor(slope, dtype=torch.float32, device=backbone.device)
    slopes = dict(zip(kinds, whole.chunk(len(kinds)), strict=True))
    found: list[list[float]] = [[]] * len(responses)
    order = by_prompt(responses)
    for begin in range(0, len(order), _TOGETHER):
        part = order[begin:begin + _TOGETHER]
        layout = lay_out(backbone, [responses[i].ids for i in part])
        spans = [responses[i].span for i in part]
        for i, brought in zip(part, token_parts(backbone, layout, spans, slopes, adapter),
                              strict=True):
            found[i] = (brought + offset / len(brought)).tolist()
    return found
