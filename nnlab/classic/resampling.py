"""Fewer and more pixels: pooling with a Gaussian, a bed of nails, and where transposed convolution overlaps.

Max, average and L2 pooling are ``max_pool2d``, ``avg_pool2d`` and ``lp_pool2d`` of ``nnlab.nn.functional``; nearest
neighbours are ``interpolate``, stored positions ``max_unpool2d``.
"""

from __future__ import annotations

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.creation import from_numpy, ones
from nnlab.classic.filters import gaussian
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import functional as F


def gaussian_pool2d(
    input: Tensor, kernel_size: int, stride: int | None = None, padding: int = 0, sigma: float | None = None
) -> Tensor:
    """Weighted mean of each window, with weights that fall from its middle as a Gaussian does.

    Args:
        input: (N, C, H, W), floating point.
        kernel_size: side of the square window.
        stride: step of the window, default kernel_size.
        padding: zeros around the input, which count.
        sigma: deviation of the Gaussian in pixels, default kernel_size / 4.

    Returns:
        (N, C, (H + 2 padding - kernel_size) // stride + 1, the same of W).
    """
    kernel = gaussian(kernel_size, kernel_size / 4 if sigma is None else sigma)
    return F.conv2d(
        input,
        _each_channel("gaussian_pool2d", input, kernel),
        stride=kernel_size if stride is None else stride,
        padding=padding,
        groups=input.shape[1],
    )


def bed_of_nails2d(input: Tensor, stride: int = 2) -> Tensor:
    """Each pixel becomes the upper left corner of a square of ``stride`` pixels, the others of which are 0.

    Args:
        input: (N, C, H, W), floating point.
        stride: side of the squares.

    Returns:
        (N, C, stride H, stride W).
    """
    if stride < 1:
        raise ArgumentError(complaint("bed_of_nails2d", "stride", "be positive", stride))
    nail = np.zeros((stride, stride))
    nail[0, 0] = 1
    weight = _each_channel("bed_of_nails2d", input, nail)
    return F.conv_transpose2d(input, weight, stride=stride, groups=input.shape[1])


def overlaps(size: int, kernel_size: int, stride: int, padding: int = 0) -> np.ndarray:
    """How many copies of the kernel a transposed convolution adds up at each output pixel, along a dimension.

    If the stride does not divide the kernel's size these numbers differ from pixel to pixel, which shows as a
    checkerboard. In two dimensions they are the products of both.

    Args:
        size: input pixels.
        kernel_size, stride, padding: as of ``ConvTranspose2d``.

    Returns:
        int64 array ((size - 1) stride - 2 padding + kernel_size,).

    Source: Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016.
    """
    copies = F.conv_transpose1d(ones(1, 1, size), ones(1, 1, kernel_size), stride=stride, padding=padding)
    return copies.numpy()[0, 0].round().astype(np.int64)


def _each_channel(where: str, input: Tensor, kernel: np.ndarray) -> Tensor:
    """The kernel as weights (C, 1, h, w) of a convolution that filters each channel for itself."""
    if input.ndim != 4:
        raise ShapeError(complaint(where, "input", "have shape (N, C, H, W)", tuple(input.shape)))
    weights = np.broadcast_to(kernel, (input.shape[1], 1, *kernel.shape)).copy()
    return from_numpy(weights).to(device=input.device, dtype=input.dtype)
