"""Losses of yes and no: probabilities, scores, and targets of -1 and 1."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import binary_loss as ops
from nnlab.autograd.amp import in_float32
from nnlab.autograd.elementwise import where
from nnlab.autograd.pointwise import pointwise
from nnlab.errors import ShapeError, complaint
from nnlab.nn.functional._checks import check_input, check_reduction, reduce


def _same_shape(where: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        must = f"have the input's shape {tuple(input.shape)}"
        raise ShapeError(complaint(where, "target", must, tuple(target.shape)))


@in_float32
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """``-weight * (t * log(x) + (1 - t) * log(1 - x))`` for probabilities x; logarithms are limited to -100.

    The weight broadcasts; gradients stay finite at x = 0 and x = 1.

    Raises:
        ArgumentError: x is outside 0..1 (on the CPU; on a GPU, where asking would stop the queue, the loss is NaN).
    """
    check_input("binary_cross_entropy", input, target=target, weight=weight)
    check_reduction("binary_cross_entropy", reduction)
    _same_shape("binary_cross_entropy", input, target)
    loss = ops.binary_cross_entropy(input, target)
    return reduce(loss if weight is None else loss * weight, reduction)


@in_float32
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(x), computed from x without overflow.

    ``weight * (pos_weight * t * log(1 + exp(-x)) + (1 - t) * log(1 + exp(x)))``; weight and pos_weight broadcast.
    """
    layer = "binary_cross_entropy_with_logits"
    check_input(layer, input, target=target, weight=weight, pos_weight=pos_weight)
    check_reduction(layer, reduction)
    _same_shape(layer, input, target)
    positive = target if pos_weight is None else target * pos_weight
    if positive.shape != input.shape:
        must = f"broadcast to the input's shape {tuple(input.shape)}"
        raise ShapeError(complaint(layer, "pos_weight", must, None if pos_weight is None else tuple(pos_weight.shape)))
    loss = ops.logistic_loss(input, positive, 1 - target)
    return reduce(loss if weight is None else loss * weight, reduction)


@in_float32
def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """``log(1 + exp(-t * x))`` for targets -1 and 1 of the input's shape, without overflow."""
    check_input("soft_margin_loss", input)
    check_reduction("soft_margin_loss", reduction)
    _same_shape("soft_margin_loss", input, target)
    return reduce(-pointwise("log_sigmoid", input * target), reduction)


@in_float32
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """:func:`binary_cross_entropy_with_logits`, averaged over the classes of a sample.

    Args:
        input: scores (N, C) or (C,); with more dimensions, classes are the last.
        target: 0 and 1, of the input's shape.
        weight: weight of each class (C,).
        reduction: 'mean', 'sum' or 'none' (one value a sample).

    Raises:
        ShapeError: the target has another shape, or the input no dimension.
    """
    layer = "multilabel_soft_margin_loss"
    if isinstance(input, Tensor) and input.ndim == 0:
        raise ShapeError(complaint(layer, "input", "have shape (N, C) or (C,)", ()))
    check_input(layer, input, target=target, weight=weight)
    check_reduction(layer, reduction)
    _same_shape(layer, input, target)
    loss = ops.logistic_loss(input, target, 1 - target)
    loss = loss if weight is None else loss * weight
    return reduce(loss.sum(-1) / input.shape[-1], reduction)


@in_float32
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """x where the target is 1, ``max(0, margin - x)`` where it is -1: for distances of pairs that belong together or
    do not. Shapes broadcast.
    """
    check_input("hinge_embedding_loss", input)
    check_reduction("hinge_embedding_loss", reduction)
    apart = where(target != 1, (margin - input).clamp(min=0.0), 0.0)
    return reduce(apart + where(target != -1, input, 0.0), reduction)
