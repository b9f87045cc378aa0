"""Which results of a rectified convolution are not 0, and what that leaves of a gradient, one element at a time."""

from __future__ import annotations

import numpy as np


def mask(y, chunk: int) -> np.ndarray:
    """(positions of all images, chunks) bytes: bit j of byte i of a row says whether channel i * chunk + j is not 0."""
    channels = y.shape[1]
    rows = np.moveaxis(y, 1, -1).reshape(-1, channels)
    found = np.zeros((len(rows), -(-channels // chunk)), np.uint8)
    for row, c in np.ndindex(rows.shape):
        if rows[row, c] != 0:
            found[row, c // chunk] += 2 ** (c % chunk)
    return found


def backward(dy, y) -> np.ndarray:
    """dy where y is not 0 (NaN is not)."""
    dz = np.zeros(y.shape)
    for i in np.ndindex(y.shape):
        dz[i] = 0.0 if y[i] == 0 else dy[i]
    return dz
