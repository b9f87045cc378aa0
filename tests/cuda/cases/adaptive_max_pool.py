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


def _both_passes(case: Case, x: np.ndarray, out: tuple[int, ...], last: bool = False) -> None:
    order: Any = drawn.channels_last if last else np.asarray
    x, dy = order(x), order(case.normal(*x.shape[:2], *out))
    y, places = kernels.forward(case.be, x=case.put(x), out=out)
    case.compare((y, places), None, oracle.adaptive_max, x, out)
    dx = kernels.scatter(case.be, dy=case.put(dy), places=places, size=x.shape[2:])
    case.compare(dx, prod(out), _grad, dy, x, out, scale=1)


def _grad(dy: Any, x: Any, out: tuple[int, ...]) -> np.ndarray:
    return oracle.scatter(dy, oracle.adaptive_max(x, out)[1], x.shape[2:])


def drawn_sizes(case: Case) -> None:
    for number in range(15):
        dims = 1 + number % 3
        size, out = (tuple(case.random.integers(1, 8, dims).tolist()) for _ in range(2))
        x = case.random.integers(-2, 3, (2, 2, *size)).astype(float)
        x[case.random.random(x.shape) < 0.3] = -np.inf
        x[case.random.random(x.shape) < 0.1] = np.nan
        _both_passes(case, case.host(x), out, number % 2 == 1)


def distinct_numbers(case: Case) -> None:
    for size, out in (((40,), (7,)), ((9, 11), (4, 3)), ((3, 5, 4), (5, 2, 4))):
        for last in (False, True):
            _both_passes(case, case.normal(2, 3, *size), out, last)
    _both_passes(case, case.normal(2, 300, 3, 2), (2, 3), True)


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


def far_channels(case: FarCase) -> None:
    """More channels than 32 bits count, last in memory; the last block makes the last position of each."""
    x, dy = (np.moveaxis(case.sparse(1, n, FAR + 5), -1, 1) for n in (4, 2))
    end(x, (1, 3, 4))[...], end(dy, (1, 3, 2))[...] = case.normal(1, 3, 4), case.normal(1, 3, 2)
    y, places = kernels.forward(case.be, x=x, out=(2,))
    found = (end(y, (1, 3, 1)), end(places, (1, 3, 1)))
    case.compare(found, None, _in_second_half, end(x, (1, 3, 2)))
    end(places, (1, 3, 1))[...] = np.array([[[3], [2], [3]]])
    dx = kernels.scatter(case.be, dy=dy, places=places, size=(4,))
    case.compare(end(dx, (1, 3, 1)), None, np.multiply, end(dy, (1, 3, 1)), np.array([[[1], [0], [1]]]))


def _in_second_half(x: Any) -> tuple[Any, Any]:
    y, places = oracle.adaptive_max(x, (1,))
    return y, places + 2


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
