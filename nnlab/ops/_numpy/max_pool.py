"""Max pooling tap by tap, in blocks of planes that stay in the cache; results have the order of x, or of the index."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from nnlab import types
from nnlab.backend import Backend
from nnlab.errors import ArgumentError, complaint
from nnlab.geometry import PoolGeometry, Shape
from nnlab.ops._numpy.layout import empty, plane_order, planes
from nnlab.ops._numpy.mask import keep
from nnlab.ops._numpy.parallel import blocks_of, run
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
    order = plane_order(x)
    first, _ = _first_taps(geometry)
    y = empty(be, geometry.y_shape, x.dtype, order)
    index = empty(be, geometry.y_shape, first.dtype, order)
    source, best, winner = (planes(a, order) for a in (x, y, index))
    blocks = blocks_of(be, len(source), source.nbytes)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        # Comparing twice for NaN, which is larger than everything, is left to the blocks that have one.
        block = source[part], best[part], winner[part]
        _compare(be, geometry, *block, careful=not be.host_memory)
        if be.host_memory and xp.isnan(best[part].max(initial=-xp.inf)):
            _compare(be, geometry, *block, careful=True)

    run(be, work, len(blocks), x.size * 4)
    return y, index


def _compare(be: Backend, geometry: PoolGeometry, source: Any, best: Any, winner: Any, *, careful: bool) -> None:
    """Maxima and their taps of planes (rows, *spatial, run); without ``careful`` no maximum may be NaN."""
    xp = be.xp
    first, inside = _first_taps(geometry)
    window = _window(geometry)
    rest = window
    if inside:
        # Every window holds its first tap, so that is what the others have to beat.
        best[...] = source[(slice(None), *window[0][2])]
        winner[...] = 0
        rest = window[1:]
    else:
        best[...] = -xp.inf
        winner[...] = be.asarray(first)[..., None]
    for tap, (_, where, slices) in enumerate(rest, len(window) - len(rest)):
        ranges = (slice(None), *(slice(lo, hi) for lo, hi in where))
        value = xp.ascontiguousarray(source[(slice(None), *slices)])
        top, place = best[ranges], winner[ranges]
        wins = value > top
        if careful:
            wins |= value != value
        xp.maximum(top, value, out=top)
        # Later taps have larger numbers, so the winner so far is the largest number that has won.
        number = wins.view(xp.uint8) if tap == 1 else wins.view(xp.uint8) * place.dtype.type(tap)
        xp.maximum(place, number, out=place)


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
    order = plane_order(index)
    apart = geometry.apart
    dx = empty(be, geometry.x_shape, dy.dtype if apart else types.wide(dy.dtype), order)
    grads, winners, result = (planes(a, order) for a in (dy if apart else wide(be, dy), index, dx))
    blocks = blocks_of(be, len(result), result.nbytes)
    # Taps are slices, of long runs where images are last; in row-major order single places are faster.
    scattered = _by_places if order is None else _by_taps

    def work(number: int) -> None:
        part = slice(*blocks[number])
        scattered(be, geometry, grads[part], winners[part], result[part])

    run(be, work, len(blocks), dx.size * 4)
    return dx.astype(dy.dtype, copy=False)


def _by_taps(be: Backend, geometry: PoolGeometry, grads: Any, winners: Any, result: Any) -> None:
    if not geometry.tiles:
        result[...] = 0
    for tap, (_, where, slices) in enumerate(_window(geometry)):
        ranges = (slice(None), *(slice(lo, hi) for lo, hi in where))
        target = result[(slice(None), *slices)]
        if geometry.apart:
            keep(be, grads[ranges], winners[ranges] == tap, target)
        else:
            share = be.xp.empty(target.shape, grads.dtype)
            keep(be, grads[ranges], winners[ranges] == tap, share)
            target += share


def _by_places(be: Backend, geometry: PoolGeometry, grads: Any, winners: Any, result: Any) -> None:
    xp = be.xp
    origin, offset, steps = _places(geometry)
    count, size = len(result), prod(geometry.in_size)
    result[...] = 0
    flat = result.reshape(-1)
    place = xp.take(be.asarray(offset), winners[..., 0])
    place += be.asarray(origin)
    place += (xp.arange(count) * size).reshape(-1, *[1] * (place.ndim - 1))
    # Windows that share elements are taken in turns, so that no turn meets an element twice.
    for first in np.ndindex(*steps):
        turn = (slice(None), *(slice(i, None, n) for i, n in zip(first, steps, strict=True)))
        where, part = place[turn].reshape(-1), grads[..., 0][turn].reshape(-1)
        flat[where] = part if geometry.apart else flat[where] + part


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
    rows = places.reshape(places.shape[0] * places.shape[1], prod(places.shape[2:]))
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
