"""Differentiable normalisations; channels are axis 1.

- ``batch_norm(x, weight, bias, eps, relu=False)`` -> (y, mean, var): training form over all axes but 1; weight and bias
  (C,) or None; mean (C,) and var (C,), the *unbiased* variance, carry no gradient and are what running estimates take
  in. With ``relu`` y is max(y, 0), the bits of one after the other in one operation.
- ``batch_norm_eval(x, mean, var, weight, bias, eps)`` -> y: with given statistics (C,).
- ``move_average(average, value, momentum)``: the running estimates' step, in place.
- ``local_response_norm(x, size, alpha, beta, k)`` -> y.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnlab.autograd.activation import ReLUGrad
from nnlab.autograd.tape import Node, Op
from nnlab.errors import ArgumentError, complaint
from nnlab.ops import batch_norm as batch_ops
from nnlab.ops import local_response_norm as response_ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


def _axes(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _column(vector: Tensor, x: Tensor) -> Tensor:
    return vector.reshape(-1, *[1] * (x.ndim - 2))


class BatchNorm(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> Any:
        ctx.save_inputs(*(0,) if weight is None else (0, 1))
        if relu:
            ctx.save_output()
        y, saved = batch_ops.forward(ctx.be, x=x, weight=weight, bias=bias, eps=eps, relu=relu)
        ctx.saved, ctx.eps, ctx.weighted, ctx.relu = saved, eps, weight is not None, relu
        count = x.size // max(x.shape[1], 1)
        return y, saved.mean, saved.var * (count / max(count - 1, 1))

    @staticmethod
    def backward(ctx: Node, dy: Tensor, *_: Tensor) -> Any:
        x = ctx.input(0)
        if ctx.relu:
            dy = ReLUGrad.apply(dy, ctx.output_raw())
        axes = _axes(x)
        centred = x - x.mean(axes, keepdim=True)
        rstd = ((centred * centred).mean(axes, keepdim=True) + ctx.eps) ** -0.5
        xhat = centred * rstd
        along = (dy * xhat).mean(axes, keepdim=True)
        dx = (dy - dy.mean(axes, keepdim=True) - xhat * along) * rstd
        if ctx.weighted:
            dx = dx * _column(ctx.input(1), x)
        return dx, (dy * xhat).sum(axes), dy.sum(axes)

    @staticmethod
    def backward_raw(ctx: Node, dy: Any, *_: Any) -> Any:
        weight = ctx.input_raw(1) if ctx.weighted else None
        y = ctx.output_raw() if ctx.relu else None
        return batch_ops.backward(ctx.be, dy=dy, x=ctx.input_raw(0), weight=weight, saved=ctx.saved, y=y)


class BatchNormEval(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
        ctx.save_inputs(*(0, 1, 2) if weight is None else (0, 1, 2, 3))
        ctx.eps, ctx.weighted = eps, weight is not None
        return batch_ops.evaluate(ctx.be, x=x, mean=mean, var=var, weight=weight, bias=bias, eps=eps)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        x, mean, var = ctx.input(0), ctx.input(1).detach(), ctx.input(2).detach()
        rstd = _column((var + ctx.eps) ** -0.5, x)
        dx = dy * (rstd * _column(ctx.input(3), x) if ctx.weighted else rstd) if ctx.needs[0] else None
        dweight = (dy * (x - _column(mean, x)) * rstd).sum(_axes(x)) if ctx.needs[3] else None
        return dx, None, None, dweight, dy.sum(_axes(x)) if ctx.needs[4] else None


class ChannelSum(Op):
    """Sum over the neighbouring channels c - below .. c + above."""

    @staticmethod
    def forward(ctx: Node, x: Any, below: int, above: int) -> Any:
        ctx.below, ctx.above = below, above
        return response_ops.channel_sum(ctx.be, x=x, below=below, above=above)

    @staticmethod
    def backward(ctx: Node, g: Tensor) -> Any:
        return ChannelSum.apply(g, ctx.above, ctx.below)


class LocalResponseNorm(Op):
    @staticmethod
    def forward(ctx: Node, x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
        ctx.save_inputs(0)
        y, ctx.s = response_ops.forward(ctx.be, x=x, size=size, alpha=alpha, beta=beta, k=k)
        ctx.options = size, alpha, beta, k
        return y

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        x = ctx.input(0)
        size, alpha, beta, k = ctx.options
        s = ChannelSum.apply(x * x, size // 2, (size - 1) // 2) * (alpha / size) + k
        direct = dy * s**-beta
        across = ChannelSum.apply(direct * x / s, (size - 1) // 2, size // 2)
        return direct - x * across * (2 * alpha * beta / size)

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        size, alpha, beta, _ = ctx.options
        return response_ops.backward(ctx.be, dy=dy, x=ctx.input_raw(0), s=ctx.s, size=size, alpha=alpha, beta=beta)


def batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, relu: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, mean, unbiased variance) of the training form; the statistics (C,) carry no gradient."""
    y, mean, var = BatchNorm.apply(x, weight, bias, eps, relu)
    return y, mean.detach(), var.detach()


def move_average(average: Tensor, value: Tensor, momentum: float) -> None:
    """``average = (1 - momentum) * average + momentum * value`` in place, which is not recorded."""
    data = average._data
    with average._be.quiet():
        data *= 1 - momentum
        average._be.xp.add(data, value._data * momentum, out=data, casting="same_kind")
    average._version.count += 1


def batch_norm_eval(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """y with given statistics, which get no gradient."""
    return BatchNormEval.apply(x, mean, var, weight, bias, eps)


def local_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Local response normalisation over ``size`` neighbouring channels; see ``nnlab.ops.local_response_norm``."""
    if not isinstance(size, int) or size < 1:
        raise ArgumentError(complaint("local_response_norm", "size", "be a positive int", size))
    return LocalResponseNorm.apply(x, size, alpha, beta, k)
