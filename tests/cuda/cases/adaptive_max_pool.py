"""Adaptive max pooling."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nnlab.ops._cuda import adaptive_max_pool as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase, end
from tests.oracles import pool as oracle


def _both_passes(case: Case, x: np.ndarray, out: tuple[int, ...]) -> None:
    y, places = kernels.forward(case.be, x=case.put(x), out=out)
    case.compare((y, places), None, oracle.adaptive_max, x, out)
    dy = case.normal(*x.shape[:2], *out)
    dx = kernels.scatter(case.be, dy=case.put(dy), places=places, size=x.shape[2:])
    case.compare(dx, prod(out), _grad, dy, x, out, scale=1)


def _grad(dy: Any, x: Any, out: tuple[int, ...]) -> np.ndarray:
    return oracle.scatter(dy, oracle.adaptive_max(x, out)[1], x.shape[2:])


def drawn_sizes(case: Case) -> None:
    for dims in (1, 2, 3) * 5:
        size, out = (tuple(case.random.integers(1, 8, dims).tolist()) for _ in range(2))
        x = case.random.integers(-2, 3, (2, 2, *size)).astype(float)
        x[case.random.random(x.shape) < 0.3] = -np.inf
        x[case.random.random(x.shape) < 0.1] = np.nan
        _both_passes(case, case.host(x), out)


def distinct_numbers(case: Case) -> None:
    for size, out in (((40,), (7,)), ((9, 11), (4, 3)), ((3, 5, 4), (5, 2, 4))):
        _both_passes(case, case.normal(2, 3, *size), out)


def half_adds_up_in_float32(case: Case) -> None:
    """2048 + 1 + 1 in float16 would stay 2048, 256 + 1 + 1 in bfloat16 256."""
    x = case.host(np.ones((1, 1, 1)))
    _, places = kernels.forward(case.be, x=case.put(x), out=(3,))
    for most in (2048, 256):
        dy = case.host(np.array([[[most, 1, 1]]]))
        dx = kernels.scatter(case.be, dy=case.put(dy), places=places, size=(1,))
        case.compare(dx, 1, _grad, dy, x, (3,))


def far_elements(case: FarCase) -> None:
    """In the last of many planes, and in planes so long that the products of sizes go beyond 32 bits too."""
    for planes, size, out in ((FAR // 2, 3, 2), (FAR // 2**17 + 1, 2**17, 2**17)):
        x, dy = case.sparse(1, planes, size), case.sparse(1, planes, out)
        x[0, -1, -2:], dy[0, -1, -2:] = case.uniform(0.5, 2, 2), case.normal(2)
        y, places = kernels.forward(case.be, x=x, out=(out,))
        dx = kernels.scatter(case.be, dy=dy, places=places, size=(size,))
        if size > 3:  # each window is one element
            case.compare((y[:, -1:, -2:], places[:, -1:, -2:]), None, _far, x[:, -1:, -2:], size)
            case.compare(dx[:, -1:, -2:], None, np.copy, dy[:, -1:, -2:])
        else:
            case.compare((y[:, -1:], places[:, -1:]), None, oracle.adaptive_max, x[:, -1:], (out,))
            case.compare(dx[:, -1:], 2, _grad, dy[:, -1:], x[:, -1:], (out,), scale=1)


def _far(x: Any, size: int) -> tuple[Any, np.ndarray]:
    return x, np.array([[[size - 2, size - 1]]])


def far_windows(case: FarCase) -> None:
    """Windows that do not overlap, at the end of long lines and in the last of many planes."""
    for g, small in [*drawn.far_poolings(), *drawn.far_poolings(window=1)]:
        if max(g.in_size) * max(g.out_size) >= 2**63 - 2**33:  # beyond 64 bits
            continue
        o, i = small.y_shape, small.x_shape
        x, dy = case.sparse(*g.x_shape), case.sparse(*g.y_shape)
        end(x, i)[...], end(dy, o)[...] = case.normal(*i), case.normal(*o)
        y, places = kernels.forward(case.be, x=x, out=g.out_size)
        before = prod(g.in_size) - prod(small.in_size)  # elements of a plane that the small one has not
        case.compare((end(y, o), end(places, o) - before), None, oracle.adaptive_max, end(x, i), small.out_size)
        dx = kernels.scatter(case.be, dy=dy, places=places, size=g.in_size)
        case.compare(end(dx, i), None, _grad, end(dy, o), end(x, i), small.out_size)


def standard(case: Case) -> None:
    _both_passes(case, case.normal(2, 4, 12, 12), (5, 5))
