"""Fractional max pooling, one tap of all windows after another. See ops/fractional_max_pool.py."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops._numpy.precision import wide


def _starts(be: Backend, u: Any, size: int, kernel: int, out: int) -> Any:
    """First positions (N, C, out) of the windows, by samples u (N, C)."""
    last = be.xp.full((*u.shape, 1), size - kernel, be.xp.int64)
    if out == 1:
        return last
    sample = wide(be, u)[..., None]
    step = sample.dtype.type(size - kernel) / sample.dtype.type(out - 1)
    steps = (be.xp.arange(out - 1).astype(sample.dtype) + sample) * step
    first = steps.astype(be.xp.int64) - (sample * step).astype(be.xp.int64)
    return be.xp.concatenate([first, last], axis=-1)


def places(be: Backend, *, x: Any, samples: Any, kernel: Shape, out: Shape) -> Any:
    xp = be.xp
    size = x.shape[2:]
    origin: Any = 0
    for axis, (n, k, o) in enumerate(zip(size, kernel, out, strict=True)):
        starts = _starts(be, samples[..., axis], n, k, o)
        rest = (1,) * (len(size) - 1 - axis)
        origin = origin * n + starts.reshape(*x.shape[:2], *(1,) * axis, o, *rest)
    origin = origin.reshape(*x.shape[:2], prod(out))
    planes = x.reshape(*x.shape[:2], prod(size))
    best = place = None
    for tap in product(*map(range, kernel)):
        offset = 0
        for t, n in zip(tap, size, strict=True):
            offset = offset * n + t
        where = origin + offset
        value = xp.take_along_axis(planes, where, axis=-1)
        if best is None:
            best, place = value, where
            continue
        wins = (value > best) | (value != value)
        best, place = xp.where(wins, value, best), xp.where(wins, where, place)
    return place.reshape(*x.shape[:2], *out)  # type: ignore[union-attr]
