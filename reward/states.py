"""Hidden states of texts as a linear head reads them: behind which block, and pooled how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.layouts import Layout, Lower
from backbone.model import Backbone
from data.errors import BadInput

POOLINGS = ("mean", "last", "asked")
#: Where a response's own tokens begin and end (before) in its text.
Span = tuple[int, int]


@dataclass(frozen=True, order=True)
class FeatureKind:
    """Which hidden state, and how a response's tokens become one vector."""

    layer: int
    """Blocks that the state has been through: 1 to the number of the backbone's blocks."""
    pooling: str = "mean"
    """`mean` over the response's tokens, the `last` token of the conversation, or the last one of
    a question that is `asked` about the response after it."""
    question: str = ""
    """What is asked, in one more turn of the user. Where another kind asks, a text ends with its
    question, of which the means and last tokens before it know nothing."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise BadInput(f"pooling: {self.pooling!r} is none of {', '.join(POOLINGS)}")
        if self.layer < 1:
            raise BadInput(f"layer: must be at least 1, not {self.layer}")
        if (self.pooling == "asked") != bool(self.question):
            raise BadInput(f"pooling: {self.pooling} with the question {self.question!r}")

    def __str__(self) -> str:
        asked = f": {self.question}" if self.question else ""
        return f"layer{self.layer}.{self.pooling}{asked}"

    @classmethod
    def parse(cls, name: str) -> FeatureKind:
        """The inverse of `str`.

        Raises:
            BadInput: the text names no kind.
        """
        layer, _, rest = name.removeprefix("layer").partition(".")
        if not layer.isdecimal():
            raise BadInput(f"features: {name!r} is not of the form layer20.mean")
        pooling, _, question = rest.partition(": ")
        return cls(int(layer), pooling, question)


def question_of(kinds: Iterable[FeatureKind]) -> str:
    """What is asked about each response for these kinds; empty: nothing is.

    Raises:
        BadInput: more than one question.
    """
    questions = {kind.question for kind in kinds} - {""}
    if len(questions) > 1:
        raise BadInput(f"features: of one question at a time, not {len(questions)}: "
                       + "; ".join(sorted(questions)))
    return next(iter(questions), "")


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
