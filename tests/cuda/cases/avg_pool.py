"""Average pooling, fixed and adaptive."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nnlab.geometry import PoolGeometry, pool_geometry
from nnlab.ops._cuda import avg_pool as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase, end
from tests.oracles import pool as oracle

COUNTING = [(False, None), (True, None), (True, 5), (False, -2)]


def drawn_windows(case: Case) -> None:
    for number in range(24):
        include_pad, override = COUNTING[number % 4]
        g = drawn.pooling(case.random, 1 + number % 3, dilated=False)
        _fixed(case, g, include_pad, override, last=number % 5 > 2)


def drawn_adaptive_sizes(case: Case) -> None:
    for number in range(12):
        dims = 1 + number % 3
        size, out = (tuple(case.random.integers(1, 8, dims).tolist()) for _ in range(2))
        _adaptive(case, (2, 2, *size), out, last=number % 2 == 1)


def standard(case: Case) -> None:
    _fixed(case, pool_geometry((2, 4, 12, 12), 3, 2, 1), True, None)
    _adaptive(case, (2, 4, 12, 12), (5, 5))


def channels_last_of_several_blocks(case: Case) -> None:
    _fixed(case, pool_geometry((2, 300, 3, 2), (2, 1), 1, 0), True, None, last=True)
    _adaptive(case, (2, 300, 3, 2), (2, 3), last=True)


def _fixed(case: Case, g: PoolGeometry, include_pad: bool, override: int | None, last: bool = False) -> None:
    o = {"geometry": g, "count_include_pad": include_pad, "divisor_override": override}
    window = (g.kernel, g.stride, g.pad_low, include_pad, override)
    order: Any = drawn.channels_last if last else np.asarray
    x, dy = order(case.normal(*g.x_shape)), order(case.normal(*g.y_shape))
    y = kernels.forward(case.be, x=case.put(x), **o)
    case.compare(y, prod(g.kernel), oracle.avg_pool, x, g.out_size, *window)
    dx = kernels.backward(case.be, dy=case.put(dy), **o)
    case.compare(dx, prod(g.kernel), oracle.avg_pool_grad, dy, g.in_size, *window)


def _adaptive(case: Case, shape: tuple[int, ...], out: tuple[int, ...], last: bool = False) -> None:
    order: Any = drawn.channels_last if last else np.asarray
    size = shape[2:]
    x, dy = order(case.normal(*shape)), order(case.normal(*shape[:2], *out))
    y = kernels.adaptive_forward(case.be, x=case.put(x), out=out)
    case.compare(y, prod(size), oracle.adaptive_avg, x, out)
    dx = kernels.adaptive_backward(case.be, dy=case.put(dy), size=size)
    case.compare(dx, prod(out), oracle.adaptive_avg_grad, dy, size)


def windows_far_wider_than_the_input(case: Case) -> None:
    """Each of the four windows holds the three elements, at taps whose numbers 32 bits do not hold."""
    for dims in (1, 2, 3):
        for wide in range(dims):
            one, none = [1] * dims, [0] * dims
            size, kernel, padding = (
                [*row[:wide], n, *row[wide + 1 :]] for row, n in ((one, 3), (one, 2**33), (none, 2**32))
            )
            g = pool_geometry((1, 2, *size), kernel, 1, padding)
            o = {"geometry": g, "count_include_pad": False, "divisor_override": None}
            x, dy = case.normal(*g.x_shape), case.normal(*g.y_shape)
            y = kernels.forward(case.be, x=case.put(x), **o)
            case.compare(y, 3, _means, x, 2 + wide, 4, 3)
            case.compare(kernels.backward(case.be, dy=case.put(dy), **o), 4, _means, dy, 2 + wide, 3, 3)


def _means(x: np.ndarray, axis: int, count: int, divisor: int) -> np.ndarray:
    """The sum along an axis by a divisor, so many times."""
    return np.repeat(x.sum(axis, keepdims=True) / divisor, count, axis)


def half_adds_up_in_float32(case: Case) -> None:
    x = case.host(np.full((1, 1, 32, 32), 1 + 2**-10))
    g, o = pool_geometry(x.shape, 32), {"count_include_pad": True, "divisor_override": None}
    case.compare(
        kernels.forward(case.be, x=case.put(x), geometry=g, **o), None, oracle.avg_pool, x, (1, 1), g.kernel, g.stride,
        g.pad_low, True, None,
    )  # fmt: skip
    case.compare(kernels.adaptive_forward(case.be, x=case.put(x), out=(1, 1)), None, oracle.adaptive_avg, x, (1, 1))


def far_windows(case: FarCase) -> None:
    for g, small in drawn.far_poolings():
        o, i = small.y_shape, small.x_shape
        x, dy = case.sparse(*g.x_shape), case.sparse(*g.y_shape)
        end(x, i)[...], end(dy, o)[...] = case.normal(*i), case.normal(*o)
        options = {"geometry": g, "count_include_pad": False, "divisor_override": None}
        window = (g.kernel, g.stride, g.pad_low, False, None)
        y = kernels.forward(case.be, x=x, **options)
        case.compare(end(y, o), 4, oracle.avg_pool, end(x, i), small.out_size, *window)
        dx = kernels.backward(case.be, dy=dy, **options)
        case.compare(end(dx, i), 4, oracle.avg_pool_grad, end(dy, o), small.in_size, *window)


def far_channels(case: FarCase) -> None:
    """More channels than 32 bits count, last in memory; the last block makes the last position of each."""
    g, o = pool_geometry((1, FAR + 5, 4), 2), {"count_include_pad": True, "divisor_override": None}
    x, dy = (np.moveaxis(case.sparse(1, n, FAR + 5), -1, 1) for n in (4, 2))
    end(x, (1, 3, 4))[...], end(dy, (1, 3, 2))[...] = case.normal(1, 3, 4), case.normal(1, 3, 2)
    x_end, dy_end = end(x, (1, 3, 2)), end(dy, (1, 3, 1))
    for y in (kernels.forward(case.be, x=x, geometry=g, **o), kernels.adaptive_forward(case.be, x=x, out=(2,))):
        case.compare(end(y, (1, 3, 1)), 2, _means, x_end, 2, 1, 2)
    for dx in (kernels.backward(case.be, dy=dy, geometry=g, **o), kernels.adaptive_backward(case.be, dy=dy, size=(4,))):
        case.compare(end(dx, (1, 3, 1)), 1, _means, dy_end, 2, 1, 2)


def far_adaptive_windows(case: FarCase) -> None:
    """Windows that do not overlap, at the end of long lines and in the last of many planes."""
    for g, small in [*drawn.far_poolings(), *drawn.far_poolings(window=1)]:
        if max(g.in_size) * max(g.out_size) >= 2**63 - 2**33:  # beyond 64 bits
            continue
        o, i = small.y_shape, small.x_shape
        x, dy = case.sparse(*g.x_shape), case.sparse(*g.y_shape)
        end(x, i)[...], end(dy, o)[...] = case.normal(*i), case.normal(*o)
        y = kernels.adaptive_forward(case.be, x=x, out=g.out_size)
        case.compare(end(y, o), 4, oracle.adaptive_avg, end(x, i), small.out_size)
        dx = kernels.adaptive_backward(case.be, dy=dy, size=g.in_size)
        case.compare(end(dx, i), 4, oracle.adaptive_avg_grad, end(dy, o), small.in_size)
