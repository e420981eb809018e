"""Cutting texts into forward passes of so many tokens, which bounds memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from backbone.flat import common_beginning


@dataclass(frozen=True)
class Size:
    """How much one forward pass over some texts computes."""

    rows: int = 0
    longest: int = 0
    tokens: int = 0
    """Without padding; where the pass is flat, without what texts share."""

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]], flat: bool) -> Size:
        """The size of texts that are laid out together."""
        ordered = sorted(texts, key=list) if flat else list(texts)
        shared = sum(common_beginning(a, b) for a, b in pairwise(ordered)) if flat else 0
        return cls(len(texts), max(map(len, texts)), sum(map(len, texts)) - shared)

    def with_more(self, other: Size) -> Size:
        """The size of both, which share nothing."""
        return Size(self.rows + other.rows, max(self.longest, other.longest),
                    self.tokens + other.tokens)

    def tokens_of_pass(self, flat: bool) -> int:
        """Tokens that a pass computes, padding included where it pads."""
        return self.tokens if flat else self.rows * self.longest


def parts_within(texts: Mapping[int, Sequence[int]], tokens: int, flat: bool,
                 rows: int | None = None) -> list[tuple[int, ...]]:
    """Keys of texts cut into forward passes of so many tokens (or rows), longest first.

    A flat pass (`backbone.flat`) has no padding and computes what neighbours in alphabetical order
    share only once; others pad all texts to the longest.
    """
    if not flat:
        return by_length({key: len(ids) for key, ids in texts.items()}, tokens, rows)
    parts: list[list[int]] = []
    size = 0
    for key in sorted(texts, key=lambda k: (list(texts[k]), k)):
        ids = texts[key]
        new = len(ids) - (common_beginning(texts[parts[-1][-1]], ids) if parts else 0)
        if not parts or len(parts[-1]) == rows or size + new > tokens:
            parts.append([])
            size, new = 0, len(ids)
        parts[-1].append(key)
        size += new
    return [tuple(part) for part in parts]


def by_length(lengths: Mapping[int, int], tokens: int,
              rows: int | None = None) -> list[tuple[int, ...]]:
    """Keys sorted by length, longest first, cut where padded tokens (or rows) become too many."""
    parts: list[list[int]] = []
    widest = 0
    for key in sorted(lengths, key=lambda k: (-lengths[k], k)):
        full = parts and (len(parts[-1]) == rows or (len(parts[-1]) + 1) * widest > tokens)
        if not parts or full:
            parts.append([])
            widest = lengths[key]
        parts[-1].append(key)
    return [tuple(part) for part in parts]
