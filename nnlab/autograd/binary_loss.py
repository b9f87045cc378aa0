"""Cross-entropy of two classes, one value an element, with gradients that stay finite at the ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab import types
from nnlab.autograd.elementwise import cast
from nnlab.autograd.pointwise import pointwise
from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, complaint

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor

_LOWEST = -100.0  # of a logarithm
_SMALLEST = 1e-12  # of x * (1 - x) as a divisor


class BinaryCrossEntropy(Op):
    """Probabilities x and targets t of one shape to ``-(t * log(x) + (1 - t) * log(1 - x))``."""

    @staticmethod
    def forward(ctx: Node, x: Any, t: Any) -> Any:
        ctx.save_inputs(0, 1)
        xp, dtype = ctx.be.xp, x.dtype
        if ctx.be.host_memory and ((x < 0) | (x > 1)).any():  # on a GPU, where asking would stop the queue, NaN
            low, high = float(x.min()), float(x.max())
            raise ArgumentError(complaint("binary_cross_entropy", "input", "be between 0 and 1", (low, high)))
        x, t = (value.astype(types.wide(dtype), copy=False) for value in (x, t))
        loss = t * xp.maximum(xp.log(x), _LOWEST) + (1 - t) * xp.maximum(xp.log1p(-x), _LOWEST)
        return (-loss).astype(dtype, copy=False)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        dtype = dy.dtype
        dy, x, t = (cast(value, types.wide(dtype)) for value in (dy, ctx.input(0), ctx.input(1)))
        dx = dt = None
        if ctx.needs[0]:
            dx = cast(dy * (x - t) / (x * (1 - x)).clamp(min=_SMALLEST), dtype)
        if ctx.needs[1]:
            dt = cast(dy * ((-x).log1p().clamp(min=_LOWEST) - x.log().clamp(min=_LOWEST)), dtype)
        return dx, dt


class LogisticLoss(Op):
    """``a * log(1 + exp(-x)) + b * log(1 + exp(x))`` for x, a and b of one shape: no sum of it cancels."""

    @staticmethod
    def forward(ctx: Node, x: Any, a: Any, b: Any) -> Any:
        ctx.save_inputs(0, 1, 2)
        xp, dtype = ctx.be.xp, x.dtype
        x, a, b = (value.astype(types.wide(dtype), copy=False) for value in (x, a, b))
        both = xp.log1p(xp.exp(-xp.abs(x)))
        return (a * (xp.maximum(-x, 0) + both) + b * (xp.maximum(x, 0) + both)).astype(dtype, copy=False)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        x, a, b = ctx.input(0), ctx.input(1), ctx.input(2)
        return (
            dy * (b * x.sigmoid() - a * (-x).sigmoid()) if ctx.needs[0] else None,
            -dy * pointwise("log_sigmoid", x) if ctx.needs[1] else None,
            -dy * pointwise("log_sigmoid", -x) if ctx.needs[2] else None,
        )


def binary_cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    """Of probabilities; logarithms are limited to -100."""
    return BinaryCrossEntropy.apply(x, target)


def logistic_loss(x: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """``positive * log(1 + exp(-x)) + negative * log(1 + exp(x))``; all of one shape."""
    return LogisticLoss.apply(x, positive, negative)
