"""Hidden states of texts as a linear head reads them: behind which block, and pooled how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from backbone.layouts import Layout, Lower
from backbone.model import Backbone
from reward.kinds import FeatureKind

#: Where a response's own tokens begin and end (before) in its text.
Span = tuple[int, int]


def pooled_states(backbone: Backbone, layout: Layout, spans: Sequence[Span],
                  kinds: Sequence[FeatureKind], adapter: str | None,
                  lower: Lower | None = None) -> dict[FeatureKind, Tensor]:
    """[N, d] fp32 of each kind, with an adapter on (or none); gradients flow.

    `lower` is what the layout's lower blocks made, where that is known.
    """
    share = layout.share(spans)
    places = {"last": layout.at([end - 1 for _, end in spans]), "asked": layout.last}
    found: dict[FeatureKind, Tensor] = {}

    def keep(layer: int, states: Tensor) -> None:
        # Means are taken in fp32, whatever the products around them run in.
        with torch.autocast(backbone.device.type, enabled=False):
            for kind in kinds:
                if kind.layer == layer and kind.pooling == "mean":
                    found[kind] = share @ states.float()
                elif kind.layer == layer:
                    found[kind] = states[places[kind.pooling]].float()

    layout.climb({kind.layer for kind in kinds}, adapter, keep, lower)
    return found


@torch.no_grad()
def token_parts(backbone: Backbone, layout: Layout, spans: Sequence[Span],
                slopes: Mapping[FeatureKind, Tensor], adapter: str | None) -> list[Tensor]:
    """Of each text, what each of its own tokens brings to Σ slope · feature.

    A mean is a sum over tokens; of the other kinds, the response's last token brings all. Slopes
    are [d].
    """
    own = [columns[start:end] for columns, (start, end) in zip(layout.columns, spans, strict=True)]
    brought = [torch.zeros(len(columns), device=backbone.device) for columns in own]

    def keep(layer: int, states: Tensor) -> None:
        with torch.autocast(backbone.device.type, enabled=False):
            for kind, slope in slopes.items():
                if kind.layer == layer:
                    worth = states.float() @ slope
                    for parts, columns, whole in zip(brought, own, layout.columns, strict=True):
                        if kind.pooling == "mean":
                            parts += worth[columns] / len(columns)
                        else:
                            parts[-1] += worth[(whole if kind.pooling == "asked" else columns)[-1]]

    layout.climb({kind.layer for kind in slopes}, adapter, keep)
    return brought
