"""Padding by slices: the middle is copied once, each border from the part of the result that is there already."""

from __future__ import annotations

from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops._numpy import layout
from nnlab.ops.pad import Amounts


def _middle(shape: tuple[int, ...], amounts: Amounts) -> list[slice]:
    """Where the input lies in an array of the padded shape."""
    return [slice(a, n - b) for n, (a, b) in zip(shape, amounts, strict=True)]


def _borders(mode: str, middle: slice, size: int) -> list[tuple[slice, slice]]:
    """(border, source) of both sides of a padded dimension of this size; a source of one element is repeated."""
    a, end = middle.start, middle.stop
    n, b = end - a, size - end
    if mode == "replicate":
        sources = slice(a, a + 1), slice(end - 1, end)
    elif mode == "circular":
        sources = slice(n, n + a), slice(a, a + b)
    else:
        last = end - 2 - b
        sources = slice(2 * a, a, -1), slice(end - 2, None if last < 0 else last, -1)
    sides = zip((slice(0, a), slice(end, size)), sources, strict=True)
    return [(border, source) for border, source in sides if border.stop > border.start]


def _at(part: list[slice], axis: int, range: slice) -> tuple[slice, ...]:
    return (*part[:axis], range, *part[axis + 1 :])


def forward(be: Backend, *, x: Any, amounts: Amounts, mode: str, value: float) -> Any:
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, amounts, strict=True))
    y = layout.empty(be, shape, x.dtype, layout.order(x))
    part = _middle(shape, amounts)
    y[tuple(part)] = x
    for axis in reversed(range(x.ndim)):
        for border, source in _borders(mode, part[axis], shape[axis]):
            filling = x.dtype.type(value) if mode == "constant" else y[_at(part, axis, source)]
            y[_at(part, axis, border)] = filling
        part[axis] = slice(None)
    return y


def backward(be: Backend, *, dy: Any, amounts: Amounts, mode: str) -> Any:
    middle = _middle(dy.shape, amounts)
    total = dy
    if mode != "constant":
        total = layout.empty_like(be, dy, types.wide(dy.dtype))
        total[...] = dy
        part = [slice(None)] * dy.ndim
        for axis in range(dy.ndim):
            for border, source in _borders(mode, middle[axis], dy.shape[axis]):
                extra = total[_at(part, axis, border)]
                if mode == "replicate":
                    extra = extra.sum(axis=axis, keepdims=True)
                total[_at(part, axis, source)] += extra
            part[axis] = middle[axis]
    shape = tuple(part.stop - part.start for part in middle)
    dx = layout.empty(be, shape, dy.dtype, layout.order(dy))
    dx[...] = total[tuple(middle)]
    return dx
