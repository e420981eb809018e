"""Prompts with their responses as one batch, and where the responses lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.text import Batch, pad


@dataclass(frozen=True)
class Responses:
    """B texts, each a prompt and a response of at most R tokens right behind it."""

    batch: Batch
    """[B, T] padded on the right."""
    starts: Tensor
    """[B] where each response begins: the length of its prompt."""
    mask: Tensor
    """[B, R] 1 at real response tokens."""

    @property
    def tokens(self) -> Tensor:
        """[B, R] the response tokens; anything off the mask."""
        return self.batch.ids.gather(1, self._places)

    def before(self, hidden: Tensor) -> Tensor:
        """[B, R, d] of [B, T, d] hidden states: what the model knows just before each token."""
        rows = torch.arange(hidden.shape[0], device=hidden.device)[:, None]
        return hidden[rows, self.places_before]

    @property
    def places_before(self) -> Tensor:
        """[B, R] column of the token before each response token, within bounds off the mask."""
        return self._places - 1

    def select(self, rows: Tensor) -> Responses:
        """Some rows, without the columns in which none of them has a token."""
        mask, ids, real = self.mask[rows], self.batch.ids[rows], self.batch.mask[rows]
        longest, response = int(real.sum(1).max()), int(mask.sum(1).max())
        return Responses(Batch(ids[:, :longest], real[:, :longest]), self.starts[rows],
                         mask[:, :response])

    def by_length(self, size: int, rows: Tensor | None = None, together: int = 1) -> list[Tensor]:
        """(Some) rows in microbatches of texts of like length, so that little is padding.

        `together` rows that follow each other, a prompt's, stay so: what they share is then
        computed once.
        """
        if rows is None:
            rows = torch.arange(self.mask.shape[0], device=self.mask.device)
        lengths = self.batch.mask[rows].sum(1).view(-1, together).amax(1)
        return list(torch.split(rows.view(-1, together)[lengths.argsort(stable=True)].flatten(),
                                size))

    @property
    def _places(self) -> Tensor:
        """[B, R] column of each response token, within bounds off the mask too."""
        offsets = torch.arange(self.mask.shape[1], device=self.mask.device)
        return (self.starts[:, None] + offsets).clamp_max(self.batch.ids.shape[1] - 1)


def join(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad_id: int,
         device: torch.device) -> Responses:
    """Prompts and responses (token ids; no prompt is empty) as one batch."""
    texts = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    return Responses(
        pad(texts, pad_id, device),
        torch.tensor([len(prompt) for prompt in prompts], device=device),
        pad(responses, pad_id, device).mask)
