"""Losses of scores for classes, given by their numbers or probabilities."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import loss as ops
from nnlab.autograd.amp import in_float32
from nnlab.autograd.creation import arange
from nnlab.autograd.elementwise import where
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input, check_reduction, reduce


@in_float32
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


@in_float32
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """``-weight[t] * x[t]`` for log-probabilities x (N, C), (N, C, ...) or (C,) and class numbers t."""
    check_input("nll_loss", input, weight=weight)
    check_reduction("nll_loss", reduction)
    return ops.nll_loss(input, target, weight, ignore_index, reduction)


def _rows(where: str, input: Tensor, target: Tensor, expected: tuple[int, ...]) -> None:
    """The input is (N, C) or (C,), the target holds integers of the expected shape."""
    if input.ndim not in (1, 2):
        raise ShapeError(complaint(where, "input", "have shape (N, C) or (C,)", tuple(input.shape)))
    if target.dtype.kind not in "iu":
        raise DtypeError(complaint(where, "target", "be integer class numbers", target.dtype.name))
    if tuple(target.shape) != expected:
        must = f"have shape {expected} for input {tuple(input.shape)}"
        raise ShapeError(complaint(where, "target", must, tuple(target.shape)))


@in_float32
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """``sum over c != t of weight[t] * max(0, margin - x[t] + x[c])**p / C``: every other class a margin below t.

    Args:
        input: scores (N, C) or (C,).
        target: class numbers (N,) or ().
        p: 1 or 2.
        margin: how far the others must be below.
        weight: weight of each class (C,).
        reduction: 'mean', 'sum' or 'none'.

    Raises:
        ArgumentError, ShapeError, DtypeError: another p, or target or weight do not fit the input.

    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.
    """
    layer = "multi_margin_loss"
    check_input(layer, input, weight=weight)
    check_reduction(layer, reduction)
    _rows(layer, input, target, tuple(input.shape[:-1]))
    if p not in (1, 2):
        raise ArgumentError(complaint(layer, "p", "be 1 or 2", p))
    classes = input.shape[-1]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ShapeError(complaint(layer, "weight", f"have shape ({classes},)", tuple(weight.shape)))
    number = target.unsqueeze(-1)
    above = (input - input.gather(-1, number) + margin).relu()
    above = above if p == 1 else above.square()
    if weight is not None:
        above = above * weight[number]
    others = arange(classes, device=input.device) != number
    return reduce(where(others, above, 0.0).sum(-1) / classes, reduction)


@in_float32
def multilabel_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """``sum of max(0, 1 - x[t] + x[c]) / C`` over the classes t of a sample and all classes c that are not among them.

    Args:
        input: scores (N, C) or (C,).
        target: of the input's shape, the class numbers of each sample first, then -1; what follows it does not count.
        reduction: 'mean', 'sum' or 'none'.

    Raises:
        ShapeError, DtypeError: the target does not fit the input.
    """
    layer = "multilabel_margin_loss"
    check_input(layer, input)
    check_reduction(layer, reduction)
    _rows(layer, input, target, tuple(input.shape))
    classes = input.shape[-1]
    given = (target < 0).cumsum(-1) == 0
    number = where(given, target, 0)
    # Pairs (..., T, C): each class given against each class.
    hit = (arange(classes, device=input.device) == number.unsqueeze(-1)) & given.unsqueeze(-1)
    others = ~hit.any(-2, keepdim=True) & given.unsqueeze(-1)
    above = (input.unsqueeze(-2) - input.gather(-1, number).unsqueeze(-1) + 1).relu()
    return reduce(where(others, above, 0.0).sum((-2, -1)) / classes, reduction)
