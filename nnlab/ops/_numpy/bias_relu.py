"""Bias and relu on arrays."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy import relu
from nnlab.ops._numpy.precision import wide


def forward(be: Backend, *, x: Any, b: Any) -> Any:
    return relu.forward(be, x=x + b.reshape(-1, *[1] * (x.ndim - 2)))


def backward(be: Backend, *, dy: Any, y: Any) -> tuple[Any, Any]:
    dx = relu.backward(be, dy=dy, y=y)
    db = wide(be, dx).sum(axis=(0, *range(2, dx.ndim)))
    return dx, db.astype(dx.dtype, copy=False)
