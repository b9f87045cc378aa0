"""The three matrices of Winograd's convolution, and their form for several tiles at once.

In one dimension m outputs of a kernel of r taps need n = m + r - 1 products: ``y = A^T ((G g) * (B d))``, A (n, m),
G (n, r), B (n, n). Rows belong to points at which polynomials are taken, the first one to infinity (Toom-Cook). The
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
def factors(n: int, taps: int, outputs: int | None = None) -> Factors:
    """The matrices of n products for ``taps`` taps, so n + 1 - taps outputs.

    For fewer ``outputs`` they have the first outputs + taps - 1 rows alone. G's are those of all outputs, so that the
    coefficients of a kernel serve any number; what they lack of the fewer points' own scale is in B.
    """
    outputs = n + 1 - taps if outputs is None else outputs
    points = POINTS[n][: outputs + taps - 2]
    rows_a = [[Fraction(int(j == outputs - 1)) for j in range(outputs)]]
    rows_g = [[Fraction(int(j == taps - 1)) for j in range(taps)]]
    rows_b = [_product(list(points))]
    for p in points:
        scale = prod((p - q for q in POINTS[n] if q != p), start=Fraction(1))
        others = [q for q in points if q != p]
        share = scale / prod((p - q for q in others), start=Fraction(1))
        rows_a.append([p**j for j in range(outputs)])
        rows_g.append([p**j / scale for j in range(taps)])
        rows_b.append([*(share * c for c in _product(others)), Fraction(0)])
    return Factors(*(np.array(rows, dtype=np.float64) for rows in (rows_a, rows_g, rows_b)))


def groups(n: int, taps: int, outputs: int) -> list[tuple[slice, int]]:
    """Rows of the matrices, and how many of the tiles of so many outputs have them: a last tile that is cut short lacks
    some (:func:`factors`)."""
    whole = n + 1 - taps
    tiles = -(-outputs // whole)
    last = outputs - (tiles - 1) * whole + taps - 1
    found = [(slice(0, last), tiles), (slice(last, n), tiles - 1)]
    return [(rows, many) for rows, many in found if many and rows.start < rows.stop]


@lru_cache(maxsize=256)
def banded(n: int, taps: int, which: str, outputs: int) -> np.ndarray:
    """A or B (``which`` is "a" or "b") for the neighbouring tiles of so many outputs: float32 (rows, positions).

    Row (k, t) applies row k to tile t, if it has one (:func:`groups`), whose first position is t * m. The zeros cost
    products, but many tiles in one matrix make a product of a size at which BLAS is fast.
    """
    whole = n + 1 - taps
    tiles = [getattr(factors(n, taps, min(whole, outputs - first)), which) for first in range(0, outputs, whole)]
    rows = []
    for k in range(n):
        for t, matrix in enumerate(tiles):
            if k < len(matrix):
                row = np.zeros(outputs if which == "a" else outputs + taps - 1, np.float32)
                row[t * whole : t * whole + matrix.shape[1]] = matrix[k]
                rows.append(row)
    result = np.array(rows)
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
