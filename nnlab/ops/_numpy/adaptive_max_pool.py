"""Adaptive max pooling, one output position at a time over all planes, in x's order."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops._numpy.avg_pool import adaptive_ranges
from nnlab.ops._numpy.layout import empty, plane_order
from nnlab.ops._numpy.max_pool import place_scatter


def forward(be: Backend, *, x: Any, out: Shape) -> tuple[Any, Any]:
    xp = be.xp
    size = x.shape[2:]
    order = plane_order(x)
    y = empty(be, (*x.shape[:2], *out), x.dtype, order)
    places = empty(be, y.shape, xp.int64, order)
    plane = xp.arange(prod(size)).reshape(size)
    ranges = [list(enumerate(adaptive_ranges(n, o))) for n, o in zip(size, out, strict=True)]
    for combination in product(*ranges):
        where = tuple(o for o, _ in combination)
        window = tuple(slice(lo, hi) for _, (lo, hi) in combination)
        here = plane[window].reshape(-1)
        values = x[(slice(None), slice(None), *window)].reshape(*x.shape[:2], here.size)
        nan = values != values
        last_nan = here.size - 1 - nan[..., ::-1].argmax(axis=-1)
        best = xp.where(nan.any(axis=-1), last_nan, values.argmax(axis=-1))
        target = (slice(None), slice(None), *where)
        y[target] = xp.take_along_axis(values, best[..., None], axis=-1)[..., 0]
        places[target] = here[best]
    return y, places


def scatter(be: Backend, *, dy: Any, places: Any, size: Shape) -> Any:
    return place_scatter(be, dy=dy, places=places, size=size)
