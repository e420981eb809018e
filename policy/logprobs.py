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

from backbone.model import Backbone
from policy.responses import Responses

CHUNK_TOKENS = 512


@dataclass(frozen=True)
class TokenLogprobs:
    """What a model says of response tokens."""

    logprobs: Tensor
    """[B, R] log π(token | what came before), at the sampling temperature; 0 off the mask."""
    entropy: Tensor
    """[B, R] entropy of the distribution the token was drawn from, nats; no gradient."""
    kl: Tensor | None = None
    """[B, R] KL(π‖π_ref) of the distribution the token was drawn from, nats; only where the
    reference's states were given."""


def response_logprobs(backbone: Backbone, adapter: str | None, texts: Responses,
                      temperature: float, reference_states: Tensor | None = None
                      ) -> TokenLogprobs:
    """Log-probabilities of the response tokens of each text.

    `temperature` divides the scores, as it did when the tokens were sampled. `reference_states`
    ([B, R, d], see `response_states`) asks for the KL over the whole vocabulary as well.
    """
    states = response_states(backbone, adapter, texts)
    return logprobs_of_states(backbone, states, texts, temperature, reference_states)


def response_states(backbone: Backbone, adapter: str | None, texts: Responses) -> Tensor:
    """[B, R, d] hidden states before each response token."""
    return texts.before(backbone.hidden(texts.batch, adapter))


def logprobs_of_states(backbone: Backbone, states: Tensor, texts: Responses, temperature: float,
                       reference_states: Tensor | None = None) -> TokenLogprobs:
    """`response_logprobs` of hidden states that are there already."""
    chosen = texts.mask.bool()
    head = backbone.language_model.lm_head
    # Under autocast the hidden states of a trained adapter may be fp32; the head has its own type.
    picked = states[chosen].to(head.weight.dtype)
    select: Any = _Selected.apply
    logprobs, entropy = select(picked, head.weight, head.bias, texts.tokens[chosen], temperature)
    kl = None
    if reference_states is not None:
        exact: Any = _ExactKL.apply
        frozen = reference_states[chosen].to(head.weight.dtype)
        kl = _scatter(exact(picked, frozen, head.weight, head.bias, temperature), chosen)
    return TokenLogprobs(_scatter(logprobs, chosen), _scatter(entropy, chosen), kl)


def _scatter(values: Tensor, chosen: Tensor) -> Tensor:
    full = torch.zeros(chosen.shape, dtype=values.dtype, device=values.device)
    return full.masked_scatter(chosen, values)


class _Selected(torch.autograd.Function):
    """log softmax(h Wᵀ/τ) at one token a row, and the entropy. W is frozen.

    d log p(y)/dh = (W_y − Σ_v p(v) W_v)/τ.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor,
                temperature: float) -> tuple[Tensor, Tensor]:
        logprobs, entropies, slopes = [], [], []
        for start in range(0, hidden.shape[0], CHUNK_TOKENS):
            rows = hidden[start:start + CHUNK_TOKENS]
            wanted = targets[start:start + CHUNK_TOKENS]
            scores = F.linear(rows, weight, bias).float() / temperature
            log_total = scores.logsumexp(-1)
            logprobs.append(scores.gather(-1, wanted[:, None]).squeeze(-1) - log_total)
            probabilities = (scores - log_total[:, None]).exp_()
            entropies.append(log_total - (probabilities * scores).sum(-1))
            if ctx.needs_input_grad[0]:
                expected = probabilities.to(weight.dtype) @ weight
                slopes.append((weight[wanted] - expected) / temperature)
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        entropy = torch.cat(entropies)
        ctx.mark_non_differentiable(entropy)
        return torch.cat(logprobs), entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradients[0][:, None].to(slopes.dtype) * slopes, None, None, None, None


class _ExactKL(torch.autograd.Function):
    """KL(π‖π_ref) a row over the whole vocabulary, of π = softmax(h Wᵀ/τ). W and π_ref are frozen.

    d KL/dh = Σ_v p(v) (log p(v) − log q(v) − KL) W_v/τ.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, reference: Tensor, weight: Tensor, bias: Tensor | None,
                temperature: float) -> Tensor:
        divergences, slopes = [], []
        for start in range(0, hidden.shape[0], CHUNK_TOKENS):
            chunk = slice(start, start + CHUNK_TOKENS)
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
