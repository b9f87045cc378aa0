"""relu on arrays."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.mask import keep
from nnlab.ops._numpy.parallel import plane_blocks, run


def forward(be: Backend, *, x: Any) -> Any:
    xp = be.xp
    y = xp.empty(x.shape, x.dtype)
    source, target = x.reshape(-1), y.reshape(-1)
    blocks = plane_blocks(be, x.size, x.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        xp.maximum(source[part], x.dtype.type(0), out=target[part])

    run(be, work, len(blocks), x.size)
    return y


def backward(be: Backend, *, dy: Any, y: Any) -> Any:
    dx = be.xp.empty(dy.shape, dy.dtype)
    source, target, result = dy.reshape(-1), dx.reshape(-1), y.reshape(-1)
    blocks = plane_blocks(be, dy.size, dy.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        target[part] = keep(be, source[part], result[part] != 0)

    run(be, work, len(blocks), dy.size)
    return dx
