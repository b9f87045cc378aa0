"""Max pooling tap by tap, in blocks of planes that stay in the cache."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.errors import ArgumentError, complaint
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops._numpy.parallel import plane_blocks, run
from nnlab.ops._numpy.precision import wide
from nnlab.ops._numpy.windows import Tap, taps


@lru_cache(maxsize=64)
def _first_taps(geometry: PoolGeometry) -> tuple[np.ndarray, bool]:
    """Number of the first tap inside the input for each output position, and whether each window is all inside."""
    first = np.full(geometry.out_size, -1, np.int32)
    inside = True
    for number, (_, where, _) in enumerate(_window(geometry)):
        ranges = tuple(slice(lo, hi) for lo, hi in where)
        part = first[ranges]
        inside = inside and part.shape == first.shape
        part[part < 0] = number
    return first.astype(index_dtype(geometry)), inside


def index_dtype(geometry: PoolGeometry) -> type[np.integer[Any]]:
    """Of the number of a tap."""
    return np.uint8 if prod(geometry.kernel) <= 256 else np.int32


def _window(g: PoolGeometry) -> tuple[Tap, ...]:
    start = tuple(-p for p in g.pad_low)
    return taps(g.kernel, g.out_size, g.in_size, start, g.stride, g.dilation)


def forward(be: Backend, *, x: Any, geometry: PoolGeometry) -> tuple[Any, Any]:
    xp = be.xp
    first, inside = _first_taps(geometry)
    y = xp.empty(geometry.y_shape, x.dtype)
    index = xp.empty(geometry.y_shape, first.dtype)
    first_taps = be.asarray(first)
    planes = [a.reshape(-1, *a.shape[2:]) for a in (x, y, index)]
    window = _window(geometry)
    blocks = plane_blocks(be, len(planes[0]), prod(geometry.in_size) * x.dtype.itemsize)

    def work(number: int) -> None:
        n, m = blocks[number]
        source, best, winner = (a[n:m] for a in planes)
        rest = window
        if inside:
            # Every window holds its first tap, so that is what the others have to beat.
            best[...] = source[(slice(None), *window[0][2])]
            winner[...] = 0
            rest = window[1:]
        else:
            best[...] = -xp.inf
            winner[...] = first_taps
        for tap, (_, where, slices) in enumerate(rest, len(window) - len(rest)):
            ranges = (slice(None), *(slice(lo, hi) for lo, hi in where))
            value = xp.ascontiguousarray(source[(slice(None), *slices)])
            top, place = best[ranges], winner[ranges]
            wins = value > top
            wins |= value != value
            xp.maximum(top, value, out=top)
            # Later taps have larger numbers, so the winner so far is the largest number that has won.
            xp.maximum(place, wins.view(xp.uint8) * place.dtype.type(tap), out=place)

    run(be, work, len(blocks), x.size * 4)
    return y, index


@lru_cache(maxsize=64)
def _places(geometry: PoolGeometry) -> tuple[np.ndarray, np.ndarray, Shape]:
    """Place in a plane of each window's first element (it may lie outside), what each tap adds to it, and in which
    steps windows follow one another that have no element in common."""
    g = geometry
    origin, offset = np.zeros(g.out_size, np.int64), np.zeros(g.kernel, np.int64)
    plane = 1
    for axis in reversed(range(len(g.kernel))):
        rest = [1] * (len(g.kernel) - 1 - axis)
        origin += ((np.arange(g.out_size[axis]) * g.stride[axis] - g.pad_low[axis]) * plane).reshape(-1, *rest)
        offset += (np.arange(g.kernel[axis]) * g.dilation[axis] * plane).reshape(-1, *rest)
        plane *= g.in_size[axis]
    reach = zip(g.kernel, g.stride, g.dilation, strict=True)
    steps = tuple(-(-(d * (k - 1) + 1) // s) for k, s, d in reach)
    return origin, offset.reshape(-1), steps


def scatter(be: Backend, *, dy: Any, index: Any, geometry: PoolGeometry) -> Any:
    xp = be.xp
    origin, offset, steps = _places(geometry)
    origins, offsets = be.asarray(origin), be.asarray(offset)
    alone = max(steps) == 1
    gradient = dy if alone else wide(be, dy)
    size = prod(geometry.in_size)
    dx = xp.empty((dy.shape[0] * dy.shape[1], size), gradient.dtype)
    grads, winners = (a.reshape(-1, *a.shape[2:]) for a in (gradient, index))
    blocks = plane_blocks(be, len(dx), size * dx.dtype.itemsize)
    # Windows that share elements are taken in turns, so that no turn meets an element twice.
    turns = [tuple(slice(i, None, n) for i, n in zip(first, steps, strict=True)) for first in np.ndindex(*steps)]

    def work(number: int) -> None:
        n, m = blocks[number]
        dx[n:m] = 0
        flat = dx[n:m].reshape(-1)
        place = xp.take(offsets, winners[n:m])
        place += origins
        place += (xp.arange(m - n) * size).reshape(-1, *[1] * (place.ndim - 1))
        for turn in turns:
            where, part = place[(slice(None), *turn)].reshape(-1), grads[n:m][(slice(None), *turn)].reshape(-1)
            flat[where] = part if alone else flat[where] + part

    run(be, work, len(blocks), dx.size * 4)
    return dx.reshape(geometry.x_shape).astype(dy.dtype, copy=False)


def gather(be: Backend, *, x: Any, index: Any, geometry: PoolGeometry) -> Any:
    xp = be.xp
    y = xp.zeros(geometry.y_shape, x.dtype)
    for tap, (_, where, slices) in enumerate(_window(geometry)):
        ranges = (slice(None), slice(None), *(slice(lo, hi) for lo, hi in where))
        part = y[ranges]
        xp.copyto(part, x[(slice(None), slice(None), *slices)], where=index[ranges] == tap)
    return y


def positions(be: Backend, *, index: Any, geometry: PoolGeometry) -> Any:
    xp = be.xp
    g = geometry
    rest = index.astype(xp.int64)
    result = xp.zeros_like(rest)
    plane = 1
    for axis in reversed(range(len(g.kernel))):
        outputs = xp.arange(g.out_size[axis]).reshape(-1, *[1] * (len(g.kernel) - 1 - axis))
        place = outputs * g.stride[axis] - g.pad_low[axis] + rest % g.kernel[axis] * g.dilation[axis]
        result += place * plane
        rest //= g.kernel[axis]
        plane *= g.in_size[axis]
    return result


def check_places(places: Any, size: int) -> None:
    """Raise unless all places lie in a plane of ``size`` elements."""
    if places.size and (int(places.min()) < 0 or int(places.max()) >= size):
        bad = int(places.min()) if int(places.min()) < 0 else int(places.max())
        raise ArgumentError(complaint("max_unpool", "indices", f"lie in 0..{size - 1}", bad))


def _flat(be: Backend, places: Any, size: int) -> Any:
    """Places within each plane as places in the whole array."""
    check_places(places, size)
    rows = places.reshape(places.shape[0] * places.shape[1], -1)
    return rows + be.xp.arange(len(rows))[:, None] * size


def unpool(be: Backend, *, x: Any, places: Any, size: Shape) -> Any:
    y = be.xp.zeros((*x.shape[:2], *size), x.dtype)
    y.reshape(-1)[_flat(be, places, prod(size)).reshape(-1)] = x.reshape(-1)
    return y


def take(be: Backend, *, x: Any, places: Any) -> Any:
    return x.reshape(-1)[_flat(be, places, prod(x.shape[2:])).reshape(-1)].reshape(places.shape)


def place_scatter(be: Backend, *, dy: Any, places: Any, size: Shape) -> Any:
    xp = be.xp
    planes = dy.shape[0] * dy.shape[1]
    grads, rows = wide(be, dy).reshape(planes, prod(dy.shape[2:])), xp.arange(planes)
    dx = xp.zeros((planes, prod(size)), grads.dtype)
    columns = places.reshape(grads.shape)
    # Within one output position each plane is hit once, so plain indexed addition loses nothing.
    for o in range(grads.shape[1]):
        dx[rows, columns[:, o]] += grads[:, o]
    return dx.reshape(*dy.shape[:2], *size).astype(dy.dtype, copy=False)
