"""Dropout on arrays."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
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
    return be.xp.where(saved.mask, dy * dy.dtype.type(saved.scale), dy.dtype.type(0))
