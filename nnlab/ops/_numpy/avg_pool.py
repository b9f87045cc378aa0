"""Average pooling as sums of slices, one dimension after another."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops._numpy.parallel import plane_blocks, run
from nnlab.ops._numpy.precision import wide
from nnlab.ops._numpy.windows import taps


def _along(axis: int, ndim: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if i == axis else slice(None) for i in range(ndim))


def _line(g: PoolGeometry, i: int) -> Any:
    """Taps of spatial dimension i alone."""
    return taps((g.kernel[i],), (g.out_size[i],), (g.in_size[i],), (-g.pad_low[i],), (g.stride[i],), (g.dilation[i],))


def _divisor(be: Backend, g: PoolGeometry, count_include_pad: bool, divisor_override: int | None, dtype: Any) -> Any:
    """Divisor of each output position, (*out) or a number."""
    if divisor_override is not None:
        return dtype.type(divisor_override)
    counts = np.ones((), dtype)
    for n, o, k, s, p in zip(g.in_size, g.out_size, g.kernel, g.stride, g.pad_low, strict=True):
        start = np.arange(o) * s - p
        if count_include_pad:
            count = np.minimum(start + k, n + p) - start
        else:
            count = np.minimum(start + k, n) - np.maximum(start, 0)
        counts = counts[..., None] * count.astype(dtype)
    return be.asarray(counts)


def forward(
    be: Backend, *, x: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    planes = wide(be, x).reshape(-1, *geometry.in_size)
    y = be.xp.empty((len(planes), *geometry.out_size), x.dtype)
    divisor = _divisor(be, geometry, count_include_pad, divisor_override, planes.dtype)
    blocks = plane_blocks(be, len(planes), prod(geometry.in_size) * planes.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        total = planes[part]
        for i, out in enumerate(geometry.out_size):
            total = _sums(be, geometry, i, total, (*total.shape[: i + 1], out, *total.shape[i + 2 :]))
        total /= divisor
        y[part] = total

    run(be, work, len(blocks), x.size * 4)
    return y.reshape(geometry.y_shape)


def _sums(be: Backend, geometry: PoolGeometry, i: int, source: Any, shape: Shape) -> Any:
    """The sums over the taps of spatial dimension i of planes (P, ...)."""
    result = be.xp.empty(shape, source.dtype)
    for number, (_, ((lo, hi),), (read,)) in enumerate(_line(geometry, i)):
        part = source[_along(i + 1, source.ndim, read)]
        if number == 0 and part.shape == shape:
            result[...] = part
            continue
        if number == 0:
            result[...] = 0
        result[_along(i + 1, source.ndim, slice(lo, hi))] += part
    return result


def backward(
    be: Backend, *, dy: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    planes = wide(be, dy).reshape(-1, *geometry.out_size)
    dx = be.xp.empty((len(planes), *geometry.in_size), dy.dtype)
    divisor = _divisor(be, geometry, count_include_pad, divisor_override, planes.dtype)
    blocks = plane_blocks(be, len(planes), prod(geometry.in_size) * planes.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        grad = planes[part] / divisor
        for i, size in reversed(list(enumerate(geometry.in_size))):
            result = be.xp.zeros((*grad.shape[: i + 1], size, *grad.shape[i + 2 :]), grad.dtype)
            for _, ((lo, hi),), (target,) in _line(geometry, i):
                result[_along(i + 1, grad.ndim, target)] += grad[_along(i + 1, grad.ndim, slice(lo, hi))]
            grad = result
        dx[part] = grad

    run(be, work, len(blocks), dx.size * 4)
    return dx.reshape(geometry.x_shape)


def adaptive_ranges(size: int, out: int) -> list[tuple[int, int]]:
    """The input range of each output of adaptive pooling along one dimension."""
    return [(o * size // out, -(-(o + 1) * size // out)) for o in range(out)]


def adaptive_forward(be: Backend, *, x: Any, out: Shape) -> Any:
    y = wide(be, x)
    for axis, count in enumerate(out, 2):
        ranges = adaptive_ranges(y.shape[axis], count)
        if ranges == [(i, i + 1) for i in range(y.shape[axis])]:
            continue
        result = be.xp.empty((*y.shape[:axis], count, *y.shape[axis + 1 :]), y.dtype)
        for o, (lo, hi) in enumerate(ranges):
            part = y[_along(axis, y.ndim, slice(lo, hi))]
            result[_along(axis, y.ndim, slice(o, o + 1))] = part.sum(axis=axis, keepdims=True) / y.dtype.type(hi - lo)
        y = result
    return x.copy() if y is x else y.astype(x.dtype, copy=False)


def adaptive_backward(be: Backend, *, dy: Any, size: Shape) -> Any:
    grad = wide(be, dy)
    for axis, count in reversed(list(enumerate(size, 2))):
        ranges = adaptive_ranges(count, grad.shape[axis])
        result = be.xp.zeros((*grad.shape[:axis], count, *grad.shape[axis + 1 :]), grad.dtype)
        for o, (lo, hi) in enumerate(ranges):
            part = grad[_along(axis, grad.ndim, slice(o, o + 1))] / grad.dtype.type(hi - lo)
            result[_along(axis, grad.ndim, slice(lo, hi))] += part
        grad = result
    return grad.astype(dy.dtype, copy=False)
