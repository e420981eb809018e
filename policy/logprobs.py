"""Log-probabilities of given tokens, without ever holding a rollout's full-vocabulary scores.

A vocabulary has 50,000 words or more, so the scores of one rollout can outweigh the model. Here
they live for one chunk of tokens at a time, in training too: the gradient with respect to the
hidden states is formed in the forward pass, while the chunk's probabilities are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from backbone.flat import flatten
from backbone.flat_pass import runs_flat, states_at
from backbone.model import Backbone
from policy.responses import Responses

#: Few enough that a chunk's scores stay in a CPU's cache; a GPU takes eight times as many.
CHUNK_TOKENS = 128


@dataclass(frozen=True)
class TokenLogprobs:
    """What a model says of response tokens."""

    logprobs: Tensor
    """[B, R] log π(token | what came before), at the sampling temperature; 0 off the mask."""
    entropy: Tensor
    """[B, R] entropy of the distribution the token was drawn from, nats; no gradient. All 0 where
    it was not asked for."""
    kl: Tensor | None = None
    """[B, R] KL(π‖π_ref) of the distribution the token was drawn from, nats; only where the
    reference's states were given."""


def response_logprobs(backbone: Backbone, adapter: str | None, texts: Responses,
                      temperature: float, reference_states: Tensor | None = None,
                      entropy: bool = True) -> TokenLogprobs:
    """Log-probabilities of the response tokens of each text.

    `temperature` divides the scores, as it did when the tokens were sampled. `reference_states`
    ([B, R, d], see `response_states`) asks for the KL over the whole vocabulary as well; `entropy`
    may be left out to save its time.
    """
    states = response_states(backbone, adapter, texts)
    return logprobs_of_states(backbone, states, texts, temperature, reference_states, entropy)


def response_states(backbone: Backbone, adapter: str | None, texts: Responses) -> Tensor:
    """[B, R, d] hidden states before each response token; anything off the mask."""
    if not runs_flat(backbone):
        return texts.before(backbone.hidden(texts.batch, adapter))
    # No padding, and what the prompts share (a system message) is computed once.
    lengths = texts.batch.mask.sum(1).tolist()
    flat = flatten([row[:n] for row, n in zip(texts.batch.ids.tolist(), lengths, strict=True)],
                   backbone.device)
    before = pad_sequence(flat.columns, batch_first=True).gather(1, texts.places_before)
    states = states_at(backbone, flat, adapter, before[texts.mask.bool()])
    full = states.new_zeros(*texts.mask.shape, states.shape[-1])
    return full.masked_scatter(texts.mask.bool()[..., None], states)


def logprobs_of_states(backbone: Backbone, states: Tensor, texts: Responses, temperature: float,
                       reference_states: Tensor | None = None, entropy: bool = True
                       ) -> TokenLogprobs:
    """`response_logprobs` of hidden states that are there already."""
    chosen = texts.mask.bool()
    head = backbone.head
    # Under autocast the hidden states of a trained adapter may be fp32; the head has its own type.
    picked = states[chosen].to(head.weight.dtype)
    select: Any = _Selected.apply
    logprobs, entropies = select(picked, head.weight, head.bias, texts.tokens[chosen],
                                 temperature, entropy)
    kl = None
    if reference_states is not None:
        exact: Any = _ExactKL.apply
        frozen = reference_states[chosen].to(head.weight.dtype)
        kl = _scatter(exact(picked, frozen, head.weight, head.bias, temperature), chosen)
    return TokenLogprobs(_scatter(logprobs, chosen), _scatter(entropies, chosen), kl)


def _scatter(values: Tensor, chosen: Tensor) -> Tensor:
    full = torch.zeros(chosen.shape, dtype=values.dtype, device=values.device)
    return full.masked_scatter(chosen, values)


def _chunks(hidden: Tensor) -> list[slice]:
    size = CHUNK_TOKENS * (1 if hidden.device.type == "cpu" else 8)
    return [slice(start, start + size) for start in range(0, hidden.shape[0], size)]


class _Selected(torch.autograd.Function):
    """log softmax(h Wᵀ/τ) at one token a row, and the entropy. W is frozen.

    d log p(y)/dh = (W_y − Σ_v p(v) W_v)/τ.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor,
                temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:
        logprobs, slopes = [], []
        entropies = torch.zeros(hidden.shape[0], device=hidden.device)
        for chunk in _chunks(hidden):
            # One buffer of [chunk, V] all the way: each further one costs as much as a product.
            scores = F.linear(hidden[chunk], weight, bias).float().mul_(1 / temperature)
            scores.sub_(scores.amax(-1, keepdim=True))
            wanted = targets[chunk]
            picked = scores.gather(-1, wanted[:, None]).squeeze(-1)
            if entropy:
                exponentials = scores.exp()
                total = exponentials.sum(-1)
                # H = log Z − Σ_v p(v) s(v), the sum as a product of matrices: no third buffer
                expected_score = torch.bmm(exponentials[:, None], scores[:, :, None]).flatten()
                entropies[chunk] = total.log() - expected_score / total
            else:
                exponentials = scores.exp_()
                total = exponentials.sum(-1)
            logprobs.append(picked - total.log())
            if ctx.needs_input_grad[0]:
                # Divided by the total only now, when it is [chunk, d] and no longer [chunk, V].
                expected = (exponentials.to(weight.dtype) @ weight) / total[:, None]
                slopes.append(((weight[wanted] - expected) / temperature).to(weight.dtype))
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        ctx.mark_non_differentiable(entropies)
        return torch.cat(logprobs), entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradients[0][:, None].to(slopes.dtype) * slopes, None, None, None, None, None


class _ExactKL(torch.autograd.Function):
    """KL(π‖π_ref) a row over the whole vocabulary, of π = softmax(h Wᵀ/τ). W and π_ref are frozen.

    d KL/dh = Σ_v p(v) (log p(v) − log q(v) − KL) W_v/τ.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, reference: Tensor, weight: Tensor, bias: Tensor | None,
                temperature: float) -> Tensor:
        divergences, slopes = [], []
        for chunk in _chunks(hidden):
            log_p, log_q = ((F.linear(rows[chunk], weight, bias).float() / temperature
                             ).log_softmax(-1) for rows in (hidden, reference))
            probabilities = log_p.exp()
            excess = log_p.sub_(log_q)
            divergence = (probabilities * excess).sum(-1)
            divergences.append(divergence)
            if ctx.needs_input_grad[0]:
                pull = probabilities.mul_(excess.sub_(divergence[:, None]))
                slopes.append(pull.to(weight.dtype) @ weight / temperature)
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(divergences)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradients[0][:, None].to(slopes.dtype) * slopes, None, None, None, None
