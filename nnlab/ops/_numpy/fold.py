"""Columns of windows, one strided slice a tap. See ops/fold.py."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.conv.unfold import unfold as unfold_windows
from nnlab.ops._numpy.parallel import blocks_of, run
from nnlab.ops._numpy.windows import taps


def unfold(be: Backend, *, x: Any, geometry: ConvGeometry) -> Any:
    g = geometry
    images, channels = g.x_shape[:2]
    cols = layout.empty(be, (images, channels, *g.kernel, *g.out_size), x.dtype)
    blocks = blocks_of(be, images, cols.nbytes)
    start = tuple(-p for p in g.pad_low)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        unfold_windows(be.xp, cols[part], x[part], g.out_size, start, g.stride, g.dilation)

    run(be, work, len(blocks), cols.size)
    return cols.reshape(images, channels * prod(g.kernel), prod(g.out_size))


def fold(be: Backend, *, cols: Any, geometry: ConvGeometry) -> Any:
    g = geometry
    images, channels = g.x_shape[:2]
    windows = cols.reshape(images, channels, *g.kernel, *g.out_size)
    x = layout.empty(be, g.x_shape, types.wide(cols.dtype))
    blocks = blocks_of(be, images, cols.nbytes)
    window = taps(g.kernel, g.out_size, g.in_size, tuple(-p for p in g.pad_low), g.stride, g.dilation)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        total, source = x[part], windows[part]
        total[...] = 0
        for tap, where, target in window:
            read = (slice(None), slice(None), *tap, *(slice(lo, hi) for lo, hi in where))
            total[(slice(None), slice(None), *target)] += source[read]

    run(be, work, len(blocks), cols.size)
    return x.astype(cols.dtype, copy=False)
