"""Differentiable activations and dropout.

- ``relu(x)`` -> max(x, 0); NaN stays NaN; gradient 0 at 0.
- ``bias_relu(x, b)`` -> max(x + b, 0), b along axis 1.
- ``softmax(x, dim)``, ``log_softmax(x, dim)``.
- ``dropout(x, p, generator=None)`` -> y: the training form, one draw of the generator (default: ``nnlab.random``'s);
  0 <= p <= 1. p = 0 draws nothing and returns x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab import random
from nnlab.autograd.amp import in_float32
from nnlab.autograd.reduce import one_dim
from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, complaint
from nnlab.ops import bias_relu as bias_relu_ops
from nnlab.ops import dropout as dropout_ops
from nnlab.ops import relu as relu_ops
from nnlab.ops import softmax as softmax_ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class ReLU(Op):
    @staticmethod
    def forward(ctx: Node, x: Any) -> Any:
        ctx.save_output()
        return relu_ops.forward(ctx.be, x=x)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return ReLUGrad.apply(dy, ctx.output_raw())

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        return relu_ops.backward(ctx.be, dy=dy, y=ctx.output_raw())


class ReLUGrad(Op):
    """dy where y is not 0: linear in dy, so its gradient is itself."""

    @staticmethod
    def forward(ctx: Node, dy: Any, y: Any) -> Any:
        ctx.y = y
        return relu_ops.backward(ctx.be, dy=dy, y=y)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return ReLUGrad.apply(g, ctx.y)


class BiasReLU(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, b: Any) -> Any:
        ctx.save_output()
        return bias_relu_ops.forward(ctx.be, x=x, b=b)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        dx = ReLUGrad.apply(dy, ctx.output_raw())
        return dx, dx.sum((0, *range(2, dx.ndim))) if ctx.needs[1] else None

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        if ctx.needs[1]:
            return bias_relu_ops.backward(ctx.be, dy=dy, y=ctx.output_raw())
        return relu_ops.backward(ctx.be, dy=dy, y=ctx.output_raw()), None


class Softmax(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, axis: int) -> Any:
        ctx.axis = axis
        ctx.save_output()
        return softmax_ops.softmax(ctx.be, x=x, axis=axis)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        y = ctx.output()
        return y * (dy - (dy * y).sum(ctx.axis, keepdim=True))

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        return softmax_ops.softmax_backward(ctx.be, dy=dy, y=ctx.output_raw(), axis=ctx.axis)


class LogSoftmax(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, axis: int) -> Any:
        ctx.axis = axis
        ctx.save_output()
        return softmax_ops.log_softmax(ctx.be, x=x, axis=axis)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return dy - ctx.output().exp() * dy.sum(ctx.axis, keepdim=True)

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        return softmax_ops.log_softmax_backward(ctx.be, dy=dy, y=ctx.output_raw(), axis=ctx.axis)


class Dropout(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, p: float, seed: int, offset: int) -> Any:
        y, ctx.saved = dropout_ops.forward(ctx.be, x=x, p=p, seed=seed, offset=offset)
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return DropoutGrad.apply(dy, ctx.saved)


class DropoutGrad(Op):
    """The mask and scale of a dropout applied again: linear in dy, so its gradient is itself."""

    @staticmethod
    def forward(ctx: Node, dy: Any, saved: dropout_ops.Saved) -> Any:
        ctx.saved = saved
        return dropout_ops.backward(ctx.be, dy=dy, saved=saved)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return DropoutGrad.apply(g, ctx.saved)


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return ReLU.apply(x)


def bias_relu(x: Tensor, b: Tensor) -> Tensor:
    """max(x + b, 0); x (N, C, ...), b (C,)."""
    return BiasReLU.apply(x, b)


@in_float32
def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along ``dim``."""
    return Softmax.apply(x, one_dim("softmax", dim, x.ndim))


@in_float32
def log_softmax(x: Tensor, dim: int) -> Tensor:
    """log(softmax(x)) along ``dim``, without overflow."""
    return LogSoftmax.apply(x, one_dim("log_softmax", dim, x.ndim))


def dropout(x: Tensor, p: float, generator: random.Generator | None = None) -> Tensor:
    """Zero each element with probability p and multiply the others by 1 / (1 - p); one draw of the generator.

    Raises:
        ArgumentError: p is outside 0..1.
    """
    if not 0 <= p <= 1:
        raise ArgumentError(complaint("dropout", "p", "be between 0 and 1", p))
    if p == 0:
        return x
    generator = random.default_generator if generator is None else generator
    return Dropout.apply(x, p, generator.seed, generator.next_offset())
