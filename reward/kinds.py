"""Which features are read of a response, and the sets of them that a linear head chooses among.

Names and numbers alone, without torch; `reward.states` reads them of a backbone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data.errors import BadInput

POOLINGS = ("mean", "last", "asked")
#: What is read of a response, as (share of the backbone's depth, pooling): what cross-validation
#: chose on real votes and, the early two and the middle one, on simulated ones
#: (docs/reward-model.md).
BASIC, EARLY = ((2 / 3, "mean"), (2 / 3, "last")), ((1 / 15, "mean"), (1 / 3, "mean"))
MIDDLE, ASKED = ((2 / 5, "mean"),), (*BASIC, (8 / 15, "asked"))
DEPTHS = (*ASKED, (8 / 15, "mean"), (4 / 5, "mean"), (8 / 15, "last"), (1.0, "last"), *EARLY,
          *MIDDLE)


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


def kinds_of(blocks: int, question: str,
             depths: Sequence[tuple[float, str]] = DEPTHS) -> list[FeatureKind]:
    """What is read of a backbone of so many blocks, which is asked this question about each
    response (empty: none)."""
    return list(dict.fromkeys(
        FeatureKind(max(1, round(blocks * depth)), pooling,
                    question if pooling == "asked" else "")
        for depth, pooling in depths if question or pooling != "asked"))


def feature_sets(kinds: Iterable[FeatureKind]) -> dict[str, tuple[FeatureKind, ...]]:
    """Sets to choose among, from the kinds that are kept: what the words are (`early`), what
    their neighbours make of them (`middle`), what the text comes to (`basic`), that and what the
    checkpoint makes of a question about it (`asked`), and all of them."""
    whole = tuple(sorted(kinds))
    question, blocks = question_of(whole), whole[-1].layer
    early, middle, basic, asked = (
        tuple(kind for kind in kinds_of(blocks, question, depths) if kind in whole)
        for depths in (EARLY, MIDDLE, BASIC, ASKED))
    sets = {"basic": basic or whole, "early": early, "middle": middle,
            "asked": asked if question else (), "all": whole}
    return {name: found for name, found in sets.items()
            if found and (name != "all" or len(found) > len(sets["basic"]))}
