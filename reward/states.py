"""Hidden states of texts as a linear head reads them: behind which block, and pooled how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.layouts import Layout, Lower
from backbone.model import Backbone
from data.errors import BadInput

POOLINGS = ("mean", "last")


@dataclass(frozen=True, order=True)
class FeatureKind:
    """Which hidden state, and how a response's tokens become one vector."""

    layer: int
    """Blocks that the state has been through: 1 to the number of the backbone's blocks."""
    pooling: str = "mean"
    """`mean` over the response's tokens, or the `last` token of the conversation."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise BadInput(f"pooling: {self.pooling!r} is none of {', '.join(POOLINGS)}")
        if self.layer < 1:
            raise BadInput(f"layer: must be at least 1, not {self.layer}")

    def __str__(self) -> str:
        return f"layer{self.layer}.{self.pooling}"

    @classmethod
    def parse(cls, name: str) -> FeatureKind:
        """The inverse of `str`.

        Raises:
            BadInput: the text names no kind.
        """
        layer, _, pooling = name.removeprefix("layer").partition(".")
        if not layer.isdecimal():
            raise BadInput(f"features: {name!r} is not of the form layer20.mean")
        return cls(int(layer), pooling)


def pooled_states(backbone: Backbone, layout: Layout, starts: Tensor,
                  kinds: Sequence[FeatureKind], adapter: str | None,
                  lower: Lower | None = None) -> dict[FeatureKind, Tensor]:
    """[N, d] fp32 of each kind, with an adapter on (or none); gradients flow.

    `lower` is what the layout's lower blocks made, where that is known.
    """
    share, last = layout.share(starts), layout.last
    found: dict[FeatureKind, Tensor] = {}

    def keep(layer: int, states: Tensor) -> None:
        # Means are taken in fp32, whatever the products around them run in.
        with torch.autocast(backbone.device.type, enabled=False):
            for kind in kinds:
                if kind.layer == layer and kind.pooling == "mean":
                    found[kind] = share @ states.float()
                elif kind.layer == layer:
                    found[kind] = states[last].float()

    layout.climb({kind.layer for kind in kinds}, adapter, keep, lower)
    return found


@torch.no_grad()
def token_parts(backbone: Backbone, layout: Layout, starts: Tensor,
                slopes: Mapping[FeatureKind, Tensor], adapter: str | None) -> list[Tensor]:
    """Of each text, what each of its tokens from its start ([N]) on brings to Σ slope · feature.

    A mean is a sum over tokens; a last token brings its kind's part alone. Slopes are [d].
    """
    own = [columns[start:] for columns, start in zip(layout.columns, starts.tolist(), strict=True)]
    brought = [torch.zeros(len(columns), device=starts.device) for columns in own]

    def keep(layer: int, states: Tensor) -> None:
        with torch.autocast(backbone.device.type, enabled=False):
            for kind, slope in slopes.items():
                if kind.layer == layer:
                    worth = states.float() @ slope
                    for parts, columns in zip(brought, own, strict=True):
                        if kind.pooling == "mean":
                            parts += worth[columns] / len(columns)
                        else:
                            parts[-1] += worth[columns[-1]]

    layout.climb({kind.layer for kind in slopes}, adapter, keep)
    return brought
