"""Dropout on arrays."""

from __future__ import annotations

from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops._numpy.mask import keep
from nnlab.ops.dropout import Saved, scale, threshold
from nnlab.random import philox


def forward(be: Backend, *, x: Any, p: float, seed: int, offset: int) -> tuple[Any, Saved]:
    xp = be.xp
    limit = threshold(p)
    if limit < 2**32:
        mask = (philox(be, seed, offset, x.size) >= xp.uint32(limit)).reshape(x.shape)
    else:
        mask = xp.zeros(x.shape, bool)
    saved = Saved(mask, scale(p))
    return backward(be, dy=x, saved=saved), saved


def backward(be: Backend, *, dy: Any, saved: Saved) -> Any:
    # Half precision is multiplied in float32 and rounded once, as everywhere.
    wide = types.wide(dy.dtype).type
    return keep(be, (dy * wide(saved.scale)).astype(dy.dtype, copy=False), saved.mask)
