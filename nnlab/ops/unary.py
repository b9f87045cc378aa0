"""Functions of single elements by name, and the gradients of those that are simple in terms of the result.

    exp      y = e**x               dx = dy * y
    tanh     y = tanh(x)            dx = dy * (1 - y**2)
    sigmoid  y = 1 / (1 + e**-x)    dx = dy * y * (1 - y)

``forward`` takes any name of a function of one array in NumPy too. Any shape; results have x's dtype. Half precision is
computed in float32 in ``sigmoid`` and in gradients.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body

GRADIENTS = ("exp", "tanh", "sigmoid")


def forward(be: Backend, *, x: Any, function: str) -> Any:
    """y, of x's shape."""
    return body(be, "unary").forward(be, x=x, function=function)


def backward(be: Backend, *, dy: Any, y: Any, function: str) -> Any:
    """dx of one of ``GRADIENTS``; y is forward's result."""
    return body(be, "unary").backward(be, dy=dy, y=y, function=function)
