"""Sums of rows by index on arrays."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.precision import wide


def counts(be: Backend, *, index: Any, rows: int) -> Any:
    return be.xp.bincount(index, minlength=rows)


def sum_rows(be: Backend, *, dy: Any, index: Any, rows: int, scale: Any) -> Any:
    xp = be.xp
    total = xp.zeros((rows, dy.shape[1]), wide(be, dy[:0]).dtype)
    if dy.size:
        order = xp.argsort(index, kind="stable")
        ordered = index[order]
        terms = wide(be, dy[order])
        if scale is not None:
            terms *= scale[order].astype(terms.dtype)[:, None]
        starts = xp.flatnonzero(xp.concatenate([xp.ones(1, dtype=bool), ordered[1:] != ordered[:-1]]))
        total[ordered[starts]] = xp.add.reduceat(terms, starts, axis=0)
    return total.astype(dy.dtype, copy=False)
