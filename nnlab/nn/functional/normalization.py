"""Batch normalisation and local response normalisation."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import norm as ops
from nnlab.autograd.activation import relu as rectified
from nnlab.autograd.amp import in_float32
from nnlab.autograd.pad import pad
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn.functional._checks import check_count, check_input
from nnlab.nn.functional.pooling import avg_pool1d, avg_pool2d, avg_pool3d
from nnlab.types import wide


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel; input (N, C, ...), the rest (C,).

    In training mean and (biased) variance are the batch's, and the running ones (if given) move by ``momentum`` towards
    the batch's mean and unbiased variance, in place (a batch without samples moves nothing); otherwise the running ones
    are used.
    Source: Ioffe and Szegedy, "Batch normalization", ICML 2015.
    """
    return batch_norm_relu(input, running_mean, running_var, weight, bias, training, momentum, eps, relu=False)


def batch_norm_relu(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    relu: bool = True,
) -> Tensor:
    """``relu(batch_norm(input, ...))``, in training as one operation; without ``relu`` :func:`batch_norm` alone."""
    check_input("batch_norm", input, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    if input.ndim < 2:
        raise ShapeError(complaint("batch_norm", "input", "have shape (N, C, ...)", tuple(input.shape)))
    channels = input.shape[1]
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, tensor in named.items():
        if tensor is not None and tensor.shape != (channels,):
            raise ShapeError(f"[batch_norm] input has {channels} channels but {name} has shape {tuple(tensor.shape)}")
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError(complaint("batch_norm", "running_mean", "be given outside training", None))
        y = ops.batch_norm_eval(input, running_mean, running_var, weight, bias, eps)
        return rectified(y) if relu else y
    if not input.numel():  # no statistics, and no output that would need them
        return ops.batch_norm_eval(input, input.new_zeros(channels), input.new_ones(channels), weight, bias, eps)
    if input.numel() == channels:
        must = "have more than one value per channel in training"
        raise ShapeError(complaint("batch_norm", "input", must, tuple(input.shape)))
    y, mean, var = ops.batch_norm(input, weight, bias, eps, relu)
    for running, batch in ((running_mean, mean), (running_var, var)):
        if running is not None:
            ops.move_average(running, batch, momentum)
    return y


@in_float32
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, within: bool = False
) -> Tensor:
    """``x / (k + alpha / n * sum of x'**2)**beta``; the sum is over the neighbourhood of each element.

    Across maps (the default) these are ``size`` channels around the element's, n = size; within maps ``size`` positions
    around it along each spatial dimension of its own channel, n = size**dimensions. An even size takes one more below
    than above. What lies outside counts as 0.

    Args:
        input: (N, C, L, ...); within maps at most three spatial dimensions.
        size: how many channels or positions.
        alpha, beta, k: numbers of the formula. Note the division of alpha by n, as in PyTorch and Caffe: the paper's
            formula has none, so its alpha = 1e-4 with n = 5 is ``alpha=5e-4`` here.
        within: whether the neighbours are those within the map (Caffe's WITHIN_CHANNEL; PyTorch has no such form).

    Source: Krizhevsky, Sutskever, Hinton, NIPS 2012, section 3.3.
    """
    check_input("local_response_norm", input)
    if input.ndim < 3:
        raise ShapeError(complaint("local_response_norm", "input", "have shape (N, C, L, ...)", tuple(input.shape)))
    if not within:
        return ops.local_response_norm(input, size, alpha, beta, k)
    check_count("local_response_norm", "size", size)
    spatial = input.ndim - 2
    if spatial > 3:
        must = "have at most three spatial dimensions within maps"
        raise ShapeError(complaint("local_response_norm", "input", must, tuple(input.shape)))
    pool = (avg_pool1d, avg_pool2d, avg_pool3d)[spatial - 1]
    x = input.to(dtype=wide(input.dtype))
    mean = pool(pad(x * x, (size // 2, (size - 1) // 2) * spatial), size, 1)
    return (x * (mean * alpha + k) ** -beta).to(dtype=input.dtype)
