"""Launches over lists of arrays, many in each; see ``kernels/include/tensors.cuh``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda import launch
from nnlab.cuda.launch import Grid, Kernel

TENSORS = 64
"""Arrays that a table holds."""

PARAMETERS = {
    "sizes": f"index[{TENSORS}]",
    "first_chunk": f"index[{TENSORS}]",
    "count": "int32",
    "chunks": "index",
    "part": "index",
}
_PART = 4096  # elements of a chunk


def launch_all(be: Backend, kernel: Kernel, lists: Mapping[str, Sequence[Any]], **scalars: Any) -> None:
    """Start a kernel on lists of contiguous arrays: once for each dtype and every 64 arrays of it.

    Args:
        be: the device's backend.
        kernel: takes the lists as tables, then ``PARAMETERS``, then the scalars.
        lists: of equal length; arrays at one position have one shape and dtype.
    """
    rows = [row for row in zip(*lists.values(), strict=True) if row[0].size]
    for dtype in dict.fromkeys(row[0].dtype for row in rows):
        alike = [row for row in rows if row[0].dtype == dtype]
        for start in range(0, len(alike), TENSORS):
            _launch(be, kernel, lists, alike[start : start + TENSORS], scalars)


def _launch(be: Backend, kernel: Kernel, names: Mapping[str, Any], rows: list[Any], scalars: dict[str, Any]) -> None:
    sizes = [int(row[0].size) for row in rows]
    first_chunk = [0, *accumulate(-(-size // _PART) for size in sizes)]
    chunks = first_chunk.pop()
    tables: dict[str, Any] = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    launch.launch(
        be, kernel, threads=Grid((min(chunks, launch.MAX_BLOCKS),), (launch.BLOCK,)), **tables, sizes=sizes,
        first_chunk=first_chunk, count=len(rows), chunks=chunks, part=_PART, **scalars,
    )  # fmt: skip
