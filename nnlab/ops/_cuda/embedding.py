"""Sums of rows by index by ``kernels/embedding.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda import launch
from nnlab.cuda.launch import Grid, Kernel, accumulator

WARP = 32
SEARCHED = (
    1 << 25
)  # numbers of the index that all warps together read, at most; sorting it costs less than more of them

_ARRAYS = {"dy": "scalar*", "index": "int64*", "scale": "acc*", "dw": "scalar*"}
_SUM_ROWS = Kernel(
    "embedding",
    "embedding_sum_rows",
    {**_ARRAYS, **dict.fromkeys(("n", "columns", "lines", "groups"), "index"), "scaled": "int32"},
)
_SUM_SORTED = Kernel(
    "embedding",
    "embedding_sum_sorted",
    {
        "dy": "scalar*", "order": "int64*", "index": "int64*", "scale": "acc*", "dw": "scalar*",
        "n": "index", "columns": "index", "scaled": "int32",
    },
)  # fmt: skip


def sum_rows(be: Backend, *, dy: Any, index: Any, rows: int, scale: Any) -> Any:
    dtype = accumulator(dy.dtype)
    given = {
        "dy": be.xp.asarray(dy, order="C"),
        "scale": be.xp.empty(0, dtype) if scale is None else be.xp.ascontiguousarray(scale.astype(dtype, copy=False)),
        "scaled": int(scale is not None),
    }
    index = be.xp.ascontiguousarray(index.astype("int64", copy=False))
    searched = rows * groups(dy) * len(dy) <= SEARCHED
    return (search if searched else sort)(be, index=index, rows=rows, **given)


def groups(dy: Any) -> int:
    """Of columns that a warp adds up."""
    return -(-dy.shape[1] // WARP)


def search(be: Backend, *, dy: Any, index: Any, rows: int, scale: Any, scaled: int) -> Any:
    """``sum_rows`` where each row looks for its positions."""
    n, columns = dy.shape
    dw = be.xp.empty((rows, columns), dy.dtype)
    lines, warps = rows * groups(dy), launch.BLOCK // WARP
    grid = Grid((min(-(-lines // warps), launch.MAX_BLOCKS),), (launch.BLOCK,))
    launch.launch(
        be, _SUM_ROWS, threads=grid, reach=max(n, lines), dy=dy, index=index, scale=scale, dw=dw, n=n, columns=columns,
        lines=lines, groups=groups(dy), scaled=scaled,
    )  # fmt: skip
    return dw


def sort(be: Backend, *, dy: Any, index: Any, rows: int, scale: Any, scaled: int) -> Any:
    """``sum_rows`` of positions that are sorted by row."""
    n, columns = dy.shape
    dw = be.xp.zeros((rows, columns), dy.dtype)
    order = be.xp.argsort(index, kind="stable")
    launch.launch(
        be, _SUM_SORTED, threads=n * columns, dy=dy, order=order, index=index[order], scale=scale, dw=dw, n=n,
        columns=columns, scaled=scaled,
    )  # fmt: skip
    return dw


def counts(be: Backend, *, index: Any, rows: int) -> Any:
    ones = be.xp.ones((index.size, 1), "float64")
    return sum_rows(be, dy=ones, index=index, rows=rows, scale=None).reshape(rows).astype("int64")
