"""Resampling by slices and ``take``, one dimension after another, in blocks of planes that stay in the cache."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import plane_blocks, run
from nnlab.ops._numpy.precision import wide
from nnlab.ops.resample import Line


def _along(be: Backend, x: Any, axis: int, line: Line) -> Any:
    """The map of one axis."""
    before = (slice(None),) * axis
    rest = (1,) * (x.ndim - 1 - axis)
    shape = (*x.shape[:axis], line.out, *x.shape[axis + 1 :])
    y: Any = None
    for row in line.rows:
        if isinstance(row.index, slice):
            part, fresh = x[(*before, row.index)], False
        else:
            part, fresh = be.xp.take(x, be.asarray(row.index), axis=axis), True
        if row.weight is not None:
            weight = be.asarray(row.weight.astype(x.dtype).reshape(-1, *rest))
            part = be.xp.multiply(part, weight, out=part) if fresh else part * weight
            fresh = True
        where = row.where if isinstance(row.where, slice) else be.asarray(row.where)
        if y is None and fresh and part.shape == shape:
            y = part
            continue
        if y is None:
            y = be.xp.zeros(shape, x.dtype)
            y[(*before, where)] = part
        else:
            y[(*before, where)] += part
    return be.xp.zeros(shape, x.dtype) if y is None else y


def forward(be: Backend, *, x: Any, lines: tuple[Line, ...]) -> Any:
    out = tuple(line.out for line in lines)
    last = layout.is_batch_last(x)
    planes = layout.batch_last(be, x) if last else x.reshape(-1, *x.shape[2:])
    y_shape = (*x.shape[:2], *out)
    y = layout.empty(be, y_shape, x.dtype, layout.batch_last_order(x.ndim) if last else None)
    results = layout.batch_last(be, y) if last else y.reshape(-1, *out)
    # What shrinks most goes first, and of equal ones the last, whose single elements cost most to take.
    axes = [k for k in range(len(lines)) if not lines[k].is_copy]
    axes.sort(key=lambda k: (lines[k].out / lines[k].size, -k))
    plane = max(prod(x.shape[2:]), prod(out)) * (x.shape[0] if last else 1)
    blocks = plane_blocks(be, len(planes), plane * planes.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        total = wide(be, planes[part])
        for k in axes:
            total = _along(be, total, k + 1, lines[k])
        results[part] = total

    run(be, work, len(blocks), 4 * max(x.size, y.size))
    return y
