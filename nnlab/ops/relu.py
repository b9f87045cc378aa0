"""relu: ``y = max(x, 0)``. NaN stays NaN; the gradient at 0 is 0. Any shape."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def forward(be: Backend, *, x: Any) -> Any:
    """y, of x's shape."""
    return body(be, "relu").forward(be, x=x)


def backward(be: Backend, *, dy: Any, y: Any) -> Any:
    """dx = dy where y is not 0, else 0; y is forward's result."""
    return body(be, "relu").backward(be, dy=dy, y=y)
