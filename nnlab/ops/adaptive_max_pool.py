"""Adaptive max pooling: the maximum over ``floor(o * in / out) .. ceil((o + 1) * in / out) - 1`` in each dimension.

Ties and NaN as in ``max_pool``. Shapes: x (N, C, *in), y (N, C, *out), places int64 (N, C, *out), flat in the input
plane. Given the places, ``scatter`` is the gradient and ``max_pool.take`` the gradient of that.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops import body


def forward(be: Backend, *, x: Any, out: Shape) -> tuple[Any, Any]:
    """(y, places)."""
    return body(be, "adaptive_max_pool").forward(be, x=x, out=out)


def scatter(be: Backend, *, dy: Any, places: Any, size: Shape) -> Any:
    """dx (N, C, *size) for places that forward gave; windows that share their maximum add up in row-major order."""
    return body(be, "adaptive_max_pool").scatter(be, dy=dy, places=places, size=size)
