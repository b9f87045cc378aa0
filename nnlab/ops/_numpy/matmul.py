"""Matrix product on arrays: on the CPU in blocks of rows or columns, each by one BLAS thread."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.ops._numpy.parallel import cut, run
from nnlab.ops._numpy.precision import wide

PARTS = 8  # at most: a fixed number, so that the blocks do not depend on the number of threads
PART = 1 << 23  # multiply-adds of a part; a thread is not worth waking for less
FEW = 32  # rows of a at most that are turned to columns
LEAST = 32  # rows or columns of a block; less would mostly copy the other operand


def forward(be: Backend, *, a: Any, b: Any) -> Any:
    xp = be.xp
    left, right = wide(be, a), wide(be, b)
    if b.ndim == 2:
        left = left.reshape(prod(a.shape[:-1]), a.shape[-1])
    lead = np.broadcast_shapes(left.shape[:-2], b.shape[:-2]) if left.ndim > 2 or b.ndim > 2 else ()
    y = xp.empty((*lead, left.shape[-2], b.shape[-1]), left.dtype)
    across = y.shape[-1] > y.shape[-2]
    turned = across and b.ndim == 2 and len(left) <= FEW and bool(right.T.flags.c_contiguous)
    if turned:
        # The BLAS would copy all of b for few rows: as its rows times columns it reads them in place.
        y = xp.empty(y.shape[::-1], y.dtype)
    length = max(y.shape[-2:])
    work_in_all = y.size * a.shape[-1]
    parts = min(PARTS, max(1, work_in_all // PART))
    blocks = cut(length, max(LEAST, -(-length // parts))) if y.size else []

    def work(index: int) -> None:
        part = slice(*blocks[index])
        if turned:
            xp.matmul(right.T[part], left.T, out=y[part])
        elif across:
            xp.matmul(left, right[..., part], out=y[..., part])
        else:
            xp.matmul(left[..., part, :], right, out=y[..., part, :])

    run(be, work, len(blocks), work_in_all)
    if turned:
        y = xp.ascontiguousarray(y.T)
    if b.ndim == 2:
        y = y.reshape(*a.shape[:-1], b.shape[-1])
    return y.astype(a.dtype, copy=False)
