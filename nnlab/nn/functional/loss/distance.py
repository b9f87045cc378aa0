"""Distances between vectors, and the losses that order them."""

from __future__ import annotations

from collections.abc import Callable

from nnlab.autograd import Tensor
from nnlab.autograd.amp import in_float32
from nnlab.autograd.elementwise import minimum, where
from nnlab.autograd.pointwise import pointwise
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input, check_reduction, reduce

Distance = Callable[[Tensor, Tensor], Tensor]


@in_float32
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """``x1 . x2 / (max(|x1|, eps) * max(|x2|, eps))`` along ``dim``; shapes broadcast."""
    check_input("cosine_similarity", x1, x2=x2)
    units = [x / pointwise("at_least", x.norm(2, dim, keepdim=True), eps) for x in _broadcast(x1, x2)]
    return (units[0] * units[1]).sum(dim)


def _broadcast(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    """Both with as many dimensions as the longer one, so that ``dim`` means the same in them."""
    ndim = max(x1.ndim, x2.ndim)
    return x1.reshape(*[1] * (ndim - x1.ndim), *x1.shape), x2.reshape(*[1] * (ndim - x2.ndim), *x2.shape)


@in_float32
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """p-norm of ``x1 - x2 + eps`` along the last dimension; shapes broadcast.

    Args:
        p: positive, infinity included.

    Raises:
        ArgumentError: ``p`` is not positive.
    """
    check_input("pairwise_distance", x1, x2=x2)
    if not p > 0:
        raise ArgumentError(complaint("pairwise_distance", "p", "be positive", p))
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@in_float32
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """``1 - cos(x1, x2)`` where the target is 1, ``max(0, cos(x1, x2) - margin)`` where it is -1.

    Args:
        input1, input2: vectors (N, D) or (D,).
        target: -1 and 1, (N,) or ().

    Raises:
        ShapeError: the shapes do not fit.
    """
    layer = "cosine_embedding_loss"
    check_input(layer, input1, input2=input2)
    check_reduction(layer, reduction)
    if input1.ndim not in (1, 2) or input1.shape != input2.shape:
        must = f"have shape (N, D) or (D,), as input1 {tuple(input1.shape)}"
        raise ShapeError(complaint(layer, "input2", must, tuple(input2.shape)))
    if tuple(target.shape) != tuple(input1.shape[:-1]):
        must = f"have shape {tuple(input1.shape[:-1])} for input1 {tuple(input1.shape)}"
        raise ShapeError(complaint(layer, "target", must, tuple(target.shape)))
    # Not cosine_similarity: PyTorch adds 1e-12 to the squares here.
    squares = ((input1.square()).sum(-1) + 1e-12) * ((input2.square()).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / squares.sqrt()
    apart = where(target == -1, (cosine - margin).clamp(min=0.0), 0.0)
    return reduce(where(target == 1, 1 - cosine, 0.0) + apart, reduction)


@in_float32
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """``max(0, -t * (x1 - x2) + margin)``: with t = 1 x1 is to be the larger, with t = -1 the smaller.

    The three have as many dimensions; shapes broadcast.

    Raises:
        ShapeError: they have not.
    """
    layer = "margin_ranking_loss"
    check_input(layer, input1, input2=input2)
    check_reduction(layer, reduction)
    for name, other in (("input2", input2), ("target", target)):
        if other.ndim != input1.ndim:
            must = f"have {input1.ndim} dimensions, as input1 {tuple(input1.shape)}"
            raise ShapeError(complaint(layer, name, must, tuple(other.shape)))
    return reduce(((input2 - input1) * target + margin).clamp(min=0.0), reduction)


def _triplet(
    layer: str, anchor: Tensor, positive: Tensor, negative: Tensor, distance: Distance, margin: float, swap: bool
) -> Tensor:
    check_input(layer, anchor, positive=positive, negative=negative)
    if not margin > 0:
        raise ArgumentError(complaint(layer, "margin", "be positive", margin))
    for name, other in (("positive", positive), ("negative", negative)):
        if other.ndim != anchor.ndim:
            must = f"have {anchor.ndim} dimensions, as the anchor {tuple(anchor.shape)}"
            raise ShapeError(complaint(layer, name, must, tuple(other.shape)))
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return (near - far + margin).clamp(min=0.0)


@in_float32
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)``, d the :func:`pairwise_distance`.

    Args:
        anchor, positive, negative: vectors (N, D) or (D,).
        margin: positive.
        p, eps: of the distance.
        swap: take d(positive, negative) for the second distance where it is smaller.
        reduction: 'mean', 'sum' or 'none'.

    Raises:
        ArgumentError, ShapeError: ``margin`` is not positive; different numbers of dimensions.

    Source: Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural
    networks", BMVC 2016.
    """
    check_reduction("triplet_margin_loss", reduction)

    def distance(x1: Tensor, x2: Tensor) -> Tensor:
        return pairwise_distance(x1, x2, p, eps)

    return reduce(_triplet("triplet_margin_loss", anchor, positive, negative, distance, margin, swap), reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Distance | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with any function of two tensors as the distance (default: pairwise_distance)."""
    layer = "triplet_margin_with_distance_loss"
    check_reduction(layer, reduction)
    distance = pairwise_distance if distance_function is None else distance_function
    return reduce(_triplet(layer, anchor, positive, negative, distance, margin, swap), reduction)
