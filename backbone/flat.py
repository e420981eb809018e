"""Texts as one flat row of tokens, with no padding and what they share only once.

Texts that begin alike (the responses to a prompt; any two behind the same system message) form a
tree: a segment of tokens, then the segments that follow it. Each segment stands in the row once,
however many texts go through it. Where a token's neighbours do not matter (all but attention) the
row is simply [T, d]. Attention is cut into tiles of similar size, each of which gathers for some
queries the keys that they see: those of the segments before theirs, and their own up to
themselves. A token gets the hidden state that it would get in its text alone, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

#: Fewer tokens than this in common are encoded again: a segment costs something too.
SHARED_TOKENS = 8
#: Longest stretch of queries in one row of a tile; what lies behind a stretch is not computed.
STRETCH = 256
#: Pairs of query and key in a tile, padding included: its memory, a head.
TILE_PAIRS = 262_144
#: A tile may hold this many times the pairs that are real, padding included, or be small.
PADDING_ALLOWED = 1.4
SMALL_TILE = 32_768


@dataclass(frozen=True)
class Tile:
    """S stretches of queries with the keys that they see, padded to one size."""

    queries: Tensor
    """[S, Lq] row of each query; 0 at padding."""
    keys: Tensor
    """[S, Lk] column of each key in the flat row, in the order of the text; 0 at padding."""
    unseen: Tensor
    """[S, Lq, Lk] −∞ where the query does not see the key, and 0, to be added to its score."""
    padding: Tensor
    """[S, Lq] whether the query is padding."""


@dataclass(frozen=True)
class Flat:
    """N texts in one row of T tokens."""

    ids: Tensor
    """[T] token ids."""
    positions: Tensor
    """[T] position of each token in its text."""
    last: Tensor
    """[N] column of each text's last token."""
    columns: list[Tensor]
    """Of each text, [its length] the column of each of its tokens."""
    tiles: list[Tile]
    """Attention of every token."""
    last_tiles: list[Tile]
    """Attention of the texts' last tokens alone, whose rows are the texts."""


@dataclass(frozen=True)
class _Stretch:
    """Queries (rows `first` and on) that see `before` and then, causally, `own` columns."""

    first: int
    own: range
    before: tuple[range, ...]

    @property
    def keys(self) -> int:
        return len(self.own) + sum(map(len, self.before))


class _Builder:
    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.stretches: list[_Stretch] = []
        self.paths: dict[int, tuple[range, ...]] = {}
        """Text -> the segments that it goes through."""

    def add(self, texts: Sequence[Sequence[int]], members: Sequence[int], start: int,
            before: tuple[range, ...]) -> None:
        """Put in what follows `start` tokens that the members (in alphabetical order) share."""
        first, final = texts[members[0]], texts[members[-1]]
        # In alphabetical order all share what the first and the last share. Every text keeps a
        # token of its own, to be read at.
        end = (min(common_beginning(first, final), min(len(texts[i]) for i in members) - 1)
               if len(members) > 1 else len(first))
        path = before
        if end > start:
            path = (*before, self._segment(first[start:end], start, before))
        if len(members) == 1:
            self.paths[members[0]] = path
            return
        for group in _neighbours(texts, members, end + SHARED_TOKENS):
            self.add(texts, group, end, path)

    def _segment(self, ids: Sequence[int], start: int, before: tuple[range, ...]) -> range:
        here = range(len(self.ids), len(self.ids) + len(ids))
        self.ids.extend(ids)
        self.positions.extend(range(start, start + len(ids)))
        for begin in range(here.start, here.stop, STRETCH):
            own = range(begin, min(begin + STRETCH, here.stop))
            earlier = (range(here.start, begin),) if begin > here.start else ()
            self.stretches.append(_Stretch(begin, own, (*before, *earlier)))
        return here


def flatten(texts: Sequence[Sequence[int]], device: torch.device) -> Flat:
    """Lay out texts (token ids, none empty)."""
    builder = _Builder()
    order = sorted(range(len(texts)), key=lambda i: list(texts[i]))
    for group in _neighbours(texts, order, SHARED_TOKENS):
        builder.add(texts, group, 0, ())
    paths = [builder.paths[i] for i in range(len(texts))]
    last = [path[-1][-1] for path in paths]
    only_last = [_Stretch(row, range(path[-1][-1], path[-1][-1] + 1),
                          (*path[:-1], path[-1][:-1])) for row, path in enumerate(paths)]
    return Flat(torch.tensor(builder.ids, device=device),
                torch.tensor(builder.positions, device=device),
                torch.tensor(last, device=device),
                [torch.tensor([c for part in path for c in part], device=device)
                 for path in paths],
                _tiles(builder.stretches, device), _tiles(only_last, device))


def _tiles(stretches: Sequence[_Stretch], device: torch.device) -> list[Tile]:
    """Stretches of similar size together."""
    tiles: list[Tile] = []
    batch: list[_Stretch] = []
    real = widest = 0
    for stretch in sorted(stretches, key=lambda s: (-len(s.own), -s.keys)):
        pairs = len(stretch.own) * stretch.keys
        wider = max(widest, stretch.keys)
        padded = (len(batch) + 1) * len((batch or [stretch])[0].own) * wider
        if batch and (padded > TILE_PAIRS or padded > max(
                SMALL_TILE, PADDING_ALLOWED * (real + pairs))):
            tiles.append(_tile(batch, device))
            batch, real, wider = [], 0, stretch.keys
        batch.append(stretch)
        real, widest = real + pairs, wider
    return [*tiles, _tile(batch, device)]


def _tile(stretches: Sequence[_Stretch], device: torch.device) -> Tile:
    long, wide = max(len(s.own) for s in stretches), max(s.keys for s in stretches)
    queries = torch.zeros(len(stretches), long, dtype=torch.long)
    keys = torch.zeros(len(stretches), wide, dtype=torch.long)
    for row, stretch in enumerate(stretches):
        queries[row, :len(stretch.own)] = torch.arange(len(stretch.own)) + stretch.first
        columns = torch.cat([torch.arange(r.start, r.stop) for r in (*stretch.before, stretch.own)])
        keys[row, :len(columns)] = columns
    sizes = torch.tensor([len(s.own) for s in stretches])[:, None]
    before = torch.tensor([s.keys - len(s.own) for s in stretches])[:, None, None]
    # A query sees everything before its stretch and the stretch up to itself. Padded keys come
    # after that; padded queries see something, so that their softmax is a number.
    later = torch.arange(wide)[None, None, :] > before + torch.arange(long)[None, :, None]
    unseen = torch.zeros(later.shape).masked_fill_(later, float("-inf"))
    padding = torch.arange(long)[None, :] >= sizes
    return Tile(queries.to(device), keys.to(device), unseen.to(device), padding.to(device))


def _neighbours(texts: Sequence[Sequence[int]], members: Sequence[int],
                least: int) -> list[list[int]]:
    """Members (in alphabetical order) in groups whose texts share at least so many tokens."""
    groups: list[list[int]] = []
    for index in members:
        if groups and common_beginning(texts[groups[-1][0]], texts[index]) >= least:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def common_beginning(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two texts share at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1],
                                    zip(left, right, strict=False)))
