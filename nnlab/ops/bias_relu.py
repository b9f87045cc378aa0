"""A bias per channel and relu: ``y = max(x + b, 0)``, b along axis 1. NaN stays NaN; the gradient at 0 is 0.

Shapes: x (N, C, ...), b (C,), y (N, C, ...). Half precision is added up in float32 and rounded once.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def forward(be: Backend, *, x: Any, b: Any) -> Any:
    """y, of x's shape."""
    return body(be, "bias_relu").forward(be, x=x, b=b)


def backward(be: Backend, *, dy: Any, y: Any) -> tuple[Any, Any]:
    """(dx, db): dx = dy where y is not 0, else 0; db the sum of dx over all axes but 1. y is forward's result."""
    return body(be, "bias_relu").backward(be, dy=dy, y=y)
