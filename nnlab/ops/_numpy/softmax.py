"""softmax and log-softmax on arrays."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.precision import wide


def _shifted(be: Backend, x: Any, axis: int) -> Any:
    x = wide(be, x)
    return x - (x.max(axis=axis, keepdims=True) if x.size else 0)


def softmax(be: Backend, *, x: Any, axis: int) -> Any:
    y = be.xp.exp(_shifted(be, x, axis))
    y /= y.sum(axis=axis, keepdims=True)
    return y.astype(x.dtype, copy=False)


def softmax_backward(be: Backend, *, dy: Any, y: Any, axis: int) -> Any:
    wide_dy, wide_y = wide(be, dy), wide(be, y)
    product = wide_dy * wide_y
    product -= wide_y * product.sum(axis=axis, keepdims=True)
    return product.astype(dy.dtype, copy=False)


def log_softmax(be: Backend, *, x: Any, axis: int) -> Any:
    y = _shifted(be, x, axis)
    y -= be.xp.log(be.xp.exp(y).sum(axis=axis, keepdims=True))
    return y.astype(x.dtype, copy=False)


def log_softmax_backward(be: Backend, *, dy: Any, y: Any, axis: int) -> Any:
    wide_dy = wide(be, dy)
    dx = wide_dy - be.xp.exp(wide(be, y)) * wide_dy.sum(axis=axis, keepdims=True)
    return dx.astype(dy.dtype, copy=False)
