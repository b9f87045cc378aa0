"""Sums of rows by index, one number at a time."""

from __future__ import annotations

import math

import numpy as np


def sum_rows(dy, index, rows: int, scale=None) -> np.ndarray:
    """dw (rows, D) of dy (n, D), index (n,) and scale (n,) or None."""
    n, columns = dy.shape
    dw = np.zeros((rows, columns))
    for row in range(rows):
        named = [j for j in range(n) if index[j] == row]
        for d in range(columns):
            dw[row, d] = math.fsum(dy[j, d] * (1.0 if scale is None else scale[j]) for j in named)
    return dw
