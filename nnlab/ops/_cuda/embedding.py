"""Sums of rows by index by ``kernels/embedding.cu``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.cuda import launch
from nnlab.cuda.launch import Grid, Kernel, accumulator

WARP = 32

_SUM_ROWS = Kernel(
    "embedding",
    "embedding_sum_rows",
    {
        "dy": "scalar*",
        "index": "int64*",
        "scale": "acc*",
        "dw": "scalar*",
        "n": "index",
        "columns": "index",
        "lines": "index",
        "groups": "index",
        "scaled": "int32",
    },
)


def sum_rows(be: Backend, *, dy: Any, index: Any, rows: int, scale: Any) -> Any:
    xp = be.xp
    n, columns = dy.shape
    dw = xp.empty((rows, columns), dy.dtype)
    groups = -(-columns // WARP)
    lines, warps = rows * groups, launch.BLOCK // WARP
    dtype = accumulator(dy.dtype)
    launch.launch(
        be,
        _SUM_ROWS,
        threads=Grid((min(-(-lines // warps), launch.MAX_BLOCKS),), (launch.BLOCK,)),
        reach=max(n, lines),
        dy=xp.asarray(dy, order="C"),
        index=xp.ascontiguousarray(index.astype("int64", copy=False)),
        scale=xp.empty(0, dtype) if scale is None else xp.ascontiguousarray(scale.astype(dtype, copy=False)),
        dw=dw,
        n=n,
        columns=columns,
        lines=lines,
        groups=groups,
        scaled=int(scale is not None),
    )
    return dw


def counts(be: Backend, *, index: Any, rows: int) -> Any:
    ones = be.xp.ones((index.size, 1), "float64")
    return sum_rows(be, dy=ones, index=index, rows=rows, scale=None).reshape(rows).astype("int64")
