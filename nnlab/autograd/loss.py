"""Differentiable losses; ``reduction`` is 'mean', 'sum' or 'none'.

- ``cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0)``:
  x (N, C, *dims) or (C,); target int (N, *dims) or (), or probabilities of x's shape.
- ``nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean")``: x holds log-probabilities.
- ``mse_loss(x, target, reduction="mean")``: equal shapes after broadcasting.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from nnlab.autograd.activation import log_softmax, softmax
from nnlab.autograd.tape import Node, Op, wrap
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint
from nnlab.ops import cross_entropy as ops
from nnlab.types import is_floating

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


class CrossEntropy(Op):
    """Scores x (N, C, P) and class numbers (N, P) to a loss (N, P) or scalar."""

    @staticmethod
    def forward(
        ctx: Node, x: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float
    ) -> Any:
        ctx.save_inputs(0)
        options = {"ignore_index": ignore_index, "dtype": x.dtype, "layer": "cross_entropy"}
        ctx.target = ops.prepare(ctx.be, target=target, shape=x.shape, weight=weight, **options)
        loss, ctx.q = ops.cross_entropy(ctx.be, x=x, target=ctx.target, smoothing=smoothing)
        ctx.reduction, ctx.smoothing, ctx.dtype = reduction, smoothing, x.dtype
        return ops.reduce(ctx.be, loss=loss, total=ctx.target.total, reduction=reduction).astype(x.dtype)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        x = ctx.input(0)
        s, a = ops.coefficients(ctx.be, target=ctx.target, shape=ctx.q.shape, smoothing=ctx.smoothing)
        p = softmax(x, 1)
        return (p * wrap(ctx.be, s).unsqueeze(1) - wrap(ctx.be, a)) * _element_gradient(ctx, dy)

    @staticmethod
    def backward_raw(ctx: Node, dy: Any) -> Any:
        g = dy / ctx.target.total if ctx.reduction == "mean" else dy
        dx = ops.backward(ctx.be, g=g.astype(ctx.q.dtype), q=ctx.q, target=ctx.target, smoothing=ctx.smoothing)
        return dx.astype(ctx.dtype, copy=False)


class NegativeLogLikelihood(Op):
    """Log-probabilities x (N, C, P) and class numbers (N, P) to a loss (N, P) or scalar; linear in x."""

    @staticmethod
    def forward(ctx: Node, x: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
        options = {"ignore_index": ignore_index, "dtype": x.dtype, "layer": "nll_loss"}
        ctx.target = ops.prepare(ctx.be, target=target, shape=x.shape, weight=weight, **options)
        ctx.shape, ctx.reduction = x.shape, reduction
        loss = ops.nll(ctx.be, x=x, target=ctx.target)
        return ops.reduce(ctx.be, loss=loss, total=ctx.target.total, reduction=reduction).astype(x.dtype)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        _, a = ops.coefficients(ctx.be, target=ctx.target, shape=ctx.shape, smoothing=0.0)
        return wrap(ctx.be, -a.astype(dy.dtype)) * _element_gradient(ctx, dy)


def _element_gradient(ctx: Node, dy: Tensor) -> Tensor:
    """Gradient of each element's loss, to be broadcast over the classes."""
    if ctx.reduction == "none":
        return dy.unsqueeze(1)
    return dy / wrap(ctx.be, ctx.target.total) if ctx.reduction == "mean" else dy


def _check_reduction(layer: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ArgumentError(complaint(layer, "reduction", f"be one of {REDUCTIONS}", reduction))


def _class_numbers(layer: str, x: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """x as (N, C, P) and the target as (N, P), after checking shapes and dtypes."""
    if x.ndim == 0:
        raise ShapeError(complaint(layer, "input", "have shape (C,) or (N, C, ...)", tuple(x.shape)))
    if target.dtype.kind not in "iu":
        raise DtypeError(complaint(layer, "target", "be integer class numbers", target.dtype.name))
    expected = (x.shape[0], *x.shape[2:]) if x.ndim > 1 else ()
    if tuple(target.shape) != expected:
        must = f"have shape {expected} for input {tuple(x.shape)}"
        raise ShapeError(complaint(layer, "target", must, tuple(target.shape)))
    classes = x.shape[min(1, x.ndim - 1)]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ShapeError(complaint(layer, "weight", f"have shape ({classes},)", tuple(weight.shape)))
    images, positions = x.shape[0] if x.ndim > 1 else 1, prod(x.shape[2:])
    return x.reshape(images, classes, positions), target.reshape(images, positions)


def cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of softmax(x) with class numbers or class probabilities; see ``nnlab.ops.cross_entropy``.

    The mean divides by the sum of the targets' weights, with probabilities by the number of elements.

    Raises:
        ShapeError, DtypeError, ArgumentError: target or weight do not fit x, or an option makes no sense.
    """
    layer = "cross_entropy"
    _check_reduction(layer, reduction)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(complaint(layer, "label_smoothing", "be between 0 and 1", label_smoothing))
    if is_floating(target.dtype):
        return _soft_cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing)
    scores, numbers = _class_numbers(layer, x, target, weight)
    loss = CrossEntropy.apply(scores, numbers, weight, ignore_index, reduction, float(label_smoothing))
    return loss.reshape(target.shape) if reduction == "none" else loss


def _soft_cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float
) -> Tensor:
    layer = "cross_entropy"
    if ignore_index >= 0:
        raise ArgumentError(complaint(layer, "ignore_index", "not be used with class probabilities", ignore_index))
    if x.ndim == 0 or x.shape != target.shape:
        must = f"have the input's shape {tuple(x.shape)} if it holds probabilities"
        raise ShapeError(complaint(layer, "target", must, tuple(target.shape)))
    axis = min(1, x.ndim - 1)
    classes = x.shape[axis]
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / classes
    product = log_softmax(x, axis) * target
    if weight is not None:
        if tuple(weight.shape) != (classes,):
            raise ShapeError(complaint(layer, "weight", f"have shape ({classes},)", tuple(weight.shape)))
        product = product * weight.reshape(-1, *[1] * (x.ndim - 1 - axis))
    loss = -product.sum(axis)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def nll_loss(
    x: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Negative log-likelihood of class numbers under log-probabilities x; see ``nnlab.ops.cross_entropy``."""
    _check_reduction("nll_loss", reduction)
    scores, numbers = _class_numbers("nll_loss", x, target, weight)
    loss = NegativeLogLikelihood.apply(scores, numbers, weight, ignore_index, reduction)
    return loss.reshape(target.shape) if reduction == "none" else loss


def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(x - target)**2, shapes broadcast."""
    _check_reduction("mse_loss", reduction)
    difference = x - target
    loss = difference * difference
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()
