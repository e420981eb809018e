"""Texts that begin alike in one row: the shared beginning is encoded once for all of them.

The K responses to a prompt share the prompt's tokens. A packed row holds those once and the
responses behind them, each seeing the shared beginning and itself, at the positions it would have
alone; so every text gets the hidden states that it gets by itself, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.flat import common_beginning

#: Texts share a row where at least this part of the shorter one is common.
SHARED_PART = 0.3
SHARED = 0  # segment of the common beginning; the texts' own rests are 1, 2, ...
PADDING = -1


@dataclass(frozen=True)
class Packed:
    """N texts in B rows."""

    ids: Tensor
    """[B, T] token ids."""
    positions: Tensor
    """[B, T] position of each token in its own text."""
    segments: Tensor
    """[B, T] SHARED, the number of the text within its row, or PADDING."""
    rows: Tensor
    """[N] row of each text."""
    last: Tensor
    """[N] column of each text's last token."""

    @property
    def sees(self) -> Tensor:
        """[B, T, T] whether the token (2nd axis) sees the other (3rd)."""
        width = self.ids.shape[1]
        causal = torch.ones(width, width, dtype=torch.bool, device=self.ids.device).tril()
        mine, its = self.segments[:, :, None], self.segments[:, None, :]
        # Padding sees itself, or its softmax would be over nothing.
        return causal & ((its == SHARED) | (its == mine))

    def attention(self, dtype: torch.dtype) -> Tensor:
        """[B, 1, T, T] what is added to attention scores: 0, or the least number there is."""
        hidden = torch.finfo(dtype).min
        return torch.zeros_like(self.sees, dtype=dtype).masked_fill(~self.sees, hidden)[:, None]


def pack(texts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Packed:
    """Put texts (token ids, none empty) into as few tokens as their beginnings allow."""
    groups = _groups(texts)
    rows = [_row([texts[i] for i in members]) for members in groups]
    width = max(len(row.ids) for row in rows)

    def table(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[*v, *[fill] * (width - len(v))] for v in values], device=device)

    where = {text: (number, column) for number, (members, row) in enumerate(
        zip(groups, rows, strict=True)) for text, column in zip(members, row.last, strict=True)}
    places = torch.tensor([where[i] for i in range(len(texts))], device=device)
    return Packed(table([r.ids for r in rows], pad_id), table([r.positions for r in rows], 0),
                  table([r.segments for r in rows], PADDING), places[:, 0], places[:, 1])


@dataclass(frozen=True)
class _Row:
    ids: list[int]
    positions: list[int]
    segments: list[int]
    last: list[int]


def _row(texts: Sequence[Sequence[int]]) -> _Row:
    # Each text keeps a token of its own, to be read at.
    shared = min(common_beginning(texts[0], text) for text in texts) if len(texts) > 1 else 0
    shared = min(shared, *(len(text) - 1 for text in texts))
    row = _Row(list(texts[0][:shared]), list(range(shared)), [SHARED] * shared, [])
    for number, text in enumerate(texts, 1):
        row.ids.extend(text[shared:])
        row.positions.extend(range(shared, len(text)))
        row.segments.extend([number] * (len(text) - shared))
        row.last.append(len(row.ids) - 1)
    return row


def _groups(texts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of texts that begin alike: neighbours in alphabetical order."""
    groups: list[list[int]] = []
    for index in sorted(range(len(texts)), key=lambda i: list(texts[i])):
        if groups:
            first = texts[groups[-1][0]]
            common = common_beginning(first, texts[index])
            if common >= SHARED_PART * min(len(first), len(texts[index])):
                groups[-1].append(index)
                continue
        groups.append([index])
    return groups
