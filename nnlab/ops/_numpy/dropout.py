"""Dropout on arrays, in x's order."""

from __future__ import annotations

from typing import Any

from nnlab import types
from nnlab.backend import Backend
from nnlab.ops._numpy.layout import empty_like
from nnlab.ops._numpy.mask import keep
from nnlab.ops._numpy.parallel import elementwise
from nnlab.ops.dropout import Saved, scale, threshold
from nnlab.random import philox


def forward(be: Backend, *, x: Any, p: float, seed: int, offset: int) -> tuple[Any, Saved]:
    xp = be.xp
    limit = threshold(p)
    mask = empty_like(be, x, bool)
    if limit < 2**32:
        # The draw belongs to an element's place in the array, whatever its place in memory.
        mask[...] = (philox(be, seed, offset, x.size) >= xp.uint32(limit)).reshape(x.shape)
    else:
        mask[...] = False
    saved = Saved(mask, scale(p))
    return backward(be, dy=x, saved=saved), saved


def backward(be: Backend, *, dy: Any, saved: Saved) -> Any:
    dx = empty_like(be, saved.mask, dy.dtype)
    # Half precision is multiplied in float32 and rounded once, as everywhere.
    factor = types.wide(dy.dtype).type(saved.scale)

    def work(out: Any, part: Any, mask: Any) -> None:
        be.xp.multiply(part, factor, out=out, casting="same_kind")
        keep(be, out, mask, out)

    elementwise(be, work, dx, dy, saved.mask, work=3)
    return dx
