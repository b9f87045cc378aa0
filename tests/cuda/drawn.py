"""Problems drawn at random for the cases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nnlab.errors import ShapeError
from nnlab.geometry import ConvGeometry, PoolGeometry, conv_geometry, pool_geometry


def pooling(random: np.random.Generator, dims: int, dilated: bool = True) -> PoolGeometry:
    """A pooling of a small array; drawn again where the windows do not fit."""
    while True:
        kernel = tuple(random.integers(1, 5, dims).tolist())
        stride = tuple(random.integers(1, 5, dims).tolist())
        dilation = tuple(random.integers(1, 4, dims).tolist()) if dilated else (1,) * dims
        extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
        padding = tuple(int(random.integers(0, n // 2 + 1)) for n in extent)
        size = tuple(random.integers(2, 8, dims).tolist())
        try:
            return pool_geometry((2, 2, *size), kernel, stride, padding, dilation, bool(random.integers(2)))
        except ShapeError:
            continue


def far_poolings(window: int = 2) -> Iterator[tuple[PoolGeometry, PoolGeometry]]:
    """Lines and numbers of planes beyond 32 bits, and the pooling of their ends alone; windows do not overlap."""
    for length in (2**31, 2**32):
        for dims in (1, 2, 3):
            rest = (1,) * (dims - 1)
            shapes = [(1, 1, n, *rest) for n in (length + 8, 8)]
            yield tuple(pool_geometry(shape, (window, *rest)) for shape in shapes)  # type: ignore[misc]
    yield tuple(pool_geometry((planes, 1, 1, 2, 3), (1, 2, 3)) for planes in (2**32 + 3, 2))  # type: ignore[misc]


def convolution(random: np.random.Generator, dims: int) -> ConvGeometry:
    """A convolution of a small array; drawn again where the kernel does not fit."""
    while True:
        groups, inputs, outputs = (int(random.integers(1, most)) for most in (4, 6, 9))
        kernel, stride, dilation = (tuple(random.integers(1, most, dims).tolist()) for most in (5, 4, 4))
        padding = tuple(random.integers(0, 4, dims).tolist())
        size = tuple(random.integers(2, 8, dims).tolist())
        x_shape, w_shape = (2, groups * inputs, *size), (groups * outputs, inputs, *kernel)
        try:
            return conv_geometry(x_shape, w_shape, stride, padding, dilation, groups)
        except ShapeError:
            continue


def channels_last(array: np.ndarray) -> np.ndarray:
    """The same values with channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
