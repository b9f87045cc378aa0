"""Padding of any dimensions.

A dimension of size n gets a elements before and b behind it, ``amounts`` = ((a, b), ...), none negative. What stands
outside the input, at its position i < 0 or i >= n, is, by ``mode``:

    constant    value
    reflect     x[-i], x[2 (n - 1) - i]: the mirrored input, its edge once; a, b < n
    replicate   x[0], x[n - 1]; n > 0
    circular    x[i + n], x[i - n]; a, b <= n

Dimensions are padded one after another, so that a corner holds what both modes together put there. The two passes are
linear (with value 0) and each is the other's transpose.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body

Amounts = tuple[tuple[int, int], ...]

MODES = ("constant", "reflect", "replicate", "circular")


def forward(be: Backend, *, x: Any, amounts: Amounts, mode: str, value: float = 0.0) -> Any:
    """y, each size n + a + b, in x's order of axes."""
    return body(be, "pad").forward(be, x=x, amounts=amounts, mode=mode, value=value)


def backward(be: Backend, *, dy: Any, amounts: Amounts, mode: str) -> Any:
    """dx, each size that of dy less a + b: the middle of dy, and what its borders add to it."""
    return body(be, "pad").backward(be, dy=dy, amounts=amounts, mode=mode)
