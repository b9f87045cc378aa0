"""The three matrices of Winograd's convolution, and their form for several tiles at once.

In one dimension m outputs of a kernel of r taps need n = m + r - 1 products: ``y = A^T ((G g) * (B d))``, A (n, m),
G (n, r), B (n, n). Rows belong to points at which polynomials are taken, the last one to infinity (Toom-Cook). The
points decide how errors grow: those of 6 rows were chosen among the multiples of 1/8 for the smallest error of F(4, 3),
which is 2.5 times that of a plain float32 sum over 64 channels (5.4 with the usual 0, 1, -1, 2, -2).

Sources: Lavin and Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308; Barabasz et al., "Error
analysis and improving the accuracy of Winograd convolution", arXiv:1803.10986.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

POINTS: dict[int, tuple[Fraction, ...]] = {
    4: tuple(Fraction(p) for p in ("0", "1", "-1")),
    6: tuple(Fraction(p) for p in ("0", "5/8", "-5/8", "3/2", "-3/2")),
}


class Factors(NamedTuple):
    """Float64 matrices A (n, m), G (n, r) and B (n, n)."""

    a: np.ndarray
    g: np.ndarray
    b: np.ndarray


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), the constant first."""
    result = [Fraction(1)]
    for root in roots:
        result = [low - root * high for low, high in zip([Fraction(0), *result], [*result, Fraction(0)], strict=True)]
    return result


@lru_cache(maxsize=64)
def factors(n: int, taps: int) -> Factors:
    """The matrices of n products for ``taps`` taps, so n + 1 - taps outputs."""
    points, outputs = POINTS[n], n + 1 - taps
    rows_a, rows_g, rows_b = [], [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = prod((p - q for q in others), start=Fraction(1))
        rows_a.append([p**j for j in range(outputs)])
        rows_g.append([p**j / scale for j in range(taps)])
        rows_b.append([*_product(others), Fraction(0)])
    rows_a.append([Fraction(int(j == outputs - 1)) for j in range(outputs)])
    rows_g.append([Fraction(int(j == taps - 1)) for j in range(taps)])
    rows_b.append(_product(list(points)))
    return Factors(*(np.array(rows, dtype=np.float64) for rows in (rows_a, rows_g, rows_b)))


@lru_cache(maxsize=256)
def banded(n: int, taps: int, which: str, tiles: int) -> np.ndarray:
    """A or B (``which`` is "a" or "b") for ``tiles`` neighbouring tiles: float32 (n * tiles, positions).

    Row (k, t) applies row k to tile t, whose first position is t * m. The zeros cost products, but many tiles in one
    matrix make a product of a size at which BLAS is fast.
    """
    matrix, step = getattr(factors(n, taps), which), n + 1 - taps
    result = np.zeros((n, tiles, (tiles - 1) * step + matrix.shape[1]), np.float32)
    for t in range(tiles):
        result[:, t, t * step : t * step + matrix.shape[1]] = matrix
    result = result.reshape(n * tiles, -1)
    result.flags.writeable = False
    return result


@lru_cache(maxsize=64)
def weight_factor(n: int, kernel: tuple[int, int], flipped: bool) -> np.ndarray:
    """G of both dimensions: float32 (n * n, taps), rows (along the width, along the height), taps row-major."""
    high, wide = (factors(n, taps).g for taps in kernel)
    if flipped:
        high, wide = high[:, ::-1], wide[:, ::-1]
    result = np.einsum("bj,ai->baij", wide, high).reshape(n * n, -1).astype(np.float32)
    result.flags.writeable = False
    return result
