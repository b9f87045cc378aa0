"""Normalisation of groups of channels on arrays, some images or groups at a time on the CPU.

An array (N, C, ...) is seen as (N, G, K, P): images, groups, channels of a group, positions. Its memory may be
row-major or batch last, and so is that of the results.
"""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import blocks_of, run
from nnlab.ops._numpy.precision import wide
from nnlab.ops.group_norm import Saved

Block = tuple[slice, slice]


def _split(be: Backend, array: Any, groups: int, last: bool) -> Any:
    """The array as (N, G, K, P), a view if its memory is in the order asked for."""
    images, channels = array.shape[:2]
    inner = (groups, channels // groups, prod(array.shape[2:]))
    if last:
        return layout.batch_last(be, array).reshape(*inner, images).transpose(3, 0, 1, 2)
    return array.reshape(images, *inner)


def _blocks(be: Backend, parts: Any, last: bool) -> list[tuple[int, Block]]:
    """Pieces of about 2 megabytes: the number of the range of images, and the piece."""
    images, groups, channels, positions = parts.shape
    group = channels * positions * parts.dtype.itemsize
    ranges = [(0, images)] if last and images else blocks_of(be, images, group * groups * images)
    spans = blocks_of(be, groups, group * groups * (images if last else 1))
    return [(i, (slice(*a), slice(*b))) for i, a in enumerate(ranges) for b in spans]


def _mean(be: Backend, a: Any, b: Any = None) -> Any:
    """Mean over a group of a, or of a * b: (N, G, 1, 1)."""
    if b is not None:
        total = be.xp.einsum("ngkp,ngkp->ng", a, b)
    elif a.flags.c_contiguous:
        total = a.reshape(*a.shape[:2], -1).sum(axis=2)  # along the innermost axis NumPy adds up pairwise
    else:
        total = a.sum(axis=(2, 3))
    return total[:, :, None, None] / a.dtype.type(a.shape[2] * a.shape[3])


def _statistics(be: Backend, images: int, groups: int, dtype: Any, last: bool) -> Any:
    """Room for one number a group, (N, G), in the order of the groups' memory: NumPy is slow where orders differ."""
    return be.xp.empty((groups, images), dtype).T if last else be.xp.empty((images, groups), dtype)


def _table(vector: Any, groups: int, dtype: Any) -> Any:
    """Numbers of the channels as (G, K, 1)."""
    return vector.astype(dtype, copy=False).reshape(groups, -1, 1)


def forward(
    be: Backend, *, x: Any, weight: Any, bias: Any, groups: int, eps: float, centred: bool
) -> tuple[Any, Saved]:
    xp = be.xp
    last = layout.is_batch_last(x)
    rows = _split(be, wide(be, x), groups, last)
    dtype = rows.dtype
    y = layout.empty(be, x.shape, x.dtype, layout.batch_last_order(x.ndim) if last else None)
    result = _split(be, y, groups, last)
    rstd, var, mean = (_statistics(be, len(x), groups, dtype, last) for _ in range(3))
    scale, shift = (None if v is None else _table(v, groups, dtype) for v in (weight, bias))
    blocks = _blocks(be, rows, last)

    def work(number: int) -> None:
        _, part = blocks[number]
        block, out = rows[part], result[part]
        if out.dtype != dtype:
            out = layout.empty_like(be, block)
        if centred:
            first = _mean(be, block)
            xp.subtract(block, first, out=out)
            left = _mean(be, out)  # what rounding left in the mean
            out -= left
            mean[part] = (first + left)[:, :, 0, 0]
        square = _mean(be, out, out) if centred else _mean(be, block, block)
        factor = 1 / xp.sqrt(square + dtype.type(eps))
        var[part], rstd[part] = square[:, :, 0, 0], factor[:, :, 0, 0]
        xp.multiply(out if centred else block, factor, out=out)
        if scale is not None:
            out *= scale[part[1]]
        if shift is not None:
            out += shift[part[1]]
        if out.dtype != x.dtype:
            result[part] = out

    run(be, work, len(blocks), x.size * 8)
    return y, Saved(mean if centred else None, rstd, var)


def backward(be: Backend, *, dy: Any, x: Any, weight: Any, saved: Saved) -> tuple[Any, Any, Any]:
    xp = be.xp
    groups = saved.rstd.shape[1]
    last = layout.is_batch_last(x)
    rows, grads = (_split(be, wide(be, array), groups, last) for array in (x, dy))
    dtype = rows.dtype
    dx = layout.empty(be, x.shape, x.dtype, layout.batch_last_order(x.ndim) if last else None)
    result = _split(be, dx, groups, last)
    scale = None if weight is None else _table(weight, groups, dtype)
    blocks = _blocks(be, rows, last)
    ranges = blocks[-1][0] + 1 if blocks else 0
    sums = xp.zeros((2, ranges, groups, rows.shape[2]), dtype)

    def work(number: int) -> None:
        index, part = blocks[number]
        grad, out = grads[part], result[part]
        if out.dtype != dtype:
            out = layout.empty_like(be, grad)
        rstd = saved.rstd[part][:, :, None, None]
        xhat = layout.empty_like(be, rows[part])
        if saved.mean is None:
            xp.multiply(rows[part], rstd, out=xhat)
        else:
            xp.subtract(rows[part], saved.mean[part][:, :, None, None], out=xhat)
            xhat *= rstd
        sums[0, index, part[1]] = xp.einsum("ngkp,ngkp->gk", grad, xhat)
        sums[1, index, part[1]] = grad.sum(axis=3).sum(axis=0)
        if scale is not None:
            grad = xp.multiply(grad, scale[part[1]], out=out)
        xhat *= _mean(be, grad, xhat)
        if saved.mean is not None:
            xhat += _mean(be, grad)
        xp.subtract(grad, xhat, out=out)
        out *= rstd
        if out.dtype != x.dtype:
            result[part] = out

    run(be, work, len(blocks), x.size * 8)
    param = x.dtype if weight is None else weight.dtype
    dweight, dbias = sums.sum(axis=1, dtype=xp.float64).reshape(2, -1).astype(param)
    return dx, dweight, dbias
