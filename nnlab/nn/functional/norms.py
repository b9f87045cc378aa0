"""Layer, group and instance normalisation, and normalisation by the root mean square."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from nnlab import types
from nnlab.autograd import Tensor, no_grad
from nnlab.autograd import group_norm as ops
from nnlab.autograd import norm as batch_ops
from nnlab.autograd.amp import in_float32
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input


def _trailing(where: str, input: Tensor, normalized_shape: Sequence[int], **others: Tensor | None) -> int:
    """How many dimensions are normalised; the input and the other tensors fit them."""
    shape = tuple(normalized_shape)
    if not shape:
        raise ArgumentError(complaint(where, "normalized_shape", "have at least one dimension", shape))
    if tuple(input.shape[-len(shape) :]) != shape:
        raise ShapeError(complaint(where, "input", f"end in the dimensions {shape}", tuple(input.shape)))
    for name, tensor in others.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ShapeError(complaint(where, name, f"have shape {shape}", tuple(tensor.shape)))
    return len(shape)


def _per_channel(where: str, channels: int, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tuple(tensor.shape) != (channels,):
            raise ShapeError(complaint(where, name, f"have shape ({channels},)", tuple(tensor.shape)))


@in_float32
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance over the last dimensions.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: sizes of the dimensions that are normalised together.
        weight, bias: of shape normalized_shape, or None.
        eps: added to the variance.

    Source: Ba, Kiros, Hinton, "Layer normalization", 2016.
    """
    check_input("layer_norm", input, weight=weight, bias=bias)
    dims = _trailing("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return ops.layer_norm(input, dims, weight, bias, eps)


@in_float32
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """``x / sqrt(mean(x**2) + eps) * weight``, the mean over the last dimensions.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: sizes of the dimensions that are normalised together.
        weight: of shape normalized_shape, or None.
        eps: added to the mean square; None takes the distance from 1 to the next number of the dtype that is
            computed in (float32 for half types).

    Source: Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """
    check_input("rms_norm", input, weight=weight)
    dims = _trailing("rms_norm", input, normalized_shape, weight=weight)
    if eps is None:
        eps = float(np.finfo(types.wide(input.dtype)).eps)
    return ops.rms_norm(input, dims, weight, eps)


@in_float32
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance of each image's group of channels.

    Args:
        input: (N, C, ...).
        num_groups: into how many groups of neighbouring channels C is cut; divides C.
        weight, bias: (C,) or None.
        eps: added to the variance.

    Source: Wu and He, "Group normalization", ECCV 2018.
    """
    check_input("group_norm", input, weight=weight, bias=bias)
    if input.ndim < 2:
        raise ShapeError(complaint("group_norm", "input", "have shape (N, C, ...)", tuple(input.shape)))
    channels = input.shape[1]
    if not isinstance(num_groups, int) or num_groups < 1 or channels % num_groups:
        must = f"be a positive divisor of the {channels} channels"
        raise ArgumentError(complaint("group_norm", "num_groups", must, num_groups))
    _per_channel("group_norm", channels, weight=weight, bias=bias)
    return ops.group_norm(input, num_groups, weight, bias, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel of each image.

    Args:
        input: (N, C, L, ...).
        running_mean, running_var: (C,) or None. With ``use_input_stats`` they move by ``momentum``, in place, towards
            the mean over the images of each image's mean and unbiased variance; without, they are what is used.
        weight, bias: (C,) or None.
        use_input_stats: whether mean and (biased) variance are those of the input.
        momentum: share of this input in the running statistics.
        eps: added to the variance.

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance normalization", 2016.
    """
    where = "instance_norm"
    named = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    check_input(where, input, **named)
    if input.ndim < 3:
        raise ShapeError(complaint(where, "input", "have shape (N, C, L, ...)", tuple(input.shape)))
    _per_channel(where, input.shape[1], **named)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ArgumentError(complaint(where, "running_mean", "be given without use_input_stats", None))
        return batch_ops.batch_norm_eval(input, running_mean, running_var, weight, bias, eps)
    if prod(input.shape[2:]) == 1:
        raise ShapeError(complaint(where, "input", "have more than one value per channel", tuple(input.shape)))
    y, mean, var = ops.instance_norm(input, weight, bias, eps)
    with no_grad():
        for running, new in ((running_mean, mean), (running_var, var)):
            if running is not None and len(input):
                running.mul_(1 - momentum).add_(new.mean(0), alpha=momentum)
    return y
