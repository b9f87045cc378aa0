"""Problems drawn at random for the cases."""

from __future__ import annotations

import numpy as np

from nnlab.errors import ShapeError
from nnlab.geometry import PoolGeometry, pool_geometry


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
