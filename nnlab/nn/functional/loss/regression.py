"""Losses of numbers: distances to the target, and negative log-likelihoods under a distribution."""

from __future__ import annotations

import math

from nnlab.autograd import Tensor
from nnlab.autograd import loss as ops
from nnlab.autograd.amp import in_float32
from nnlab.autograd.creation import full_like
from nnlab.autograd.elementwise import where
from nnlab.autograd.pointwise import pointwise
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn.functional._checks import REDUCTIONS, check_input, check_reduction, reduce


@in_float32
def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """``(x - t)**2``; shapes broadcast."""
    check_input("mse_loss", input, target=target)
    check_reduction("mse_loss", reduction)
    return ops.mse_loss(input, target, reduction)


@in_float32
def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """``|x - t|``; shapes broadcast, the gradient at 0 is 0."""
    check_input("l1_loss", input, target=target)
    check_reduction("l1_loss", reduction)
    return reduce((input - target).abs(), reduction)


@in_float32
def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """``(x - t)**2 / (2 * beta)`` where ``|x - t| < beta``, else ``|x - t| - beta / 2``; shapes broadcast.

    beta = 0 gives :func:`l1_loss`.

    Raises:
        ArgumentError: ``beta`` is negative.

    Source: Girshick, "Fast R-CNN", ICCV 2015.
    """
    layer = "smooth_l1_loss"
    check_input(layer, input, target=target)
    check_reduction(layer, reduction)
    if not beta >= 0:
        raise ArgumentError(complaint(layer, "beta", "not be negative", beta))
    difference = input - target
    return reduce(difference.abs() if beta == 0 else pointwise("huber", difference, beta) / beta, reduction)


@in_float32
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """``(x - t)**2 / 2`` where ``|x - t| <= delta``, else ``delta * (|x - t| - delta / 2)``; shapes broadcast.

    Raises:
        ArgumentError: ``delta`` is not positive.

    Source: Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 1964.
    """
    check_input("huber_loss", input, target=target)
    check_reduction("huber_loss", reduction)
    if not delta > 0:
        raise ArgumentError(complaint("huber_loss", "delta", "be positive", delta))
    return reduce(pointwise("huber", input - target, delta), reduction)


@in_float32
def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Divergence of Kullback and Leibler, ``t * (log(t) - x)`` for log-probabilities x; shapes broadcast.

    Args:
        input: logarithms of the model's probabilities.
        target: probabilities (0 adds nothing), or their logarithms.
        reduction: 'mean' (over all elements), 'batchmean' (the sum divided by the first dimension: the divergence as it
            is defined, averaged over samples), 'sum' or 'none'.
        log_target: whether the target holds logarithms.
    """
    check_input("kl_div", input, target=target)
    check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    loss = target.exp() * (target - input) if log_target else pointwise("x_log_x", target) - target * input
    if reduction != "batchmean":
        return reduce(loss, reduction)
    return loss.sum() / input.shape[0] if input.ndim else loss


@in_float32
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of counts t under Poisson distributions of rate exp(x), without ``log(t!)``.

    ``exp(x) - t * x``, or with ``log_input=False``, where x is the rate itself, ``x - t * log(x + eps)``. Shapes
    broadcast.

    Args:
        full: add Stirling's ``t * log(t) - t + log(2 * pi * t) / 2`` for ``log(t!)`` where t > 1.
    """
    layer = "poisson_nll_loss"
    check_input(layer, input, target=target)
    check_reduction(layer, reduction)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        many = target > 1
        count = where(many, target, 1.0)
        stirling = count * count.log() - count + (count * (2 * math.pi)).log() / 2
        loss = loss + where(many, stirling, 0.0)
    return reduce(loss, reduction)


@in_float32
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of t under normal distributions, ``(log(v) + (x - t)**2 / v) / 2``, v = max(var, eps).

    Args:
        input: means.
        target: of a shape that broadcasts with the input's.
        var: variances, not negative: of the input's shape, or of that shape with one dimension of length 1 or without
            the last one (all of a row alike), or a number. Its gradient passes also where it is below eps.
        full: add ``log(2 * pi) / 2``.

    Raises:
        ArgumentError: a variance is negative (on the CPU; on a GPU, where asking would stop the queue, it becomes eps).
        ShapeError: the variances do not fit the input.

    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994.
    """
    layer = "gaussian_nll_loss"
    var = var if isinstance(var, Tensor) else full_like(input, var)
    check_input(layer, input, target=target, var=var)
    check_reduction(layer, reduction)
    shape, given = tuple(input.shape), tuple(var.shape)
    if given != shape:
        differs = [have for have, want in zip(given, shape, strict=False) if have != want]
        if given == shape[:-1]:
            var = var.unsqueeze(-1)
        elif len(given) != len(shape) or differs != [1]:
            must = f"have shape {shape}, with one dimension 1 or without the last"
            raise ShapeError(complaint(layer, "var", must, given))
    if var.device.type != "cuda" and bool((var < 0).any()):
        raise ArgumentError(complaint(layer, "var", "not be negative", var.detach().amin().item()))
    var = pointwise("at_least", var, eps)
    loss = (var.log() + (input - target).square() / var) / 2
    return reduce(loss + math.log(2 * math.pi) / 2 if full else loss, reduction)
