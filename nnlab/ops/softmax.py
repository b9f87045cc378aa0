"""softmax and log-softmax along one axis.

``softmax(x) = exp(x - m) / z`` and ``log_softmax(x) = x - m - log(z)`` with m the maximum and ``z = sum(exp(x - m))``.
Gradients from the result y: ``y * (dy - sum(dy * y))`` and ``dy - exp(y) * sum(dy)``. Any shape; half precision is
computed in float32.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def softmax(be: Backend, *, x: Any, axis: int) -> Any:
    """y, of x's shape; sums to 1 along ``axis``."""
    return body(be, "softmax").softmax(be, x=x, axis=axis)


def softmax_backward(be: Backend, *, dy: Any, y: Any, axis: int) -> Any:
    """dx; y is softmax's result."""
    return body(be, "softmax").softmax_backward(be, dy=dy, y=y, axis=axis)


def log_softmax(be: Backend, *, x: Any, axis: int) -> Any:
    """y, of x's shape."""
    return body(be, "softmax").log_softmax(be, x=x, axis=axis)


def log_softmax_backward(be: Backend, *, dy: Any, y: Any, axis: int) -> Any:
    """dx; y is log_softmax's result."""
    return body(be, "softmax").log_softmax_backward(be, dy=dy, y=y, axis=axis)
