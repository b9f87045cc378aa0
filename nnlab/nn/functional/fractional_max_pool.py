"""Fractional max pooling over 2 and 3 spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlab.autograd import Tensor
from nnlab.autograd import pool as ops
from nnlab.autograd.creation import rand
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.geometry import Shape, sizes
from nnlab.nn.functional._checks import check_input, with_batch

Size = int | Sequence[int]
Ratio = float | Sequence[float]


def output_of(where: str, input: Shape, output_size: Size | None, output_ratio: Ratio | None) -> Shape:
    """The output's size from one of the two arguments; ``input`` the spatial size, () if it is not known yet."""
    spatial = int(where[-2])
    if (output_size is None) == (output_ratio is None):
        raise ArgumentError(complaint(where, "output_size", "be given, or 'output_ratio', and not both", output_size))
    if output_size is not None:
        return sizes(output_size, spatial, "output_size", where)
    ratios = (output_ratio,) * spatial if isinstance(output_ratio, int | float) else tuple(output_ratio or ())
    if len(ratios) != spatial or not all(0 < ratio < 1 for ratio in ratios):
        must = f"be a number between 0 and 1, or {spatial} of them"
        raise ArgumentError(complaint(where, "output_ratio", must, output_ratio))
    return tuple(int(n * ratio) for n, ratio in zip(input, ratios, strict=False))


def _fractional_max_pool(
    where: str,
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None,
    output_ratio: Ratio | None,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    spatial = int(where[-2])
    check_input(where, input, _random_samples=samples)
    x, batched = with_batch(where, input, spatial)
    kernel = sizes(kernel_size, spatial, "kernel_size", where)
    out = output_of(where, x.shape[2:], output_size, output_ratio)
    if not all(o >= 1 and o + k - 1 <= n for o, k, n in zip(out, kernel, x.shape[2:], strict=True)):
        must = f"have room for {out} windows of {kernel} that begin at different positions"
        raise ShapeError(complaint(where, "input", must, tuple(input.shape)))
    shape = (*x.shape[:2], spatial)
    if samples is None:
        samples = rand(shape, dtype=x.dtype, device=x.device)
    if samples.shape != shape:
        raise ShapeError(complaint(where, "_random_samples", f"have shape {shape}", tuple(samples.shape)))
    # PyTorch's samples name the dimensions from the last to the first in 2d, from the first to the last in 3d.
    y, indices = ops.fractional_max_pool(x, samples.flip(-1) if spatial == 2 else samples, kernel, out)
    if not batched:
        y, indices = y.squeeze(0), indices.squeeze(0)
    return (y, indices) if return_indices else y


_DOC = """Maximum of windows whose places are drawn, so that the size shrinks by a fraction.

    Formula and source: ``nnlab.ops.fractional_max_pool``. Input (N, C, {axes}) or (C, {axes}).

    Args:
        kernel_size: of the windows, an int or one a dimension.
        output_size: an int or one a dimension.
        output_ratio: output size over input size instead (rounded down), between 0 and 1.
        return_indices: also return where each maximum was found, as ``max_unpool{n}d`` takes it.
        _random_samples: numbers in [0, 1) of shape (N, C, {n}) to use; default: drawn by the input's device.
    """


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    return _fractional_max_pool(
        "fractional_max_pool2d", input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    return _fractional_max_pool(
        "fractional_max_pool3d", input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


fractional_max_pool2d.__doc__ = _DOC.format(axes="H, W", n=2)
fractional_max_pool3d.__doc__ = _DOC.format(axes="D, H, W", n=3)
