"""Resampling by slices and ``take``, one dimension after another, in blocks of planes that stay in the cache."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.layout import empty, kept_order, planes
from nnlab.ops._numpy.parallel import blocks_of, run
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
    order = kept_order(be, x)
    y = empty(be, (*x.shape[:2], *(line.out for line in lines)), x.dtype, order)
    source, target = planes(x, order), planes(y, order)
    # What shrinks most goes first, and of equal ones the last, whose single elements cost most to take.
    axes = [k for k in range(len(lines)) if not lines[k].is_copy]
    axes.sort(key=lambda k: (lines[k].out / lines[k].size, -k))
    blocks = blocks_of(be, len(source), max(source.nbytes, target.nbytes))

    def work(number: int) -> None:
        part = slice(*blocks[number])
        total = wide(be, source[part])
        for k in axes:
            total = _along(be, total, k + 1, lines[k])
        target[part] = total

    run(be, work, len(blocks), 4 * max(x.size, y.size))
    return y
