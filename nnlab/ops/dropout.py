"""Dropout: ``y[i] = x[i] / (1 - p)`` if element i is kept, else 0.

Element i (its place in row-major order, whatever the strides) is kept when word i of ``nnlab.random.philox(seed,
offset)`` is at least ``threshold(p)``: the same mask on every device. p = 1 keeps nothing.

Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnlab.backend import Backend
from nnlab.ops import body


class Saved(NamedTuple):
    """What backward needs: ``mask`` bool of x's shape (True: kept) and ``scale`` = 1 / (1 - p)."""

    mask: Any
    scale: float


def threshold(p: float) -> int:
    """The smallest 32-bit word that keeps an element, 0 .. 2**32 (then no word does)."""
    return round(p * 2**32)


def scale(p: float) -> float:
    """What kept elements are multiplied by."""
    return 1.0 / (1.0 - p) if p < 1 else 0.0


def forward(be: Backend, *, x: Any, p: float, seed: int, offset: int) -> tuple[Any, Saved]:
    """(y, saved)."""
    return body(be, "dropout").forward(be, x=x, p=p, seed=seed, offset=offset)


def backward(be: Backend, *, dy: Any, saved: Saved) -> Any:
    """dx, of dy's shape."""
    return body(be, "dropout").backward(be, dy=dy, saved=saved)
