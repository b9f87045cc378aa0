"""What the cells of recurrent layers share in array code."""

from __future__ import annotations

from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops._numpy.precision import wide


def sigmoid(be: Backend, x: Any, out: Any = None) -> Any:
    """1 / (1 + exp(-x)), to all digits; where the exponential overflows (the result is below the normal numbers) 0."""
    xp = be.xp
    y = xp.negative(x, out=out)
    with be.quiet():
        xp.exp(y, out=y)
    y += 1
    return xp.reciprocal(y, out=y)


def with_bias(be: Backend, gates: Any, bias: Any) -> Any:
    """The sum, at least float32."""
    return wide(be, gates) + wide(be, bias)


def total(be: Backend, parts: list[Any]) -> Any:
    """The sum of the arrays in their order, at least float32."""
    first, *others = (wide(be, part) for part in parts)
    for other in others:
        first = first + other
    return first


def room(be: Backend, target: Any, active: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array, at least float32, for a result on its way to the target: the target itself where that takes it as it
    is."""
    dtype = types.wide(dtype)
    direct = target is not None and active is None and target.dtype == dtype
    return target if direct else be.xp.empty(shape, dtype)


def into(target: Any, value: Any, dtype: Any) -> Any:
    """The value written to the target; without one, the value in this dtype."""
    if target is None:
        return value.astype(dtype, copy=False)
    if target is not value:
        target[...] = value
    return target


def chosen(be: Backend, active: Any, new: Any, old: Any) -> Any:
    """new (B, ...) in active rows (all without ``active``), else old, an array or a number."""
    if active is None:
        return new
    return be.xp.where(active[:, None], new, wide(be, old) if be.is_array(old) else new.dtype.type(old))
