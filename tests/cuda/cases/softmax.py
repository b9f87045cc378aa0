"""softmax and log-softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.ops._cuda import softmax as kernels
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import loss as oracle

PROBLEMS = [
    ((5,), 0),
    ((7, 3), 1),
    ((9, 40), 1),
    ((3, 300), 1),
    ((2, 1100), 1),
    ((3, 5, 4), 1),
    ((40, 2, 3), 0),
    ((0, 3), 1),
]
BIG = {"float16": 2.0**15, "bfloat16": 2.0**126, "float32": 2.0**126, "float64": 2.0**1022}


def both_functions(case: Case) -> None:
    _both_functions(case, PROBLEMS)


def standard(case: Case) -> None:
    _both_functions(case, [((32, 40), 1), ((2, 10, 8, 8), 1), ((4, 300), 1)])


def _both_functions(case: Case, problems: list[tuple[tuple[int, ...], int]]) -> None:
    for shape, axis in problems:
        x, dy, terms = 3 * case.normal(*shape), case.normal(*shape), shape[axis]
        there = case.put(dy)
        y = kernels.softmax(case.be, x=case.put(x), axis=axis)
        case.compare(y, terms, oracle.along, oracle.softmax, axis, x, scale=1)
        dx = kernels.softmax_backward(case.be, dy=there, y=y, axis=axis)
        case.compare(dx, terms, oracle.along, oracle.softmax_grad, axis, dy, case.be.to_numpy(y), scale=1)
        y = kernels.log_softmax(case.be, x=case.put(x), axis=axis)
        case.compare(y, terms, oracle.along, oracle.log_softmax, axis, x, scale=1)
        dx = kernels.log_softmax_backward(case.be, dy=there, y=y, axis=axis)
        case.compare(dx, terms, oracle.along, oracle.log_softmax_grad, axis, dy, case.be.to_numpy(y), scale=1)


def _with_infinities(row: list[float]) -> list[float]:
    """softmax of a row with infinite scores: all NaN unless the largest is finite."""
    return oracle.softmax(row) if np.isfinite(max(row)) else [float("nan")] * len(row)


def large_and_infinite_scores(case: Case) -> None:
    for count in (5, 40, 300):
        x = np.full((6, count), -np.inf)
        big = BIG[case.dtype.name]
        x[0, :2] = [big, -big]
        x[1, 1:3] = [big, big]
        x[3, 2] = np.inf
        x[4] = np.arange(count) % 4
        x[5, :2] = [-big, -big]
        x = case.host(x)
        y = kernels.softmax(case.be, x=case.put(x), axis=1)
        case.compare(y, count, oracle.along, _with_infinities, 1, x)


def far_elements(case: FarCase) -> None:
    """One line in two, lines of one element in another layout, many lines, and lines whose elements are far apart: the
    last lines alone run."""
    for shape, axis in (
        ((FAR // 4 + 5, 4), 1), ((FAR // 8 + 5, 2, 4), 1), ((FAR // 2 + 5, 2), 1), ((1, 2, FAR // 2 + 5), 1),
    ):  # fmt: skip
        some: Any = np.s_[-3:] if len(shape) == 2 or shape[0] > 1 else np.s_[:, :, -3:]
        one: Any = np.s_[-1:] if len(shape) == 2 or shape[0] > 1 else np.s_[:, :, -1:]
        x, dy = case.sparse(*shape), case.sparse(*shape)
        x[some], dy[some] = case.normal(*x[some].shape), case.normal(*x[some].shape)
        y = kernels.softmax(case.be, x=x, axis=axis)
        case.compare(y[one], 4, oracle.along, oracle.softmax, axis, x[one], scale=1)
        dx = kernels.softmax_backward(case.be, dy=dy, y=y, axis=axis)
        case.compare(dx[one], 4, oracle.along, oracle.softmax_grad, axis, dy[one], y[one].copy(), scale=1)
        y = kernels.log_softmax(case.be, x=x, axis=axis)
        case.compare(y[one], 4, oracle.along, oracle.log_softmax, axis, x[one], scale=1)
        dx = kernels.log_softmax_backward(case.be, dy=dy, y=y, axis=axis)
        case.compare(dx[one], 4, oracle.along, oracle.log_softmax_grad, axis, dy[one], y[one].copy(), scale=1)
