"""Differentiable normalisation of each sample's groups of channels; channels are axis 1.

- ``group_norm(x, groups, weight, bias, eps)`` -> y; weight and bias (C,) or None.
- ``instance_norm(x, weight, bias, eps)`` -> (y, mean, var): one group a channel; mean (N, C) and *unbiased* variance
  (N, C) carry no gradient and are what running estimates take in.
- ``layer_norm(x, dims, weight, bias, eps)`` -> y: over the last ``dims`` dimensions; weight and bias of their shape.
- ``rms_norm(x, dims, weight, eps)`` -> y: the same without taking out the mean.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from nnlab.autograd.tape import Node, Op
from nnlab.ops import group_norm as ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class GroupNorm(Op):
    @staticmethod
    def forward(
        ctx: Node, x: Any, weight: Any, bias: Any, groups: int, eps: float, centred: bool, statistics: bool
    ) -> Any:
        ctx.save_inputs(*(0,) if weight is None else (0, 1))
        y, ctx.saved = ops.forward(ctx.be, x=x, weight=weight, bias=bias, groups=groups, eps=eps, centred=centred)
        ctx.groups, ctx.eps, ctx.weighted = groups, eps, weight is not None
        if not statistics:
            return y
        count = prod(x.shape[1:]) // groups
        return y, ctx.saved.mean, ctx.saved.var * (count / max(count - 1, 1))

    @staticmethod
    def backward(ctx: Node, dy: Tensor, *_: Tensor) -> Any:
        x = ctx.input(0)
        lines = x.reshape(len(x), ctx.groups, -1)
        centred = ctx.saved.mean is not None
        if centred:
            lines = lines - lines.mean(2, keepdim=True)
        rstd = ((lines * lines).mean(2, keepdim=True) + ctx.eps) ** -0.5
        xhat = lines * rstd
        g = dy
        if ctx.weighted:
            g = dy * ctx.input(1).reshape(-1, *[1] * (x.ndim - 2))
        g = g.reshape(lines.shape)
        dx = g - xhat * (g * xhat).mean(2, keepdim=True)
        if centred:
            dx = dx - g.mean(2, keepdim=True)
        axes = (0, *range(2, x.ndim))
        dweight = (dy * xhat.reshape(x.shape)).sum(axes) if ctx.needs[1] else None
        return (dx * rstd).reshape(x.shape), dweight, dy.sum(axes) if ctx.needs[2] else None

    @staticmethod
    def backward_raw(ctx: Node, dy: Any, *_: Any) -> Any:
        weight = ctx.input_raw(1) if ctx.weighted else None
        return ops.backward(ctx.be, dy=dy, x=ctx.input_raw(0), weight=weight, saved=ctx.saved)


def group_norm(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """y of (N, C, ...) whose channels make ``groups`` groups."""
    return GroupNorm.apply(x, weight, bias, groups, eps, True, False)


def instance_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(y, mean, unbiased variance) of each plane of (N, C, ...); the statistics (N, C) carry no gradient."""
    y, mean, var = GroupNorm.apply(x, weight, bias, x.shape[1], eps, True, True)
    return y, mean.detach(), var.detach()


def _lines(x: Tensor, dims: int, weight: Tensor | None, bias: Tensor | None, eps: float, centred: bool) -> Tensor:
    size = prod(x.shape[x.ndim - dims :])
    flat = x.reshape(prod(x.shape[: x.ndim - dims]), size)
    weight, bias = (v if v is None or v.ndim == 1 else v.reshape(-1) for v in (weight, bias))
    return GroupNorm.apply(flat, weight, bias, 1, eps, centred, False).reshape(x.shape)


def layer_norm(x: Tensor, dims: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """y; each line of the last ``dims`` dimensions has mean 0 and variance 1 before weight and bias."""
    return _lines(x, dims, weight, bias, eps, True)


def rms_norm(x: Tensor, dims: int, weight: Tensor | None, eps: float) -> Tensor:
    """y; each line of the last ``dims`` dimensions has mean square 1 before the weight."""
    return _lines(x, dims, weight, None, eps, False)
