"""Local response normalisation on arrays, an image at a time on the CPU."""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.ops._numpy.parallel import plane_blocks, run
from nnlab.ops._numpy.precision import wide


def channel_sum(be: Backend, *, x: Any, below: int, above: int) -> Any:
    channels, source = x.shape[1], wide(be, x)
    total = source.copy()
    for shift in range(1, min(below, channels - 1) + 1):
        total[:, shift:] += source[:, :-shift]
    for shift in range(1, min(above, channels - 1) + 1):
        total[:, :-shift] += source[:, shift:]
    return total.astype(x.dtype, copy=False)


def forward(be: Backend, *, x: Any, size: int, alpha: float, beta: float, k: float) -> tuple[Any, Any]:
    xp = be.xp
    wide_x = wide(be, x)
    y, s = xp.empty(x.shape, x.dtype), xp.empty(x.shape, wide_x.dtype)
    blocks = plane_blocks(be, len(x), prod(x.shape[1:]) * x.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        total = channel_sum(be, x=wide_x[part] * wide_x[part], below=size // 2, above=(size - 1) // 2)
        total *= wide_x.dtype.type(alpha / size)
        total += wide_x.dtype.type(k)
        s[part] = total
        y[part] = wide_x[part] * total ** wide_x.dtype.type(-beta)

    run(be, work, len(blocks), x.size * 16)
    return y, s


def backward(be: Backend, *, dy: Any, x: Any, s: Any, size: int, alpha: float, beta: float) -> Any:
    xp = be.xp
    wide_x, wide_dy = wide(be, x), wide(be, dy)
    dx = xp.empty(x.shape, x.dtype)
    factor = wide_x.dtype.type(2 * alpha * beta / size)
    blocks = plane_blocks(be, len(x), prod(x.shape[1:]) * x.dtype.itemsize)

    def work(number: int) -> None:
        part = slice(*blocks[number])
        direct = wide_dy[part] * s[part] ** wide_x.dtype.type(-beta)
        across = channel_sum(be, x=direct * wide_x[part] / s[part], below=(size - 1) // 2, above=size // 2)
        dx[part] = direct - factor * wide_x[part] * across

    run(be, work, len(blocks), x.size * 16)
    return dx
