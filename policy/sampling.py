"""Sampling responses: batched, seeded a response at a time, finished rows leaving the batch.

Each response draws from its own stream of uniform numbers, made from (seed, prompt, index), so
what is sampled does not depend on what else stands in the batch (but for rounding), and sampling
can go on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as pad_tensor

from backbone.decoding import decode
from backbone.model import Backbone
from data.prompts import without_nul

FinishReason = Literal["eos", "stop", "length"]

#: Tokens of the vocabulary whose probabilities are added up before one of them is drawn.
RUN = 256
#: Finished rows are taken out of the batch once this share of it is done.
COMPACT_SHARE = 0.2


@dataclass(frozen=True)
class Sample:
    """One response as it was sampled."""

    ids: list[int]
    """Token ids, the one that ended it included."""
    logprobs: list[float]
    """log π of each token at the sampling temperature."""
    text: str
    """The response as people read it: without end tokens, stop texts and NUL characters."""
    finish_reason: FinishReason


def uniform_draws(keys: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """[len(keys), count] uniform numbers in [0, 1), a stream for each key of integers."""
    return np.stack([np.random.Generator(np.random.Philox(np.random.SeedSequence(list(key))))
                     .random(count, dtype=np.float32) for key in keys])


@torch.no_grad()
def generate(backbone: Backbone, adapter: str | None, prompts: Sequence[Sequence[int]],
             draws: np.ndarray, temperature: float, stop: Sequence[str] = (),
             check: Callable[[], None] = lambda: None,
             agree: Callable[[Tensor, Tensor], None] = lambda *_: None) -> list[Sample]:
    """Sample one response for each prompt (token ids), in one batch.

    Args:
        draws: [B, N] uniform numbers; N is the longest response in tokens.
        check: called now and then; may raise to stop the work.
        agree: called with the tokens and log-probabilities of every step; may put others there.
    """
    longest = draws.shape[1]
    uniforms = torch.from_numpy(draws).to(backbone.device)
    rows = torch.arange(len(prompts), device=backbone.device)  # which prompt a row belongs to
    partial = [_Partial(backbone, stop) for _ in prompts]
    decoding = decode(backbone, adapter, prompts, longest)
    for step in range(longest):
        if step % 8 == 0:
            check()
        tokens, logprobs = draw(backbone.logits(decoding.states).div_(temperature),
                                uniforms[rows, step])
        agree(tokens, logprobs)
        for row, token, logprob in zip(rows.tolist(), tokens.tolist(), logprobs.tolist(),
                                       strict=True):
            partial[row].add(token, logprob)
        going = torch.tensor([not partial[row].finished for row in rows.tolist()],
                             device=backbone.device)
        if step == longest - 1 or not going.any():
            break
        if (~going).float().mean() >= COMPACT_SHARE:
            decoding.keep(going.nonzero().squeeze(1))
            rows, tokens = rows[going], tokens[going]
        decoding.feed(tokens)
    return [row.sample() for row in partial]


def replay(backbone: Backbone, stop: Sequence[str], ids: Sequence[int],
           logprobs: Sequence[float]) -> Sample:
    """The sample that tokens from elsewhere make, by the same rules: it ends where it would have
    ended here, and what comes behind is left off."""
    partial = _Partial(backbone, stop)
    for token, logprob in zip(ids, logprobs, strict=True):
        partial.add(token, logprob)
    return partial.sample()


def stop_ids(backbone: Backbone, stop: Sequence[str]) -> set[int]:
    """Ids of the stop texts that are special tokens: those are in no text that people read."""
    found = {}
    for text in stop:
        ids = backbone.tokenizer.encode(text, add_special_tokens=False)
        if len(ids) == 1 and backbone.tokenizer.decode(ids) == text:
            found[ids[0]] = backbone.tokenizer.decode(ids, skip_special_tokens=True)
    return {token for token, read in found.items() if not read}


def draw(scores: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """[B] tokens by inverting the cumulative distribution of scores [B, V] at uniform numbers [B],
    and [B] their log-probabilities.

    First a run of `RUN` tokens, then one of it: adding up a whole vocabulary in order takes as long
    as its softmax does.
    """
    probabilities = scores.softmax(-1)
    if missing := -scores.shape[-1] % RUN:
        probabilities = pad_tensor(probabilities, (0, missing))
    runs = probabilities.view(len(scores), -1, RUN)
    run, within = _first_above(runs.sum(-1), uniforms * (1 - 1e-6))
    rows = torch.arange(len(scores), device=scores.device)
    token, _ = _first_above(runs[rows, run], within)
    tokens = run * RUN + token
    return tokens, probabilities[rows, tokens].log()


def _first_above(weights: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The first column of each row up to which more than a share ([B], below 1) of its weights
    lies, and which share of that column's own weight is needed for it."""
    cumulative = weights.cumsum(-1)
    # Strictly above: what has no weight is never drawn.
    target = share[:, None] * cumulative[:, -1:]
    column = torch.searchsorted(cumulative, target, right=True).clamp_max(weights.shape[-1] - 1)
    weight = weights.gather(1, column)
    within = (target - cumulative.gather(1, column) + weight) / weight
    return column.squeeze(1), within.squeeze(1).clamp(0, 1 - 1e-6)


class _Partial:
    """A response while it grows."""

    def __init__(self, backbone: Backbone, stop: Sequence[str]) -> None:
        self._tokenizer = backbone.tokenizer
        self._end_ids = backbone.end_ids
        self._stop, self._stop_ids = list(stop), stop_ids(backbone, stop)
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._reason: FinishReason = "length"
        self.finished = False

    def add(self, token: int, logprob: float) -> None:
        """Take the next token, unless the response is over."""
        if self.finished:
            return
        self._ids.append(token)
        self._logprobs.append(logprob)
        if token in self._end_ids:
            self.finished, self._reason = True, "eos"
        elif token in self._stop_ids or (
                self._stop and any(text in self._decoded() for text in self._stop)):
            self.finished, self._reason = True, "stop"

    def sample(self) -> Sample:
        """The response as it stands."""
        text = self._decoded()
        for stop in self._stop:
            text = text.split(stop)[0]
        return Sample(self._ids, self._logprobs, without_nul(text).strip(), self._reason)

    def _decoded(self) -> str:
        ids = [i for i in self._ids if i not in self._end_ids]
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text
