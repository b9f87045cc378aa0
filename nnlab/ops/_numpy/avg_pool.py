"""Average pooling as sums of slices, one dimension after another, in x's order; its gradient in dy's."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops._numpy.layout import Order, empty, plane_order, planes
from nnlab.ops._numpy.parallel import blocks_of, run
from nnlab.ops._numpy.precision import wide
from nnlab.ops._numpy.windows import taps


def _along(axis: int, ndim: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if i == axis else slice(None) for i in range(ndim))


def _line(g: PoolGeometry, i: int) -> Any:
    """Taps of spatial dimension i alone."""
    return taps((g.kernel[i],), (g.out_size[i],), (g.in_size[i],), (-g.pad_low[i],), (g.stride[i],), (g.dilation[i],))


@lru_cache(maxsize=64)
def _divisor(g: PoolGeometry, count_include_pad: bool, divisor_override: int | None, dtype: Any) -> np.ndarray:
    """Divisor of each output position, (*out, 1), or of all, ()."""
    if divisor_override is not None:
        return np.asarray(divisor_override, dtype)
    counts = np.ones((), dtype)
    for n, o, k, s, p in zip(g.in_size, g.out_size, g.kernel, g.stride, g.pad_low, strict=True):
        start = np.arange(o) * s - p
        if count_include_pad:
            count = np.minimum(start + k, n + p) - start
        else:
            count = np.minimum(start + k, n) - np.maximum(start, 0)
        counts = counts[..., None] * count.astype(dtype)
    return counts.flat[:1].reshape(()) if counts.size and np.ptp(counts) == 0 else counts[..., None]


def forward(
    be: Backend, *, x: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    order = plane_order(x)
    y = empty(be, geometry.y_shape, x.dtype, order)
    source, target = planes(wide(be, x), order), planes(y, order)
    divisor = be.asarray(_divisor(geometry, count_include_pad, divisor_override, source.dtype))
    blocks = blocks_of(be, len(source), source.nbytes)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        total = source[part]
        for i in range(len(geometry.out_size)):
            total = _sums(be, geometry, i, total)
        be.xp.divide(total, divisor, out=target[part], casting="same_kind")

    run(be, work, len(blocks), x.size * 4)
    return y


def _sums(be: Backend, geometry: PoolGeometry, i: int, source: Any) -> Any:
    """The sums over the taps of spatial dimension i of planes (rows, ..., run)."""
    xp = be.xp
    result = xp.empty((*source.shape[: i + 1], geometry.out_size[i], *source.shape[i + 2 :]), source.dtype)
    line = [
        (source[_along(i + 1, source.ndim, read)], result[_along(i + 1, source.ndim, slice(lo, hi))])
        for _, ((lo, hi),), (read,) in _line(geometry, i)
    ]
    whole = [part.shape == result.shape for part, _ in line]
    if len(line) > 1 and whole[0] and whole[1]:
        xp.add(line[0][0], line[1][0], out=result)
        line = line[2:]
    else:
        result[...] = 0
    for part, target in line:
        target += part
    return result


def backward(
    be: Backend, *, dy: Any, geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Any:
    order = plane_order(dy)
    dx = empty(be, geometry.x_shape, dy.dtype, order)
    source, target = planes(wide(be, dy), order), planes(dx, order)
    divisor = be.asarray(_divisor(geometry, count_include_pad, divisor_override, source.dtype))
    blocks = blocks_of(be, len(target), target.nbytes)
    spread = _repeated if geometry.tiles else _spread

    def work(number: int) -> None:
        part = slice(*blocks[number])
        grad = source[part] / divisor
        for i in reversed(range(1, len(geometry.in_size))):
            shape = (*grad.shape[: i + 1], geometry.in_size[i], *grad.shape[i + 2 :])
            grad = spread(geometry, i, grad, be.xp.empty(shape, grad.dtype))
        if grad.dtype == dx.dtype:
            spread(geometry, 0, grad, target[part])
        else:
            target[part] = spread(geometry, 0, grad, be.xp.empty(target[part].shape, grad.dtype))

    run(be, work, len(blocks), dx.size * 4)
    return dx


def _repeated(geometry: PoolGeometry, i: int, grad: Any, result: Any) -> Any:
    """Each gradient at the taps of its window along spatial dimension i, where windows tile it."""
    rows, after = prod(grad.shape[: i + 2]), prod(grad.shape[i + 2 :])
    each, grad = result.reshape(rows, geometry.kernel[i], after), grad.reshape(rows, after)
    for tap in range(geometry.kernel[i]):
        each[:, tap] = grad
    return result


def _spread(geometry: PoolGeometry, i: int, grad: Any, result: Any) -> Any:
    """Each gradient added at the taps of its window along spatial dimension i."""
    result[...] = 0
    for _, ((lo, hi),), (target,) in _line(geometry, i):
        result[_along(i + 1, grad.ndim, target)] += grad[_along(i + 1, grad.ndim, slice(lo, hi))]
    return result


def adaptive_ranges(size: int, out: int) -> list[tuple[int, int]]:
    """The input range of each output of adaptive pooling along one dimension."""
    return [(o * size // out, -(-(o + 1) * size // out)) for o in range(out)]


def _adaptive(be: Backend, source: Any, target: Any, order: Order | None, step: Callable[[Any], Any]) -> None:
    """Write ``step`` of each block of planes (rows, *spatial, run) to the target's block. Planes in row-major order
    are turned to (1, *spatial, rows) for it, so that the last axis is long."""
    if source.shape == target.shape:
        target[...] = source
        return
    larger = source if source.size > target.size else target
    blocks = blocks_of(be, len(larger), larger.nbytes)
    xp = be.xp

    def work(number: int) -> None:
        part = slice(*blocks[number])
        if order is not None:
            target[part] = step(source[part])
        else:
            result = step(xp.ascontiguousarray(xp.moveaxis(source[part, ..., 0], 0, -1))[None])
            target[part, ..., 0] = xp.moveaxis(result[0], -1, 0)

    run(be, work, len(blocks), larger.size * 4)


def adaptive_forward(be: Backend, *, x: Any, out: Shape) -> Any:
    order = plane_order(x)
    y = empty(be, (*x.shape[:2], *out), x.dtype, order)
    source, target = planes(wide(be, x), order), planes(y, order)

    def step(block: Any) -> Any:
        for axis, count in enumerate(out, 1):
            block = _means(be, block, axis, adaptive_ranges(block.shape[axis], count))
        return block

    _adaptive(be, source, target, order, step)
    return y


def _means(be: Backend, source: Any, axis: int, ranges: list[tuple[int, int]]) -> Any:
    if len(ranges) == source.shape[axis]:
        return source
    result = be.xp.empty((*source.shape[:axis], len(ranges), *source.shape[axis + 1 :]), source.dtype)
    for o, (lo, hi) in enumerate(ranges):
        part = source[_along(axis, source.ndim, slice(lo, hi))]
        result[_along(axis, source.ndim, slice(o, o + 1))] = part.sum(axis=axis, keepdims=True) / part.dtype.type(
            hi - lo
        )
    return result


def adaptive_backward(be: Backend, *, dy: Any, size: Shape) -> Any:
    order = plane_order(dy)
    dx = empty(be, (*dy.shape[:2], *size), dy.dtype, order)
    source, target = planes(wide(be, dy), order), planes(dx, order)

    def step(block: Any) -> Any:
        for axis, count in reversed(list(enumerate(size, 1))):
            block = _shares(be, block, axis, adaptive_ranges(count, block.shape[axis]), count)
        return block

    _adaptive(be, source, target, order, step)
    return dx


def _shares(be: Backend, grad: Any, axis: int, ranges: list[tuple[int, int]], size: int) -> Any:
    if len(ranges) == size:
        return grad
    result = be.xp.zeros((*grad.shape[:axis], size, *grad.shape[axis + 1 :]), grad.dtype)
    for o, (lo, hi) in enumerate(ranges):
        part = grad[_along(axis, grad.ndim, slice(o, o + 1))] / grad.dtype.type(hi - lo)
        result[_along(axis, grad.ndim, slice(lo, hi))] += part
    return result
