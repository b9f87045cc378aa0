"""Max pooling, its gradients and unpooling."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

from nnlab.geometry import PoolGeometry, pool_geometry
from nnlab.ops._cuda import max_pool as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase, end
from tests.oracles import pool as oracle


def _ties(case: Case, *shape: int) -> np.ndarray:
    """Numbers with many ties, -inf and some NaN."""
    x = case.random.integers(-2, 3, shape).astype(float)
    x[case.random.random(shape) < 0.3] = -np.inf
    x[case.random.random(shape) < 0.1] = np.nan
    return case.host(x)


def _all_passes(case: Case, x: np.ndarray, g: PoolGeometry, last: bool = False) -> None:
    order: Any = drawn.channels_last if last else np.asarray
    x, dy = order(x), order(case.normal(*g.y_shape))
    there = case.put(x)
    window = (g.out_size, g.kernel, g.stride, g.pad_low, g.dilation)
    y, index = kernels.forward(case.be, x=there, geometry=g)
    places = kernels.positions(case.be, index=index, geometry=g)
    case.compare((y, places), None, oracle.max_pool, x, *window)
    case.compare(kernels.gather(case.be, x=there, index=index, geometry=g), None, _max, x, *window)
    dx = kernels.scatter(case.be, dy=case.put(dy), index=index, geometry=g)
    case.compare(dx, prod(g.kernel), _grad, dy, x, g.in_size, *window)


def _max(x: Any, *window: Any) -> np.ndarray:
    return oracle.max_pool(x, *window)[0]


def _grad(dy: Any, x: Any, size: Any, *window: Any) -> np.ndarray:
    return oracle.scatter(dy, oracle.max_pool(x, *window)[1], size)


def drawn_windows(case: Case) -> None:
    for number in range(12):
        g = drawn.pooling(case.random, 1 + number % 3)
        _all_passes(case, _ties(case, *g.x_shape), g, number % 2 == 1)


def standard(case: Case) -> None:
    for size, kernel, pad in ((12, 3, 1), (18, 17, 0)):
        g = pool_geometry((2, 4, size, size), kernel, 2, pad)
        _all_passes(case, _ties(case, *g.x_shape), g)
    _unpool_and_take(case, (2, 4, 6, 6), (12, 12))


def kernels_of_more_than_256_taps(case: Case) -> None:
    for kernel in ((16, 16), (17, 16)):
        x = np.zeros((1, 1, 18, 18))
        x[0, 0, -2:, -2:] = [[1, 2], [3, 4]]
        _all_passes(case, case.host(x), pool_geometry(x.shape, kernel, 1))
    g = pool_geometry((1, 2, 4, 19, 19), (2, 13, 11), (2, 5, 4), (0, 6, 5))
    _all_passes(case, case.normal(*g.x_shape), g)


def taps_between_elements(case: Case) -> None:
    """Windows of three dimensions whose taps step over an element, in each dimension alone."""
    for dilation in ((2, 1, 1), (1, 2, 1), (1, 1, 2)):
        g = pool_geometry((2, 1, 4, 4, 4), 2, 1, 0, dilation)
        _all_passes(case, case.normal(*g.x_shape), g)


def channels_last(case: Case) -> None:
    """More channels than a block of threads, and kernels of more than 256 taps."""
    for shape, kernel in (((2, 300, 3, 2), (2, 1)), ((1, 3, 18, 17), (17, 16)), ((2, 5, 4, 3, 5), (2, 2, 3))):
        g = pool_geometry(shape, kernel, 1, 0)
        _all_passes(case, _ties(case, *shape), g, True)


def gather_of_any_tap(case: Case) -> None:
    """Also of one in the padding, which reads 0."""
    for kernel in ((3, 2), (17, 16), (2, 3, 2)):
        g = pool_geometry((2, 2, *(17, 16, 3)[: len(kernel)]), kernel, 2, 1, ceil_mode=True)
        x = case.normal(*g.x_shape)
        dtype = "uint8" if prod(kernel) <= 256 else "int32"
        index = case.random.integers(0, prod(kernel), g.y_shape).astype(dtype)
        y = kernels.gather(case.be, x=case.put(x), index=case.put(index), geometry=g)
        case.compare(y, None, oracle.taps_at, x, index, g.kernel, g.stride, g.pad_low, g.dilation)


def taps_far_apart(case: Case) -> None:
    """The outer taps of a window are 2**31 elements away from the one element of the input."""
    for dims in (1, 2, 3):
        far = (2**31,) + (0,) * (dims - 1)
        g = pool_geometry((1, 2, *[1] * dims), (3, *[1] * (dims - 1)), 2**33, far, (2**31, *[1] * (dims - 1)))
        x, dy = case.normal(*g.x_shape), case.normal(*g.y_shape)
        y, index = kernels.forward(case.be, x=case.put(x), geometry=g)
        case.compare((y, index), None, _centre, x)
        case.compare(kernels.scatter(case.be, dy=case.put(dy), index=index, geometry=g), None, np.array, dy)
        case.compare(kernels.gather(case.be, x=case.put(x), index=index, geometry=g), None, np.array, x)


def _centre(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x, np.ones(x.shape, int)


def unpool_and_take(case: Case) -> None:
    _unpool_and_take(case, (2, 3, 4, 5), (7, 9))


def _unpool_and_take(case: Case, shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    planes = shape[:2]
    x, z = case.normal(*shape), case.normal(*planes, *size)
    chosen = [case.random.permutation(prod(size))[: prod(shape[2:])] for _ in range(prod(planes))]
    places = np.stack(chosen).reshape(x.shape)
    there = case.put(places)
    y = kernels.unpool(case.be, x=case.put(x), places=there, size=size)
    case.compare(y, None, oracle.scatter, x, places, size)
    case.compare(kernels.take(case.be, x=case.put(z), places=there), None, oracle.take, z, places)


def far_windows(case: FarCase) -> None:
    for g, small in drawn.far_poolings():
        o, i = small.y_shape, small.x_shape
        x, dy, window = case.sparse(*g.x_shape), case.sparse(*g.y_shape), (g.kernel, g.stride, g.pad_low, g.dilation)
        end(x, i)[...], end(dy, o)[...] = case.normal(*i), case.normal(*o)
        y, index = kernels.forward(case.be, x=x, geometry=g)
        case.compare(end(y, o), None, _max, end(x, i), small.out_size, *window)
        case.compare(end(kernels.gather(case.be, x=x, index=index, geometry=g), o), None, np.array, end(y, o))
        dx = kernels.scatter(case.be, dy=dy, index=index, geometry=g)
        case.compare(end(dx, i), 4, _grad, end(dy, o), end(x, i), small.in_size, small.out_size, *window)


def far_channels(case: FarCase) -> None:
    """More channels than 32 bits count, last in memory; windows do not overlap."""
    shape, near = (1, FAR + 5, 4), (1, 3, 4)
    g, window = pool_geometry(shape, 2), ((2,), (2,), (2,), (0,), (1,))
    x, dy = (np.moveaxis(case.sparse(1, n, FAR + 5), -1, 1) for n in (4, 2))
    end(x, near)[...], end(dy, (1, 3, 2))[...] = case.normal(*near), case.normal(1, 3, 2)
    some = (1, 3, 1)  # what the last block makes
    y, index = kernels.forward(case.be, x=x, geometry=g)
    case.compare(end(y, some), None, _last_maxima, end(x, near), *window)
    case.compare(end(kernels.gather(case.be, x=x, index=index, geometry=g), some), None, np.array, end(y, some))
    np.moveaxis(index, 1, -1)[0, :, -3:] = oracle_index = np.array([[0, 1, 1], [1, 0, 1]])
    dx = kernels.scatter(case.be, dy=dy, index=index, geometry=g)
    wanted = np.where(oracle_index[1] == 1, end(dy, some)[0, :, 0], 0)
    case.compare(dx[0, -3:, -1], None, np.array, wanted)


def _last_maxima(x: Any, *window: Any) -> np.ndarray:
    return _max(x, *window)[..., -1:]


def far_places(case: FarCase) -> None:
    x, places = case.normal(2, 1, 3), np.array([[[FAR, FAR + 3, 7]], [[FAR + 2, 1, FAR + 1]]])
    y = kernels.unpool(case.be, x=x, places=places, size=(FAR + 4,))
    case.compare(y.take(places + [[[0]], [[FAR + 4]]]), None, np.array, x)
    case.compare(kernels.take(case.be, x=y, places=places), None, np.array, x)


def far_planes(case: FarCase) -> None:
    """More places than 32 bits count. That all of them lie in their planes is not looked at, which would take long."""
    x, z, places = case.sparse(FAR + 3, 1, 1), case.sparse(FAR + 3, 1, 2), case.be.xp.zeros((FAR + 3, 1, 1), np.int64)
    some = (5, 1, 1)
    end(x, some)[...], end(z, (5, 1, 2))[...] = case.normal(*some), case.normal(5, 1, 2)
    end(places, some)[:, 0, 0] = where = np.array([1, 0, 1, 1, 0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "check_places", lambda places, size: None)
        y = kernels.unpool(case.be, x=x, places=places, size=(2,))
        case.compare(end(y, (3, 1, 2)), None, oracle.scatter, end(x, (3, 1, 1)), where[2:].reshape(3, 1, 1), (2,))
        taken = kernels.take(case.be, x=z, places=places)
        case.compare(end(taken, (3, 1, 1)), None, oracle.take, end(z, (3, 1, 2)), where[2:].reshape(3, 1, 1))
