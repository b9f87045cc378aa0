"""Resampling and its transpose, one element at a time in float64."""

from __future__ import annotations

import math

import numpy as np

from tests.oracles.windows import positions


def _triangle(d: float) -> float:
    return max(1 - abs(d), 0.0)


def _keys(d: float, a: float) -> float:
    d = abs(d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def weights(mode: str, size: int, out: int, align_corners: bool = False, antialias: bool = False) -> np.ndarray:
    """The matrix (out, size) of one dimension, its scale the quotient of the sizes."""
    matrix = np.zeros((out, size))
    for o in range(out):
        if mode == "nearest":
            matrix[o, o * size // out] = 1
            continue
        if mode == "nearest-exact":
            matrix[o, (2 * o + 1) * size // (2 * out)] = 1
            continue
        centre = (o + 0.5) * size / out - 0.5
        if align_corners:
            centre = o * (size - 1) / (out - 1) if out > 1 else 0.0
        if antialias:
            stretch = max(size / out, 1.0)
            for i in range(size):
                d = (i - centre) / stretch
                matrix[o, i] = _triangle(d) if mode == "linear" else _keys(d, -0.5)
            matrix[o] /= matrix[o].sum()
            continue
        if mode == "linear":
            centre = max(centre, 0.0)
        for i in range(math.floor(centre) - 1, math.floor(centre) + 3):
            weight = _triangle(i - centre) if mode == "linear" else _keys(i - centre, -0.75)
            matrix[o, min(max(i, 0), size - 1)] += weight
    return matrix


def resample(x, matrices) -> np.ndarray:
    """y (N, C, *out): every input element times its weight for every output element."""
    y = np.zeros((*x.shape[:2], *(len(m) for m in matrices)))
    for p in positions(y.shape[2:]):
        for q in positions(x.shape[2:]):
            weight = math.prod(m[o, i] for m, o, i in zip(matrices, p, q))
            y[(slice(None), slice(None), *p)] += weight * x[(slice(None), slice(None), *q)]
    return y
