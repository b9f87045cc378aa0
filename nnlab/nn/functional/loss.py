"""Losses. ``reduction`` is 'mean', 'sum' or 'none' (one value an element)."""

from __future__ import annotations

from nnlab.autograd import Tensor, activation
from nnlab.autograd import loss as ops
from nnlab.autograd.creation import zeros_like
from nnlab.autograd.shape import stack
from nnlab.errors import ShapeError
from nnlab.nn.functional._checks import check_input, check_reduction, reduce


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """``-weight[t] * log softmax(x)[t]``, for class numbers t or class probabilities.

    Args:
        input: scores (N, C), (N, C, ...) or (C,).
        target: class numbers (N,), (N, ...) or (), or probabilities of the input's shape.
        weight: weight of each class (C,); 'mean' divides by the sum of the weights that took part.
        ignore_index: class number whose samples take no part.
        reduction: 'mean', 'sum' or 'none'.
        label_smoothing: share of the target spread evenly over all classes, 0..1.
    """
    check_input("cross_entropy", input, weight=weight)
    check_reduction("cross_entropy", reduction)
    return ops.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """``-weight[t] * x[t]`` for log-probabilities x (N, C), (N, C, ...) or (C,) and class numbers t."""
    check_input("nll_loss", input, weight=weight)
    check_reduction("nll_loss", reduction)
    return ops.nll_loss(input, target, weight, ignore_index, reduction)


def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """``(x - t)**2``; shapes broadcast."""
    check_input("mse_loss", input, target=target)
    check_reduction("mse_loss", reduction)
    return ops.mse_loss(input, target, reduction)


def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """``|x - t|``; shapes broadcast, the gradient at 0 is 0."""
    check_input("l1_loss", input, target=target)
    check_reduction("l1_loss", reduction)
    return reduce((input - target).abs(), reduction)


def _same_shape(where: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ShapeError(
            f"[{where}] 'target' must have the input's shape {tuple(input.shape)}, got {tuple(target.shape)}"
        )


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """``-weight * (t * log(x) + (1 - t) * log(1 - x))`` for probabilities x; logarithms are limited to -100."""
    check_input("binary_cross_entropy", input, target=target, weight=weight)
    check_reduction("binary_cross_entropy", reduction)
    _same_shape("binary_cross_entropy", input, target)
    loss = -(target * input.log().clamp(min=-100.0) + (1 - target) * (1 - input).log().clamp(min=-100.0))
    return reduce(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(x), computed from x without overflow.

    ``-weight * (pos_weight * t * log sigmoid(x) + (1 - t) * log sigmoid(-x))``; weight and pos_weight broadcast.
    """
    check_input("binary_cross_entropy_with_logits", input, target=target, weight=weight, pos_weight=pos_weight)
    check_reduction("binary_cross_entropy_with_logits", reduction)
    _same_shape("binary_cross_entropy_with_logits", input, target)
    # log sigmoid(x) and log sigmoid(-x) are the log-softmax of (x, 0), which is smooth at x = 0.
    both = activation.log_softmax(stack([input, zeros_like(input)]), 0)
    positive = target if pos_weight is None else target * pos_weight
    loss = -(positive * both[0] + (1 - target) * both[1])
    return reduce(loss if weight is None else loss * weight, reduction)
