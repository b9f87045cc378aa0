"""Convolution as a matrix.

A convolution is linear, so it is a product with a matrix: sparse, with the same few weights in every row, in one
dimension constant along its diagonals (Toeplitz). The transposed matrix is the transposed convolution.

Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import nnlab
from nnlab import Tensor
from nnlab.geometry import Ints, conv_geometry


def convolution_matrix(
    weight: Tensor,
    input_size: Sequence[int],
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """The matrix M of a convolution (correlation, as layers compute it) without bias.

    ``conv(x, weight).flatten() = M @ x.flatten()`` for x (C, *input_size), and
    ``conv_transpose(y, weight).flatten() = M.T @ y.flatten()`` for y (O, *out), of the output padding that leads to
    input_size. M is differentiable: each element is a weight or 0, and a weight's gradient is the sum over its places.

    Args:
        weight: (O, C / groups, *kernel), 1 to 3 spatial dimensions.
        input_size: *in.
        stride, padding, dilation, groups: as of the layer.

    Returns:
        (O * prod(out), C * prod(in)), dense, of weight's dtype and device.

    Raises:
        ArgumentError, ShapeError: as the layer does.
    """
    channels = weight.shape[1] * groups if weight.ndim > 1 else 0
    g = conv_geometry(
        (1, channels, *input_size), weight.shape, stride, padding, dilation, groups, layer="convolution_matrix"
    )
    # Where in the flattened weight each element comes from, one axis after another: (outputs, inputs) grow by products.
    o, c = np.arange(g.w_shape[0])[:, None], np.arange(channels)
    inside = o // (g.w_shape[0] // groups) == c // g.w_shape[1]
    place = o * g.w_shape[1] + c % g.w_shape[1]
    for axis, kernel in enumerate(g.kernel):
        out, size = np.arange(g.out_size[axis])[:, None], np.arange(g.in_size[axis])
        reach = size + g.pad_low[axis] - out * g.stride[axis]
        tap, rest = np.divmod(reach, g.dilation[axis])
        inside = _outer(inside, (rest == 0) & (tap >= 0) & (tap < kernel), np.logical_and)
        place = _outer(place * kernel, tap, np.add)
    zero = weight.numel()
    index = nnlab.tensor(np.where(inside, place, zero), device=weight.device)
    return nnlab.cat([weight.reshape(-1), weight.new_zeros(1)])[index]


def _outer(a: np.ndarray, b: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """The Kronecker product of two matrices with another operation instead of the product."""
    joined = combine(a[:, None, :, None], b[None, :, None, :])
    return joined.reshape(a.shape[0] * b.shape[0], a.shape[1] * b.shape[1])
