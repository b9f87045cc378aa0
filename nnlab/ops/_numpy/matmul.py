"""Matrix product on arrays: on the CPU in blocks of rows or columns, each by one BLAS thread."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from nnlab import types
from nnlab.backend import Backend
from nnlab.backend.threads import small_products
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import cut, run
from nnlab.ops._numpy.precision import wide

PARTS = 8  # at most: a fixed number, so that the blocks do not depend on the number of threads
PART = 1 << 23  # multiply-adds of a part; a thread is not worth waking for less
FEW = 32  # rows of a at most that are turned to columns
LEAST = 32  # rows or columns of a block; less would mostly copy the other operand
# A product of at most so many multiply-adds is a small one for OpenBLAS; blocks of so many columns are fastest.
SMALL, WIDTHS, MOST_ROWS, SPLITS = 10**6, (64, 48, 32), 64, (1, 2, 4, 8)


def forward(be: Backend, *, a: Any, b: Any, out: Any = None, alone: bool = False) -> Any:
    xp = be.xp
    # cuBLAS adds up products of float16 in float32 itself; those of single numbers CuPy rounds.
    half = be.device.type == "cuda" and a.dtype == types.float16 and prod(a.shape[:-1]) * b.shape[-1] > 1
    left, right = (a, b) if half else (wide(be, a), wide(be, b))
    if b.ndim == 2:
        left = left.reshape(prod(a.shape[:-1]), a.shape[-1])
    lead = np.broadcast_shapes(left.shape[:-2], b.shape[:-2]) if left.ndim > 2 or b.ndim > 2 else ()
    shape = (*lead, left.shape[-2], b.shape[-1])
    direct = out is not None and out.dtype == left.dtype
    y = out.reshape(shape) if direct else layout.empty(be, shape, left.dtype)
    across = y.shape[-1] > y.shape[-2]
    length = max(y.shape[-2:])
    work_in_all = y.size * a.shape[-1]
    # The BLAS would copy all of b for few rows of a. As b's columns times a's rows it reads them in place.
    turned = None
    few = y.ndim == 2 and across and len(left) <= FEW and work_in_all >= PART
    if few and be.host_memory and right.T.flags.c_contiguous:
        turned = layout.empty(be, shape[::-1], left.dtype)
    parts = 1 if alone else min(PARTS, max(1, work_in_all // PART))
    blocks = cut(length, max(LEAST, -(-length // parts))) if y.size else []

    def work(index: int) -> None:
        part = slice(*blocks[index])
        if turned is not None:
            xp.matmul(right.T[part], left.T, out=turned[part])
        elif across:
            xp.matmul(left, right[..., part], out=y[..., part])
        else:
            xp.matmul(left[..., part, :], right, out=y[..., part, :])

    with be.products():
        run(be, work, len(blocks), work_in_all)
    if turned is not None:
        y[...] = turned.T
    if b.ndim == 2:
        y = y.reshape(*a.shape[:-1], b.shape[-1])
    if out is None:
        return y.astype(a.dtype, copy=False)
    if not direct:
        out[...] = y
    return out


def repeated(be: Backend, *, b: Any, rows: int) -> Callable[[Any, Any], None]:
    xp, (depth, columns) = be.xp, b.shape
    blocks = small_blocks(rows, depth, columns) if be.device.type == "cpu" else None
    if blocks is not None:
        return _in_blocks(be, b, rows, *blocks)
    right = wide(be, b)
    if be.device.type == "cpu":
        right = xp.ascontiguousarray(right)

    def product(a: Any, out: Any) -> None:
        with be.products():
            if out.dtype == right.dtype:
                xp.matmul(a, right, out=out)
            else:
                out[...] = xp.matmul(wide(be, a), right)

    return product


def _in_blocks(be: Backend, b: Any, rows: int, splits: int, width: int) -> Callable[[Any, Any], None]:
    """Small products of parts of a and blocks of b, which NumPy makes in one call."""
    xp, (depth, columns) = be.xp, b.shape
    right = b.reshape(splits, depth // splits, columns // width, width).swapaxes(1, 2)
    blocks = layout.empty(be, right.shape, types.wide(b.dtype))
    blocks[...] = right
    direct = splits == 1 and b.dtype == blocks.dtype
    terms = None if direct else xp.empty((splits, rows, columns), blocks.dtype)

    def product(a: Any, out: Any) -> None:
        sums = out[None] if terms is None else terms
        left = wide(be, a).reshape(rows, splits, 1, depth // splits).transpose(1, 2, 0, 3)
        xp.matmul(left, blocks, out=sums.reshape(splits, rows, columns // width, width).swapaxes(1, 2))
        if terms is not None:
            if out.dtype == terms.dtype:
                xp.add.reduce(terms, axis=0, out=out)
            else:
                out[...] = terms.sum(axis=0)

    return product


def small_blocks(rows: int, depth: int, columns: int) -> tuple[int, int] | None:
    """(parts of the depth, columns of a block) that make products of ``SMALL``; None where that is not possible, or is
    not faster."""
    width = next((w for w in WIDTHS if columns % w == 0), 0)
    if width and rows <= MOST_ROWS and small_products():
        for splits in SPLITS:
            if depth % splits == 0 and rows * width * (depth // splits) <= SMALL:
                return splits, width
    return None
