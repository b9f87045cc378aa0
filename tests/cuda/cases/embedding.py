"""Sums of rows by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.cuda.launch import accumulator
from nnlab.ops._cuda import embedding as kernels
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import embedding as oracle

# Positions, rows, columns: none of each, one, a warp's lanes and one more.
SHAPES = [(1, 1, 1), (31, 3, 5), (32, 5, 32), (33, 4, 33), (100, 7, 70), (0, 3, 4), (0, 0, 3), (5, 3, 0)]


def sums(case: Case) -> None:
    for n, rows, columns in SHAPES:
        for scaled in (False, True):
            _sums(case, n, rows, columns, scaled)


def standard(case: Case) -> None:
    _sums(case, 256, 16, 64, True)


def _sums(case: Case, n: int, rows: int, columns: int, scaled: bool) -> None:
    dy, index = case.normal(n, columns), case.random.integers(0, max(rows, 1), n)
    scale = case.random.uniform(0.2, 2, n).astype(accumulator(case.dtype)) if scaled else None
    given = None if scale is None else case.put(scale)
    for dw in _both(case, case.put(dy), case.put(index), rows, given):
        case.compare(dw, max(n, 1), oracle.sum_rows, dy, index, rows, scale, scale=n)


def _both(case: Case | FarCase, dy: Any, index: Any, rows: int, scale: Any = None) -> list[Any]:
    """By both ways, of which ``sum_rows`` takes the one that costs less."""
    chosen = kernels.SEARCHED
    try:
        found = []
        for kernels.SEARCHED in (2**63, -1):
            found.append(kernels.sum_rows(case.be, dy=dy, index=index, rows=rows, scale=scale))
        return found
    finally:
        kernels.SEARCHED = chosen


def exact_order(case: Case) -> None:
    """A row's terms are added up from the first position to the last: 1 and 2**k, then what cancels 2**k."""
    big = case.dtype.type(
        2.0**30 if case.dtype.name == "float32" else 2.0**60 if case.dtype.name == "float64" else 2**14
    )
    x = case.host([[1.0], [float(big)], [1.0], [-float(big)], [0.5]])
    index = np.array([0, 0, 1, 0, 0])
    first = 0.5 if case.dtype.name in ("float32", "float64") else 1.5  # half types: in float32, where 1 stays
    for dw in _both(case, case.put(x), case.put(index), 2):
        case.compare(dw, None, np.array, np.array([[first], [1.0]]))


def infinities_stay_in_their_row(case: Case) -> None:
    x = case.host([[np.inf], [1.0], [np.nan], [2.0]])
    for dw in _both(case, case.put(x), case.put(np.array([0, 1, 2, 1])), 4):
        case.compare(dw, None, np.array, np.array([[np.inf], [3.0], [np.nan], [0.0]]))


def counted(case: Case) -> None:
    index = case.random.integers(0, 5, 40)
    found = kernels.counts(case.be, index=case.put(index), rows=6)
    case.compare(found, None, np.array, np.array([int((index == row).sum()) for row in range(6)]))


def other_integers(case: Case) -> None:
    x, index = case.normal(6, 3), np.array([2, 0, 2, 1, 0, 2], np.int32)
    dw = kernels.sum_rows(case.be, dy=case.put(x), index=case.put(index), rows=3, scale=None)
    case.compare(dw, 3, oracle.sum_rows, x, index, 3)


def far_elements(case: FarCase) -> None:
    """The last row of a table with more elements than 32 bits count; columns, and rows, as many."""
    columns = 2**16
    rows = FAR // columns + 1
    x, index = case.normal(3, columns), np.array([rows - 1, 1, rows - 1])
    dw, _ = _both(case, x, index, rows)
    case.compare(dw[-1:, -3:], 2, oracle.sum_rows, x[[0, 2], -3:], [0, 0], 1)
    x = case.sparse(3, FAR // 2 + 32)
    x[:, -3:] = case.normal(3, 3)
    dw, _ = _both(case, x, np.array([0, 0, 0]), 1)
    case.compare(dw[:, -3:], 3, oracle.sum_rows, x[:, -3:].copy(), [0, 0, 0], 1)
    x, rows = case.normal(2, 1), FAR - 3  # a grid has at most 2**31 blocks, of two warps here
    for dw in _both(case, x, np.array([rows - 1, rows - 1]), rows):
        case.compare(dw[-1:], 2, oracle.sum_rows, x, [0, 0], 1)


def far_elements_sorted(case: FarCase) -> None:
    """Likewise; the last block has the last position, which is the first of its row."""
    columns = 2**16
    rows = FAR // columns + 1
    x = case.normal(3, columns)
    _, dw = _both(case, x, np.array([1, rows - 1, 1]), rows)
    case.compare(dw[-1:, -3:], 1, oracle.sum_rows, x[1:2, -3:], [0], 1)
    x = case.sparse(3, FAR // 2 + 32)
    x[:, -3:] = case.normal(3, 3)
    _, dw = _both(case, x, np.array([0, 0, 1]), 2)
    case.compare(dw[-1:, -3:], 1, oracle.sum_rows, x[2:, -3:].copy(), [0], 1)
