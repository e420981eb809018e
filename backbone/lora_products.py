"""Products with frozen weights and LoRA, in few passes over memory.

What a backward pass needs and can make again in passing (normalised inputs, the gate's product) is
not kept. There are no gradients for frozen weights, and none for inputs that want none. Numbers are
rounded where PEFT under autocast rounds them: products in the checkpoint's precision, norms inside
in fp32; gradients of adapters are fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, silu


@dataclass(frozen=True)
class Product:
    """y = x Wᵀ + scale · (x Aᵀ) Bᵀ of one linear layer."""

    weight: Tensor
    """[out, in] W, frozen."""
    a: Tensor
    """[rank, in] A."""
    b: Tensor
    """[out, rank] B."""
    scale: float

    def rounded(self) -> Product:
        """The same in the number format of W throughout, which is how products take A and B: for
        whoever takes many of them while the adapter stays as it is."""
        dtype = self.weight.dtype
        return Product(self.weight, self.a.to(dtype), self.b.to(dtype), self.scale)


def normed_products(hidden: Tensor, norm: Tensor, epsilon: float,
                    products: Sequence[Product]) -> tuple[Tensor, ...]:
    """[T, out] of several products of RMSNorm(hidden) ([T, d]; weight [d])."""
    apply: Any = _Normed.apply
    found: tuple[Tensor, ...] = apply(hidden, norm, epsilon, *_flat(products))
    return found


def product(inputs: Tensor, weights: Product) -> Tensor:
    """[T, out] of one product of inputs [T, in]."""
    apply: Any = _Plain.apply
    found: tuple[Tensor, ...] = apply(inputs, *_flat([weights]))
    return found[0]


def gated_product(gate: Tensor, up: Tensor, weights: Product) -> Tensor:
    """[T, out] of one product of SiLU(gate) · up ([T, in] each)."""
    apply: Any = _Gated.apply
    found: tuple[Tensor, ...] = apply(gate, up, *_flat([weights]))
    return found[0]


def _flat(products: Sequence[Product]) -> list[Any]:
    """Tensors and scales as arguments of their own, since autograd sees no dataclasses."""
    return [[p.scale for p in products], *(t for p in products for t in (p.weight, p.a, p.b))]


def _norm(hidden: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """RMSNorm and [T, 1] the reciprocal root mean square, fp32 (Zhang & Sennrich 2019)."""
    squares = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32).square()
    reciprocal = (squares / hidden.shape[-1] + epsilon).rsqrt()
    return (hidden * reciprocal).to(hidden.dtype) * weight, reciprocal


def _norm_backward(gradient: Tensor, hidden: Tensor, weight: Tensor, reciprocal: Tensor) -> Tensor:
    # y = w x̂, x̂ = x ρ:  ∂L/∂x = ρ (w g − x̂ · mean(w g · x̂))
    unit = hidden * reciprocal
    weighted = gradient.float() * weight
    weighted.addcmul_(unit, (weighted * unit).mean(-1, keepdim=True), value=-1)
    return weighted.mul_(reciprocal).to(hidden.dtype)


def _forward(inputs: Tensor, scales: Sequence[float],
             tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Outputs, and [T, ranks] the scaled x Aᵀ of all products side by side."""
    a = torch.cat(list(tensors[1::3])).to(inputs.dtype)
    small = linear(inputs, a)
    outputs = []
    for weight, b, part, scale in zip(tensors[::3], tensors[2::3], _split(small, tensors), scales,
                                      strict=True):
        part *= scale
        output = linear(inputs, weight)
        # Without an adapter there is nothing to add, and calling for nothing costs too.
        outputs.append(output.addmm_(part, b.to(inputs.dtype).t()) if part.shape[1] else output)
    return outputs, small


def _backward(inputs: Tensor, small: Tensor, scales: Sequence[float], tensors: Sequence[Tensor],
              gradients: Sequence[Tensor], wants_inputs: bool
              ) -> tuple[Tensor | None, list[Tensor | None]]:
    """Gradients of the inputs, and of (scales, W, A, B, W, A, B, …)."""
    back, of_b = [], []
    for gradient, b, part, scale in zip(gradients, tensors[2::3], _split(small, tensors), scales,
                                        strict=True):
        back.append((gradient @ b.to(gradient.dtype)) * scale)
        # The wide matrix as it lies, on the right: up to twice as quick as the other way round.
        of_b.append((part.t() @ gradient).t().float())
    together = torch.cat(back, 1)
    of_a = torch.split((together.t() @ inputs).float(), _ranks(tensors))
    of_inputs = None
    if wants_inputs:
        a = torch.cat(list(tensors[1::3])).to(inputs.dtype)
        of_inputs = together @ a
        for gradient, weight in zip(gradients, tensors[::3], strict=True):
            of_inputs.addmm_(gradient, weight)
    adapters: list[Tensor | None] = [None]
    for one, other in zip(of_a, of_b, strict=True):
        adapters += [None, one, other]
    return of_inputs, adapters


def _split(small: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.split(small, _ranks(tensors), 1)


def _ranks(tensors: Sequence[Tensor]) -> list[int]:
    return [len(a) for a in tensors[1::3]]


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, norm: Tensor, epsilon: float, scales: list[float],
                *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs, reciprocal = _norm(hidden, norm, epsilon)
        outputs, small = _forward(inputs, scales, tensors)
        ctx.save_for_backward(hidden, norm, reciprocal, small, *tensors)
        ctx.scales = scales
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        hidden, norm, reciprocal, small, *tensors = ctx.saved_tensors
        inputs = (hidden * reciprocal).to(hidden.dtype) * norm
        of_inputs, adapters = _backward(inputs, small, ctx.scales, tensors, gradients,
                                        ctx.needs_input_grad[0])
        if of_inputs is not None:
            of_inputs = _norm_backward(of_inputs, hidden, norm, reciprocal)
        return (of_inputs, None, None, *adapters)


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scales: list[float],
                *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs, small = _forward(inputs, scales, tensors)
        ctx.save_for_backward(inputs, small, *tensors)
        ctx.scales = scales
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        inputs, small, *tensors = ctx.saved_tensors
        of_inputs, adapters = _backward(inputs, small, ctx.scales, tensors, gradients, True)
        return (of_inputs, *adapters)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, scales: list[float],
                *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs, small = _forward(silu(gate).mul_(up), scales, tensors)
        ctx.save_for_backward(gate, up, small, *tensors)
        ctx.scales = scales
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        gate, up, small, *tensors = ctx.saved_tensors
        opened = silu(gate)
        of_inputs, adapters = _backward(opened * up, small, ctx.scales, tensors, gradients, True)
        assert of_inputs is not None
        of_up = opened.mul_(of_inputs)
        of_gate = torch.ops.aten.silu_backward(of_inputs.mul_(up), gate)
        return (of_gate, of_up, *adapters)
