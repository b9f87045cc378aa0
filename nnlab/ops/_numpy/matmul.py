"""Matrix product on arrays: on the CPU in blocks of rows or columns, each by one BLAS thread."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import cut, run
from nnlab.ops._numpy.precision import wide

PARTS = 8  # at most: a fixed number, so that the blocks do not depend on the number of threads
PART = 1 << 23  # multiply-adds of a part; a thread is not worth waking for less
LEAST = 32  # rows or columns of a block; less would mostly copy the other operand
# OpenBLAS multiplies matrices of at most so many multiply-adds without copying them first (on AVX-512), best so wide.
SMALL, WIDTHS = 10**6, (64, 48, 32)


def forward(be: Backend, *, a: Any, b: Any) -> Any:
    xp = be.xp
    left, right = wide(be, a), wide(be, b)
    if b.ndim == 2:
        left = left.reshape(prod(a.shape[:-1]), a.shape[-1])
    lead = np.broadcast_shapes(left.shape[:-2], b.shape[:-2])
    y = xp.empty((*lead, left.shape[-2], b.shape[-1]), left.dtype)
    across = y.shape[-1] > y.shape[-2]
    length = max(y.shape[-2:])
    work_in_all = y.size * a.shape[-1]
    parts = min(PARTS, max(1, work_in_all // PART))
    blocks = cut(length, max(LEAST, -(-length // parts))) if y.size else []

    def work(index: int) -> None:
        part = slice(*blocks[index])
        if across:
            xp.matmul(left, right[..., part], out=y[..., part])
        else:
            xp.matmul(left[..., part, :], right, out=y[..., part, :])

    run(be, work, len(blocks), work_in_all)
    if b.ndim == 2:
        y = y.reshape(*a.shape[:-1], b.shape[-1])
    return y.astype(a.dtype, copy=False)


def repeated(be: Backend, *, b: Any, rows: int) -> Callable[[Any, Any], None]:
    xp, (depth, columns) = be.xp, b.shape
    width = columns
    if be.host_memory:
        width = next((w for w in WIDTHS if columns % w == 0 and rows * w * depth <= SMALL), columns)
    right = b.reshape(depth, columns // width, width).swapaxes(0, 1)
    blocks = layout.empty(be, right.shape, types.wide(b.dtype))
    blocks[...] = right

    def product(a: Any, out: Any) -> None:
        into = out.reshape(rows, *blocks.shape[::2]).swapaxes(0, 1)
        if out.dtype == blocks.dtype:
            xp.matmul(a, blocks, out=into)
        else:
            into[...] = xp.matmul(wide(be, a), blocks)

    return product
